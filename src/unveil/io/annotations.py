"""Landmark files in iBUG's `.pts` format. L landmarks.

A `.pts` file counts pixels from 1. The rest of the package counts from 0; the conversion is here.
"""

import re
from pathlib import Path

import numpy as np

from unveil.io.files import DataError, atomic_write
from unveil.schemes.scheme import Scheme
from unveil.types import Points

HEADER = re.compile(r"(version|n_points)\s*:\s*(.*)", re.IGNORECASE)
COMMENT = re.compile(r"(#|//).*")


def read_pts(path: Path, scheme: Scheme | None = None) -> Points:
    """Read the landmarks of a `.pts` file.

    The header and the braces may be missing; `#` and `//` start a comment.

    Args:
        path: The file.
        scheme: The scheme whose number of landmarks the file must have; None accepts any number.

    Returns:
        The landmarks in pixels counted from 0, (L, 2).

    Raises:
        DataError: If a line is not two finite numbers, or the number of points is not that of the header or the
            scheme. The message names the file and the line.
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


def pts_text(points_px: Points) -> str:
    """Return the content of a `.pts` file, with three decimals.

    Args:
        points_px: The landmarks in pixels counted from 0, (L, 2).

    Returns:
        The file as text, ASCII.

    Raises:
        ValueError: If a coordinate is not finite or the shape is not (L, 2).
    """
    if points_px.ndim != 2 or points_px.shape[1] != 2:
        raise ValueError(f"points of shape {points_px.shape}, but a .pts file takes (L, 2)")
    if not np.isfinite(points_px).all():
        bad = int(np.argwhere(~np.isfinite(points_px))[0, 0])
        raise ValueError(f"landmark {bad} is not a finite number")
    lines = [f"{x:.3f} {y:.3f}" for x, y in points_px.astype(np.float64) + 1]
    return "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""])


def write_pts(path: Path, points_px: Points) -> None:
    """Write a `.pts` file atomically.

    Args:
        path: The file. On an error the old file stays.
        points_px: The landmarks in pixels counted from 0, (L, 2).

    Raises:
        ValueError: If a coordinate is not finite or the shape is not (L, 2).
    """
    try:
        text = pts_text(points_px)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; nothing was written") from None
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))


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
