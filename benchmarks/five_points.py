"""Five landmarks: contribution of the hierarchy where it has few parts, the limitation that the GlomFace paper names.

    python -m benchmarks.five_points train --data PACK --library LIBRARY --out RUNS
    python -m benchmarks.five_points report --root 300W --library LIBRARY --out RUNS --dense ABLATION_RUNS

The five landmarks are means of the 68 of 300W, in a scheme from a file. Networks, budget, seeds and occluded faces are
those of `ablation.py`. Two things differ besides the number of landmarks: a model gets the box of its own landmarks,
and that of five is the middle of the face alone; and drawn masks, templates and sunglasses, which are placed by 68
landmarks, never occlude its training faces. `--dense` adds the five landmarks of the 68-point models.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmarks.command import Data, Occluders, Out, Root, Steps, run, write_results
from benchmarks.equal_budget import BUDGET, Trial, train_all, trained_models
from numpy.typing import NDArray

from unveil.cli.progress import progress_bars
from unveil.data.datasets.registry import DataSet, Sample, read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library, Occluder, occluder
from unveil.data.pack import Pack
from unveil.evaluation import markdown_table, result_of, run_models
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
TRIALS = (*(Trial(variant) for variant in VARIANTS), Trial("glomface-light", seed=2), Trial("plain", seed=2))
COVERAGES = (0.1, 0.3, 0.5, 0.7)
ERROR = "nme_pupil"


@dataclass(frozen=True, slots=True)
class Models:
    """Models of five landmarks, and models of 68 of which five are evaluated."""

    five: Mapping[str, Aligner]
    dense: Mapping[str, Aligner]


def train(data: Data, out: Out, library: Occluders = None, steps: Steps = BUDGET.steps) -> None:
    """Train what is not trained yet."""
    configs = {trial.name: trial.config(library, steps) for trial in TRIALS}
    train_all(five_point_pack(Pack.read(data, IBUG68), write_scheme(out)), configs, out)


def report(root: Root, out: Out, library: Occluders = None, dense: Path | None = None) -> None:
    """Write `five_points.md` and `five_points.json` for the runs that are finished.

    Args:
        dense: The runs of `benchmarks.ablation`, for comparison.
    """
    names = [trial.name for trial in TRIALS]
    models = Models(trained_models(names, out), {} if dense is None else trained_models(names, dense))
    faces, scheme = read_data_set("300w/common", root, partial=True), write_scheme(out)
    found: dict[str, dict[str, float]] = {}
    with progress_bars() as bar:
        for condition, occlude in conditions(Library.read(library)).items():
            for name, error in errors(models, faces, scheme, occlude, bar(condition)).items():
                found.setdefault(name, {})[condition] = error
    title = f"Five points of {faces.label}, mean error in percent of the distance between the eyes."
    write_results(out, "five_points", found, f"{title}\n\n{table(found)}")


def write_scheme(folder: Path) -> Scheme:
    """Write the scheme file, as a user would, and read it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "five.toml").write_text(SCHEME_FILE)
    return read_scheme(folder / "five.toml")


def five_point_pack(pack: Pack, scheme: Scheme) -> Pack:
    """Return the faces of a pack with five landmarks instead of 68."""
    points_px = np.stack([five_points(IBUG68, points) for points in pack.points_px])
    return replace(pack, label=f"five points of {pack.label}", scheme=scheme, points_px=points_px)


def conditions(library: Library) -> dict[str, Occluder | None]:
    """Return the occluders by name; templates only if the library has some."""
    templates = {"templates": occluder("template", library.only(TEST_TEMPLATES))} if library.templates else {}
    noise = {f"noise {100 * coverage:.0f} %": occluder("noise", coverage=coverage) for coverage in COVERAGES}
    return {"clean": None, "masks": occluder("mask"), **templates, **noise}


def errors(
    models: Models,
    faces: DataSet,
    scheme: Scheme,
    occlude: Occluder | None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return the error of each model, `5 NAME` and `68 NAME`; all get the same images, each its own box."""
    occluded = five_point_faces(faces, scheme, occlude)
    boxes = {sample.name: tight_box(sample.points_px) for sample in faces.samples}

    def box_of_68(_image: Image, _points_px: Points, name: str) -> Box:
        return boxes[name]

    five = {f"5 {name}": model for name, model in models.five.items()}
    dense = {f"68 {name}": five_point_aligner(model) for name, model in models.dense.items()}
    runs = (
        run_models(five, occluded, progress=progress),
        run_models(dense, occluded, box_source=box_of_68, progress=progress),
    )
    return {
        name: result_of(name, predictions[0], run.faces).flat()[ERROR]
        for run in runs
        for name, predictions in run.predictions.items()
    }


def five_point_faces(faces: DataSet, scheme: Scheme, occlude: Occluder | None) -> DataSet:
    """Return the faces with five landmarks, under occluders that are placed by the 68 as in `unveil evaluate`.

    A landmark is visible if half of the landmarks whose mean it is are visible.
    """
    samples = []
    for sample in faces.samples:
        scene = scene_of(sample, IBUG68, sample.load(), occlude, 0)
        visible = None if scene.visible is None else _means(scene.visible) >= 0.5
        points_px = five_points(IBUG68, sample.points_px)
        samples.append(
            Sample(sample.name, sample.image, points_px, visible, read=lambda _, image=scene.image: image)  # type: ignore[misc]
        )
    return DataSet(f"five points of {faces.name}", tuple(samples), scheme, faces.expected)


def five_point_aligner(model: Aligner) -> Aligner:
    """Return a 68-point model that predicts five: the means of its landmarks, visibilities and uncertainties."""

    def align(image_rgb: Image, faces: Sequence[Box | Detection], flip_average: bool = False, /) -> list[AlignResult]:
        return [
            AlignResult(five_points(IBUG68, face.points_px), _means(face.visibility), _means(face.uncertainty_px))
            for face in model(image_rgb, faces, flip_average)
        ]

    return align


def _means(values: NDArray[np.float32] | NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Return one value for each of the five points, from one for each of 68."""
    assert values is not None
    assert IBUG68.five_points is not None
    return np.array([values[list(indices)].mean() for indices in IBUG68.five_points], np.float32)


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return a row for each run, then the change from the plain regressor to the hierarchy.

    Noise covers a fraction of the 68-point face, whichever landmarks are evaluated.
    """
    columns = list(next(iter(found.values()), {}))

    def rows() -> Iterator[tuple[object, ...]]:
        for points in ("5", "68"):
            for trial in TRIALS:
                if errors := found.get(f"{points} {trial.name}"):
                    name = VARIANTS[trial.variant] if points == "5" else VARIANTS[trial.variant].partition(":")[0]
                    yield name + _again(trial), points, *errors.values()
        for points in ("5", "68"):
            for trial in TRIALS:
                plain = found.get(f"{points} {trial.name}")
                full = found.get(f"{points} {replace(trial, variant='glomface-light').name}")
                if trial.variant == "plain" and plain and full:
                    change = (f"{full[column] / plain[column] - 1:+.1%}" for column in columns)
                    yield f"full against plain{_again(trial)}", points, *change

    return markdown_table(("variant", "points", *columns), rows())


def _again(trial: Trial) -> str:
    return ", another seed" if trial.seed > 1 else ""


if __name__ == "__main__":
    sys.exit(run(train, report))
