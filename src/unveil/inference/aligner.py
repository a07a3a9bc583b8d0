"""A landmark model: crops of an image in, landmarks in pixels out. B faces, L landmarks, S pixels of a crop's side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop
from unveil.inference.onnx_model import (
    ModelConfig,
    ModelError,
    OnnxSession,
    Output,
    Provider,
    model_folder,
    open_session,
    read_config,
    shipped_models,
)
from unveil.schemes.pose import in_plane_angle, upright_crop
from unveil.schemes.scheme import Scheme
from unveil.schemes.scheme_file import resolve_scheme
from unveil.types import Box, Detection, Image, Points

BATCH_SIZE = 16  # faces in one run: a larger batch needs more memory and is not faster

# Chosen on 122 held-out training faces of 300W, clean and under five kinds of occluders, at every quarter turn.
DOUBTFUL_UNCERTAINTY = (
    0.07  # mean, in half crop sides: upright faces have 0.03, half occluded ones 0.08, turned ones 0.2
)
MAX_RATIO = 0.75  # of the uncertainties after and before a quarter turn that is accepted
MAX_ANGLE = math.radians(25)  # between a face and its crop; above, it is aligned again in an upright crop
MAX_REFINEMENTS, MAX_GROWTH = 2, 1.1  # of the rotation, and the growth of the uncertainty up to which one is accepted


@dataclass(frozen=True, slots=True, eq=False)
class AlignResult:
    """The landmarks of one face.

    Args:
        points_px: Landmarks (L, 2) in pixels.
        visibility: Probability that each landmark is visible, (L,), in [0, 1]; None if the model does not predict it.
        uncertainty_px: Expected error of each landmark in pixels, (L,); None if the model does not predict it.
    """

    points_px: Points
    visibility: NDArray[np.float32] | None
    uncertainty_px: NDArray[np.float32] | None

    def subset(self, indices: Sequence[int]) -> "AlignResult":
        """Return the result of some landmarks.

        Args:
            indices: Indices of the landmarks, in the order of the result.
        """
        order = list(indices)
        return AlignResult(
            self.points_px[order],
            None if self.visibility is None else self.visibility[order],
            None if self.uncertainty_px is None else self.uncertainty_px[order],
        )


class Aligner(Protocol):
    """A function that aligns faces, such as `AlignmentModel`."""

    def __call__(
        self, image_rgb: Image, faces: Sequence[Box | Detection], flip_average: bool = False, /
    ) -> list[AlignResult]:
        """Align faces.

        Args:
            image_rgb: RGB image (H, W, 3).
            faces: The tight landmark box in pixels, or the detection, of each face.
            flip_average: Also align the mirrored crops and return the mean of both.

        Returns:
            One result for each face, in order.
        """


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentModel:
    """A landmark model. Load one with `AlignmentModel.load`.

    Args:
        config: Config of the model.
        scheme: Landmark scheme of the model.
        session: The network.
    """

    config: ModelConfig
    scheme: Scheme
    session: OnnxSession

    @classmethod
    def load(cls, name_or_path: str | Path, threads: int = 1, provider: Provider = "cpu") -> Self:
        """Load a model.

        Args:
            name_or_path: Name of a shipped model, or the folder of a model.
            threads: Number of threads of the network.
            provider: Execution provider.

        Returns:
            The model.

        Raises:
            ModelError: The model cannot be loaded.
        """
        folder = model_folder(name_or_path, shipped_models())
        config = read_config(folder, ModelConfig)
        try:
            scheme = resolve_scheme(config.scheme, config.own_scheme)
        except ValueError as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
        return cls(config, scheme, open_session(folder, config, config.outputs, threads, provider))

    def __call__(
        self, image_rgb: Image, faces: Sequence[Box | Detection | Crop], flip_average: bool = False
    ) -> list[AlignResult]:
        """Align faces at any rotation in the image plane.

        Args:
            image_rgb: RGB image (H, W, 3).
            faces: For each face, its tight landmark box in pixels, its detection, or the crop to align it in. The crop
                of a detection with points is turned upright. The rotation of a face is searched, if its alignment is
                doubtful, except in a given crop.
            flip_average: Also align the mirrored crops and return the mean of both.

        Returns:
            One result for each face, in order. Landmarks outside the image have visibility 0.
        """
        predictions = self._predict(image_rgb, [self._first_crop(face) for face in faces])
        if "uncertainty_unit" in self.config.outputs:
            searched = [i for i, face in enumerate(faces) if not isinstance(face, Crop)]
            self._search_rotation(image_rgb, predictions, searched)
        if flip_average:
            mirrored = self._predict(image_rgb, [prediction.crop for prediction in predictions], mirror=True)
            for prediction, other in zip(predictions, mirrored, strict=True):
                for name, value in other.outputs.items():
                    prediction.outputs[name] = np.float32(0.5) * (prediction.outputs[name] + self._unflip(name, value))
        return [_result(prediction, image_rgb) for prediction in predictions]

    def _first_crop(self, face: Box | Detection | Crop) -> Crop:
        if isinstance(face, Crop):
            return face
        if isinstance(face, Box):
            return Crop.around(face, self.config.margin)
        return Crop.around(face.box, self.config.margin, 0.0 if face.points is None else in_plane_angle(face.points))

    def _search_rotation(self, image_rgb: Image, predictions: list["_Prediction"], searched: Sequence[int]) -> None:
        """Replace the predictions of faces that are rotated against their crops.

        The network is reliable up to about 60 degrees from upright and uncertain beyond. A doubtful face is aligned at
        the other three quarter turns too; the least uncertain one is within 45 degrees. Its landmarks then give the
        rotation of the final crop.
        """
        searched = [i for i in searched if predictions[i].is_finite]
        doubtful = [i for i in searched if predictions[i].uncertainty_unit > DOUBTFUL_UNCERTAINTY]
        turned = [
            replace(predictions[i].crop, angle=predictions[i].crop.angle + turns * math.pi / 2)
            for i in doubtful
            for turns in (1, 2, 3)
        ]
        candidates = self._predict(image_rgb, turned)
        for k, i in enumerate(doubtful):
            best = min(candidates[3 * k : 3 * k + 3], key=lambda candidate: candidate.uncertainty_unit)
            if best.is_finite and best.uncertainty_unit < MAX_RATIO * predictions[i].uncertainty_unit:
                predictions[i] = best
        if self.scheme.five_points is None:
            return
        for _ in range(MAX_REFINEMENTS):
            crops = {i: upright_crop(predictions[i].points_px, self.scheme, self.config.margin) for i in searched}
            searched = [i for i in searched if _angle_between(crops[i], predictions[i].crop) > MAX_ANGLE]
            refined = self._predict(image_rgb, [crops[i] for i in searched])
            for i, prediction in zip(searched, refined, strict=True):
                if prediction.is_finite and prediction.uncertainty_px < MAX_GROWTH * predictions[i].uncertainty_px:
                    predictions[i] = prediction

    def _unflip(self, name: Output, mirrored: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert an output of a mirrored crop (L, ...) to the unmirrored crop."""
        ordered = mirrored[list(self.scheme.flip_order)]
        if name != "points_unit":
            return ordered
        # A unit is half the crop's side. The annotation offset points to the right in both crops.
        offset = np.array([4 * self.config.annotation_offset / self.config.margin, 0], np.float32)
        return np.asarray(ordered * np.array([-1, 1], np.float32) + offset, np.float32)

    def _predict(self, image_rgb: Image, crops: Sequence[Crop], mirror: bool = False) -> list["_Prediction"]:
        """Run the network on crops, in batches."""
        names = self.config.outputs
        predictions: list[_Prediction] = []
        for start in range(0, len(crops), BATCH_SIZE):
            batch = crops[start : start + BATCH_SIZE]
            images = model_input(image_rgb, batch, self.config.input_size)
            images = np.ascontiguousarray(images[..., ::-1]) if mirror else images
            values = [np.asarray(value, np.float32) for value in self.session.run(names, {"images": images})]
            for i, crop in enumerate(batch):
                predictions.append(
                    _Prediction(crop, {name: value[i] for name, value in zip(names, values, strict=True)})
                )
        return predictions


