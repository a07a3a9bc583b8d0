"""Models and data sets of different schemes: what both can say. N faces, L landmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from unveil.data.datasets.registry import DataSet
from unveil.inference.aligner import AlignmentModel, AlignResult
from unveil.io.annotations import read_pts
from unveil.schemes.scheme import IBUG68, SCHEMES, WFLW98, WFLW98_TO_IBUG68, Indices, Scheme
from unveil.types import Box, Image


class Aligner(Protocol):
    """What is asked of a model: `AlignmentModel` is one."""

    def __call__(self, image_rgb: Image, boxes: Sequence[Box], flip_average: bool = False, /) -> list[AlignResult]: ...


PARTS_OF: Mapping[tuple[str, str], Indices] = MappingProxyType({(WFLW98.name, IBUG68.name): WFLW98_TO_IBUG68})
"""From a scheme to one whose every landmark it has: which landmark each of those is."""


def scheme_of_folder(root: Path, models: Mapping[str, AlignmentModel]) -> Scheme:
    """The scheme that a folder's `.pts` files are taken to have: of the models' and the built-in ones, the first with
    as many points as the first file; the first model's if none has."""
    schemes = [*(model.scheme for model in models.values()), *SCHEMES.values()]
    first = min(root.rglob("*.pts"), default=None)
    count = schemes[0].points if first is None else len(read_pts(first))
    return next((scheme for scheme in schemes if scheme.points == count), schemes[0])


def common_scheme(faces: DataSet, models: Mapping[str, AlignmentModel]) -> Scheme:
    """The data set's own scheme if every model has its landmarks, else a part of it that every model has.

    ValueError, naming model and scheme, if there is none.
    """
    for scheme in (faces.scheme, IBUG68):
        if _can_say(faces.scheme, scheme) and all(_can_say(model.scheme, scheme) for model in models.values()):
            return scheme
    name, model = next((n, m) for n, m in models.items() if not _can_say(m.scheme, faces.scheme))
    has = f"model {name!r} has the {model.scheme.points} points of scheme {model.scheme.name!r}"
    wants = f"{faces.name} the {faces.scheme.points} of {faces.scheme.name!r}"
    raise ValueError(f"{has}, but {wants}; name another data set or model")


def faces_in(faces: DataSet, scheme: Scheme) -> DataSet:
    """The faces with the landmarks of that scheme alone, which theirs must have; the name says so."""
    if faces.scheme == scheme:
        return faces
    order = list(PARTS_OF[faces.scheme.name, scheme.name])
    samples = (
        replace(
            sample,
            points_px=sample.points_px[order],
            visible=None if sample.visible is None else sample.visible[order],
        )
        for sample in faces.samples
    )
    return DataSet(f"{faces.name} as {scheme.name}", tuple(samples), scheme, faces.expected)


def aligner_in(model: AlignmentModel, scheme: Scheme) -> Aligner:
    """The model, answering with the landmarks of that scheme, which its own must have."""
    if model.scheme == scheme:
        return model
    order = list(PARTS_OF[model.scheme.name, scheme.name])

    def align(image_rgb: Image, boxes: Sequence[Box], flip_average: bool = False, /) -> list[AlignResult]:
        return [face.subset(order) for face in model(image_rgb, boxes, flip_average)]

    return align


def _can_say(of: Scheme, scheme: Scheme) -> bool:
    return of == scheme or (of.name, scheme.name) in PARTS_OF
