"""Models over a data set: each face is read once, covered, given a box, and put to each model. N faces, L landmarks."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, Sample
from unveil.data.occluded_set import face_rng
from unveil.data.occlusion import Occluder, face_region, is_occluded
from unveil.data.self_occlusion import self_occluded
from unveil.evaluation.boxes import BoxOf, fallback_box, true_box
from unveil.evaluation.mapping import Aligner
from unveil.inference.aligner import AlignResult
from unveil.io.files import DataError
from unveil.metrics import degenerate_faces, normaliser_names
from unveil.schemes.scheme import Scheme
from unveil.types import Image


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a model said of a data set."""

    names: tuple[str, ...]
    predicted_px: NDArray[np.float32]
    truth_px: NDArray[np.float32]
    visibility: NDArray[np.float32] | None
    uncertainty_px: NDArray[np.float32] | None
    """None, like visibility, if the model does not predict it."""
    visible: NDArray[np.bool_] | None
    """Which landmarks truly are visible, where the data set or a synthetic occluder says so."""
    seconds_per_face: float
    missed: NDArray[np.bool_]
    """(N,), the faces that had no box and were given `fallback_box`."""
    covered_share: NDArray[np.float64] | None
    """(N,), the share of the face's area that lies under the occluder, 0 to 1; None without an occluder."""

    @property
    def judged_visibility(self) -> NDArray[np.float32] | None:
        """The visibility where it can be judged: None if the model does not say it, or nobody the truth."""
        return None if self.visible is None else self.visibility


@dataclass(frozen=True, eq=False)
class Run:
    """Every model's outcome under every occluder, over the faces that could be used."""

    faces: DataSet
    outcomes: Mapping[str, tuple[Outcome, ...]]
    problems: tuple[str, ...]
    """One line for each face that was left out."""


class Scene(NamedTuple):
    """A face as the models see it."""

    image: Image
    visible: NDArray[np.bool_] | None
    covered_share: float | None


class _Given(NamedTuple):
    """What is kept of a scene: no pictures, of which a data set has gigabytes."""

    visible: NDArray[np.bool_] | None
    covered_share: float | None
    missed: bool


def run_model(
    model: Aligner,
    faces: DataSet,
    *,
    box_of: BoxOf = true_box,
    occlude: Occluder | None = None,
    seed: int = 0,
    flip_average: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Aligns every face of the set with one model, under `occlude` if it is given; DataError if a face is unusable."""
    settings = {"box_of": box_of, "occluders": (occlude,), "seed": seed, "flip_average": flip_average}
    run = run_models({"": model}, faces, strict=True, progress=progress, **settings)  # type: ignore[arg-type]
    return run.outcomes[""][0]


def run_models(
    models: Mapping[str, Aligner],
    faces: DataSet,
    *,
    box_of: BoxOf = true_box,
    occluders: Sequence[Occluder | None] = (None,),
    seed: int = 0,
    flip_average: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Aligns every face with every model under every occluder, one at a time as a user would.

    A face whose picture cannot be read, which has no box or whose normaliser is zero becomes a line in `problems`; if
    `strict`, the first of them is raised as DataError. DataError too if no face is left.
    """
    measurable, problems = _measurable(faces)
    kept: list[Sample] = []
    given: dict[int, list[_Given]] = defaultdict(list)
    answers: dict[tuple[str, int], list[AlignResult]] = defaultdict(list)
    seconds: dict[tuple[str, int], float] = defaultdict(float)
    for done, sample in enumerate(measurable, start=1):
        if strict and problems:
            raise DataError(problems[0])
        try:
            image = sample.load()
            scenes = [scene_of(sample, faces.scheme, image, occlude, seed) for occlude in occluders]
            boxes = [box_of(scene.image, sample.points_px, sample.name) for scene in scenes]
        except DataError as error:
            problems.append(str(error))
            continue
        kept.append(sample)
        for i, (scene, box) in enumerate(zip(scenes, boxes, strict=True)):
            given[i].append(_Given(scene.visible, scene.covered_share, box is None))
            for name, model in models.items():
                start = time.perf_counter()
                answers[name, i] += model(scene.image, [box or fallback_box(scene.image)], flip_average)
                seconds[name, i] += time.perf_counter() - start
        if progress is not None:
            progress(done, len(measurable))
    if problems and (strict or not kept):
        raise DataError(problems[0])
    used = faces if not problems else DataSet(faces.name, tuple(kept), faces.scheme, faces.expected or len(faces))
    outcomes = {
        name: tuple(
            _outcome(used, answers[name, i], given[i], seconds[name, i] / len(kept)) for i in range(len(occluders))
        )
        for name in models
    }
    return Run(used, outcomes, tuple(problems))


def scene_of(sample: Sample, scheme: Scheme, image: Image, occlude: Occluder | None, seed: int) -> Scene:
    """The sample's picture under the occluder, the same whenever it is asked for."""
    if occlude is None:
        return Scene(image, sample.visible, None)
    occluded = occlude(image, sample.points_px, face_rng(sample.name, seed))
    seen = ~is_occluded(sample.points_px, occluded.mask) & ~self_occluded(scheme, sample.points_px)
    region = face_region(sample.points_px, image.shape)
    share = float(occluded.mask[region].mean()) if region.any() else 0.0
    return Scene(occluded.image, seen if sample.visible is None else seen & sample.visible, share)


def _measurable(faces: DataSet) -> tuple[list[Sample], list[str]]:
    """The faces that every normaliser can measure, and what is wrong with the others."""
    faults: dict[int, str] = {}
    for normaliser in normaliser_names(faces.scheme):
        faults = degenerate_faces(faces.points_px, faces.scheme, normaliser, faces.names) | faults
    problems = [f"{faces.samples[i].image}: {faces.names[i]}: {fault}" for i, fault in sorted(faults.items())]
    return [sample for i, sample in enumerate(faces.samples) if i not in faults], problems


def _outcome(
    faces: DataSet, answers: Sequence[AlignResult], given: Sequence[_Given], seconds_per_face: float
) -> Outcome:
    visible = [face.visible for face in given if face.visible is not None]
    shares = [face.covered_share for face in given if face.covered_share is not None]
    return Outcome(
        names=faces.names,
        predicted_px=np.stack([answer.points_px for answer in answers]),
        truth_px=faces.points_px,
        visibility=_stacked([answer.visibility for answer in answers]),
        uncertainty_px=_stacked([answer.uncertainty_px for answer in answers]),
        visible=np.stack(visible) if len(visible) == len(given) else None,
        seconds_per_face=seconds_per_face,
        missed=np.array([face.missed for face in given]),
        covered_share=np.array(shares) if len(shares) == len(given) else None,
    )


def _stacked(values: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """Stack the faces' values to (N, L); None if a face has none."""
    present = [value for value in values if value is not None]
    return np.stack(present) if len(present) == len(values) else None
