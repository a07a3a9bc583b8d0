"""What the model says of faces that are covered, wholly or in part: tracking's thresholds come from this.

    python -m benchmarks.covered_faces packs/300w-train.npz

Mean uncertainty over the diagonal of the true landmark box, and mean visibility, on the pack's held-out faces; and on
windows without a face of scikit-image's pictures.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from unveil.data.occlusion import occluder
from unveil.data.pack import Pack
from unveil.data.splits import split_by_name
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.inference.tracking import COVERED_FROM, TRACKED_BELOW
from unveil.types import Box, Image, Points

PARTLY = {
    "nothing": None,
    "drawn mask": ("mask", None),
    "drawn sunglasses": ("sunglasses", None),
    **{f"{kind} over {share:.0%}": (kind, share) for share in (0.3, 0.5, 0.7) for kind in ("noise", "polygon")},
}
WHOLLY = {"noise over all of it": ("noise", 1.0), "polygon over all of it": ("polygon", 1.0)}
PANELS = ("black panel", "panel of one colour", "panel with a piece of a photograph")
WIDER = 1.15  # than the model's crop is a panel
WINDOWS = 80  # of each picture
SHARE = 0.05  # of the faces is held out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    pack = Pack.read(parser.parse_args().pack)
    model = AlignmentModel.load("glomface-light")
    faces = [int(i) for i in split_by_name(pack.names, SHARE).val]
    print(f"{pack.label}, {len(faces)} held out: 5 %, median, 95 % of the faces")
    print(f"{'':<36}{'uncertainty':<24}visibility")
    partly = [_row(model, name, _occluded(pack, faces, how)) for name, how in PARTLY.items()]
    wholly = [_row(model, name, _occluded(pack, faces, how)) for name, how in WHOLLY.items()]
    wholly += [_row(model, name, _behind_panels(pack, faces, name)) for name in PANELS]
    _row(model, "no face", _windows())
    some, all_of_it = np.concatenate(partly), np.concatenate(wholly)
    print(f"{len(some)} clean or partly covered: {(some >= COVERED_FROM).mean():.1%} at {COVERED_FROM} or above")
    for limit in (COVERED_FROM, TRACKED_BELOW):
        print(f"{len(all_of_it)} wholly covered: {(all_of_it < limit).mean():.1%} below {limit}")


def _values(values: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the values of a model that has them."""
    assert values is not None
    return values


def _row(model: AlignmentModel, name: str, looks: Iterator[tuple[Image, Box]]) -> NDArray[np.float64]:
    """Prints a kind of cover; the uncertainties."""
    said = [(model(image, [box])[0], Crop.around(box).side) for image, box in looks]
    unsure = np.array([float(np.mean(_values(found.uncertainty_px))) / size for found, size in said])
    seen = np.array([float(np.mean(_values(found.visibility))) for found, _ in said])
    columns = [", ".join(f"{value:.3f}" for value in np.percentile(each, (5, 50, 95))) for each in (unsure, seen)]
    print(f"{name:<36}{columns[0]:<24}{columns[1]}", flush=True)
    return unsure


def _occluded(pack: Pack, faces: list[int], how: tuple[str, float | None] | None) -> Iterator[tuple[Image, Box]]:
    for i in faces:
        image, points = pack.image(i), pack.points_px[i]
        if how is not None:
            image = occluder(how[0], coverage=how[1])(image, points, np.random.default_rng(i)).image
        yield image, tight_box(points)


def _behind_panels(pack: Pack, faces: list[int], kind: str) -> Iterator[tuple[Image, Box]]:
    for i in faces:
        yield (
            _behind_panel(pack.image(i), pack.points_px[i], kind, np.random.default_rng(i)),
            tight_box(pack.points_px[i]),
        )


def _behind_panel(image: Image, points_px: Points, kind: str, rng: np.random.Generator) -> Image:
    crop = Crop.around(tight_box(points_px), WIDER)
    middle, half = np.array(crop.centre), crop.side / 2
    (x0, y0), (x1, y1) = np.clip([middle - half, middle + half], 0, image.shape[1::-1]).astype(int)
    shown = image.copy()
    if kind == PANELS[2]:
        picture, (x, y, side) = _piece(rng)
        shown[y0:y1, x0:x1] = cv2.resize(picture[y : y + side, x : x + side], (int(x1 - x0), int(y1 - y0)))
    else:
        shown[y0:y1, x0:x1] = 0 if kind == PANELS[0] else rng.integers(0, 256, 3)
    return shown


def _windows() -> Iterator[tuple[Image, Box]]:
    rng = np.random.default_rng(0)
    for _ in range(4 * WINDOWS):
        picture, (x, y, side) = _piece(rng)
        yield picture, Box(x, y, x + side, y + side)


def _piece(rng: np.random.Generator) -> tuple[Image, tuple[int, int, int]]:
    """A picture without a face, and the left, top and side of a square in it."""
    pictures: tuple[Callable[[], Any], ...] = (data.coffee, data.rocket, data.chelsea, data.hubble_deep_field)
    picture = np.asarray(pictures[rng.integers(len(pictures))](), np.uint8)
    side = int(rng.integers(50, min(picture.shape[:2]) // 2))
    return picture, (int(rng.integers(picture.shape[1] - side)), int(rng.integers(picture.shape[0] - side)), side)


if __name__ == "__main__":
    main()
