"""Face boxes from a JSON file instead of a detector: {image path: [[x0, y0, x1, y1], ...]}."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unveil.types import Box

MAX_BOX_RATIO = 4.0  # box side over image side; a larger box is a mistake of units, and its crop would be one pixel
MAX_FRACTION = 2.0  # a box of numbers up to this is one of fractions of the image


@dataclass(frozen=True, slots=True)
class BoxFile:
    """The boxes of a file. Entries are checked when they are used, so that a bad entry affects one image only.

    Args:
        path: The file, for messages.
        entries: Resolved image path and the entry as it stands in the file.
    """

    path: Path
    entries: Mapping[Path, Any]

    @classmethod
    def read(cls, path: Path) -> "BoxFile":
        """Return the entries of a file.

        Args:
            path: A JSON file; image paths in it are relative to the current folder.

        Raises:
            ValueError: If the file cannot be read or holds no JSON object.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror}); --boxes takes a JSON file") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: not JSON ({error}); expected {{image path: [[x0, y0, x1, y1], ...]}}") from error
        if not isinstance(content, dict):
            kind = type(content).__name__
            raise ValueError(f"{path}: holds a {kind}, expected an object {{image path: [[x0, y0, x1, y1], ...]}}")
        return cls(path, {Path(image).resolve(): boxes for image, boxes in content.items()})

    def boxes_of(self, image: Path) -> list[Box]:
        """Return the boxes of one image.

        Args:
            image: The path of the image.

        Raises:
            ValueError: If the image has no entry, or its entry is not a list of boxes.
        """
        if image.resolve() not in self.entries:
            raise ValueError(f"no boxes in {self.path}; add an entry for it ([] if it shows no face)")
        entry = self.entries[image.resolve()]
        if not isinstance(entry, list):
            raise ValueError(f"{self.path} gives it {entry!r}, expected a list of [x0, y0, x1, y1]")
        return [_box(numbers, f"box {i} in {self.path}") for i, numbers in enumerate(entry)]

    def unmatched(self, images: Iterable[Path]) -> list[Path]:
        """Return the entries that belong to none of the images; their paths may be misspelt.

        Args:
            images: The paths of the images.
        """
        return sorted(set(self.entries) - {image.resolve() for image in images})


def _box(numbers: Any, where: str) -> Box:
    is_row = isinstance(numbers, list) and len(numbers) == 4
    if not is_row or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError(f"{where} is {json.dumps(numbers)[:80]}, expected four numbers [x0, y0, x1, y1]")
    return Box(*(float(n) for n in numbers))


def check_box(box: Box, width: int, height: int) -> None:
    """Check that a box is finite, not empty, of a plausible size and at least partly inside the image.

    Args:
        box: The box in pixels.
        width: The width of the image in pixels.
        height: The height of the image in pixels.

    Raises:
        ValueError: If it is not; the message names the box and the problem.
    """
    text = f"box [{', '.join(f'{value:g}' for value in box)}]"
    if not all(math.isfinite(value) for value in box):
        raise ValueError(f"{text} is not finite")
    if box.x1 <= box.x0 or box.y1 <= box.y0:
        raise ValueError(f"{text} is empty; the order is x0, y0, x1, y1 in pixels, with x0 < x1 and y0 < y1")
    if max(map(abs, box)) <= MAX_FRACTION < max(width, height) - 1:
        raise ValueError(
            f"{text} cannot be pixels: all numbers are at most {MAX_FRACTION:g}; multiply by width and height"
        )
    if box.x1 < 0 or box.y1 < 0 or box.x0 > width - 1 or box.y0 > height - 1:
        raise ValueError(f"{text} lies outside the image of {width}x{height} pixels")
    if max(box.x1 - box.x0, box.y1 - box.y0) > MAX_BOX_RATIO * max(width, height):
        raise ValueError(f"{text} is far larger than the image of {width}x{height} pixels; boxes are in pixels")
