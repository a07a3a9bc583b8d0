"""JSON and CSV of aligned faces, as `unveil align` writes them."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import write_csv
from unveil.types import Face, Image

AddRows: TypeAlias = Callable[[str, Sequence[Face]], None]
"""Adds the faces of one image to a table."""

CSV_NAME = "faces.csv"
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # a spreadsheet would run a cell that begins so


def face_json(face: Face) -> dict[str, object]:
    """Return one entry of the list `faces` of the JSON file.

    Args:
        face: An aligned face.

    Returns:
        `box` and `landmarks` in pixels to two decimals, `score`, `visibility`, `uncertainty` in pixels and `pose` in
        degrees. A value that the model does not predict is None.
    """
    return {
        "box": rounded(face.box, 2),
        "score": round(float(face.score), 4),
        "landmarks": rounded(face.landmarks, 2),
        "visibility": rounded(face.visibility, 4) if face.visibility is not None else None,
        "uncertainty": rounded(face.uncertainty, 3) if face.uncertainty is not None else None,
        "pose": face.pose and {name: round(float(value), 2) for name, value in face.pose._asdict().items()},
    }


def image_json(name: str, image_rgb: Image, model: str, scheme: str, faces: Sequence[Face]) -> str:
    """Return the JSON file of one image: an object with a final newline.

    Args:
        name: The path of the image, as the user gave it.
        image_rgb: The image, (H, W, 3).
        model: The name of the model.
        scheme: The name of the landmark scheme.
        faces: The faces in the image.

    Raises:
        ValueError: If a number is not finite.
    """
    height, width = image_rgb.shape[:2]
    record = {"image": name, "width": width, "height": height, "model": model, "scheme": scheme}
    return json.dumps(record | {"faces": [face_json(face) for face in faces]}, allow_nan=False) + "\n"


def csv_header(points: int) -> list[str]:
    """Return the column names of a table with one row per face.

    Args:
        points: The number of landmarks of a face.
    """
    per_point = [f"{name}{i}" for i in range(points) for name in ("x", "y", "visibility", "uncertainty")]
    return ["image", "face", "score", "box_x0", "box_y0", "box_x1", "box_y1", "yaw", "pitch", "roll", *per_point]


def csv_row(name: str, index: int, face: Face) -> list[object]:
    """Return the row of one face, in the order of `csv_header`; a missing value is an empty cell.

    Args:
        name: The path of the image, as the user gave it.
        index: The number of the face in the image.
        face: The face.
    """
    pose: Sequence[float | str] = rounded(face.pose, 2) if face.pose else ["", "", ""]
    columns = [face.landmarks, face.visibility, face.uncertainty]
    absent = np.full(len(face.landmarks), np.nan)
    numbers = np.column_stack([absent if column is None else column for column in columns])
    cells = ["" if np.isnan(number) else number for number in rounded(numbers.ravel(), 4)]
    return [name, index, round(float(face.score), 4), *rounded(face.box, 2), *pose, *cells]


def escape_cell(text: str) -> str:
    """Return the text of a CSV cell so that a spreadsheet does not run it: with an apostrophe before a formula.

    Args:
        text: The text, such as a file name that begins with `=`, `+`, `-`, `@` or a tab.
    """
    return f"'{text}" if FORMULA.match(text) else text


def unescape_cell(cell: str) -> str:
    """Return the text that `escape_cell` turned into this cell.

    Args:
        cell: The text of the cell.
    """
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


@contextmanager
def csv_table(path: Path, points: int) -> Iterator[AddRows]:
    """Write a CSV file with one row per face.

    Args:
        path: The file. It appears when the block ends without an exception.
        points: The number of landmarks of a face.

    Yields:
        A function that adds the faces of one image.
    """
    with write_csv(path) as table:
        table.writerow(csv_header(points))

        def add(name: str, faces: Sequence[Face]) -> None:
            table.writerows(csv_row(escape_cell(name), i, face) for i, face in enumerate(faces))

        yield add


def rounded(values: Sequence[float] | NDArray[Any], digits: int) -> list[float]:
    """Return the values as a (nested) list of rounded numbers.

    Args:
        values: The values, of any shape.
        digits: The number of decimals.
    """
    numbers: list[float] = np.round(np.asarray(values, np.float64), digits).tolist()
    return numbers
