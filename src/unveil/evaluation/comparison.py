"""Compare models over one data set: from the configuration to metrics, notes and a report. M models."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from unveil.data.datasets.registry import DataSet
from unveil.data.occlusion import SCALABLE, Library, Occluder, OcclusionSampler
from unveil.data.occlusion_labels import with_occlusion_labels
from unveil.evaluation.boxes import FALLBACK, BoxSource, detected_box, ground_truth_box, listed_box, noisy_box
from unveil.evaluation.galleries import galleries
from unveil.evaluation.provenance import code_facts
from unveil.evaluation.published import PUBLISHED
from unveil.evaluation.report import Report
from unveil.evaluation.results import INTERVALS, ModelResult, Sweep, is_partial, result_of
from unveil.evaluation.runner import Run, run_models
from unveil.evaluation.schemes import aligner_in, common_scheme, faces_in
from unveil.evaluation.turned import turned_faces
from unveil.inference.aligner import AlignmentModel
from unveil.inference.detector import load_detector
from unveil.inference.external_detectors import MIN_SCORE
from unveil.inference.restorer import Restorer
from unveil.metrics import THRESHOLDS

Boxes: TypeAlias = Literal["gt", "detector"] | Path
NO_LIBRARY = Library()


@dataclass(frozen=True)
class EvaluationConfig:
    """How the models get the faces.

    Args:
        boxes: Ground truth, detector, or a file of boxes (see `listed_box`).
        box_noise: See `noisy_box`.
        flip_average: Average with the mirrored face.
        occluder: The kind of occluder, one of `unveil.data.occlusion.KINDS`.
        coverages: Fractions of the face that the occluder covers; several make a sweep.
        library: The occluder's images.
        templates: The templates that the library was restricted to, for the title.
        turns: Degrees, clockwise, by which images and ground truth are turned; several make a sweep.
        labels: A file of hand-made occlusion labels; only the faces in it are evaluated.
        restorer: Name or folder of a restorer that restores the faces before they are aligned.
        seed: Of occluders and box noise.
        threads: Of the networks.
        thresholds: Of failure rates and AUC, as fractions of the normaliser.
    """

    boxes: Boxes = "gt"
    box_noise: float = 0.0
    flip_average: bool = False
    occluder: str | None = None
    coverages: tuple[float, ...] = ()
    library: Library = NO_LIBRARY
    templates: tuple[str, ...] = ()
    turns: tuple[float, ...] = ()
    labels: Path | None = None
    restorer: str | None = None
    seed: int = 0
    threads: int = 1
    thresholds: tuple[float, ...] = THRESHOLDS

    @property
    def box_text(self) -> str:
        """The boxes, as titles contain them."""
        source = self.boxes if isinstance(self.boxes, str) else str(self.boxes)
        return f"{source} boxes" + (f" off by up to {100 * self.box_noise:g} %" if self.box_noise else "")

    @property
    def occluder_text(self) -> str:
        """The occluder, as titles contain it; empty without one."""
        ends = dict.fromkeys((*self.coverages[:1], *self.coverages[-1:]))
        coverage = "–".join(f"{100 * end:g}" for end in ends)  # noqa: RUF001
        parts = [self.occluder, *self.templates, coverage and f"over {coverage} % of the face"]
        return " ".join(filter(None, parts)) if self.occluder else ""

    @property
    def text(self) -> str:
        """What every table states: occluder, restorer, boxes, mirror averaging."""
        under = [f"under {self.occluder_text}"] if self.occluder else []
        turned = [f"turned by {', '.join(f'{turn:g}' for turn in self.turns)} degrees"] if self.turns else []
        restored = [f"restored by {self.restorer}"] if self.restorer else []
        mirror = f"mirror averaging {'on' if self.flip_average else 'off'}"
        return ", ".join([*turned, *under, *restored, self.box_text, mirror])

    def occluders(self) -> tuple[Occluder | None, ...]:
        """Return one occluder for each coverage; None without an occluder."""
        if self.occluder is None:
            return (None,)
        coverages = self.coverages or (None,)
        return tuple(OcclusionSampler.of_kind(self.occluder, self.library, coverage) for coverage in coverages)

    def box_source(self, faces: DataSet) -> BoxSource:
        """Return the source of the boxes.

        Args:
            faces: The data set.
        """
        if isinstance(self.boxes, Path):
            source = listed_box(self.boxes, faces)
        elif self.boxes == "detector":
            source = detected_box(load_detector("unveil", None, MIN_SCORE, self.threads), faces.scheme)
        else:
            source = ground_truth_box
        return noisy_box(self.box_noise, self.seed, source) if self.box_noise else source


@dataclass(frozen=True, eq=False)
class Comparison:
    """The metrics of several models over one data set.

    Args:
        config: How the models got the faces.
        run: Their predictions.
        title: Faces and configuration.
        notes: Sentences that must stand beside the metrics.
        results: Of each model; of a sweep at the largest coverage.
        sweep: With several coverages.
        occlude: The occluder of `results`.
    """

    config: EvaluationConfig
    run: Run
    title: str
    notes: tuple[str, ...]
    results: tuple[ModelResult, ...]
    sweep: Sweep | None
    occlude: Occluder | None

    def flat(self, model: str) -> dict[str, float]:
        """Return one flat object, metric name to value.

        Args:
            model: The model's name.
        """
        if self.sweep is not None:
            return self.sweep.flat(model)
        return next(result.flat() for result in self.results if result.name == model)


def check_coverage(kind: str | None, coverages: Sequence[float]) -> tuple[float, ...]:
    """Return coverages in rising order, each once.

    Args:
        kind: The kind of occluder.
        coverages: Fractions of the face.

    Raises:
        ValueError: A coverage is outside 0 to 1, or the kind is not scalable.
    """
    if coverages and kind is None:
        raise ValueError(f"--coverage needs --occlude, one of {', '.join(SCALABLE)}")
    for coverage in coverages:
        if not 0 <= coverage <= 1:
            raise ValueError(f"--coverage {coverage:g}: give a fraction of the face, 0 to 1")
    if coverages and kind not in SCALABLE:
        raise ValueError(f"--coverage: {kind!r} has a fixed size; use {', '.join(SCALABLE)}, or leave --coverage out")
    return tuple(sorted(set(coverages)))


def _check_turns(config: EvaluationConfig) -> tuple[float, ...]:
    """Return the turns in rising order, each once."""
    if len(config.turns) > 1 and len(config.coverages) > 1:
        raise ValueError("--turn and --coverage: give several of one of them alone")
    if config.turns and isinstance(config.boxes, Path):
        raise ValueError(f"--boxes {config.boxes}: its boxes are not turned; use gt or detector with --turn")
    if wrong := [turn for turn in config.turns if not -360 <= turn <= 360]:
        raise ValueError(f"--turn {wrong[0]:g}: give degrees from -360 to 360")
    return tuple(sorted(set(config.turns)))


def compare(
    models: Mapping[str, AlignmentModel],
    faces: DataSet,
    config: EvaluationConfig,
    *,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Return the metrics of every model on a data set.

    Args:
        models: By name.
        faces: The data set. If schemes differ, it and the models are converted to a common one.
        config: How the models get the faces.
        strict: Raise the first problem instead of leaving the face out.
        progress: Called with the number of faces that are done and their total.

    Raises:
        ValueError: Models and faces have no common scheme, or see `run_models`.

    Example:
        >>> models = {"glomface-light": AlignmentModel.load("glomface-light")}
        >>> compare(models, folder(Path("faces")), EvaluationConfig()).results[0].flat()["nme_ocular"]
    """
    if config.labels is not None:
        labelled = with_occlusion_labels(faces, config.labels, only_labelled=True)
        assert isinstance(labelled, DataSet)
        faces = labelled
    scheme = common_scheme(faces, models)
    faces = faces_in(faces, scheme)
    config = replace(config, coverages=check_coverage(config.occluder, config.coverages), turns=_check_turns(config))
    occluders = config.occluders()
    restorer = None if config.restorer is None else Restorer.load(config.restorer, config.threads)
    aligners = {name: aligner_in(model, scheme, restorer) for name, model in models.items()}
    results: dict[str, tuple[ModelResult, ...]] = dict.fromkeys(models, ())
    for turn in config.turns or (0.0,):
        turned = turned_faces(faces, turn)
        run = run_models(
            aligners,
            turned,
            box_source=config.box_source(turned),
            occluders=occluders,
            seed=config.seed,
            flip_average=config.flip_average,
            strict=strict,
            progress=progress,
        )
        for name, predictions in run.predictions.items():
            results[name] += tuple(
                result_of(name, one, run.faces, can_miss=config.boxes != "gt", thresholds=config.thresholds)
                for one in predictions
            )
    last = tuple(one[-1] for one in results.values())
    sweep = None
    if len(config.turns) > 1:
        sweep = Sweep(config.turns, results, "turn")
    elif len(config.coverages) > 1:
        sweep = Sweep(config.coverages, results)
    return Comparison(
        config,
        run,
        f"{run.faces.label}{' PARTIAL' if is_partial(run.faces) else ''}, {config.text}",
        tuple(_notes(run, last, config, models)),
        last,
        sweep,
        occluders[-1],
    )


