"""The metrics of a package, and the Markdown table of all packages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.peers.jobs import Timing
from benchmarks.peers.peers import Package
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet
from unveil.evaluation import markdown_table
from unveil.metrics import bootstrap_counts, bootstrap_interval, failures, nme, outline_landmarks, point_errors
from unveil.schemes.scheme import IBUG68

CLEAN = "clean"
FAILURE_THRESHOLD = 0.10
INNER = [point for point in range(IBUG68.points) if point not in outline_landmarks(IBUG68)]
"""The 51 landmarks without the jaw. The position of a jaw landmark along the contour varies between annotators."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of one package in one condition. Errors are in percent of the inter-ocular distance, FR10 in percent."""

    n: int
    n_missing: int
    """Faces without a prediction. They count as failures and are left out of NME."""
    nme_ocular: float
    nme_ocular_ci95: tuple[float, float]
    nme_ocular_inner51: float
    fr10_ocular: float


@dataclass(frozen=True, slots=True)
class Row:
    """The table row of one package."""

    package: Package
    timings: Mapping[int, Timing]
    """By number of threads."""
    metrics: Mapping[str, Metrics]
    """By condition: `clean`, then each kind of mask."""

    @property
    def model_mb(self) -> float:
        """Size of the weight files in megabytes."""
        return next(iter(self.timings.values())).model_mb


def compute_metrics(
    predicted_px: Mapping[str, NDArray[np.float64]], faces: DataSet, rng: np.random.Generator
) -> Metrics:
    """Compute the metrics of the predictions for one condition.

    Args:
        predicted_px: Landmarks (68, 2) in pixels, by face name; faces may be missing.
        faces: The faces with their ground truth.
        rng: Randomness of the confidence interval.

    Raises:
        ValueError: No face has a prediction, or a landmark is not finite.
    """
    indices = [index for index, name in enumerate(faces.names) if name in predicted_px]
    if not indices:
        raise ValueError(f"no predictions for the {len(faces)} faces; check the output of the runner")
    names = [faces.names[index] for index in indices]
    predicted = np.stack([predicted_px[name] for name in names])
    errors = point_errors(predicted, faces.points_px[indices], faces.scheme, names=names)
    face_errors = nme(errors)
    n_missing = len(faces) - len(indices)
    low, high = bootstrap_interval(face_errors, bootstrap_counts(len(indices), rng))
    return Metrics(
        n=len(faces),
        n_missing=n_missing,
        nme_ocular=100 * float(face_errors.mean()),
        nme_ocular_ci95=(100 * low, 100 * high),
        nme_ocular_inner51=100 * float(errors[:, INNER].mean()),
        fr10_ocular=100 * (int(failures(face_errors, FAILURE_THRESHOLD).sum()) + n_missing) / len(faces),
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of `docs/results.md`. A masked column is the mean over the kinds of masks."""
    kinds = [kind for kind in rows[0].metrics if kind != CLEAN]
    averaged = ("clean", "masked") if kinds else ("clean",)
    heads = [
        "model",
        *(f"NME {condition}" for condition in (CLEAN, *kinds)),
        *(f"inner-51 NME {part}" for part in averaged),
        *(f"FR10 {part}" for part in averaged),
        "without prediction",
        *(f"ms, {count} {'thread' if count == 1 else 'threads'}" for count in rows[0].timings),
        "model MB",
        "trained on",
    ]
    return markdown_table(heads, [_cells(row, kinds) for row in rows])


def _cells(row: Row, kinds: Sequence[str]) -> list[object]:
    masked = [row.metrics[kind] for kind in kinds]
    all_metrics = list(row.metrics.values())
    values = [
        *(metrics.nme_ocular for metrics in all_metrics),
        *_clean_and_masked(row.metrics[CLEAN].nme_ocular_inner51, [metrics.nme_ocular_inner51 for metrics in masked]),
        *_clean_and_masked(row.metrics[CLEAN].fr10_ocular, [metrics.fr10_ocular for metrics in masked]),
    ]
    n_missing, n_faces = sum(metrics.n_missing for metrics in all_metrics), sum(metrics.n for metrics in all_metrics)
    return [
        row.package.title,
        *values,
        f"{n_missing} of {n_faces}",
        *(f"{timing.ms_per_face:.1f}" for timing in row.timings.values()),
        f"{row.model_mb:.1f}",
        row.package.trained_on,
    ]


def _clean_and_masked(clean: float, masked: Sequence[float]) -> list[float]:
    return [clean, float(np.mean(masked))] if masked else [clean]
