"""A contact sheet of occluders: a row of faces for each kind, with occluded landmarks in red."""

from collections.abc import Sequence

import cv2
import numpy as np

from unveil.data.datasets.samples import Faces
from unveil.data.occlusion.compose import is_occluded
from unveil.data.occlusion.kinds import REGISTRY, occluder
from unveil.data.occlusion.library import Library
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.schemes.scheme import IBUG68
from unveil.types import Image

SIDE, COLUMNS, MARGIN = 224, 7, 1.35
VISIBLE, OCCLUDED = (40, 220, 60), (255, 30, 30)


def contact_sheet(faces: Faces, kinds: Sequence[str], library: Library, seed: int = 0) -> tuple[Image, tuple[str, ...]]:
    """Draw each kind of occluder on several faces.

    Args:
        faces: The faces; each tile takes the next one.
        kinds: Kinds of occluder.
        library: Their images.
        seed: Of the occluders.

    Returns:
        The sheet, and the kinds that cannot be drawn: the library has no images for them, or the faces have another
        scheme than ibug68.

    Raises:
        ValueError: No kind is left.
    """
    usable = [
        kind
        for kind in kinds
        if library.has(REGISTRY[kind].images) and (REGISTRY[kind].any_scheme or faces.scheme == IBUG68)
    ]
    if not usable:
        raise ValueError(f"no occluder can be drawn of {', '.join(kinds)}; give a library or faces of scheme 'ibug68'")
    order = np.random.default_rng(seed).permutation(len(faces))
    rows = []
    for row, kind in enumerate(usable):
        occlude = occluder(kind, library)
        tiles = []
        for column in range(COLUMNS):
            index = int(order[(row * COLUMNS + column) % len(order)])
            crop = Crop.around(tight_box(faces.points_px[index]), MARGIN)
            points = unit_to_crop_px(crop.to_unit(faces.points_px[index]), SIDE)
            occluded = occlude(
                crop.extract(faces.image(index), SIDE), points, np.random.default_rng((seed, row, column))
            )
            tile = occluded.image.copy()
            for (x, y), hidden in zip(points.tolist(), is_occluded(points, occluded.mask), strict=True):
                cv2.circle(tile, (round(x), round(y)), 2, OCCLUDED if hidden else VISIBLE, -1, cv2.LINE_AA)
            tiles.append(tile)
        cv2.putText(tiles[0], kind, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
        rows.append(np.hstack(tiles))
    return np.asarray(np.vstack(rows), np.uint8), tuple(kind for kind in kinds if kind not in usable)
