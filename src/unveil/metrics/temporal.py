"""Metrics of landmarks over time: jitter at rest and lag in motion. N frames, L landmarks."""

import numpy as np
from numpy.typing import NDArray

LAGS = np.arange(-1.0, 4.01, 0.1)  # frames


def jitter(
    points_px: NDArray[np.floating], length_px: float, ground_truth_px: NDArray[np.floating] | None = None
) -> float:
    """Return the motion of landmarks from frame to frame beyond their true one: its RMS in percent of the length.

    Args:
        points_px: Landmarks (N, L, 2) in pixels.
        length_px: Normalising length in pixels, for example the inter-ocular distance.
        ground_truth_px: True landmarks (N, L, 2); None for a face at rest.
    """
    errors = points_px if ground_truth_px is None else points_px - ground_truth_px
    return 100 * float(np.sqrt((np.diff(errors, axis=0) ** 2).sum(axis=2).mean()) / length_px)


def lag(points_px: NDArray[np.floating], ground_truth_px: NDArray[np.floating], settle: int = 0) -> float:
    """Return by how many frames landmarks follow their true positions late.

    Args:
        points_px: Landmarks (N, L, 2) in pixels.
        ground_truth_px: True landmarks (N, L, 2) in pixels.
        settle: Frames at the start that are left out.

    Returns:
        The delay in frames, from -1 to 4, at which the true motion correlates best.
    """
    frames = np.arange(len(ground_truth_px), dtype=np.float64)
    paths = ground_truth_px.reshape(len(ground_truth_px), -1)
    found = points_px.reshape(len(points_px), -1)[settle:]
    found = (found - found.mean(axis=0))[:-2]
    correlations = []
    for delay in LAGS:
        late = np.stack([np.interp(frames[settle:-2] - delay, frames, path) for path in paths.T], axis=1)
        late = late - late.mean(axis=0)
        correlations.append(float((late * found).sum() / max(np.linalg.norm(late), 1e-12)))
    return float(LAGS[int(np.argmax(correlations))])
