"""Data sets turned in the image plane, to evaluate faces that lie on their side or stand on their head."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, Sample
from unveil.io.files import DataError
from unveil.types import Image


def turned_faces(faces: DataSet, degrees: float) -> DataSet:
    """Return a data set with every image and its ground truth turned.

    Nothing is cut off: the image grows, black outside the photograph.

    Args:
        faces: The data set.
        degrees: Clockwise, as the image is looked at.
    """
    if degrees % 360 == 0:
        return faces
    samples = tuple(_turned(sample, degrees) for sample in faces.samples)
    return DataSet(f"{faces.name} turned by {degrees:g}°", samples, faces.scheme, faces.expected)


def _turned(sample: Sample, degrees: float) -> Sample:
    """Return a face turned; its landmarks are turned around the middle of the image, which is read for its size.

    A face whose image cannot be read is returned as it is: whoever loads it gets the error.
    """
    try:
        shape = sample.load().shape
    except DataError:
        return sample
    matrix, size = _matrix(shape, degrees)

    def read(path: Path) -> Image:
        return np.asarray(cv2.warpAffine(sample.read(path), matrix, size, flags=cv2.INTER_LINEAR), np.uint8)

    points_px = (sample.points_px @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return replace(sample, points_px=points_px, box=None, read=read)


def _matrix(shape: tuple[int, ...], degrees: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the 2x3 matrix of the turn and the size (width, height) of the turned image."""
    height, width = shape[:2]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    size = np.ceil(np.abs(turn) @ (width, height) - 1e-6).astype(int)
    middle, new_middle = (np.array([width, height]) - 1) / 2, (size - 1) / 2
    return np.concatenate([turn, (new_middle - turn @ middle)[:, None]], axis=1), (int(size[0]), int(size[1]))
