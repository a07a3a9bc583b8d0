"""Shape-balanced sampling: rare poses and expressions are drawn more often than they occur. N faces, L landmarks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, tight_box
from unveil.schemes.scheme import Scheme
from unveil.types import Points


def unit_shapes(points_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return landmarks in unit coordinates of each face's own crop, (N, L, 2).

    Args:
        points_px: Landmarks (N, L, 2) in pixels.
    """
    return np.stack([Crop.around(tight_box(points)).to_unit(points) for points in points_px])


def mean_shape(points_px: NDArray[np.float32], scheme: Scheme) -> Points:
    """Return the mean of the shapes and of their mirror images, (L, 2), in unit coordinates.

    Args:
        points_px: Landmarks (N, L, 2) in pixels.
        scheme: Scheme of the landmarks.
    """
    mean = unit_shapes(points_px).mean(axis=0)
    mirrored = mean[list(scheme.flip_order)] * np.array([-1, 1], dtype=np.float32)
    return np.asarray((mean + mirrored) / 2, np.float32)


def shape_clusters(points_px: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    """Return the k-means cluster of each face's shape, (N,).

    Args:
        points_px: Landmarks (N, L, 2) in pixels.
        clusters: Number of clusters; at most N are used.
        seed: Seed of the k-means initialisation.
    """
    shapes = unit_shapes(points_px).reshape(len(points_px), -1)
    cv2.setRNGSeed(seed)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-5)
    empty = np.zeros((0, 1), np.int32)
    _, labels, _ = cv2.kmeans(shapes, min(clusters, len(shapes)), empty, criteria, 5, cv2.KMEANS_PP_CENTERS)
    return np.asarray(labels[:, 0], np.int64)


def balanced_weights(labels: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Return a probability for each face, (N,), from its cluster.

    Args:
        labels: The cluster of each face, (N,).
        power: 0 draws every face with the same probability, 1 every cluster.
    """
    sizes = np.bincount(labels)
    weights = sizes[labels].astype(np.float64) ** -power
    return np.asarray(weights / weights.sum(), dtype=np.float64)
