"""A restorer as it ships: faces on a picture to the same faces without what covers them, by onnxruntime.

B faces, S pixels of a crop's side, H and W those of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import (
    RESTORER_OUTPUTS,
    Provider,
    RestorerConfig,
    model_folder,
    model_input,
    open_session,
    read_config,
    shipped_restorers,
)
from unveil.inference.blending import Mask, RestoredCrop
from unveil.schemes.landmark_map import guide
from unveil.schemes.scheme import Contour
from unveil.types import Face, Image, Points

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

    def __call__(
        self, image_rgb: Image, points_px: Sequence[Points], contours: Sequence[Contour] = ()
    ) -> list[RestoredCrop]:
        """One crop restored for each face's landmarks (L, 2); `blending.blended` lays them back into the picture.

        A guided restorer paints after the landmarks, drawn by their scheme's `contours`; others look at the crop alone.
        """
        crops = [Crop.around(tight_box(points), self.config.margin) for points in points_px]
        return self.within(image_rgb, crops, points_px, contours)

    def within(
        self, image_rgb: Image, crops: Sequence[Crop], points_px: Sequence[Points], contours: Sequence[Contour] = ()
    ) -> list[RestoredCrop]:
        """The same in crops of your own."""
        size, found = self.config.input_size, list[RestoredCrop]()
        for start in range(0, len(crops), CHUNK):
            seen = crops[start : start + CHUNK]
            images = model_input(image_rgb, seen, size)
            if self.config.guided:
                pairs = zip(seen, points_px[start : start + CHUNK], strict=True)
                drawn = np.stack([guide(crop.to_unit(points), contours, size) for crop, points in pairs])
                images = np.concatenate([images, drawn[:, None].astype(np.float32) / np.float32(255)], axis=1)
            found += self._restore(images, seen)
        return found

    def _restore(self, images: NDArray[np.float32], crops: Sequence[Crop]) -> list[RestoredCrop]:
        restored, masks = self.session.run(list(RESTORER_OUTPUTS), {"images": images})  # B 3 S S, B 1 S S
        pixels = np.clip(np.asarray(restored).transpose(0, 2, 3, 1) * 255 + 0.5, 0, 255).astype(np.uint8)  # B S S 3
        return [
            RestoredCrop(crop, face, np.asarray(mask[0], np.float32))
            for crop, face, mask in zip(crops, pixels, masks, strict=True)
        ]
