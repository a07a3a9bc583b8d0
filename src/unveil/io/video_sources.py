"""Which pictures a command works on, and what each one's outputs are called."""

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unveil.io.images import IMAGE_SUFFIXES

# A second run must not work on what the first one wrote.
OWN_OUTPUTS = tuple(
    f".{kind}.png" for kind in ("overlay", "aligned-112", "aligned-256", "restored", "mask", "comparison")
)


@dataclass(frozen=True, slots=True)
class Source:
    """A picture, and the path below the output folder that its outputs share, without a suffix."""

    path: Path
    output: Path


@dataclass(frozen=True, slots=True)
class Sources:
    """The pictures found, each once, and one line for each argument that led to none."""

    pictures: tuple[Source, ...]
    problems: tuple[str, ...]


def find_sources(arguments: Sequence[str], out: Path) -> Sources:
    """The pictures that files, globs and folders name; below a folder or a glob's fixed part, outputs mirror the tree.

    Folders are searched recursively, without hidden files and without `out` where that lies inside.
    """
    found: dict[Path, Source] = {}
    problems: list[str] = []
    for argument in arguments:
        try:
            for path, root in _matches(argument, out):
                relative = path.relative_to(root)
                found.setdefault(path.resolve(), Source(path, relative.with_suffix("")))
        except ValueError as error:
            problems.append(str(error))
    return Sources(tuple(_apart(list(found.values()))), tuple(problems))


def _matches(argument: str, out: Path) -> list[tuple[Path, Path]]:
    """Pairs of a picture and the folder its outputs are relative to. ValueError, in one line, if there are none."""
    path = Path(argument)
    if path.is_dir():
        matches = [(match, path) for match in _pictures_below(path, out)]
        if not matches:
            raise ValueError(f"{argument}: no images in this folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    elif path.exists() or not glob.has_magic(argument):
        matches = [(path, path.parent)]
    else:
        root = _fixed_part(path)
        found = (Path(match) for match in sorted(glob.glob(argument, recursive=True)))  # noqa: PTH207 - Path.glob refuses some
        matches = [(match, root) for match in found if match.is_file() and _is_picture(match)]
        if not matches:
            raise ValueError(f"{argument}: no images match this pattern; quote it and check the folder")
    return matches


def _pictures_below(folder: Path, out: Path) -> Iterator[Path]:
    skipped = out.resolve()
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (Path(here) / f).resolve() != skipped)
        yield from (Path(here) / name for name in sorted(files) if _is_picture(Path(name)))


def _is_picture(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES and not path.name.endswith(OWN_OUTPUTS)


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _apart(sources: list[Source]) -> list[Source]:
    """The sources, those that would write over one another told apart: by their suffix, else by their folders."""
    claims: dict[Path, list[Source]] = defaultdict(list)
    for source in sources:
        claims[source.output].append(source)
    apart = [_apart_from(source, claims[source.output]) for source in sources]
    claimed = Counter(source.output for source in apart)
    # x.jpg told apart from x.png may be called as x.jpg.jpg is
    return [s if claimed[s.output] == 1 else replace(s, output=s.output.with_name(s.path.name)) for s in apart]


def _apart_from(source: Source, rivals: list[Source]) -> Source:
    if len(rivals) == 1:
        return source
    if len({rival.path.suffix for rival in rivals}) == len(rivals):
        return replace(source, output=source.output.with_name(source.path.name))
    common = os.path.commonpath([rival.path.resolve().parent for rival in rivals])
    return replace(source, output=source.path.resolve().relative_to(common))
