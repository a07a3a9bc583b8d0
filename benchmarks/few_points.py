"""Five landmarks: what the hierarchy is worth where it has little to work with, the limitation that its paper names.

    python -m benchmarks.few_points train --data PACK --library LIBRARY --out RUNS
    python -m benchmarks.few_points report --root 300W --library LIBRARY --out RUNS --dense RUNS_OF_WORTH

The five are means of the 68 of 300W, in a scheme from a file. Networks, budget and seeds are those of `worth.py`, and
so are the covered faces. Two things differ from there besides the number of points: a model sees the box of its own
landmarks, and of five that is the middle of the face alone; and drawn masks, templates and sunglasses, which are placed
by 68 points, never fall on its training faces. With `--dense` the five of the 68-point models stand beside.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from benchmarks.trials import bar_of, command_line, models_of, row, train_all
from benchmarks.worth import Trial
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from unveil.data.datasets.registry import DataSet, Sample, read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library, Occluder, occluder
from unveil.data.pack import Pack
from unveil.evaluation import result_of, run_models
from unveil.evaluation.runner import scene_of
from unveil.geometry import tight_box
from unveil.inference.aligner import Aligner, AlignResult
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import IBUG68, Scheme
from unveil.schemes.scheme_file import read_scheme
from unveil.types import Box, Detection, Image, Points

SCHEME_FILE = """\
name = "five"
points = ["left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner"]
flip = [1, 0, 2, 4, 3]
five_points = [[0], [1], [2], [3], [4]]
contours = [{ points = [0, 1, 4, 3], closed = true }]

[normalisers]
pupil = [[0], [1]]

[parts.groups]
eyes = [0, 1]
"nose and mouth" = [2, 3, 4]

[parts.whole]
face = [0, 1, 2, 3, 4]
"""
VARIANTS = {
    "glomface-light": "full: landmarks, groups, whole",
    "light-2-levels": "two levels: landmarks, whole",
    "plain": "no hierarchy: plain regressor",
}
TRIALS = (
    *(Trial(variant, "full") for variant in VARIANTS),
    Trial("glomface-light", "full", seed=2),
    Trial("plain", "full", seed=2),
)
SHARES = (0.1, 0.3, 0.5, 0.7)
ERROR = "nme_pupil"


@dataclass(frozen=True, slots=True)
class Models:
    """What is measured: models of five points, and those of 68 of which five are taken."""

    few: Mapping[str, Aligner]
    dense: Mapping[str, Aligner]


def write_scheme(folder: Path) -> Scheme:
    """The scheme file, as a user would write it, and the scheme that is read from it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "five.toml").write_text(SCHEME_FILE)
    return read_scheme(folder / "five.toml")


def five_of(pack: Pack, scheme: Scheme) -> Pack:
    """The pack's faces with five points for their 68."""
    points_px = np.stack([five_points(IBUG68, points) for points in pack.points_px])
    return replace(pack, label=f"five points of {pack.label}", scheme=scheme, points_px=points_px)


def train(data: Path, library: Path | None, out: Path, steps: int) -> None:
    """Trains what is not trained yet, one after the other."""
    configs = {trial.name: trial.config(library, steps) for trial in TRIALS}
    train_all(five_of(Pack.read(data, IBUG68), write_scheme(out)), configs, out)


