"""Convert models and data sets of different schemes to a common one. N faces, L landmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from unveil.data.datasets.registry import DataSet
from unveil.inference.aligner import Aligner, AlignmentModel, AlignResult
from unveil.inference.pipeline import Pipeline
from unveil.inference.restorer import Restorer
from unveil.io.annotations import read_pts
from unveil.schemes.scheme import IBUG68, SCHEMES, WFLW98, WFLW98_TO_IBUG68, Indices, Scheme
from unveil.types import Box, Detection, Image

SUBSETS: Mapping[tuple[str, str], Indices] = MappingProxyType({(WFLW98.name, IBUG68.name): WFLW98_TO_IBUG68})
"""From a scheme to one that is a subset of it: the index of each of the subset's landmarks."""


def scheme_of_folder(root: Path, models: Mapping[str, AlignmentModel]) -> Scheme:
    """Return the scheme of a folder's `.pts` files, by the number of points of the first file.

    Args:
        root: The folder.
        models: Their schemes are tried first, then the built-in ones; the first model's scheme if none fits.
    """
    schemes = [*(model.scheme for model in models.values()), *SCHEMES.values()]
    files = (path for path in root.rglob("*") if path.suffix.lower() == ".pts" and not path.name.startswith("."))
    first = min(files, default=None)
    count = schemes[0].points if first is None else len(read_pts(first))
    return next((scheme for scheme in schemes if scheme.points == count), schemes[0])


def common_scheme(faces: DataSet, models: Mapping[str, AlignmentModel]) -> Scheme:
    """Return the data set's own scheme if every model has its landmarks, else a subset that every model has.

    Args:
        faces: The data set.
        models: By name.

    Raises:
        ValueError: There is none.
    """
    for scheme in (faces.scheme, IBUG68):
        if _contains(faces.scheme, scheme) and all(_contains(model.scheme, scheme) for model in models.values()):
            return scheme
    name, model = next((n, m) for n, m in models.items() if not _contains(m.scheme, faces.scheme))
    has = f"model {name!r} has the {model.scheme.points} points of scheme {model.scheme.name!r}"
    wants = f"{faces.name} the {faces.scheme.points} of {faces.scheme.name!r}"
    raise ValueError(f"{has}, but {wants}; name another data set or model")


def faces_in(faces: DataSet, scheme: Scheme) -> DataSet:
    """Return the faces with the landmarks of a scheme; the data set's name states it.

    Args:
        faces: The data set, whose scheme contains the other.
        scheme: The scheme.
    """
    if faces.scheme == scheme:
        return faces
    order = list(SUBSETS[faces.scheme.name, scheme.name])
    samples = (
        replace(
            sample,
            points_px=sample.points_px[order],
            visible=None if sample.visible is None else sample.visible[order],
        )
        for sample in faces.samples
    )
    return DataSet(f"{faces.name} as {scheme.name}", tuple(samples), scheme, faces.expected)


def aligner_in(model: AlignmentModel, scheme: Scheme, restorer: Restorer | None = None) -> Aligner:
    """Return a model that predicts the landmarks of a scheme.

    Args:
        model: The model, whose scheme contains the other.
        scheme: The scheme.
        restorer: Restores the faces before they are aligned.
    """
    own: Aligner = model if restorer is None else _restored_aligner(model, restorer)
    if model.scheme == scheme:
        return own
    order = SUBSETS[model.scheme.name, scheme.name]

    def align(image_rgb: Image, faces: Sequence[Box | Detection], flip_average: bool = False, /) -> list[AlignResult]:
        return [result.subset(order) for result in own(image_rgb, faces, flip_average)]

    return align


def _restored_aligner(model: AlignmentModel, restorer: Restorer) -> Aligner:
    """Return an aligner that restores faces as `Pipeline.restore` does and aligns the restored image.

    The visibility is that of the original image.
    """
    pipeline = Pipeline(model, None, restorer=restorer)

    def align(image_rgb: Image, faces: Sequence[Box | Detection], flip_average: bool = False, /) -> list[AlignResult]:
        detections = [face if isinstance(face, Detection) else Detection(face, 1.0) for face in faces]
        restored = pipeline.restore(image_rgb, detections, flip_average=flip_average)
        return [
            AlignResult(after.landmarks, before.visibility, after.uncertainty)
            for before, after in zip(restored.before, restored.after, strict=True)
        ]

    return align


def _contains(scheme: Scheme, subset: Scheme) -> bool:
    return scheme == subset or (scheme.name, subset.name) in SUBSETS
