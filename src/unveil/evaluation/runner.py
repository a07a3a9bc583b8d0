"""Run models over a data set: read each face once, occlude it, give it a box, align it. N faces, L landmarks."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, Sample
from unveil.data.occluded_set import face_rng
from unveil.data.occlusion import Occluder, coverage_of, is_occluded
from unveil.data.self_occlusion import self_occluded
from unveil.evaluation.boxes import BoxSource, fallback_box, ground_truth_box
from unveil.inference.aligner import Aligner, AlignResult
from unveil.io.files import DataError
from unveil.metrics import degenerate_faces
from unveil.schemes.scheme import Scheme
from unveil.types import Image

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts for a data set.

    Args:
        names: The faces' names.
        predicted_px: (N, L, 2).
        ground_truth_px: (N, L, 2).
        visibility: (N, L); None if the model does not predict it.
        uncertainty_px: (N, L); None if the model does not predict it.
        visible: Ground truth of visibility, (N, L), from the data set or a synthetic occluder; None if it is unknown.
        seconds_per_face: Mean time of the model.
        missed: The faces that had no box and got `fallback_box`, (N,).
        coverage: The fraction of each face that the occluder covers, (N,); None without an occluder.
    """

    names: tuple[str, ...]
    predicted_px: NDArray[np.float32]
    ground_truth_px: NDArray[np.float32]
    visibility: NDArray[np.float32] | None
    uncertainty_px: NDArray[np.float32] | None
    visible: NDArray[np.bool_] | None
    seconds_per_face: float
    missed: NDArray[np.bool_]
    coverage: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Run:
    """The predictions of every model under every occluder, over the faces that could be used.

    Args:
        faces: These faces.
        predictions: By model, one for each occluder.
        problems: One line for each face that was left out.
    """

    faces: DataSet
    predictions: Mapping[str, tuple[Predictions, ...]]
    problems: tuple[str, ...]


class Scene(NamedTuple):
    """A face as the models get it.

    Args:
        image: RGB, (H, W, 3).
        visible: Ground truth of visibility, (L,), if it is known.
        coverage: The fraction of the face that the occluder covers; None without an occluder.
    """

    image: Image
    visible: NDArray[np.bool_] | None
    coverage: float | None


class _Condition(NamedTuple):
    """What is kept of a scene; the images of a data set would need gigabytes."""

    visible: NDArray[np.bool_] | None
    coverage: float | None
    missed: bool


def run_models(
    models: Mapping[str, Aligner],
    faces: DataSet,
    *,
    box_source: BoxSource = ground_truth_box,
    occluders: Sequence[Occluder | None] = (None,),
    seed: int = 0,
    flip_average: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Align every face with every model under every occluder, one face at a time.

    Args:
        models: By name.
        faces: The data set, in the models' scheme.
        box_source: Gives each face its box.
        occluders: What covers the faces; None leaves them as they are.
        seed: Of the occluders.
        flip_average: Average with the mirrored face.
        strict: Raise the first problem instead of leaving the face out.
        progress: Called with the number of faces that are done and their total.

    Returns:
        The predictions. A face whose image cannot be read, whose box is invalid or whose normaliser is zero is in
        `problems`.

    Raises:
        DataError: No face is left, or a face cannot be used and `strict` is set.
    """
    usable, problems = _usable(faces)
    kept: list[Sample] = []
    conditions: dict[int, list[_Condition]] = defaultdict(list)
    results: dict[tuple[str, int], list[AlignResult]] = defaultdict(list)
    seconds: dict[tuple[str, int], float] = defaultdict(float)
    for done, sample in enumerate(usable, start=1):
        if strict and problems:
            raise DataError(problems[0])
        try:
            image = sample.load()
            scenes = [scene_of(sample, faces.scheme, image, occlude, seed) for occlude in occluders]
            boxes = [box_source(scene.image, sample.points_px, sample.name) for scene in scenes]
        except DataError as error:
            problems.append(str(error))
            continue
        kept.append(sample)
        for i, (scene, box) in enumerate(zip(scenes, boxes, strict=True)):
            conditions[i].append(_Condition(scene.visible, scene.coverage, box is None))
            for name, model in models.items():
                start = time.perf_counter()
                results[name, i] += model(scene.image, [box or fallback_box(scene.image)], flip_average)
                seconds[name, i] += time.perf_counter() - start
        if progress is not None:
            progress(done, len(usable))
    if problems and (strict or not kept):
        raise DataError(problems[0])
    used = faces if not problems else DataSet(faces.name, tuple(kept), faces.scheme, faces.expected or len(faces))
    predictions = {
        name: tuple(
            _predictions(used, results[name, i], conditions[i], seconds[name, i] / len(kept))
            for i in range(len(occluders))
        )
        for name in models
    }
    return Run(used, predictions, tuple(problems))


def scene_of(sample: Sample, scheme: Scheme, image: Image, occlude: Occluder | None, seed: int) -> Scene:
    """Return a face under an occluder; the same arguments give the same scene.

    Args:
        sample: The face.
        scheme: Its landmark scheme.
        image: Its image.
        occlude: The occluder.
        seed: Of the occluder.
    """
    if occlude is None:
        return Scene(image, sample.visible, None)
    occluded = occlude(image, sample.points_px, face_rng(sample.name, seed))
    visible = ~is_occluded(sample.points_px, occluded.mask) & ~self_occluded(scheme, sample.points_px)
    visible = visible if sample.visible is None else visible & sample.visible
    return Scene(occluded.image, visible, coverage_of(occluded.mask, sample.points_px))


def _usable(faces: DataSet) -> tuple[list[Sample], list[str]]:
    """Return the faces that every normaliser can measure, and the problems of the others."""
    degenerate = degenerate_faces(faces.points_px, faces.scheme, names=faces.names)
    problems = [f"{faces.samples[i].image}: {faces.names[i]}: {why}" for i, why in sorted(degenerate.items())]
    return [sample for i, sample in enumerate(faces.samples) if i not in degenerate], problems


def _predictions(
    faces: DataSet, results: Sequence[AlignResult], conditions: Sequence[_Condition], seconds_per_face: float
) -> Predictions:
    coverages = [condition.coverage for condition in conditions if condition.coverage is not None]
    return Predictions(
        names=faces.names,
        predicted_px=np.stack([result.points_px for result in results]),
        ground_truth_px=faces.points_px,
        visibility=_stacked([result.visibility for result in results]),
        uncertainty_px=_stacked([result.uncertainty_px for result in results]),
        visible=_stacked([condition.visible for condition in conditions]),
        seconds_per_face=seconds_per_face,
        missed=np.array([condition.missed for condition in conditions]),
        coverage=np.array(coverages) if len(coverages) == len(conditions) else None,
    )


def _stacked(rows: Sequence[NDArray[T] | None]) -> NDArray[T] | None:
    """Stack one row for each face, (N, L); None if a face has none."""
    known = [row for row in rows if row is not None]
    return np.stack(known) if len(known) == len(rows) else None