@dataclass(frozen=True, slots=True, eq=False)
class _Prediction:
    """The outputs of the network for one crop, by name: (L, 2) or (L,)."""

    crop: Crop
    outputs: dict[Output, NDArray[np.float32]]

    @property
    def points_px(self) -> Points:
        return self.crop.to_px(self.outputs["points_unit"])

    @property
    def is_finite(self) -> bool:
        """Whether every landmark and its uncertainty are finite numbers; the rotation cannot be searched otherwise."""
        return all(bool(np.isfinite(self.outputs[name]).all()) for name in ("points_unit", "uncertainty_unit"))

    @property
    def uncertainty_unit(self) -> float:
        """Mean uncertainty in half sides of the crop."""
        return float(self.outputs["uncertainty_unit"].mean())

    @property
    def uncertainty_px(self) -> float:
        return self.uncertainty_unit * self.crop.side / 2


def _result(prediction: _Prediction, image_rgb: Image) -> AlignResult:
    crop, points_px = prediction.crop, prediction.points_px
    visibility, uncertainty_unit = (prediction.outputs.get(name) for name in ("visibility", "uncertainty_unit"))
    if visibility is not None:
        last = np.array([image_rgb.shape[1], image_rgb.shape[0]]) - 0.5
        inside = ((points_px >= -0.5) & (points_px <= last)).all(axis=1)
        visibility = np.where(inside, np.clip(visibility, 0, 1), np.float32(0))
    return AlignResult(
        points_px, visibility, None if uncertainty_unit is None else uncertainty_unit * np.float32(crop.side / 2)
    )


def _angle_between(a: Crop, b: Crop) -> float:
    return abs(math.remainder(a.angle - b.angle, 2 * math.pi))


def model_input(image_rgb: Image, crops: Sequence[Crop], size: int) -> NDArray[np.float32]:
    """Extract crops as the input of a network.

    Args:
        image_rgb: RGB image (H, W, 3).
        crops: B crops.
        size: Side of the input in pixels.

    Returns:
        The input, (B, 3, S, S), in [0, 1].
    """
    stacked = np.stack([crop.extract(image_rgb, size) for crop in crops])  # B S S 3
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
