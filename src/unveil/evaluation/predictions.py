"""Evaluate predictions from files, as a model's are evaluated. N faces, L landmarks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unveil.evaluation.provenance import code_facts
from unveil.evaluation.report import Report
from unveil.evaluation.results import INTERVALS, RESAMPLES, RESAMPLING_SEED, ModelResult, headline_normaliser
from unveil.io.files import DataError
from unveil.io.predictions import Pairs, read_pairs
from unveil.metrics import THRESHOLDS, degenerate_faces, metric_key, nme, point_errors, summarise
from unveil.schemes.scheme import Scheme


@dataclass(frozen=True, eq=False)
class PredictionResult:
    """The metrics of a file of predictions.

    Args:
        result: The metrics.
        pairs: The predictions with their ground truth.
    """

    result: ModelResult
    pairs: Pairs

    @property
    def notes(self) -> tuple[str, ...]:
        """What must stand beside the metrics."""
        problems = self.pairs.problems
        if not problems:
            return ()
        others = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return (f"over the {len(self.pairs)} faces that could be paired; left out: {problems[0]}{others}",)


def evaluate_predictions(
    predictions: Path | str,
    ground_truth: Path | str,
    scheme: Scheme | None = None,
    *,
    rows: slice = slice(None),
    thresholds: Sequence[float] = THRESHOLDS,
    strict: bool = False,
) -> PredictionResult:
    """Evaluate predictions face by face. See `unveil.io.predictions` for the files.

    Args:
        predictions: A file or folder.
        ground_truth: A file or folder.
        scheme: None: the built-in scheme with that many points.
        rows: Faces of the ground truth, by their order.
        thresholds: Of failure rates and AUC, as fractions.
        strict: Raise the first problem instead of leaving the face out.

    Returns:
        The metrics. A pair that is broken or that no normaliser can measure is in `pairs.problems`.

    Raises:
        DataError: Nothing can be measured, or there is a problem and `strict` is set.
    """
    pairs = read_pairs(predictions, ground_truth, scheme, rows=rows, strict=strict)
    if degenerate := degenerate_faces(pairs.ground_truth_px, pairs.scheme, names=pairs.names):
        if strict:
            first = min(degenerate)
            raise DataError(f"{pairs.places[first]}: {degenerate[first]}")
        pairs = pairs.without(degenerate)
    summary = summarise(
        pairs.predicted_px,
        pairs.ground_truth_px,
        pairs.scheme,
        thresholds=thresholds,
        visible=pairs.visible,
        visibility=pairs.visibility,
        names=pairs.names,
        rng=np.random.default_rng(RESAMPLING_SEED),
        repeats=RESAMPLES,
    )
    main = headline_normaliser(pairs.scheme)
    errors = nme(point_errors(pairs.predicted_px, pairs.ground_truth_px, pairs.scheme, main, pairs.names))
    extra = {"problems": len(pairs.problems)}
    return PredictionResult(ModelResult(str(predictions), summary, metric_key(main), errors, extra), pairs)


def prediction_report(found: PredictionResult, title: str, sources: Sequence[str], command: str) -> Report:
    """Return the report; without images, since there are only landmarks.

    Args:
        found: The metrics.
        title: Above the report.
        sources: The files, whose hashes are recorded.
        command: The command line that gives the same report.
    """
    scheme = found.pairs.scheme
    facts = {
        "command": command,
        "landmarks": f"{scheme.points}, scheme {scheme.name}",
        "intervals": INTERVALS,
        **{source: _fingerprint(source) for source in sources},
        **code_facts(),
    }
    return Report(title, found.notes, facts, [found.result])


def _fingerprint(source: str) -> str:
    """Return the SHA-256 of a file; an array may be named after a colon."""
    path = Path(source if Path(source).exists() else source.rpartition(":")[0])
    return f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else "a folder"
