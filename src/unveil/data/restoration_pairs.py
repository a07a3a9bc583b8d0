"""Pairs to learn restoration from, made on the fly: a clean face, the same with an occluder, and the occluder's mask.

L landmarks, S pixels of a crop's side. Faces come from a pack (`unveil prepare faces`) or an annotated folder.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from unveil.data.augment import Augmentation, cut, random_crop, recoloured, shaded
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import Occluder, coverage_of
from unveil.geometry import Crop, unit_to_crop_px
from unveil.schemes.hierarchy import Part
from unveil.schemes.ibug68 import component_crop
from unveil.schemes.landmark_map import draw_landmark_map, perturb_landmarks
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

NONE = "none"


class Holes(BaseModel):
    """How clean faces are framed before they are occluded, and changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: float = 8.0
    """Standard deviation of the in-plane turn, degrees."""
    shift: float = 0.04
    """Standard deviation of the crop's centre, in crop sides."""
    scale: tuple[float, float] = (0.95, 1.35)
    """Range of the crop's side, in diagonals of the landmark box."""
    flip: float = 0.5
    colour: float = 0.8
    shade: float = 0.15
    blur: float = 0.25
    astray: float = 0.02
    """How far off a guided restorer's landmarks are on average, in half crop sides: nobody finds them exactly."""
    unguided: float = 0.1
    """Share of the faces whose landmarks a guided restorer is not told."""

    @property
    def frame(self) -> Augmentation:
        """How the crop varies."""
        return Augmentation(rotation=self.rotation, shift=self.shift, scale=self.scale, flip=self.flip)


@dataclass(frozen=True, slots=True, eq=False)
class RestorationPair:
    """A crop before and after: `clean` and `occluded` (S, S, 3), `mask` (S, S) of what is covered, landmarks (L, 2).

    `share` is that of the face which the mask covers, `kind` the occluder's or "none". Outside the mask the two
    pictures differ by the occluder's shadow and soft edge, a few pixels wide.
    """

    clean: Image
    occluded: Image
    mask: NDArray[np.bool_]
    points_unit: Points
    kind: str
    share: float
    guide: NDArray[np.uint8] | None = None
    """The landmarks as a guided restorer is told them, drawn (S, S)."""


def restoration_pair(
    image: Image,
    points_px: Points,
    *,
    scheme: Scheme,
    size: int,
    holes: Holes,
    occlude: Occluder,
    rng: np.random.Generator,
) -> RestorationPair:
    """A random view of a clean face and the same under a random occluder. The same generator state, the same pair."""
    crop = random_crop(points_px, holes.frame, rng)
    clean, points_unit = cut(image, points_px, crop, scheme, size)
    if rng.random() < holes.colour / 2:  # a face lit otherwise than what covers it
        clean = recoloured(clean, rng)
    points = unit_to_crop_px(points_unit, size)
    occluded = occlude(clean, points, rng)
    kind = "+".join(occluded.kinds) or NONE
    before, after = _both(clean, occluded.image, holes, rng)
    share = coverage_of(occluded.mask, points)
    return RestorationPair(before, after, occluded.mask, points_unit, kind, share)


def component_pair(
    pair: RestorationPair, component: Part, size: int, rng: np.random.Generator | None = None
) -> RestorationPair:
    """A pair's window round a component; with `rng` it is off a little, as it is round landmarks that were found."""
    points_px = unit_to_crop_px(pair.points_unit, len(pair.clean))
    crop = component_crop(points_px, component)
    if rng is not None:
        (x, y), shift = crop.centre, rng.normal(0, 0.04 * crop.side, 2)
        crop = Crop((x + float(shift[0]), y + float(shift[1])), crop.side * float(rng.uniform(0.9, 1.15)))
    covered = crop.extract(np.repeat(pair.mask[..., None] * np.uint8(255), 3, axis=2), size)[..., 0] > 127
    clean, occluded = (crop.extract(picture, size) for picture in (pair.clean, pair.occluded))
    return replace(pair, clean=clean, occluded=occluded, mask=covered, points_unit=crop.to_unit(points_px))


def with_guide(pair: RestorationPair, scheme: Scheme, holes: Holes, rng: np.random.Generator) -> RestorationPair:
    """The pair with its landmarks drawn, as far off as a model might find them, or with none."""
    contours = () if rng.random() < holes.unguided else scheme.contours
    found = perturb_landmarks(pair.points_unit, contours, holes.astray, rng)
    return replace(pair, guide=draw_landmark_map(found, contours, len(pair.clean)))


def held_out(faces: Faces, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and `count` to report on. ValueError if nothing would be left to train on.

    The split depends on the names and the seed, not on the order of the faces.
    """
    if not 0 <= count < len(faces):
        raise ValueError(f"{count} faces to hold out, but {faces.label} has {len(faces)}")
    by_name = np.argsort(np.array(faces.names, np.str_), kind="stable")
    shuffled = np.random.default_rng(seed).permutation(by_name).astype(np.int64)
    return np.sort(shuffled[count:]), np.sort(shuffled[:count])


def _both(clean: Image, occluded: Image, holes: Holes, rng: np.random.Generator) -> tuple[Image, Image]:
    """The same light, colour and lens for both pictures, so that nothing but the occluder tells them apart."""
    pair = (clean, occluded)
    for share, change in ((holes.colour, recoloured), (holes.shade, shaded)):
        seed = int(rng.integers(2**32))
        if rng.random() < share:
            pair = (change(pair[0], np.random.default_rng(seed)), change(pair[1], np.random.default_rng(seed)))
    if rng.random() < holes.blur:
        sigma = rng.uniform(0.3, 1.2)
        first, second = (np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8) for picture in pair)
        pair = (first, second)
    return pair
