"""The registry of occluders: what each kind needs, and how it is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from unveil.data.occlusion.beard import beard
from unveil.data.occlusion.compose import Draw, Occluded, Occluder
from unveil.data.occlusion.facemask import face_mask
from unveil.data.occlusion.frame import FaceImage, require_ibug68
from unveil.data.occlusion.glasses import glasses, sunglasses
from unveil.data.occlusion.hair import hair
from unveil.data.occlusion.haircut import haircut_occluder
from unveil.data.occlusion.hand import hand_occluder
from unveil.data.occlusion.headwear import hat, hood, scarf
from unveil.data.occlusion.held import held_object
from unveil.data.occlusion.library import Library
from unveil.data.occlusion.noise import noise_occluder
from unveil.data.occlusion.polygon import polygon_occluder
from unveil.data.occlusion.sprite import sprite_occluder
from unveil.data.occlusion.template import flat_mask, template_occluder
from unveil.types import Image, Points

Images: TypeAlias = Literal["templates", "sprites", "hair"]


@dataclass(frozen=True)
class Kind:
    """One kind of occluder.

    Args:
        build: Makes what draws it from the library and the covered fraction (None: the kind's own size).
        scalable: The kind can be scaled to cover a given fraction of the face.
        any_scheme: The kind falls on faces of any scheme; the others are drawn from the 68 points of ibug68.
        images: What the library must have.
    """

    build: Callable[[Library, float | None], Draw]
    scalable: bool = False
    any_scheme: bool = False
    images: Images | None = None


def _drawn(draw: Draw) -> Kind:
    return Kind(lambda _library, _coverage: draw)


REGISTRY: Mapping[str, Kind] = MappingProxyType(
    {
        "noise": Kind(lambda _, coverage: noise_occluder(coverage), scalable=True, any_scheme=True),
        "polygon": Kind(lambda _, coverage: polygon_occluder(coverage), scalable=True, any_scheme=True),
        "mask": _drawn(face_mask),
        "template": Kind(lambda library, _: template_occluder(library.templates), images="templates"),
        "sunglasses": _drawn(sunglasses),
        "sprite": Kind(
            lambda library, coverage: sprite_occluder(library.sprites, coverage),
            scalable=True,
            any_scheme=True,
            images="sprites",
        ),
        "flat": _drawn(flat_mask),
        "hair": _drawn(hair),
        "haircut": Kind(lambda library, _: haircut_occluder(library.hair), images="hair"),
        "hat": _drawn(hat),
        "hood": _drawn(hood),
        "scarf": _drawn(scarf),
        "beard": _drawn(beard),
        "glasses": _drawn(glasses),
        "hand": Kind(lambda library, _: hand_occluder(library.sprites), any_scheme=True, images="sprites"),
        "held": _drawn(held_object),
    }
)
"""Every kind of occluder by its name."""

KINDS = tuple(REGISTRY)
SCALABLE = tuple(kind for kind, entry in REGISTRY.items() if entry.scalable)


def occluder(kind: str, library: Library | None = None, coverage: float | None = None) -> Occluder:
    """Return the occluder of a kind.

    Args:
        kind: One of `KINDS`.
        library: The images for "template" and "sprite".
        coverage: Fraction of the face (`face_region`), 0 to 1, that a scalable kind covers, within 0.03 where the
            image has the pixels for it. The other kinds have their natural size and ignore it.

    Raises:
        ValueError: Unknown kind, coverage outside 0 to 1, or a kind that the library has no images for.
    """
    if coverage is not None and not 0 <= coverage <= 1:
        raise ValueError(f"coverage {coverage}: give a fraction of the face, 0 to 1")
    if kind not in REGISTRY:
        raise ValueError(f"unknown occluder {kind!r}: there are {', '.join(KINDS)}")
    return partial(_occlude, kind=kind, draw=REGISTRY[kind].build(library or Library(), coverage))


def _occlude(image: Image, points_px: Points, rng: np.random.Generator, kind: str, draw: Draw) -> Occluded:
    if not REGISTRY[kind].any_scheme:
        require_ibug68(kind, points_px)
    return draw(FaceImage(image, points_px), rng)
