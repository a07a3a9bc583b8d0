"""`unveil evaluate`: models on a data set, or predictions against ground truth; a table, JSON, a report."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from unveil.cli.images import check_writable, unique_labels
from unveil.cli.occlude import Kind, read_library
from unveil.cli.progress import progress_bars

if TYPE_CHECKING:  # --help must not wait for OpenCV and onnxruntime
    from unveil.data.datasets.registry import DataSet
    from unveil.evaluation import EvaluationConfig
    from unveil.inference.aligner import AlignmentModel

MODES = (("--models", "--dataset", "--root"), ("--predictions", "--ground-truth"))
PREDICTION_OPTIONS = ("--rows",)
SHEET_IMAGES = 24
COMMON_OPTIONS = ("--scheme", "--strict", "--save", "--json", "--threads", "--thresholds")


@dataclass(frozen=True)
class Options:
    """Print the standard metrics, in per cent: of models on a data set, or of predictions against ground truth.

    Give --models, --dataset and --root, or --predictions and --ground-truth. Exit status: 0 success, 1 some faces were
    left out, 2 nothing could be done, 130 interrupted.
    """

    models: tuple[str, ...] = ()
    """Shipped models by name, or folders with model.onnx and config.json."""
    dataset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """300w, masked300w, wflw, cofw29, cofw68, ocfw or folder (images with .pts files beside them)."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder of the data set, in its official layout."""
    split: str | None = None
    """The faces; by default the test faces. 300w: train, common, challenging or full; wflw: test, pose, expression,
    illumination, makeup, occlusion or blur; ocfw: the list file."""
    predictions: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None
    """Landmarks to measure: .json, .csv, .npz (PATH:array selects one) or a folder of .pts; paired by file stem."""
    ground_truth: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None
    """Their ground truth, in any of these formats."""
    scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """Landmark scheme of predictions or of a folder, if the number of points does not define it: a file or a name."""
    boxes: Annotated[str, tyro.conf.arg(metavar="gt|detector|FILE")] = "gt"
    """gt: the tight box of the ground truth; detector: the face detector's; FILE: {face: [[x0, y0, x1, y1], ...]}."""
    box_noise: Annotated[float, tyro.conf.arg(metavar="F")] = 0.0
    """Shift and scale the box at random by up to this fraction of its sides."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Average with the result for the mirrored face."""
    occlude: Kind | None = None
    """Put the faces under this kind of synthetic occluder."""
    coverage: Annotated[tuple[float, ...], tyro.conf.arg(metavar="F [F ...]")] = ()
    """Fraction of the face to cover, for noise, polygon and sprite; several give a sweep."""
    library: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of occluder images, for template, sprite, hand and haircut."""
    templates: tuple[str, ...] = ()
    """Use only templates whose name begins with one of these."""
    turn: Annotated[tuple[float, ...], tyro.conf.arg(metavar="DEG [DEG ...]")] = ()
    """Turn images and ground truth clockwise by so many degrees; several give a sweep."""
    occlusion_labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Hand-made labels as ground truth of visibility: CSV with name and regions (left brow;mouth). Only the faces in
    the file are evaluated."""
    restorer: Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH")] = None
    """Restore the faces with this restorer before they are aligned."""
    seed: int = 0
    """Seed of occluders and box noise."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Accept a set with fewer faces than the official one; every output then states it."""
    strict: tyro.conf.FlagCreatePairsOff[bool] = False
    """Stop at the first face that is broken or has no partner, instead of leaving it out."""
    rows: Annotated[str | None, tyro.conf.arg(metavar="FROM:TO")] = None
    """Of --ground-truth, only the faces from one row up to, not including, another: 0:554."""
    thresholds: Annotated[tuple[float, ...], tyro.conf.arg(metavar="T [T ...]")] = (8.0, 10.0)
    """Thresholds of failure rate and AUC, in per cent of the normaliser."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Processor threads."""
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Instead of measuring, draw the models side by side on images without ground truth, of the folder --root."""
    save: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write report.html, its plots, and the landmarks of each model."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write {metric: value}; of several models {model: {metric: value}}."""


