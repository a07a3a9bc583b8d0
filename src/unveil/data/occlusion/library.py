"""The images that occluders are made of, read from disk once: mask templates with their anchors, and sprites."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.io.files import write_file, write_json
from unveil.types import Points

SUFFIXES = (".png", ".webp")
LONGEST = 256  # pixels; larger cut-outs are shrunk on reading, since none is drawn larger on a crop
HAIR_LANDMARKS = "landmarks.json"
ANCHOR_NAMES = ("a", "b", "c", "d", "e", "f")
TEST_TEMPLATES = ("surgical", "N95", "cloth")
"""Names of templates, or beginnings of names, that are for evaluation: training does not use them by default."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A cut-out image.

    Args:
        name: The file's name without suffix.
        pixels: RGBA with premultiplied colours, (h, w, 4).
    """

    name: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sprite(Cutout):
    """A hand or an object.

    Args:
        group: The folder's name.
    """

    group: str


@dataclass(frozen=True, eq=False)
class Template(Cutout):
    """A mask with six anchors.

    Args:
        anchors: a..f in the mask's pixels, (6, 2): a and c are laid on the jaw at the height of the nose tip, b on the
            nose bridge, d and f on the jaw at the height of the lower lip, e on the chin.
    """

    anchors: Points


@dataclass(frozen=True, eq=False)
class HairCutout(Cutout):
    """Hair of a portrait.

    Args:
        points: The 68 landmarks of the face below it, (68, 2), in the cut-out's pixels.
    """

    points: Points


@dataclass(frozen=True, eq=False)
class Library:
    """Images for occluders. The kinds that need images which it lacks are not available.

    Args:
        templates: Mask templates.
        sprites: Cut-out hands and objects.
        hair: Hair of portraits.
    """

    templates: tuple[Template, ...] = ()
    sprites: tuple[Sprite, ...] = ()
    hair: tuple[HairCutout, ...] = ()

    @classmethod
    def read(cls, folder: Path | str | None, exclude: Collection[str] = ()) -> Self:
        """Return the images of a folder.

        Args:
            folder: A folder with an `anchors.json` (`masks/` or the folder itself) holds templates, one with a
                `landmarks.json` hair, every other one sprites. None gives an empty library.
            exclude: Templates whose name starts with one of these are left out.

        Raises:
            FileNotFoundError: There is no such folder.
            ValueError: A file is not 8-bit RGBA, or a template has no anchors.
        """
        if folder is None:
            return cls()
        root = Path(folder)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder of occluders")
        folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
        templates: list[Template] = []
        sprites: list[Sprite] = []
        hair: list[HairCutout] = []
        for place in folders:
            if (place / "anchors.json").is_file():
                templates += _templates(place, tuple(exclude))
            elif (place / HAIR_LANDMARKS).is_file():
                hair += _hair(place)
            elif place.name != "masks":
                sprites += [Sprite(path.stem, _shrink(_read(path)), place.name) for path in _image_files(place)]
        return cls(tuple(templates), tuple(sprites), tuple(hair))

    def has(self, images: str | None) -> bool:
        """Return whether the library has images of a sort.

        Args:
            images: "templates", "sprites" or "hair"; None is always true.
        """
        return images is None or bool(getattr(self, images))

    def only(self, names: Collection[str]) -> Self:
        """Return the library with some of its templates.

        Args:
            names: Beginnings of names; none keeps all templates.

        Raises:
            ValueError: No template's name starts with one of them.
        """
        if not names:
            return self
        chosen = tuple(template for template in self.templates if template.name.startswith(tuple(names)))
        if not chosen:
            known = ", ".join(template.name for template in self.templates) or "none"
            raise ValueError(f"no template starts with {', '.join(names)}; there are {known}")
        return replace(self, templates=chosen)


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _templates(folder: Path, exclude: tuple[str, ...]) -> list[Template]:
    anchors = json.loads((folder / "anchors.json").read_text())
    found = []
    for path in _image_files(folder):
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
        found.append(Template(path.stem, _shrink(pixels), (points + 0.5) * scale - 0.5))
    return found


def _hair(folder: Path) -> list[HairCutout]:
    places = json.loads((folder / HAIR_LANDMARKS).read_text())
    found = []
    for path in _image_files(folder):
        if path.stem not in places:
            raise ValueError(f"{path}: no landmarks in {HAIR_LANDMARKS}; make the hair again")
        found.append(HairCutout(path.stem, _read(path), np.array(places[path.stem], np.float32)))
    return found


def write_hair(folder: Path, hair: Sequence[HairCutout]) -> None:
    """Add hair to a folder of a library.

    Args:
        folder: Created if it is missing. Its hair is kept, except that of the same name.
        hair: The cut-outs.
    """
    landmarks = folder / HAIR_LANDMARKS
    places = json.loads(landmarks.read_text()) if landmarks.is_file() else {}
    for cutout in hair:
        alpha = cutout.pixels[..., 3:].astype(np.float32) / 255
        rgb = np.clip(cutout.pixels[..., :3] / np.maximum(alpha, 1 / 255), 0, 255)
        bgra = np.concatenate([rgb[..., ::-1], cutout.pixels[..., 3:]], axis=2).astype(np.uint8)
        content = cv2.imencode(".webp", bgra, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()
        write_file(folder / f"{cutout.name}.webp", content)
    write_json(landmarks, places | {cutout.name: np.round(cutout.points, 2).tolist() for cutout in hair})


def _shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = LONGEST / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _read(path: Path) -> NDArray[np.uint8]:
    """RGBA with premultiplied colours, so that resampling leaves no fringe of what lies under transparency."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"{path}: not an image that OpenCV can read")
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise ValueError(f"{path}: {pixels.dtype} {pixels.shape}, but an occluder needs 8-bit RGBA")
    rgba = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    alpha = rgba[..., 3:].astype(np.uint16)
    rgba[..., :3] = (rgba[..., :3] * alpha + 127) // 255
    return np.asarray(rgba, np.uint8)
