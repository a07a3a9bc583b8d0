"""A restorer: an image and the landmarks of its faces in, crops without occluders out.

B faces of a batch, L landmarks, I input channels, S pixels of a crop's side, H and W those of the image. A function
computes a crop, so that the same code runs an exported network (`Restorer.load`) and one in training
(`unveil.inference.torch_restorer`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, tight_box
from unveil.inference.blending import Check, Mask, RestoredCrop
from unveil.inference.mask_evidence import supported_mask
from unveil.inference.onnx_model import (
    RESTORER_OUTPUTS,
    OnnxSession,
    Provider,
    RestorerConfig,
    model_folder,
    open_session,
    read_config,
    shipped_restorers,
)
from unveil.schemes.hierarchy import Part
from unveil.schemes.ibug68 import COMPONENTS, component_crop
from unveil.schemes.landmark_map import draw_landmark_map
from unveil.schemes.pose import upright_crop
from unveil.schemes.scheme import Scheme
from unveil.types import Face, Image, Points

T = TypeVar("T")

BATCH_SIZE = 4  # faces: a generator keeps maps of the full crop, a hundred times the memory of a landmark model
UPRIGHT_DEG = 25.0  # training rotates faces by 8 degrees (standard deviation); a larger roll is removed by the crop

RESTORED_NOTE = {
    "Software": "unveil",
    "Comment": "Faces restored by unveil: what was occluded is painted by a network. It is not the person.",
}
"""The text chunks of every PNG file that shows a restored face."""

ForwardFn: TypeAlias = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From (B, I, S, S) to the restored faces (B, 3, S, S) and the mask (B, 1, S, S), all in [0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """An image whose faces are restored.

    Args:
        image: RGB, (H, W, 3).
        mask: The replaced pixels, (H, W); all others are unchanged.
        before: The faces of the original image.
        after: The same faces, aligned again on the restored image, in the same order. Their visibility is that of the
            restored image; what was occluded is in `before` and in the mask.
    """

    image: Image
    mask: Mask
    before: list[Face]
    after: list[Face]


@dataclass(frozen=True, slots=True, eq=False)
class CropNetwork:
    """One network of a restorer, and the crop that it was trained on.

    Args:
        forward: Computes a batch.
        input_size: The crop's side, S.
        margin: The crop's side in the image, in diagonals of the landmark box.
        guided: The input has a fourth channel with the landmarks, drawn by `unveil.schemes.landmark_map`.
        component: The component that the network restores; None for the whole face.
    """

    forward: ForwardFn
    input_size: int
    margin: float
    guided: bool = False
    component: Part | None = None

    def crop(self, points_px: Points, scheme: Scheme | None) -> Crop:
        """Return the crop of a face; it follows the roll of a tilted face.

        Args:
            points_px: Landmarks (L, 2) in the image's pixels.
            scheme: Their scheme. None gives an upright crop.
        """
        if self.component is not None:
            return component_crop(points_px, self.component, self.margin)
        if scheme is not None:
            turned = upright_crop(points_px, scheme, self.margin)
            if abs(np.degrees(turned.angle)) > UPRIGHT_DEG:
                return turned
        return Crop.around(tight_box(points_px), self.margin)

    def __call__(
        self, images: Sequence[Image], crops: Sequence[Crop], points_px: Sequence[Points], scheme: Scheme | None
    ) -> list[RestoredCrop]:
        """Restore one crop of each image.

        Args:
            images: RGB, (H, W, 3) each.
            crops: The crop of each image.
            points_px: The landmarks (L, 2) of each image's face.
            scheme: Their scheme. None gives a guided network an empty landmark map.

        Returns:
            The restored crops.
        """
        size = self.input_size
        pixels = np.stack([crop.extract(image, size) for crop, image in zip(crops, images, strict=True)])  # B S S 3
        batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
        if self.guided:
            contours = () if scheme is None else scheme.contours
            maps = [
                draw_landmark_map(crop.to_unit(points), contours, size)
                for crop, points in zip(crops, points_px, strict=True)
            ]
            batch = np.concatenate([batch, np.stack(maps)[:, None].astype(np.float32) / np.float32(255)], axis=1)
        restored, masks = self.forward(batch)
        rgb = np.clip(restored.transpose(0, 2, 3, 1) * 255 + 0.5, 0, 255).astype(np.uint8)
        return [
            RestoredCrop(crop, face, np.asarray(mask[0], np.float32))
            for crop, face, mask in zip(crops, rgb, masks, strict=True)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Restorer:
    """Restores the crops of faces: one network of the whole face, or one for each component.

    Args:
        networks: The networks; of components the last one is on top where their crops overlap.
        name: The restorer's name.
        batch_size: The number of faces that run together.

    Example:
        >>> restorer = Restorer.load("gan-ia-light")
        >>> crops = restorer(image_rgb, [face.landmarks for face in faces], scheme=IBUG68)
        >>> restored, mask = blend(image_rgb, crops)
    """

    networks: tuple[CropNetwork, ...]
    name: str
    batch_size: int = BATCH_SIZE

    @classmethod
    def load(cls, name_or_path: str | Path, threads: int = 1, provider: Provider = "cpu") -> Self:
        """Load an exported restorer.

        Args:
            name_or_path: Name of a shipped restorer, a folder with `model.onnx` and `config.json`, or a folder of seven
                such folders, one for each component of the face.
            threads: Threads of onnxruntime.
            provider: Where onnxruntime runs, `cpu` or `cuda`.

        Returns:
            The restorer.

        Raises:
            ModelError: If the restorer cannot be loaded.
        """
        folder = model_folder(name_or_path, shipped_restorers(), "restorer")
        parts = (
            [] if (folder / "config.json").is_file() else sorted(path.parent for path in folder.glob("*/config.json"))
        )
        found = [_onnx_network(part, threads, provider) for part in parts or [folder]]
        networks = in_component_order(folder, [(network.component, network) for network, _ in found], bool(parts))
        return cls(tuple(networks), folder.name if parts else found[0][1])

    def __call__(
        self,
        image_rgb: Image,
        points_px: Sequence[Points],
        scheme: Scheme | None = None,
        *,
        visibility: Sequence[NDArray[np.float32] | None] | None = None,
        check: Check | None = None,
    ) -> list[RestoredCrop]:
        """Restore the faces of one image.

        Args:
            image_rgb: RGB, (H, W, 3).
            points_px: Each face's landmarks (L, 2) in the image's pixels.
            scheme: Their scheme. None gives a guided network an empty landmark map.
            visibility: Each face's predicted visibility (L,). Regions of the mask in which the landmarks are visible
                need more support then; see `unveil.inference.mask_evidence`.
            check: Called before each batch; it raises to stop the work.

        Returns:
            The restored crops of the first face, then of the second and so on: one for each network.
        """
        found = self._run([image_rgb] * len(points_px), points_px, scheme, check)
        if visibility is not None:
            found = [
                [supported_mask(crop, points, seen, scheme) for crop in crops]
                for crops, points, seen in zip(found, points_px, visibility, strict=True)
            ]
        return [crop for crops in found for crop in crops]

    def restore_each(
        self, images: Sequence[Image], points_px: Sequence[Points], scheme: Scheme | None = None
    ) -> list[list[RestoredCrop]]:
        """Restore one face in each of several images.

        Args:
            images: RGB, (H, W, 3) each.
            points_px: The landmarks (L, 2) of each image's face. They may be inexact: those far outside the image are
                moved to at most one image side from it.
            scheme: Their scheme.

        Returns:
            For each face its restored crops, one for each network.
        """
        return self._run(images, [_limited(p, image.shape) for p, image in zip(points_px, images, strict=True)], scheme)

    def _run(
        self,
        images: Sequence[Image],
        points_px: Sequence[Points],
        scheme: Scheme | None,
        check: Check | None = None,
    ) -> list[list[RestoredCrop]]:
        found: list[list[RestoredCrop]] = [[] for _ in points_px]
        for network in self.networks:
            for start in range(0, len(points_px), self.batch_size):
                if check is not None:
                    check()
                batch = slice(start, start + self.batch_size)
                crops = [network.crop(points, scheme) for points in points_px[batch]]
                restored = network(images[batch], crops, points_px[batch], scheme)
                for crops_of_face, crop in zip(found[batch], restored, strict=True):
                    crops_of_face.append(crop)
        return found


def in_component_order(path: Path, networks: Sequence[tuple[Part | str | None, T]], is_set: bool) -> list[T]:
    """Return the networks of a restorer in the order of their components.

    Args:
        path: Where they are from, for the error.
        networks: The component of each, or its name, with the network; None is the whole face.
        is_set: Whether they have to be all components.

    Raises:
        ValueError: A component is missing or there twice, or there is one of the whole face among several.
    """
    named = [(part.name if isinstance(part, Part) else part, network) for part, network in networks]
    names, order = [name for name, _ in named], [None, *(part.name for part in COMPONENTS)]
    if len(names) > 1 and (None in names or len(set(names)) < len(names)):
        found = ", ".join(name or "the whole face" for name in sorted(names, key=order.index))
        raise ValueError(f"{path}: restores {found}; a folder of several has each component once and nothing else")
    missing = [part.name for part in COMPONENTS if part.name not in names]
    if is_set and missing and None not in names:
        raise ValueError(f"{path}: has no {', no '.join(missing)}; train the rest, or name one component's folder")
    return [network for _, network in sorted(named, key=lambda one: order.index(one[0]))]


def _onnx_network(folder: Path, threads: int, provider: Provider) -> tuple[CropNetwork, str]:
    """Return an exported network and its name."""
    config = read_config(folder, RestorerConfig)
    session = open_session(folder, config, RESTORER_OUTPUTS, threads, provider)
    component = next((part for part in COMPONENTS if part.name == config.component), None)
    forward = partial(_onnx_forward, session)
    return CropNetwork(forward, config.input_size, config.margin, config.guided, component), config.name


def _onnx_forward(session: OnnxSession, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    restored, masks = session.run(RESTORER_OUTPUTS, {"images": images})
    return np.asarray(restored), np.asarray(masks)


def _limited(points_px: Points, shape: tuple[int, ...]) -> Points:
    """Return the landmarks at most one image side outside the image, so that no crop is larger than three images."""
    size = np.array(shape[1::-1], np.float32)
    return np.clip(points_px, -size, 2 * size)
