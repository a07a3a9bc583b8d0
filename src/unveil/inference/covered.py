"""Which faces are covered, as a landmark model and a restorer see it, and sheets to check that by eye. L landmarks."""

from collections.abc import Iterator, Sequence

import numpy as np

from unveil.data.datasets.ocfw import Covered, Look
from unveil.data.occlusion import face_region
from unveil.data.self_occlusion import self_occluded
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.inference.aligner import AlignmentModel
from unveil.inference.blending import occluded_pixels
from unveil.inference.drawing import BACKGROUND, add_caption
from unveil.inference.restorer import Restorer
from unveil.types import Image, Points

COLUMNS, ROWS = 10, 10


def look_with(model: AlignmentModel, restorer: Restorer | None = None) -> Look:
    """What the model's visibility and, if there is one, the restorer's mask say of an annotated face.

    Landmarks that the head itself turns away are left out: nothing covers them. ValueError if the model tells of no
    visibility.
    """
    if "visibility" not in model.config.outputs:
        raise ValueError(f"model {model.config.name!r} tells of no visibility; take one that does, glomface-light say")

    def look(image_rgb: Image, points_px: Points) -> Covered:
        (found,) = model(image_rgb, [tight_box(points_px)])
        faces = ~self_occluded(model.scheme, points_px)
        assert found.visibility is not None  # as checked above
        hidden = float(1 - found.visibility[faces].mean())
        if restorer is None:
            return Covered(hidden)
        (restored,) = restorer(image_rgb, [points_px], model.scheme)
        size = len(restored.mask)
        region = face_region(unit_to_crop_px(restored.crop.to_unit(points_px), size), (size, size))
        return Covered(hidden, float(occluded_pixels(restored.mask)[region].mean()))

    return look


def contact_sheets(faces: Sequence[tuple[str, Image]]) -> Iterator[Image]:
    """Square pictures of one size over their captions, a hundred a sheet, row by row."""
    tiles = [add_caption(picture, caption) for caption, picture in faces]
    for start in range(0, len(tiles), COLUMNS * ROWS):
        sheet = tiles[start : start + COLUMNS * ROWS]
        sheet += [np.full_like(sheet[0], BACKGROUND)] * (-len(sheet) % COLUMNS)
        rows = (np.concatenate(sheet[i : i + COLUMNS], axis=1) for i in range(0, len(sheet), COLUMNS))
        yield np.concatenate(list(rows))


def thumbnail(image_rgb: Image, points_px: Points, side: int) -> Image:
    """A face with a little of what is round it, (side, side, 3)."""
    return Crop.around(tight_box(points_px), 1.2).extract(image_rgb, side)