def report(root: Path, library: Path | None, out: Path, dense: Path | None) -> None:
    """`few_points.md` and `few_points.json` in `out`, over the runs that are finished."""
    names = [trial.name for trial in TRIALS]
    models = Models(models_of(names, out), {} if dense is None else models_of(names, dense))
    faces, scheme = read_data_set("300w/common", root, partial=True), write_scheme(out)
    found: dict[str, dict[str, dict[str, float]]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for condition, occlude in conditions(Library.read(library)).items():
            told = bar_of(progress)(f"{len(models.few) + len(models.dense)} models, {condition}")
            for name, figures in measured(models, faces, scheme, occlude, told).items():
                found.setdefault(name, {})[condition] = figures
    (out / "few_points.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = [
        f"Five points of {faces.label}, mean error in percent of the distance between the eyes.",
        "",
        *table(found),
    ]
    (out / "few_points.md").write_text("\n".join(lines) + "\n")
    print((out / "few_points.md").read_text())


def conditions(library: Library) -> dict[str, Occluder | None]:
    """What the faces are under; pictures of masks only where there are such."""
    templates = {"templates": occluder("template", library.only(TEST_TEMPLATES))} if library.templates else {}
    noise = {f"noise {100 * share:.0f} %": occluder("noise", coverage=share) for share in SHARES}
    return {"clean": None, "masks": occluder("mask"), **templates, **noise}


def measured(
    models: Models,
    faces: DataSet,
    scheme: Scheme,
    occlude: Occluder | None,
    told: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, float]]:
    """Each model's figures, `5 NAME` and `68 NAME`; every model sees the same pictures, each with its own box."""
    covered = covered_five(faces, scheme, occlude)
    boxes = {sample.name: tight_box(sample.points_px) for sample in faces.samples}

    def box_of_68(_image: Image, _points_px: Points, name: str) -> Box:
        return boxes[name]

    few = {f"5 {name}": model for name, model in models.few.items()}
    dense = {f"68 {name}": five_of_68(model) for name, model in models.dense.items()}
    runs = (
        run_models(few, covered, progress=told),
        run_models(dense, covered, box_source=box_of_68, progress=told),
    )
    return {
        name: result_of(name, outcomes[0], run.faces).flat()
        for run in runs
        for name, outcomes in run.predictions.items()
    }


def covered_five(faces: DataSet, scheme: Scheme, occlude: Occluder | None) -> DataSet:
    """Five points of the faces, under occluders that are placed by the 68, as `unveil evaluate` puts them there.

    A point counts as seen if half of the landmarks that it is the mean of are.
    """
    samples = []
    for sample in faces.samples:
        scene = scene_of(sample, IBUG68, sample.load(), occlude, 0)
        visible = None if scene.visible is None else _means(scene.visible) >= 0.5
        points_px, read = five_points(IBUG68, sample.points_px), partial(_kept, scene.image)
        samples.append(Sample(sample.name, sample.image, points_px, visible, read=read))
    return DataSet(f"five points of {faces.name}", tuple(samples), scheme, faces.expected)


def five_of_68(model: Aligner) -> Aligner:
    """A 68-point model, answering with five: the means of its landmarks, visibilities and uncertainties."""

    def align(image_rgb: Image, faces: Sequence[Box | Detection], flip_average: bool = False, /) -> list[AlignResult]:
        return [
            AlignResult(five_points(IBUG68, face.points_px), _means(face.visibility), _means(face.uncertainty_px))
            for face in model(image_rgb, faces, flip_average)
        ]

    return align


def _kept(image: Image, _path: Path) -> Image:
    return image


def _means(values: NDArray[np.float32] | NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """One value for each of the five points, from one for each of 68."""
    assert values is not None
    assert IBUG68.five_points is not None
    return np.array([values[list(indices)].mean() for indices in IBUG68.five_points], np.float32)


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """A line a run, then what the hierarchy takes off the plain regressor's errors.

    Noise covers a share of the 68-point face, whichever points are asked for.
    """
    under = list(next(iter(found.values()), {}))
    yield row("variant", "points", *under)
    yield f"|---|---|{'---|' * len(under)}"
    for points in ("5", "68"):
        for trial in TRIALS:
            if (name := f"{points} {trial.name}") in found:
                words = VARIANTS[trial.variant] if points == "5" else VARIANTS[trial.variant].partition(":")[0]
                again = ", another seed" if trial.seed > 1 else ""
                errors = (found[name][condition][ERROR] for condition in under)
                yield row(words + again, points, *errors)
    for points in ("5", "68"):
        for trial in (trial for trial in TRIALS if trial.variant == "plain"):
            ours, plain = (f"{points} {replace(trial, variant=name).name}" for name in ("glomface-light", "plain"))
            if ours in found and plain in found:
                pairs = ((found[ours][condition][ERROR], found[plain][condition][ERROR]) for condition in under)
                words = "full against plain" + (", another seed" if trial.seed > 1 else "")
                yield row(words, points, *(f"{100 * (a / b - 1):+.1f} %" for a, b in pairs))


def main() -> None:
    needs = {"train": ["data"], "report": ["root"]}
    given = command_line(__doc__, needs, dense="the runs of benchmarks.worth, to set beside")
    if given.what == "train":
        train(given.data, given.library, given.out, given.steps)
    else:
        report(given.root, given.library, given.out, given.dense)


if __name__ == "__main__":
    main()