def report_of(comparison: Comparison, models: Mapping[str, AlignmentModel], command: str) -> Report:
    """Return the report with its galleries, for which some images are read again.

    Args:
        comparison: The metrics.
        models: The models.
        command: The command line that gives the same report.
    """
    run, config = comparison.run, comparison.config
    drawn = [
        gallery
        for result in comparison.results
        for gallery in galleries(
            result.name,
            run.faces,
            run.predictions[result.name][-1],
            result.face_errors,
            occlude=comparison.occlude,
            seed=config.seed,
        )
    ]
    facts = {
        "command": command,
        "faces": run.faces.label,
        "landmarks": f"{run.faces.scheme.points}, scheme {run.faces.scheme.name}",
        "boxes": config.box_text + (f"; a missed face gets {FALLBACK}" if config.boxes != "gt" else ""),
        "mirror averaging": "on" if config.flip_average else "off",
        "occluder": config.occluder_text or "none",
        "restorer": config.restorer or "none",
        "occlusion labels": str(config.labels or "none"),
        "seed": f"{config.seed}, for occluders and box noise",
        "intervals": INTERVALS,
        **{f"weights of {name}": f"SHA-256 {model.config.sha256['model.onnx']}" for name, model in models.items()},
        **code_facts(),
        "threads": str(config.threads),
    }
    changed = config.occluder or config.turns or config.labels or config.restorer or is_partial(run.faces)
    plain = config.boxes == "gt" and not changed
    published = PUBLISHED.get(run.faces.name, {}) if plain else {}
    return Report(comparison.title, comparison.notes, facts, comparison.results, drawn, comparison.sweep, published)


