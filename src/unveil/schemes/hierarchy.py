"""The part hierarchy of a face: levels of parts, from small neighbourhoods up to the whole face. L landmarks.

Source: Zhu et al. 2022, section 3.3 and figure 4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Part:
    """A named set of landmarks.

    Args:
        name: Name of the part.
        points: Landmark indices, counted from 0.
    """

    name: str
    points: tuple[int, ...]

    @classmethod
    def of(cls, name: str, *pieces: Iterable[int]) -> "Part":
        """Return a part of several index ranges.

        Args:
            name: Name of the part.
            pieces: Landmark indices; the ranges are concatenated.
        """
        return cls(name, tuple(index for piece in pieces for index in piece))


@dataclass(frozen=True, slots=True)
class Level:
    """One partition of the face: every landmark lies in exactly one part.

    Args:
        name: Name of the level.
        parts: Disjoint parts that cover all landmarks.
    """

    name: str
    parts: tuple[Part, ...]

    @property
    def max_part_size(self) -> int:
        """Number of landmarks of the largest part."""
        return max(len(part.points) for part in self.parts)

    def part_indices(self) -> tuple[int, ...]:
        """Return, for each landmark, the index of its part."""
        return tuple(i for _, i in sorted((point, i) for i, part in enumerate(self.parts) for point in part.points))

    def padded_slots(self) -> tuple[int, ...]:
        """Return each landmark's position in the concatenated parts, each padded to `max_part_size`."""
        slot = {
            point: p * self.max_part_size + i
            for p, part in enumerate(self.parts)
            for i, point in enumerate(part.points)
        }
        return tuple(slot[point] for point in sorted(slot))


@dataclass(frozen=True)
class Hierarchy:
    """Levels from low to high, each nested in the next. The last level has one part, the whole face.

    Args:
        levels: The levels, smallest parts first.

    Raises:
        ValueError: The levels do not nest, or a level does not contain each landmark exactly once.

    Source: Zhu et al. 2022, figure 4.
    """

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        check_levels(self.levels)

    @cached_property
    def points(self) -> int:
        """Number of landmarks."""
        return len(self.levels[-1].parts[0].points)

    @cached_property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Landmarks of every part of every level, by the part's name."""
        return {part.name: part.points for level in self.levels for part in level.parts}

    def children(self, level: int, part: int) -> tuple[int, ...]:
        """Return the indices of the parts one level below that form this part.

        Args:
            level: Index of the level, at least 1.
            part: Index of the part in its level.
        """
        inside = set(self.levels[level].parts[part].points)
        return tuple(i for i, child in enumerate(self.levels[level - 1].parts) if inside >= set(child.points))

    def parent(self, level: int, part: int) -> int:
        """Return the index of the part one level above that contains this part.

        Args:
            level: Index of the level, not the last.
            part: Index of the part in its level.
        """
        inside = set(self.levels[level].parts[part].points)
        return next(i for i, above in enumerate(self.levels[level + 1].parts) if set(above.points) >= inside)

    def siblings(self, level: int, part: int) -> tuple[int, ...]:
        """Return the indices of the other parts with the same parent.

        Args:
            level: Index of the level, not the last.
            part: Index of the part in its level.

        Source: Zhu et al. 2022, section 3.3: the pair or triple of parts that exchange information.
        """
        return tuple(i for i in self.children(level + 1, self.parent(level, part)) if i != part)


def check_levels(levels: Sequence[Level]) -> None:
    """Check that the levels nest and that each level contains every landmark exactly once.

    Args:
        levels: Levels from low to high.

    Raises:
        ValueError: A level is wrong. The message names the level and the landmark or part.
    """
    if not levels or len(levels[-1].parts) != 1:
        raise ValueError("the last level of a hierarchy has exactly one part, the whole face")
    count = len(levels[-1].parts[0].points)
    for level in levels:
        indices = [index for part in level.parts for index in part.points]
        wrong = sorted({i for i in indices if indices.count(i) > 1} | set(range(count)) ^ set(indices))
        if wrong:
            raise ValueError(f"level {level.name!r}: landmarks {wrong} are not in exactly one part")
    for below, above in pairwise(levels):
        for part in below.parts:
            if not any(set(part.points) <= set(parent.points) for parent in above.parts):
                raise ValueError(
                    f"part {part.name!r} of level {below.name!r} does not lie inside one part of {above.name!r}"
                )
