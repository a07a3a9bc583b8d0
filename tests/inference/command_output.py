"""What the tests of `unveil align` share: a detector of squares, and the output of the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unveil.types import Box, Detection, Image

WriteImage = Callable[..., Path]
Align = Callable[..., int]


def square(image_rgb: Image) -> list[Detection]:
    """Finds one face, the middle of the image, unless it is black."""
    height, width = image_rgb.shape[:2]
    box = Box(width / 4, height / 4, width * 3 / 4, height * 3 / 4)
    return [Detection(box, 0.9)] if image_rgb.any() else []


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def record(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()