def _notes(
    run: Run, results: tuple[ModelResult, ...], config: EvaluationConfig, models: Mapping[str, AlignmentModel]
) -> Iterator[str]:
    """Yield what must stand beside the metrics, so that nobody compares them with others by mistake."""
    faces, problems = run.faces, run.problems
    if is_partial(faces):
        yield f"PARTIAL SET: {faces.found} of {faces.expected} faces; not comparable with metrics of all of them"
    if problems:
        yield f"{len(problems)} left out: {problems[0]}" + (" and others" if len(problems) > 1 else "")
    missed = max(result.extra.get("detector_missed", 0) for result in results)
    if missed:
        others = f"; nme_{results[0].normaliser}_found is over the others" if missed < faces.found else ""
        yield f"the detector missed {missed:.0f} of {faces.found} faces; they got {FALLBACK}{others}"
    if any("occluded_fraction" in result.summary.percent for result in results):
        own = f"the labels in {config.labels}" if config.labels else "the data set's own annotation"
        source = f"synthetic occluders ({config.occluder})" if config.occluder else own
        yield f"the ground truth of visibility comes from {source}"
    for name, model in models.items():
        if model.scheme != faces.scheme:
            yield f"{name} has scheme {model.scheme.name}; its landmarks of {faces.scheme.name} are evaluated"
