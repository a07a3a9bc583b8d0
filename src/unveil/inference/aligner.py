"""A landmark model: crops of an image in, landmarks in pixels out. B faces, L landmarks, S pixels of a crop's side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from unveil.geometry import Crop
from unveil.inference.onnx_model import (
    ModelConfig,
    ModelError,
    Output,
    Provider,
    model_folder,
    open_session,
    read_config,
    shipped_models,
)
from unveil.schemes.scheme import Scheme
from unveil.schemes.scheme_file import resolve_scheme
from unveil.types import Box, Image, Points

BATCH_SIZE = 16  # faces in one run: a larger batch needs more memory and is not faster


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
        """Return the result of the landmarks `indices`, in that order."""
        order = list(indices)
        return AlignResult(
            self.points_px[order],
            None if self.visibility is None else self.visibility[order],
            None if self.uncertainty_px is None else self.uncertainty_px[order],
        )


class Aligner(Protocol):
    """What can align faces: `AlignmentModel`, and anything with the same call."""

    def __call__(self, image_rgb: Image, boxes: Sequence[Box], flip_average: bool = False, /) -> list[AlignResult]:
        """Align faces.

        Args:
            image_rgb: RGB image (H, W, 3).
            boxes: Tight landmark boxes in pixels.
            flip_average: Also align the mirrored crops and return the mean of both.

        Returns:
            One result for each box, in order.
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
    session: ort.InferenceSession

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

    def __call__(self, image_rgb: Image, faces: Sequence[Box | Crop], flip_average: bool = False) -> list[AlignResult]:
        """Align faces.

        Args:
            image_rgb: RGB image (H, W, 3).
            faces: For each face, its tight landmark box in pixels, or the crop to align it in, which may be rotated.
            flip_average: Also align the mirrored crops and return the mean of both.

        Returns:
            One result for each face, in order.
        """
        crops = [face if isinstance(face, Crop) else Crop.around(face, self.config.margin) for face in faces]
        results: list[AlignResult] = []
        for start in range(0, len(crops), BATCH_SIZE):
            results += self._align(image_rgb, crops[start : start + BATCH_SIZE], flip_average)
        return results

    def _align(self, image_rgb: Image, crops: Sequence[Crop], flip_average: bool) -> list[AlignResult]:
        images = model_input(image_rgb, crops, self.config.input_size)
        outputs = self._run(images)
        if flip_average:
            mirrored = self._run(np.ascontiguousarray(images[..., ::-1]))
            outputs = {name: np.float32(0.5) * (outputs[name] + self._unflip(name, mirrored[name])) for name in outputs}
        visibility, uncertainty_unit = outputs.get("visibility"), outputs.get("uncertainty_unit")
        return [
            AlignResult(
                crop.to_px(points_unit),
                None if visibility is None else np.clip(visibility[i], 0, 1),
                None if uncertainty_unit is None else uncertainty_unit[i] * np.float32(crop.side / 2),
            )
            for i, (crop, points_unit) in enumerate(zip(crops, outputs["points_unit"], strict=True))
        ]

    def _unflip(self, name: Output, mirrored: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert an output of mirrored crops (B, L, ...) to the unmirrored crops."""
        ordered = mirrored[:, list(self.scheme.flip_order)]
        if name != "points_unit":
            return ordered
        # A unit is half the crop's side. The annotation offset points to the right in both crops.
        offset = np.array([4 * self.config.annotation_offset / self.config.margin, 0], np.float32)
        return np.asarray(ordered * np.array([-1, 1], np.float32) + offset, np.float32)

    def _run(self, images: NDArray[np.float32]) -> dict[Output, NDArray[np.float32]]:
        """Run the network on crops (B, 3, S, S) in [0, 1].

        Returns:
            The outputs of the model by name: points (B, L, 2) and uncertainty (B, L) in unit coordinates, visibility
            (B, L).
        """
        names = self.config.outputs
        values = self.session.run(list(names), {"images": images})
        return {name: np.asarray(value, np.float32) for name, value in zip(names, values, strict=True)}


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
