"""Things in front of faces: seven kinds of synthetic occlusion, each with the mask of what it covers."""

from unveil.data.occlusion.compose import Occluded, Occluder, covered
from unveil.data.occlusion.facemask import face_mask
from unveil.data.occlusion.flatmask import flat_mask
from unveil.data.occlusion.frame import face_region
from unveil.data.occlusion.library import HELD_OUT, Library, Sprite, Template
from unveil.data.occlusion.noise import noise_occluder
from unveil.data.occlusion.polygon import polygon_occluder
from unveil.data.occlusion.sprite import sprite_occluder
from unveil.data.occlusion.sunglasses import sunglasses
from unveil.data.occlusion.template import template_occluder

__all__ = [
    "HELD_OUT",
    "KINDS",
    "KINDS_OF_IBUG68",
    "SCALED",
    "Library",
    "Occluded",
    "Occluder",
    "Sprite",
    "Template",
    "covered",
    "face_region",
    "occluder",
]

KINDS = ("noise", "polygon", "mask", "template", "sunglasses", "sprite", "flat")
KINDS_OF_IBUG68 = ("mask", "template", "sunglasses", "flat")
"""Those that are drawn from the 68 points of that scheme; the others fall on faces of any."""
SCALED = ("noise", "polygon", "sprite")
"""Those that can be told how much to cover; the others are as large as they are on a face."""
NOTHING = Library()


def occluder(kind: str, library: Library = NOTHING, share: float | None = None) -> Occluder:
    """The occluder of that kind: it takes a picture, its landmarks in pixels and a random generator.

    `share` is the share of the face (`face_region`) that "noise", "polygon" and "sprite" are scaled to cover, within
    0.03 where the picture has the pixels for it; the other kinds are as large as they are on a face and ignore it.
    ValueError for an unknown kind, a share outside 0 to 1, or a kind that the library has nothing for.
    """
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"share {share}: the covered share of the face lies between 0 and 1")
    match kind:
        case "noise":
            return noise_occluder(share)
        case "polygon":
            return polygon_occluder(share)
        case "mask":
            return face_mask
        case "template":
            return template_occluder(library.templates)
        case "sunglasses":
            return sunglasses
        case "sprite":
            return sprite_occluder(library.sprites, share)
        case "flat":
            return flat_mask
        case _:
            raise ValueError(f"unknown occluder {kind!r}: there are {', '.join(KINDS)}")
