"""How much of a face is occluded, as a landmark model and a restorer estimate it, and sheets to check. L landmarks."""

from collections.abc import Iterator, Sequence

import numpy as np

from unveil.data.datasets.ocfw import Coverage, CoverageFn
from unveil.data.occlusion import face_region
from unveil.data.self_occlusion import self_occluded
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.inference.aligner import AlignmentModel
from unveil.inference.blending import blend, occluded_pixels
from unveil.inference.drawing import BACKGROUND, add_caption
from unveil.inference.restorer import Restorer
from unveil.types import Image, Points

COLUMNS, ROWS = 10, 10


def coverage_fn(model: AlignmentModel, restorer: Restorer | None = None) -> CoverageFn:
    """Return a function that estimates how much of an annotated face is occluded.

    Args:
        model: Its visibility gives the share of occluded landmarks. Landmarks that a turned head occludes do not count.
        restorer: Its mask gives the share of the face's area, if there is one.

    Raises:
        ValueError: The model predicts no visibility.
    """
    if "visibility" not in model.config.outputs:
        raise ValueError(f"model {model.config.name!r} predicts no visibility; use glomface-light")

    def estimate(image_rgb: Image, points_px: Points) -> Coverage:
        (found,) = model(image_rgb, [tight_box(points_px)])
        faces = ~self_occluded(model.scheme, points_px)
        assert found.visibility is not None  # as checked above
        occluded = float(1 - found.visibility[faces].mean())
        if restorer is None:
            return Coverage(occluded)
        crops = restorer(image_rgb, [points_px], model.scheme)
        if len(crops) > 1:  # of components
            painted = blend(image_rgb, crops)[1]
            return Coverage(occluded, float(painted[face_region(points_px, painted.shape)].mean()))
        restored = crops[0]
        size = len(restored.mask)
        region = face_region(unit_to_crop_px(restored.crop.to_unit(points_px), size), (size, size))
        return Coverage(occluded, float(occluded_pixels(restored.mask)[region].mean()))

    return estimate


def contact_sheets(faces: Sequence[tuple[str, Image]]) -> Iterator[Image]:
    """Yield sheets of images above their captions, a hundred per sheet, row by row.

    Args:
        faces: Caption and square image of each face. All images have one size.
    """
    tiles = [add_caption(picture, caption) for caption, picture in faces]
    for start in range(0, len(tiles), COLUMNS * ROWS):
        sheet = tiles[start : start + COLUMNS * ROWS]
        sheet += [np.full_like(sheet[0], BACKGROUND)] * (-len(sheet) % COLUMNS)
        rows = (np.concatenate(sheet[i : i + COLUMNS], axis=1) for i in range(0, len(sheet), COLUMNS))
        yield np.concatenate(list(rows))


def thumbnail(image_rgb: Image, points_px: Points, side: int) -> Image:
    """Return a face with a margin of its surroundings, (side, side, 3).

    Args:
        image_rgb: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
        side: Side of the result in pixels.
    """
    return Crop.around(tight_box(points_px), 1.2).extract(image_rgb, side)
