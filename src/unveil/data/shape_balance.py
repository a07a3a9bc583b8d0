"""Shape-balanced sampling: rare poses and expressions are drawn more often than they occur. N faces, L landmarks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, tight_box
from unveil.schemes.scheme import Scheme
from unveil.types import Points


def unit_shapes(points_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, L, 2) landmarks in pixels to unit coordinates of each face's own crop."""
    return np.stack([Crop.around(tight_box(points)).to_unit(points) for points in points_px])


def mean_shape(points_px: NDArray[np.float32], scheme: Scheme) -> Points:
    """The mean of the shapes and of their mirror images, (L, 2), in unit coordinates."""
    mean = unit_shapes(points_px).mean(axis=0)
    mirrored = mean[list(scheme.flip_order)] * np.array([-1, 1], dtype=np.float32)
    return np.asarray((mean + mirrored) / 2, np.float32)


def balanced_weights(points_px: NDArray[np.float32], clusters: int, power: float, seed: int) -> NDArray[np.float64]:
    """A probability for each face: k-means clusters of shapes are drawn in proportion to their size to `1 - power`.

    `power` 0 draws every face alike, 1 draws every cluster alike (k-means over shapes, as the code of Zhu et al. 2022).
    """
    shapes = unit_shapes(points_px).reshape(len(points_px), -1)
    count = min(clusters, len(shapes))
    cv2.setRNGSeed(seed)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-5)
    empty = np.zeros((0, 1), np.int32)
    _, labels, _ = cv2.kmeans(shapes, count, empty, criteria, 5, cv2.KMEANS_PP_CENTERS)
    sizes = np.bincount(labels[:, 0], minlength=count)
    weights = sizes[labels[:, 0]] ** -power
    return np.asarray(weights / weights.sum(), dtype=np.float64)
