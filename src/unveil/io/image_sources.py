"""The images that a command processes, and the names of their outputs."""

import glob
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES

# A second run must not process the outputs of the first.
OUTPUT_SUFFIXES = tuple(
    f".{kind}.png" for kind in ("overlay", "aligned-112", "aligned-256", "restored", "mask", "comparison")
)

NUMBERED = re.compile(r"(.+)\.\d+")  # the name of one of several faces


@dataclass(frozen=True, slots=True)
class Source:
    """One image.

    Args:
        path: The image file.
        output: The common part of its outputs' paths: relative to the output folder, without a suffix.
    """

    path: Path
    output: Path


@dataclass(frozen=True, slots=True)
class Sources:
    """The images that were found, without duplicates.

    Args:
        images: The images.
        problems: One line for each argument that matches no image.
        skipped: One line for each folder with files that are not images: how many of which suffix.
    """

    images: tuple[Source, ...]
    problems: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def find_sources(arguments: Sequence[str], out: Path) -> Sources:
    """Return the images that files, globs and folders name, sorted within each argument.

    Below a folder, or below the fixed part of a glob, the outputs have the same folder structure as the images.
    Folders are searched recursively, without hidden files and without `out` if it lies inside.

    Args:
        arguments: Files, globs and folders.
        out: The output folder.
    """
    found: dict[Path, Source] = {}
    problems: list[str] = []
    skipped: list[str] = []
    for argument in arguments:
        if Path(argument).is_dir() and (note := _describe_skipped(_others_below(Path(argument), out))):
            skipped.append(f"{argument}: {note}")
        try:
            for path, root in _matches(argument, out):
                relative = path.relative_to(root)
                found.setdefault(path.resolve(), Source(path, relative.with_suffix("")))
        except ValueError as error:
            problems.append(str(error))
    return Sources(tuple(_with_unique_outputs(list(found.values()))), tuple(problems), tuple(skipped))


def _describe_skipped(paths: Iterable[Path]) -> str:
    """Return as in "skipped 3 files that are not images: 2 .txt, 1 without a suffix"; empty for no files."""
    suffixes = Counter(path.suffix.lower() for path in paths)
    if not suffixes:
        return ""
    parts = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in suffixes.most_common())
    files = "1 file that is not an image" if suffixes.total() == 1 else f"{suffixes.total()} files that are not images"
    return f"skipped {files}: {parts}"


def _matches(argument: str, out: Path) -> list[tuple[Path, Path]]:
    """Return pairs of an image and the folder that its outputs are relative to. ValueError if there are none."""
    path = Path(argument)
    if path.is_dir():
        matches = [(match, path) for match in _images_below(path, out)]
        if not matches:
            raise ValueError(f"{argument}: no images in this folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    elif path.exists() or not glob.has_magic(argument):
        matches = [(path, path.parent)]
    else:
        root = _fixed_part(path)
        found = (Path(match) for match in sorted(glob.glob(argument, recursive=True)))  # noqa: PTH207 - Path.glob refuses some
        matches = [(match, root) for match in found if match.is_file() and _is_image(match)]
        if not matches:
            raise ValueError(f"{argument}: no images match this pattern; quote it and check the folder")
    return matches


def list_images(folder: Path) -> list[Path]:
    """Return the images in a folder and below, without hidden files, sorted within each folder.

    Args:
        folder: The folder.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = _images_below(folder, folder / ".out")
    if not found:
        raise DataError(f"{folder}: no images in this folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def _images_below(folder: Path, out: Path) -> list[Path]:
    return [path for path in _files_below(folder, out) if _is_image(path) and not _is_special(path)]


def _others_below(folder: Path, out: Path) -> list[Path]:
    files = _files_below(folder, out)
    return [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES or _is_special(path)]


def _files_below(folder: Path, out: Path) -> Iterator[Path]:
    """Yield the files that are not hidden, sorted within each folder, without those below `out`.

    Links to folders are followed, each folder once.
    """
    seen = {out.resolve(), folder.resolve()}
    for here, folders, files in os.walk(folder, followlinks=True):
        below = {(Path(here) / name).resolve(): name for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for path, name in below.items() if path not in seen]
        seen |= below.keys()
        yield from (Path(here) / name for name in sorted(files) if not name.startswith("."))


def _is_image(path: Path) -> bool:
    is_output = path.name.startswith(".") or path.name.endswith(OUTPUT_SUFFIXES)
    return not is_output and path.suffix.lower() in IMAGE_SUFFIXES


def _is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, which would block a read. A broken link is none."""
    return path.exists() and not path.is_file()


def _fixed_part(pattern: Path) -> Path:
    """Return the folders of a glob before its first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _with_unique_outputs(sources: list[Source]) -> list[Source]:
    """Rename the outputs of sources that would overwrite one another: add the suffix, else the folders.

    The first of several faces in `a.jpg` has the name of `a.0.jpg`, so that image keeps its suffix.
    """
    claims: dict[Path, list[Source]] = defaultdict(list)
    for source in sources:
        claims[source.output].append(source)
    unique = [
        replace(source, output=source.output.with_name(source.path.name))
        if (match := NUMBERED.fullmatch(source.output.name)) and source.output.with_name(match[1]) in claims
        else _distinguished(source, claims[source.output])
        for source in sources
    ]
    counts = Counter(source.output for source in unique)
    # The new name of x.jpg may be the name of x.jpg.jpg.
    return [s if counts[s.output] == 1 else replace(s, output=s.output.with_name(s.path.name)) for s in unique]


def _distinguished(source: Source, rivals: list[Source]) -> Source:
    if len(rivals) == 1:
        return source
    if len({rival.path.suffix for rival in rivals}) == len(rivals):
        return replace(source, output=source.output.with_name(source.path.name))
    common = os.path.commonpath([rival.path.resolve().parent for rival in rivals])
    return replace(source, output=source.path.resolve().relative_to(common))
