"""What belongs to what in a face: parts in levels, from neighbourhoods up to the whole. L landmarks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Part:
    """A named set of landmarks."""

    name: str
    points: tuple[int, ...]

    @classmethod
    def of(cls, name: str, *pieces: Iterable[int]) -> "Part":
        return cls(name, tuple(index for piece in pieces for index in piece))


@dataclass(frozen=True, slots=True)
class Level:
    """One cut of the face into parts; every landmark lies in exactly one."""

    name: str
    parts: tuple[Part, ...]

    @property
    def widest(self) -> int:
        """Landmarks of its largest part."""
        return max(len(part.points) for part in self.parts)

    def owners(self) -> tuple[int, ...]:
        """The part that each landmark lies in."""
        return tuple(i for _, i in sorted((point, i) for i, part in enumerate(self.parts) for point in part.points))

    def slots(self) -> tuple[int, ...]:
        """Each landmark's place where the parts stand one after the other, all of them as long as the largest."""
        slot = {point: p * self.widest + i for p, part in enumerate(self.parts) for i, point in enumerate(part.points)}
        return tuple(slot[point] for point in sorted(slot))


@dataclass(frozen=True)
class Hierarchy:
    """Levels from low to high, each nested in the next; the last has one part, the whole (Zhu et al. 2022, fig. 4)."""

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        check_levels(self.levels)

    @cached_property
    def points(self) -> int:
        return len(self.levels[-1].parts[0].points)

    @cached_property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """The landmarks of every part of every level, by its name."""
        return {part.name: part.points for level in self.levels for part in level.parts}

    def children(self, level: int, part: int) -> tuple[int, ...]:
        """The parts of the level below that make up this one."""
        inside = set(self.levels[level].parts[part].points)
        return tuple(i for i, child in enumerate(self.levels[level - 1].parts) if inside >= set(child.points))

    def parent(self, level: int, part: int) -> int:
        """The part of the level above that holds this one."""
        inside = set(self.levels[level].parts[part].points)
        return next(i for i, above in enumerate(self.levels[level + 1].parts) if set(above.points) >= inside)

    def siblings(self, level: int, part: int) -> tuple[int, ...]:
        """The other parts under the same parent: the pair or triple of the paper's section 3.3."""
        return tuple(i for i in self.children(level + 1, self.parent(level, part)) if i != part)


def check_levels(levels: Sequence[Level]) -> None:
    """Raises ValueError, naming the level and the landmark, unless the levels nest and cover each landmark once."""
    if not levels or len(levels[-1].parts) != 1:
        raise ValueError("the last level of a hierarchy has exactly one part, the whole face")
    count = len(levels[-1].parts[0].points)
    for level in levels:
        owners = [index for part in level.parts for index in part.points]
        wrong = sorted({i for i in owners if owners.count(i) > 1} | set(range(count)) ^ set(owners))
        if wrong:
            raise ValueError(f"level {level.name!r}: landmarks {wrong} are not in exactly one part")
    for below, above in pairwise(levels):
        for part in below.parts:
            if not any(set(part.points) <= set(holder.points) for holder in above.parts):
                raise ValueError(
                    f"part {part.name!r} of level {below.name!r} does not lie inside one part of {above.name!r}"
                )
