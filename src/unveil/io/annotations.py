"""Landmark files in iBUG's `.pts` format, and a plausibility check of landmarks. L landmarks.

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
PLACEHOLDERS = (0.0, -1.0, -2.0)  # both coordinates of a missing landmark, counted from 0 or from 1
OUTSIDE = 0.25  # of the image's longer side: how far outside the image a landmark of a cut-off face may be
OUTLIER = 10.0  # median distances from the median landmark; the largest in 300W is 3.6


def read_pts(path: Path, scheme: Scheme | None = None) -> Points:
    """Return the landmarks of a `.pts` file, (L, 2) in pixels counted from 0.

    The header and the braces may be missing; `#` and `//` start a comment.

    Args:
        path: The file.
        scheme: The scheme whose number of landmarks the file must have; None accepts any number.

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
        raise DataError(f"{path}: {len(rows)} points, but its header states {announced}")
    if scheme is not None and scheme.points != len(rows):
        raise DataError(f"{path}: {len(rows)} points, but scheme {scheme.name!r} has {scheme.points}")
    if not rows:
        raise DataError(f"{path}: no points")
    return (np.array(rows, np.float64) - 1).astype(np.float32)


def pts_text(points_px: Points) -> str:
    """Return the content of a `.pts` file, ASCII, with three decimals.

    Args:
        points_px: The landmarks in pixels counted from 0, (L, 2).

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


def implausible(points_px: Points, image_size: tuple[int, int] | None = None) -> str | None:
    """Return why landmarks are implausible.

    Args:
        points_px: The landmarks of a face in pixels counted from 0, (L, 2).
        image_size: Width and height of the image in pixels, if known.

    Returns:
        One line that names the landmark: it is not finite, a placeholder such as (0, 0) or (-1, -1), far outside the
        image or far from all others, or all landmarks are equal. None if the landmarks are plausible.
    """
    points = points_px.astype(np.float64)
    if len(bad := np.flatnonzero(~np.isfinite(points).all(axis=1))):
        return f"landmark {bad[0]} is not a finite number"
    first = _place(points[0])
    if len(points) > 1 and (points == points[0]).all():
        return f"all {len(points)} landmarks are at {first}"
    if len(bad := np.flatnonzero((points[:, 0] == points[:, 1]) & np.isin(points[:, 0], PLACEHOLDERS))):
        return f"landmark {bad[0]} is at {_place(points[bad[0]])}, which marks a missing one"
    if image_size is not None:
        margin, last = OUTSIDE * max(image_size), np.array(image_size) - 1
        if len(bad := np.flatnonzero(((points < -margin) | (points > last + margin)).any(axis=1))):
            place = f"{_place(points[bad[0]])}, far outside the image of {image_size[0]}x{image_size[1]} pixels"
            return f"landmark {bad[0]} is at {place}"
    distances = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    if len(bad := np.flatnonzero(distances > OUTLIER * np.median(distances))):
        return f"landmark {bad[0]} is at {_place(points[bad[0]])}, far from all others"
    return None


def _place(point: Points) -> str:
    return f"({point[0]:g}, {point[1]:g})"


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
