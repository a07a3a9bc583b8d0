"""Uncertainty and visibility of partly and fully occluded faces: the thresholds of tracking come from this.

    python -m benchmarks.occluded_uncertainty packs/300w-train.npz

Mean uncertainty relative to the diagonal of the true landmark box, and mean visibility, on the pack's validation faces;
and on windows without a face of scikit-image's images.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import cv2
import numpy as np
import tyro
from benchmarks.command import run
from numpy.typing import NDArray
from skimage import data

from unveil.data.occlusion import occluder
from unveil.data.pack import Pack
from unveil.data.splits import split_by_name
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.inference.tracking import COVERED_FROM, TRACKED_BELOW
from unveil.types import Box, Image, Points

Cover: TypeAlias = Callable[[Image, Points, np.random.Generator], Image]
"""Occludes a face."""

PANEL = 1.15  # sides of the model's crop
WINDOWS = 320
VAL_SHARE = 0.05
IMAGES: Sequence[Callable[[], Any]] = (data.coffee, data.rocket, data.chelsea, data.hubble_deep_field)


def main(path: Annotated[Path, tyro.conf.Positional]) -> None:
    """Print 5 %, median and 95 % of the faces.

    Args:
        path: A pack of faces with 68 points.
    """
    pack, model = Pack.read(path), AlignmentModel.load("glomface-light")
    faces = [int(i) for i in split_by_name(pack.names, VAL_SHARE).val]
    print(f"{pack.label}, {len(faces)} validation faces: 5 %, median, 95 % of the faces")
    print(f"{'':<36}{'uncertainty':<24}visibility")
    partly, fully = (
        np.concatenate([row(model, name, occluded(pack, faces, cover)) for name, cover in covers.items()])
        for covers in (PARTLY, FULLY)
    )
    row(model, "no face", windows())
    print(f"{len(partly)} clean or partly occluded: {(partly >= COVERED_FROM).mean():.1%} at {COVERED_FROM} or above")
    for limit in (COVERED_FROM, TRACKED_BELOW):
        print(f"{len(fully)} fully occluded: {(fully < limit).mean():.1%} below {limit}")


def row(model: AlignmentModel, name: str, faces: Iterator[tuple[Image, Box]]) -> NDArray[np.float64]:
    """Print the row of an occluder and return the uncertainty of each face."""
    values = []
    for image, box in faces:
        (result,) = model(image, [box])
        assert result.uncertainty_px is not None
        assert result.visibility is not None
        values.append((result.uncertainty_px.mean() / Crop.around(box).side, result.visibility.mean()))
    columns = np.array(values, np.float64).T
    texts = [", ".join(f"{value:.3f}" for value in np.percentile(column, (5, 50, 95))) for column in columns]
    print(f"{name:<36}{texts[0]:<24}{texts[1]}", flush=True)
    return np.asarray(columns[0])


def occluded(pack: Pack, faces: Sequence[int], cover: Cover) -> Iterator[tuple[Image, Box]]:
    """Yield each face under an occluder, with its box."""
    for i in faces:
        yield cover(pack.image(i), pack.points_px[i], np.random.default_rng(i)), tight_box(pack.points_px[i])


def windows() -> Iterator[tuple[Image, Box]]:
    """Yield windows without a face."""
    rng = np.random.default_rng(0)
    for _ in range(WINDOWS):
        yield window(rng)


def window(rng: np.random.Generator) -> tuple[Image, Box]:
    """Return an image without a face, and a square in it."""
    image = np.asarray(IMAGES[int(rng.integers(len(IMAGES)))](), np.uint8)
    side = int(rng.integers(50, min(image.shape[:2]) // 2))
    x, y = int(rng.integers(image.shape[1] - side)), int(rng.integers(image.shape[0] - side))
    return image, Box(x, y, x + side, y + side)


def panel(image: Image, points_px: Points, rng: np.random.Generator, *, kind: str) -> Image:
    """Cover a face with a panel: black, of one colour, or a piece of a photograph."""
    crop = Crop.around(tight_box(points_px), PANEL)
    centre, half = np.array(crop.centre), crop.side / 2
    (x0, y0), (x1, y1) = np.clip([centre - half, centre + half], 0, image.shape[1::-1]).astype(int)
    covered = image.copy()
    if kind == "photograph":
        photograph, box = window(rng)
        left, top, right, bottom = map(int, box)
        covered[y0:y1, x0:x1] = cv2.resize(photograph[top:bottom, left:right], (int(x1 - x0), int(y1 - y0)))
    else:
        covered[y0:y1, x0:x1] = 0 if kind == "black" else rng.integers(0, 256, 3)
    return covered


def by(kind: str, coverage: float | None = None) -> Cover:
    """Return an occluder of the package."""
    return lambda image, points_px, rng: occluder(kind, coverage=coverage)(image, points_px, rng).image


PARTLY: dict[str, Cover] = {
    "nothing": lambda image, _points_px, _rng: image,
    "drawn mask": by("mask"),
    "drawn sunglasses": by("sunglasses"),
    **{f"{kind} over {part:.0%}": by(kind, part) for part in (0.3, 0.5, 0.7) for kind in ("noise", "polygon")},
}
FULLY: dict[str, Cover] = {
    **{f"{kind} over all of it": by(kind, 1.0) for kind in ("noise", "polygon")},
    "black panel": partial(panel, kind="black"),
    "panel of one colour": partial(panel, kind="colour"),
    "panel with a piece of a photograph": partial(panel, kind="photograph"),
}


if __name__ == "__main__":
    sys.exit(run(main))
