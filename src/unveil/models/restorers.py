"""Trained restorers for whoever looks twice at a face: pictures and landmarks in, windows without occluders out.

N faces, H and W a picture's sides, S pixels of a window's. A restorer is one network of the whole face, or several,
each of one component (GAN-IA's section 4.2 has seven). `inference.restoration` runs exported ones, without torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unveil.baselines.drda import DecorruptAutoencoder
from unveil.geometry import Crop, tight_box
from unveil.models.checkpoints import Blueprint, load_network
from unveil.models.generator import Generator, as_restoration
from unveil.schemes.components import COMPONENTS, component_crop
from unveil.schemes.landmark_map import guide
from unveil.schemes.serialization import carried_scheme
from unveil.types import Image, Points

CHUNK = 32  # faces a run
# A restorer's last weights have been judged; its best ones by pixels alone may be from before.
WEIGHTS = ("last.safetensors", "best.safetensors", "model.safetensors")


class Window(NamedTuple):
    """Where a network looked, what it painted there (S, S, 3), and each pixel's probability of being covered (S, S)."""

    crop: Crop
    restored: Image
    mask: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FaceRestorer:
    """One network of the whole face, or one a component in the order of `COMPONENTS`. Load one with `load_restorer`."""

    networks: tuple[tuple[nn.Module, Blueprint], ...]

    def __call__(self, pictures: Sequence[Image], points_px: Sequence[Points]) -> list[list[Window]]:
        """Each face's windows, one a network, for its landmarks (L, 2) as they are known so far."""
        found = [_windows(network, blueprint, pictures, points_px) for network, blueprint in self.networks]
        return [list(windows) for windows in zip(*found, strict=True)]


def load_restorer(path: Path) -> FaceRestorer:
    """The restorer of a weights file, of a run's or model's folder, or of a folder of such folders, one a component.

    ValueError, naming the file, if it holds no restorer, or the parts do not make one.
    """
    loaded = [(file, *load_network(file)) for file in _files(path)]
    for file, network, blueprint in loaded:
        if not isinstance(network, Generator | DecorruptAutoencoder):
            raise ValueError(f"{file}: a network {blueprint.network!r}, no restorer; train gan-ia or drda")
    order = (None, *(part.name for part in COMPONENTS))
    loaded.sort(key=lambda one: order.index(one[2].component))
    parts = [blueprint.component for _, _, blueprint in loaded]
    if len(parts) > 1 and (None in parts or len(set(parts)) < len(parts)):
        has = ", ".join(part or "the whole face" for part in parts)
        raise ValueError(f"{path}: restores {has}; a folder of several has each component once and nothing else")
    missing = [part.name for part in COMPONENTS if part.name not in parts]
    if missing and None not in parts and path.is_dir() and not _weights_in(path):
        raise ValueError(f"{path}: has no {', no '.join(missing)}; train the rest, or name one component's run")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return FaceRestorer(tuple((network.to(device), blueprint) for _, network, blueprint in loaded))


def composed(picture: Image, windows: Sequence[Window]) -> Image:
    """The picture (H, W, 3) with what the windows replace, mask·restored + (1 - mask)·picture, the last one on top."""
    size = picture.shape[1::-1]
    seen = picture.astype(np.float32)
    for crop, restored, mask in windows:
        if crop.side < 1:  # landmarks in one spot: there is no face to restore
            continue
        pixel_to_unit = np.array([[2 / len(mask), 0, 1 / len(mask) - 1], [0, 2 / len(mask), 1 / len(mask) - 1]])
        to_px = crop.unit_to_px() @ np.vstack([pixel_to_unit, [0, 0, 1]])
        laid = cv2.warpAffine(restored, to_px, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        share = cv2.warpAffine(mask, to_px, size)[..., None]
        seen += share * (laid - seen)
    return np.asarray(np.clip(seen + 0.5, 0, 255), np.uint8)


@torch.no_grad()
def _windows(
    network: nn.Module, blueprint: Blueprint, pictures: Sequence[Image], points_px: Sequence[Points]
) -> list[Window]:
    device, size = next(network.parameters()).device, blueprint.input_size
    contours = carried_scheme(blueprint.scheme, blueprint.own_scheme).contours
    guided = isinstance(network, Generator) and network.guided
    windows: list[Window] = []
    for start in range(0, len(pictures), CHUNK):
        seen = pictures[start : start + CHUNK]
        near = [
            _near(points, picture.shape) for points, picture in zip(points_px[start : start + CHUNK], seen, strict=True)
        ]
        crops = [_crop(blueprint, points) for points in near]
        cut = [crop.extract(picture, size) for crop, picture in zip(crops, seen, strict=True)]
        if guided:
            drawn = [guide(crop.to_unit(points), contours, size) for crop, points in zip(crops, near, strict=True)]
            cut = [np.dstack([picture, lines]) for picture, lines in zip(cut, drawn, strict=True)]
        images = torch.from_numpy(np.stack(cut)).to(device).permute(0, 3, 1, 2).float() / 255
        found = as_restoration(network(images))
        pixels = (found.restored * 255 + 0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        masks = found.mask[:, 0].float().cpu().numpy()
        windows += [Window(*window) for window in zip(crops, pixels, masks, strict=True)]
    return windows


def _crop(blueprint: Blueprint, points_px: Points) -> Crop:
    if blueprint.component is None:
        return Crop.around(tight_box(points_px), blueprint.margin)
    part = next(part for part in COMPONENTS if part.name == blueprint.component)
    return component_crop(points_px, part, blueprint.margin)


def _near(points_px: Points, shape: tuple[int, ...]) -> Points:
    """The landmarks, those that ran off at most one picture's side away: no window is larger than three pictures."""
    size = np.array(shape[1::-1], np.float32)
    return np.clip(points_px, -size, 2 * size)


def _files(path: Path) -> list[Path]:
    """The weights files of a restorer."""
    if not path.is_dir():
        return [path]
    folders = [path] if _weights_in(path) else sorted(below for below in path.iterdir() if below.is_dir())
    found = [file for folder in folders if (file := _weights_in(folder)) is not None]
    if not found:
        raise ValueError(f"{path}: none of {', '.join(WEIGHTS)} in it or in its folders; name a run of gan-ia or drda")
    return found


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
