"""What occlusion needs from disk, read once: mask templates with their anchors, and sprites."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.types import Points

PICTURES = (".png", ".webp")
LONGEST = 256  # pixels; larger cut-outs are shrunk on reading, since none is drawn larger on a crop
ANCHOR_NAMES = ("a", "b", "c", "d", "e", "f")
TEST_TEMPLATES = ("surgical", "N95", "cloth")
"""Names of templates, or beginnings of them, that no training sees unless it is told to: evaluation is on these."""


@dataclass(frozen=True, eq=False)
class Sprite:
    """A cut-out picture: RGB already multiplied by alpha, and alpha: (h, w, 4), uint8."""

    name: str
    group: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Template:
    """A mask's picture with the places a..f in it, (6, 2), that are laid on the face's own six points.

    a and c are the jaw at the height of the nose tip, b the nose bridge, d and f the jaw at the lower lip, e the chin.
    """

    name: str
    pixels: NDArray[np.uint8]
    anchors: Points


@dataclass(frozen=True, eq=False)
class Library:
    """Templates by name, and sprites. An empty one leaves the kinds "template" and "sprite" unavailable."""

    templates: tuple[Template, ...] = ()
    sprites: tuple[Sprite, ...] = ()

    @classmethod
    def read(cls, folder: Path | str | None, exclude: Collection[str] = ()) -> Self:
        """Read a folder: `masks/` (or the folder itself) with an `anchors.json` are templates, the rest sprites.

        Templates whose name starts with an entry of `exclude` are left out. No folder gives an empty library.
        """
        if folder is None:
            return cls()
        root = Path(folder)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder of occluders")
        folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
        templates: list[Template] = []
        sprites: list[Sprite] = []
        for place in folders:
            if (place / "anchors.json").is_file():
                templates += _templates(place, tuple(exclude))
            elif place.name != "masks":
                sprites += [Sprite(path.stem, place.name, _shrunk(_read(path))) for path in _pictures(place)]
        return cls(tuple(templates), tuple(sprites))

    def has(self, pictures: str | None) -> bool:
        """Return whether the library has pictures of that sort, "templates" or "sprites"; None needs none."""
        return pictures is None or bool(getattr(self, pictures))

    def only(self, names: Collection[str]) -> Self:
        """The library with those templates alone whose name starts with one of `names`; all of it if there is none."""
        if not names:
            return self
        kept = tuple(template for template in self.templates if template.name.startswith(tuple(names)))
        if not kept:
            known = ", ".join(template.name for template in self.templates) or "none"
            raise ValueError(f"no template starts with {', '.join(names)}; there are {known}")
        return replace(self, templates=kept)


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def _templates(folder: Path, exclude: tuple[str, ...]) -> list[Template]:
    anchors = json.loads((folder / "anchors.json").read_text())
    found = []
    for path in _pictures(folder):
        if path.stem.startswith(exclude):
            continue
        if path.stem not in anchors:
            raise ValueError(f"{path}: no anchors for {path.stem!r} in {folder / 'anchors.json'}")
        places = anchors[path.stem]
        missing = [name for name in ANCHOR_NAMES if name not in places]
        if missing:
            raise ValueError(f"{folder / 'anchors.json'}: {path.stem!r} lacks anchors {', '.join(missing)}")
        points = np.array([places[name] for name in ANCHOR_NAMES], np.float32)
        pixels = _read(path)
        scale = min(LONGEST / max(pixels.shape[:2]), 1.0)
        found.append(Template(path.stem, _shrunk(pixels), (points + 0.5) * scale - 0.5))
    return found


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = LONGEST / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _read(path: Path) -> NDArray[np.uint8]:
    """RGBA with premultiplied colours, so that resampling leaves no fringe of what lies under transparency."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"{path}: not a picture that OpenCV can read")
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise ValueError(f"{path}: {pixels.dtype} {pixels.shape}, but an occluder needs 8-bit RGBA")
    rgba = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    alpha = rgba[..., 3:].astype(np.uint16)
    rgba[..., :3] = (rgba[..., :3] * alpha + 127) // 255
    return np.asarray(rgba, np.uint8)
