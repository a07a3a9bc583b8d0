"""Faces as objects of other libraries. N faces, L landmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

import numpy as np

from unveil.io.results import csv_header, csv_row
from unveil.types import Face


def to_supervision(faces: Sequence[Face]) -> Any:
    """Convert the faces of one image to `supervision.KeyPoints`.

    Args:
        faces: The faces, all of one scheme.

    Returns:
        KeyPoints with `xy` (N, L, 2) in pixels, the visibility of each landmark as its confidence, the score of each
        face as its detection confidence, and `data` with "box" (N, 4) and, if the model predicts it, "uncertainty"
        (N, L) in pixels.

    Raises:
        ImportError: If supervision is not installed.

    Example:
        >>> key_points = unveil.to_supervision(pipeline(image_rgb))
        >>> supervision.VertexAnnotator(radius=2).annotate(image_rgb.copy(), key_points)
    """
    supervision = _module("supervision")
    if not faces:
        return supervision.KeyPoints.empty()
    names = {field.name for field in fields(supervision.KeyPoints)}
    values: dict[str, Any] = {"class_id": np.zeros(len(faces), int)}
    # Older releases have a single confidence, that of the landmarks.
    values["keypoint_confidence" if "keypoint_confidence" in names else "confidence"] = _stacked(faces, "visibility")
    if "detection_confidence" in names:
        values["detection_confidence"] = np.array([face.score for face in faces], np.float32)
    data = {"box": np.array([face.box for face in faces], np.float32)}
    if (uncertainty := _stacked(faces, "uncertainty")) is not None:
        data["uncertainty"] = uncertainty
    return supervision.KeyPoints(xy=np.stack([face.landmarks for face in faces]), data=data, **values)


def to_pandas(faces: Sequence[Face] | Mapping[str, Sequence[Face]]) -> Any:
    """Convert faces to a `pandas.DataFrame` with one row per face.

    Args:
        faces: The faces of one image, or image name -> faces for several images. All are of one scheme.

    Returns:
        A frame with the columns of the CSV that `unveil align` writes: image, face, score, the corners of the box,
        yaw, pitch, roll, and x, y, visibility and uncertainty of each landmark. A missing value is NaN.

    Raises:
        ImportError: If pandas is not installed.

    Example:
        >>> frame = unveil.to_pandas({"a.jpg": pipeline(image_rgb)})
        >>> frame[["image", "score", "yaw"]]
    """
    pandas = _module("pandas")
    images = faces if isinstance(faces, Mapping) else {"": faces}
    rows = [csv_row(name, i, face) for name, group in images.items() for i, face in enumerate(group)]
    count = max((len(face.landmarks) for group in images.values() for face in group), default=0)
    columns = zip(*rows, strict=True) if rows else [()] * len(csv_header(count))
    return pandas.DataFrame(
        {
            title: [np.nan if cell == "" and title != "image" else cell for cell in column]
            for title, column in zip(csv_header(count), columns, strict=True)
        }
    )


def _stacked(faces: Sequence[Face], name: str) -> Any:
    """Return (N, L) values, None if a face has none."""
    values = [getattr(face, name) for face in faces]
    return None if any(value is None for value in values) else np.stack(values)


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(f"this needs {name}; install it with: pip install {name}", name=name) from None
