"""A restorer as it ships: faces on a picture to the same faces without what covers them, by onnxruntime.

B faces, S pixels of a crop's side, H and W those of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort

from unveil.geometry import Crop
from unveil.inference.blending import Mask, RestoredCrop
from unveil.inference.runtime import (
    RESTORER_OUTPUTS,
    Provider,
    RestorerConfig,
    model_folder,
    model_input,
    open_session,
    read_config,
    shipped_restorers,
)
from unveil.types import Box, Face, Image

CHUNK = 4  # faces a run: a generator keeps maps of the full crop, some hundred times what a landmark model does


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """A picture whose faces are uncovered: `image` (H, W, 3), and the `mask` (H, W) of the pixels that were replaced.

    `before` are the faces as they were found, `after` the same faces aligned again on the restored picture, in the same
    order. Visibility in `after` is that of the restored picture; what was hidden is told by `before` and the mask.
    """

    image: Image
    mask: Mask
    before: list[Face]
    after: list[Face]


@dataclass(frozen=True, slots=True, eq=False)
class Restorer:
    """Faces without their occluders, crop by crop. Load one with `Restorer.load`; `Pipeline.restore` uses it."""

    config: RestorerConfig
    session: ort.InferenceSession

    @classmethod
    def load(cls, name_or_path: str | Path, threads: int = 1, provider: Provider = "cpu") -> Self:
        """A restorer that ships with the package, by name, or one of your own, by its folder. ModelError if unfit."""
        folder = model_folder(name_or_path, shipped_restorers(), "restorer")
        config = read_config(folder, RestorerConfig)
        return cls(config, open_session(folder, config, RESTORER_OUTPUTS, threads, provider))

    def __call__(self, image_rgb: Image, boxes: Sequence[Box]) -> list[RestoredCrop]:
        """One crop restored for each tight landmark box; `blending.blended` lays them back into the picture."""
        crops = [Crop.around(box, self.config.margin) for box in boxes]
        found: list[RestoredCrop] = []
        for start in range(0, len(crops), CHUNK):
            found += self._restore(image_rgb, crops[start : start + CHUNK])
        return found

    def _restore(self, image_rgb: Image, crops: Sequence[Crop]) -> list[RestoredCrop]:
        images = model_input(image_rgb, crops, self.config.input_size)
        restored, masks = self.session.run(list(RESTORER_OUTPUTS), {"images": images})  # B 3 S S, B 1 S S
        pixels = np.clip(np.asarray(restored).transpose(0, 2, 3, 1) * 255 + 0.5, 0, 255).astype(np.uint8)  # B S S 3
        return [
            RestoredCrop(crop, face, np.asarray(mask[0], np.float32))
            for crop, face, mask in zip(crops, pixels, masks, strict=True)
        ]
