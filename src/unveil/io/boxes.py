"""Face boxes that the user gives instead of a detector's: a JSON object, image path -> list of [x0, y0, x1, y1]."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unveil.types import Box

FAR = 4.0  # a box this many times the picture's longer side is a slip of units, and its crop would be one blurred pixel


@dataclass(frozen=True, slots=True)
class BoxFile:
    """The boxes of a file by resolved image path, not yet checked: one bad entry spoils one picture, not the batch."""

    path: Path
    entries: Mapping[Path, Any]

    @classmethod
    def read(cls, path: Path) -> "BoxFile":
        """ValueError, in one line that names the file, if it cannot be read or holds no JSON object."""
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

    def of(self, image: Path) -> list[Box]:
        """The picture's boxes; ValueError, naming the entry, if there is none or it is not boxes of finite numbers."""
        if image.resolve() not in self.entries:
            raise ValueError(f"no boxes in {self.path}; add an entry for it ([] if it shows no face)")
        entry = self.entries[image.resolve()]
        if not isinstance(entry, list):
            raise ValueError(f"{self.path} gives it {entry!r}, expected a list of [x0, y0, x1, y1]")
        return [_box(numbers, f"box {i} in {self.path}") for i, numbers in enumerate(entry)]

    def without(self, images: Iterable[Path]) -> list[Path]:
        """The entries that are none of these images, perhaps misspelt."""
        return sorted(set(self.entries) - {image.resolve() for image in images})


def _box(numbers: Any, where: str) -> Box:
    right = isinstance(numbers, list) and len(numbers) == 4
    if not right or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError(f"{where} is {json.dumps(numbers)[:80]}, expected four numbers [x0, y0, x1, y1]")
    return Box(*(float(n) for n in numbers))


def check_box(box: Box, width: int, height: int) -> None:
    """ValueError, naming the box and what is wrong, unless it is finite, upright and in part on the picture."""
    text = f"box [{', '.join(f'{value:g}' for value in box)}]"
    if not all(math.isfinite(value) for value in box):
        raise ValueError(f"{text} is not finite")
    if box.x1 <= box.x0 or box.y1 <= box.y0:
        raise ValueError(f"{text} is empty; the order is x0, y0, x1, y1 in pixels, with x0 < x1 and y0 < y1")
    if box.x1 < 0 or box.y1 < 0 or box.x0 > width - 1 or box.y0 > height - 1:
        raise ValueError(f"{text} lies outside the picture of {width}x{height} pixels")
    if max(box.x1 - box.x0, box.y1 - box.y0) > FAR * max(width, height):
        raise ValueError(f"{text} is far larger than the picture of {width}x{height} pixels; boxes are in pixels")