def run(options: Options) -> int:
    """Evaluate, print one line on stderr for each face that was left out, and return the exit status."""
    _check(options)
    if options.sheet is not None:
        problems = _write_sheet(options)
    else:
        problems = _evaluate_models(options) if options.models else _evaluate_predictions(options)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _evaluate_models(options: Options) -> Sequence[str]:
    import cv2

    from unveil.evaluation import compare, metric_rows, print_table, report_of, write_landmarks, write_report
    from unveil.inference.aligner import AlignmentModel

    cv2.setNumThreads(options.threads)
    config = _config(options)
    models = {name: AlignmentModel.load(name, options.threads) for name in options.models}
    faces = _faces(options, models)
    with progress_bars() as bar:
        progress = bar(f"{faces.label}, {' '.join(models)}")
        found = compare(models, faces, config, strict=options.strict, progress=progress)
    if found.sweep is None:
        print_table(found.title, ["metric", *models], metric_rows(found.results), found.notes)
    else:
        metric = found.results[0].headline
        header = [*found.sweep.headers, *(f"{metric}, {name}" for name in models)]
        print_table(found.title, header, found.sweep.rows(metric), found.notes)
    flat = {name: found.flat(name) for name in models}
    _write_json(options.json, flat if len(flat) > 1 else flat[options.models[0]])
    if options.save is not None:
        written = write_report(options.save, report_of(found, models, _command(options)))
        for name, predictions in found.run.predictions.items():
            written.append(write_landmarks(options.save, name, found.run.faces, predictions[-1]))
        print(f"in {options.save}: {', '.join(path.name for path in written)}")
    return found.run.problems


def _evaluate_predictions(options: Options) -> Sequence[str]:
    from unveil.evaluation import evaluate_predictions, metric_rows, prediction_report, print_table, write_report
    from unveil.schemes.scheme_file import load_scheme

    assert options.predictions is not None  # _check ensures it
    assert options.ground_truth is not None
    found = evaluate_predictions(
        options.predictions,
        options.ground_truth,
        None if options.scheme is None else load_scheme(options.scheme),
        rows=_rows(options.rows),
        thresholds=_fractions(options.thresholds),
        strict=options.strict,
    )
    title = f"{options.predictions} against {options.ground_truth}"
    print_table(title, ["metric", "value"], metric_rows([found.result]), found.notes)
    _write_json(options.json, found.result.flat())
    if options.save is not None:
        sources = (options.predictions, options.ground_truth)
        written = write_report(options.save, prediction_report(found, title, sources, _command(options)))
        print(f"in {options.save}: {', '.join(path.name for path in written)}")
    return found.pairs.problems


def _write_sheet(options: Options) -> Sequence[str]:
    from unveil.evaluation.qualitative import qualitative_sheet, sheet_rows
    from unveil.inference.aligner import AlignmentModel
    from unveil.inference.detector import load_detector
    from unveil.inference.external_detectors import MIN_SCORE
    from unveil.io.image_sources import list_images
    from unveil.io.images import read_image, write_png

    assert options.root is not None  # _check ensures it
    assert options.sheet is not None
    models = {name: AlignmentModel.load(name, options.threads) for name in options.models}
    paths = list_images(options.root)[:SHEET_IMAGES]
    detector = load_detector("unveil", None, MIN_SCORE, options.threads)
    rows = sheet_rows([read_image(path) for path in paths], list(models.values()), detector, options.flip_average)
    labels = unique_labels(models, lambda name: Path(name).name)
    schemes = {labels[name]: model.scheme for name, model in models.items()}
    write_png(options.sheet, qualitative_sheet(rows, schemes))
    print(f"{options.sheet}: {len(rows)} of {len(paths)} images with a face")
    return ()


