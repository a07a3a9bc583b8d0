"""What has to be said beside figures so that nobody takes them for others. Sentences, for terminal and report alike."""

from collections.abc import Iterator, Sequence

from unveil.data.datasets.registry import DataSet
from unveil.evaluation.boxes import FALLBACK
from unveil.evaluation.figures import Figures, is_partial


def notes_of(
    faces: DataSet, figures: Sequence[Figures], problems: Sequence[str], *, occluder: str | None
) -> tuple[str, ...]:
    """The sentences; that faces are missing comes first. `occluder` is the kind that covered the faces."""
    return tuple(_notes(faces, figures, problems, occluder))


def _notes(faces: DataSet, figures: Sequence[Figures], problems: Sequence[str], occluder: str | None) -> Iterator[str]:
    if is_partial(faces):
        yield f"PARTIAL SET: {faces.found} of {faces.expected} faces; not comparable with figures on all of them"
    if problems:
        yield f"{len(problems)} left out: {problems[0]}" + (" and others" if len(problems) > 1 else "")
    missed = max(one.more.get("detector_missed", 0) for one in figures)
    if missed:
        others = f"; nme_{figures[0].by}_found is over the others" if missed < faces.found else ""
        yield f"the detector missed {missed:.0f} of {faces.found} faces; they were given {FALLBACK}{others}"
    if any("occluded_share" in one.summary.percent for one in figures):
        source = f"synthetic occluders ({occluder})" if occluder else "the data set's own annotation"
        yield f"what is visible and what occluded comes from {source}"
