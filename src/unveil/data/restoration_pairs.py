"""Pairs to learn restoration from, made on the fly: a clean face, the same with an occluder, and the occluder's mask.

L landmarks, S pixels of a crop's side. Faces come from a pack (`unveil prepare faces`) or an annotated folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from unveil.data.augment import Augmentation, cut, random_crop, recoloured, shaded
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import SCALED, Library, Occluded, face_region, occluder
from unveil.geometry import Crop, unit_to_crop_px
from unveil.schemes.components import component_crop
from unveil.schemes.hierarchy import Part
from unveil.schemes.landmark_map import guide, misplaced
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

NONE = "none"

Kinds: TypeAlias = tuple[tuple[str, float], ...]


class Holes(BaseModel):
    """What is laid over clean faces, and how they are framed before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: Kinds = (("mask", 3.0), ("template", 2.0), ("sprite", 3.0), ("polygon", 2.0), ("sunglasses", 1.0))
    """Kinds of occluder and how often each is drawn; those that the library has nothing for cannot be asked for."""
    shares: tuple[float, float] = (0.1, 0.5)
    """Range of the face's share that is covered, for the kinds that can be scaled."""
    clean: float = 0.1
    """Share of the faces that get no occluder: a restorer has to leave those alone."""
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

    def drawn_from(self, library: Library) -> "Holes":
        """The same, without the kinds that the library has no pictures for. ValueError if none is left."""
        lacking = {kind for kind, has in (("template", library.templates), ("sprite", library.sprites)) if not has}
        kinds = tuple((kind, weight) for kind, weight in self.kinds if kind not in lacking and weight > 0)
        if not kinds:
            raise ValueError(f"no occluder is left of {dict(self.kinds)}; give a library of pictures or another kind")
        return self.model_copy(update={"kinds": kinds})


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
    library: Library,
    rng: np.random.Generator,
) -> RestorationPair:
    """A random view of a clean face and the same under a random occluder. The same generator state, the same pair."""
    crop = random_crop(points_px, holes.frame, rng)
    clean, points_unit = cut(image, points_px, crop, scheme, size)
    if rng.random() < holes.colour / 2:  # a face lit otherwise than what covers it
        clean = recoloured(clean, rng)
    points = unit_to_crop_px(points_unit, size)
    kind = NONE if rng.random() < holes.clean else _drawn(holes.kinds, rng)
    occluded = occlude_face(clean, points, kind, library, holes.shares, rng)
    before, after = _both(clean, occluded.image, holes, rng)
    share = covered_share(occluded.mask, points)
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
    found = misplaced(pair.points_unit, contours, holes.astray, rng)
    return replace(pair, guide=guide(found, contours, len(pair.clean)))


def occlude_face(
    image: Image,
    points_px: Points,
    kind: str,
    library: Library,
    shares: tuple[float, float],
    rng: np.random.Generator,
) -> Occluded:
    """The picture under an occluder of that kind, or as it is under "none"; scaled to a share where the kind can be."""
    if kind == NONE:
        return Occluded(image, np.zeros(image.shape[:2], np.bool_))
    share = rng.uniform(*shares) if kind in SCALED else None
    return occluder(kind, library, share)(image, points_px, rng)


def covered_share(mask: NDArray[np.bool_], points_px: Points) -> float:
    """The share of the face's region that a mask (H, W) covers."""
    region = face_region(points_px, mask.shape)
    return float((mask & region).sum() / max(int(region.sum()), 1))


def held_out(faces: Faces, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and `count` to report on. ValueError if nothing would be left to train on.

    The split depends on the names and the seed, not on the order of the faces.
    """
    if not 0 <= count < len(faces):
        raise ValueError(f"{count} faces to hold out, but {faces.label} has {len(faces)}")
    by_name = np.argsort(np.array(faces.names, np.str_), kind="stable")
    shuffled = np.random.default_rng(seed).permutation(by_name).astype(np.int64)
    return np.sort(shuffled[count:]), np.sort(shuffled[:count])


def _drawn(kinds: Sequence[tuple[str, float]], rng: np.random.Generator) -> str:
    weights = np.array([weight for _, weight in kinds])
    return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][0]


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