def _check(options: Options) -> None:
    """Raise ValueError for options that exclude each other, or that would fail after the work is done."""
    given = _given(options)
    if options.sheet is not None:
        if not options.models or options.root is None:
            raise ValueError("--sheet needs --models and --root, a folder of images")
        if stray := given.keys() - {"--models", "--root", "--sheet", "--threads", "--flip-average"}:
            raise ValueError(f"{min(stray)} is not for --sheet; leave it out")
        check_writable(options.sheet.parent, "--sheet")
        return
    chosen = [mode for mode in MODES if given.keys() & set(mode)]
    if len(chosen) != 1:
        raise ValueError(f"give either {', '.join(MODES[0])} or {', '.join(MODES[1])}")
    if missing := [name for name in chosen[0] if name not in given]:
        raise ValueError(f"also give {', '.join(missing)}: {chosen[0][0]} needs {' and '.join(chosen[0][1:])}")
    if not options.models and (stray := given.keys() - {*MODES[1], *PREDICTION_OPTIONS, *COMMON_OPTIONS}):
        raise ValueError(f"{min(stray)} is for --models, not for --predictions; leave it out")
    if options.models and (stray := given.keys() & {*PREDICTION_OPTIONS}):
        raise ValueError(f"{min(stray)} is for --predictions, not for --models; leave it out")
    if wrong := [threshold for threshold in options.thresholds if not 0 < threshold <= 100]:
        raise ValueError(f"--thresholds {wrong[0]:g}: give per cent, above 0 and up to 100")
    if len(set(options.models)) < len(options.models):
        raise ValueError(f"--models {' '.join(options.models)}: one is given twice; take it out")
    if options.threads < 1:
        raise ValueError(f"--threads {options.threads}: give 1 or more")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: give 0 or more")
    if options.save is not None:
        from unveil.evaluation import file_name, require_report_packages

        require_report_packages()
        if len({file_name(model) for model in options.models}) < len(options.models):
            raise ValueError(f"--models {' '.join(options.models)}: two give the same file name; rename a folder")
    if options.json is not None and options.json.is_dir():
        raise ValueError(f"--json {options.json}: a folder; name a file")
    for name, folder in (("--save", options.save), ("--json", options.json and options.json.parent)):
        if folder is not None:
            check_writable(folder, name)


def _config(options: Options) -> "EvaluationConfig":
    from unveil.evaluation import EvaluationConfig, check_coverage

    library = read_library(options.occlude, options.library, options.templates)
    return EvaluationConfig(
        boxes=options.boxes if options.boxes in ("gt", "detector") else Path(options.boxes),  # type: ignore[arg-type]
        box_noise=options.box_noise,
        flip_average=options.flip_average,
        occluder=options.occlude,
        coverages=check_coverage(options.occlude, options.coverage),
        library=library,
        templates=options.templates,
        turns=options.turn,
        labels=options.occlusion_labels,
        restorer=options.restorer,
        seed=options.seed,
        threads=options.threads,
        thresholds=_fractions(options.thresholds),
    )


def _fractions(per_cent: Sequence[float]) -> tuple[float, ...]:
    return tuple(threshold / 100 for threshold in per_cent)


def _rows(text: str | None) -> slice:
    """Return the rows of `FROM:TO`; a side that is left out is the first or the last row."""
    if text is None:
        return slice(None)
    if not (found := re.fullmatch(r"(\d*):(\d*)", text)):
        raise ValueError(f"--rows {text}: give FROM:TO, the first row being 0, as in 0:554")
    return slice(*(int(side) if side else None for side in found.groups()))


def _faces(options: Options, models: "Mapping[str, AlignmentModel]") -> "DataSet":
    from unveil.data.datasets.registry import TEST_SPLITS, folder, read_data_set
    from unveil.evaluation import scheme_of_folder
    from unveil.schemes.scheme_file import load_scheme

    assert options.dataset is not None  # _check ensures it
    assert options.root is not None
    if options.dataset == "folder" and options.split is None:
        named = None if options.scheme is None else load_scheme(options.scheme)
        return folder(options.root, named or scheme_of_folder(options.root, models))
    if options.scheme is not None:
        raise ValueError(f"--scheme {options.scheme}: {options.dataset} has its own; leave --scheme out")
    split = options.split or TEST_SPLITS.get(options.dataset)
    name = f"{options.dataset}/{split}" if split else options.dataset
    return read_data_set(name, options.root, partial=options.partial)


def _write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    from unveil.io.files import write_json

    if path is not None:
        write_json(path, content, indent=2)


def _command(options: Options) -> str:
    """Return the command line of these options, for the report."""
    words = (word for name, values in _given(options).items() for word in (name, *values))
    return shlex.join(["unveil", "evaluate", *words])


def _given(options: Options) -> dict[str, tuple[str, ...]]:
    """Return the options that differ from their defaults, with their values."""
    given: dict[str, tuple[str, ...]] = {}
    for field in fields(Options):
        value = getattr(options, field.name)
        if value != field.default:
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            given["--" + field.name.replace("_", "-")] = tuple(map(str, values))
    return given
