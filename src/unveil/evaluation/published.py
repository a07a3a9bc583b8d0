"""Landmarks that someone predicted, from files, measured as a model's are. N faces, L landmarks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unveil.evaluation.figures import INTERVALS, RESAMPLES, RESAMPLING_SEED, Figures, headline_normaliser
from unveil.evaluation.provenance import code_facts
from unveil.evaluation.report import Report
from unveil.io.files import DataError
from unveil.io.predictions import Pairs, read_pairs
from unveil.metrics import THRESHOLDS, degenerate_faces, nme, normaliser_names, point_errors, metric_key, summarise
from unveil.schemes.scheme import Scheme


@dataclass(frozen=True, eq=False)
class Published:
    """The figures of a file of predictions, and the pairs that they are over."""

    figures: Figures
    pairs: Pairs

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said beside the figures."""
        problems = self.pairs.problems
        if not problems:
            return ()
        others = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return (f"over the {len(self.pairs)} faces that pair; not so: {problems[0]}{others}",)


def measure_pairs(
    predictions: Path | str,
    truth: Path | str,
    scheme: Scheme | None = None,
    *,
    rows: slice = slice(None),
    thresholds: Sequence[float] = THRESHOLDS,
    strict: bool = False,
) -> Published:
    """Every metric of predictions beside the truth, face by face; see `unveil.io.predictions` for the files.

    `rows` takes some faces of the truth, by their order in it.
    A pair that is broken, or whose face no normaliser can measure, is left out and told in `pairs.problems`; if
    `strict`, the first of them is raised as DataError. DataError too if nothing can be measured.
    """
    pairs = read_pairs(predictions, truth, scheme, rows=rows, strict=strict)
    faults: Mapping[int, str] = {}
    for normaliser in normaliser_names(pairs.scheme):
        faults = degenerate_faces(pairs.truth_px, pairs.scheme, normaliser, pairs.names) | dict(faults)
    if faults:
        if strict:
            first = min(faults)
            raise DataError(f"{pairs.places[first]}: {faults[first]}")
        pairs = pairs.without(faults)
    summary = summarise(
        pairs.predicted_px,
        pairs.truth_px,
        pairs.scheme,
        thresholds=thresholds,
        visible=pairs.visible,
        visibility=pairs.visibility,
        names=pairs.names,
        rng=np.random.default_rng(RESAMPLING_SEED),
        repeats=RESAMPLES,
    )
    headline = headline_normaliser(pairs.scheme)
    errors = nme(point_errors(pairs.predicted_px, pairs.truth_px, pairs.scheme, headline, pairs.names))
    more = {"problems": len(pairs.problems)}
    return Published(Figures(str(predictions), summary, metric_key(headline), errors, more), pairs)


def published_report(published: Published, title: str, sources: Sequence[str], command: str) -> Report:
    """The report; it has no pictures of faces, for there are only landmarks."""
    scheme = published.pairs.scheme
    facts = {
        "command": command,
        "landmarks": f"{scheme.points}, scheme {scheme.name}",
        "intervals": INTERVALS,
        **{source: _fingerprint(source) for source in sources},
        **code_facts(),
    }
    return Report(title, published.notes, facts, [published.figures])


def _fingerprint(source: str) -> str:
    """The SHA-256 of a file, whose array may be named behind a colon."""
    path = Path(source if Path(source).exists() else source.rpartition(":")[0])
    return f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else "a folder"
