"""The metrics of a peer, and the table of all peers. N faces, L landmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.peers.jobs import Timing
from benchmarks.peers.peers import Peer
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet
from unveil.evaluation import markdown_table
from unveil.metrics import bootstrap_counts, bootstrap_interval, failures, nme, outline_landmarks, point_errors
from unveil.schemes.scheme import IBUG68

CLEAN = "clean"
FAILURE = 0.10
INNER = [point for point in range(IBUG68.points) if point not in outline_landmarks(IBUG68)]
"""The 51 landmarks inside the face: annotators place those of the jaw differently along the outline."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One peer on the faces of one condition; all but the counts are percentages of the inter-ocular distance."""

    n: int
    unanswered: int
    """Faces without a prediction: they are failures, and NME is over the others."""
    nme_ocular: float
    nme_ocular_ci95: tuple[float, float]
    nme_ocular_inner51: float
    fr10_ocular: float


@dataclass(frozen=True, slots=True)
class Row:
    """One peer's row."""

    peer: Peer
    timings: Mapping[int, Timing]
    """By the number of threads."""
    figures: Mapping[str, Figures]
    """By condition: `clean`, then each kind of mask."""

    @property
    def model_mb(self) -> float:
        return next(iter(self.timings.values())).model_mb


def measured(predicted_px: Mapping[str, NDArray[np.float64]], faces: DataSet, rng: np.random.Generator) -> Figures:
    """Return the figures of landmarks by face name; ValueError if there are none or one is not finite."""
    known = [index for index, name in enumerate(faces.names) if name in predicted_px]
    if not known:
        raise ValueError(f"none of {len(faces)} faces was answered")
    names = [faces.names[index] for index in known]
    predicted = np.stack([predicted_px[name] for name in names])
    errors = point_errors(predicted, faces.points_px[known], faces.scheme, names=names)
    face_errors = nme(errors)
    unanswered = len(faces) - len(known)
    low, high = bootstrap_interval(face_errors, bootstrap_counts(len(known), rng))
    return Figures(
        n=len(faces),
        unanswered=unanswered,
        nme_ocular=100 * float(face_errors.mean()),
        nme_ocular_ci95=(100 * low, 100 * high),
        nme_ocular_inner51=100 * float(errors[:, INNER].mean()),
        fr10_ocular=100 * (int(failures(face_errors, FAILURE).sum()) + unanswered) / len(faces),
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of `docs/results.md`; masked is the mean over the kinds of masks."""
    kinds = [kind for kind in rows[0].figures if kind != CLEAN]
    summed = ("clean", "masked") if kinds else ("clean",)
    heads = [
        "model",
        *(f"NME {condition}" for condition in (CLEAN, *kinds)),
        *(f"inner-51 NME {part}" for part in summed),
        *(f"FR10 {part}" for part in summed),
        "unanswered",
        *(f"ms, {count} {'thread' if count == 1 else 'threads'}" for count in rows[0].timings),
        "model MB",
        "trained on",
    ]
    return markdown_table(heads, [_cells(row, kinds) for row in rows])


def _cells(row: Row, kinds: Sequence[str]) -> list[object]:
    masked = [row.figures[kind] for kind in kinds]
    every = list(row.figures.values())
    values = [
        *(figures.nme_ocular for figures in every),
        *_clean_and_masked(row.figures[CLEAN].nme_ocular_inner51, [figures.nme_ocular_inner51 for figures in masked]),
        *_clean_and_masked(row.figures[CLEAN].fr10_ocular, [figures.fr10_ocular for figures in masked]),
    ]
    unanswered, faces = sum(figures.unanswered for figures in every), sum(figures.n for figures in every)
    return [
        row.peer.title,
        *values,
        f"{unanswered} of {faces}",
        *(f"{timing.ms_per_face:.1f}" for timing in row.timings.values()),
        f"{row.model_mb:.1f}",
        row.peer.trained_on,
    ]


def _clean_and_masked(clean: float, masked: Sequence[float]) -> list[float]:
    return [clean, float(np.mean(masked))] if masked else [clean]
