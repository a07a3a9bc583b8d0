"""Landmark files: iBUG's `.pts`, read tolerantly and written whole or not at all. L landmarks.

A `.pts` file counts pixels from 1; everything else in this package counts from 0, and the change is made here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from unveil.schemes.scheme import Scheme
from unveil.types import Points

HEADER = re.compile(r"(version|n_points)\s*:\s*(.*)", re.IGNORECASE)
COMMENT = re.compile(r"(#|//).*")


class DataError(ValueError):
    """Something on the disk is not what it should be; the message names the file and the mend, on one line."""


def read_pts(path: Path, scheme: Scheme | None = None) -> Points:
    """The landmarks of a `.pts` file in pixels counted from 0: (L, 2).

    The header and the braces may be missing; `#` and `//` begin a comment. DataError, naming the file and the line, on
    anything but two finite numbers a line, or on a count that is not the header's or the scheme's.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    rows: list[tuple[float, float]] = []
    announced: int | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = COMMENT.sub("", raw).strip(" \t{}")
        if not line:
            continue
        if header := HEADER.fullmatch(line):
            if header[1].lower() == "n_points":
                announced = _count(header[2], f"{path}, line {number}")
            continue
        rows.append(_pair(line, f"{path}, line {number}"))
    if announced is not None and announced != len(rows):
        raise DataError(f"{path}: {len(rows)} points, but its header says {announced}")
    if scheme is not None and scheme.points != len(rows):
        raise DataError(f"{path}: {len(rows)} points, but scheme {scheme.name!r} has {scheme.points}")
    if not rows:
        raise DataError(f"{path}: no points")
    return (np.array(rows, np.float64) - 1).astype(np.float32)


def write_pts(path: Path, points_px: Points) -> None:
    """Writes landmarks (L, 2), counted from 0, as iBUG does: from 1, to the thousandth of a pixel.

    ValueError if a coordinate is not finite or the shape is wrong; then and on any other error the old file stays.
    """
    if points_px.ndim != 2 or points_px.shape[1] != 2:
        raise ValueError(f"{path}: points of shape {points_px.shape}, but a .pts file takes (L, 2)")
    if not np.isfinite(points_px).all():
        bad = int(np.argwhere(~np.isfinite(points_px))[0, 0])
        raise ValueError(f"{path}: landmark {bad} is not a finite number; nothing was written")
    lines = [f"{x:.3f} {y:.3f}" for x, y in points_px.astype(np.float64) + 1]
    text = "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""])
    with written_whole(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _count(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{where}: n_points is {text!r}, not a whole number") from None


def _pair(line: str, where: str) -> tuple[float, float]:
    fields = line.replace(",", " ").split()
    if len(fields) != 2:
        raise DataError(f"{where}: {line!r} is not two numbers")
    try:
        x, y = float(fields[0]), float(fields[1])
    except ValueError:
        raise DataError(f"{where}: {line!r} is not two numbers") from None
    if not np.isfinite((x, y)).all():
        raise DataError(f"{where}: {line!r} is not finite")
    return x, y
