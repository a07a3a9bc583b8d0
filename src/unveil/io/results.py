"""What `unveil align` and `unveil restore` write, each file whole or not at all.

JSON, .pts, CSV, overlays, aligned crops; restored pictures, masks, before beside after.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.inference.drawing import ALIGNED_SIZES, aligned_crop, draw_faces, side_by_side
from unveil.inference.restorer import Restored
from unveil.io.annotations import write_pts, written_whole
from unveil.schemes.scheme import Scheme
from unveil.types import Face, Image, is_said

Save: TypeAlias = Literal["json", "pts", "csv", "overlay", "aligned"]
RestoreSave: TypeAlias = Literal["restored", "mask", "overlay", "comparison"]
Writer: TypeAlias = Callable[[Path], None]
AddRows: TypeAlias = Callable[[str, Sequence[Face]], None]
CSV_NAME = "faces.csv"


class PngError(OSError):
    """A picture that OpenCV could not encode."""


def face_json(face: Face) -> dict[str, object]:
    """One entry of the JSON file's `faces`: pixels to the hundredth, None for what the model does not say."""
    return {
        "box": _rounded(face.box, 2),
        "score": round(float(face.score), 4),
        "landmarks": _rounded(face.landmarks, 2),
        "visibility": _rounded(face.visibility, 4) if is_said(face.visibility) else None,
        "uncertainty": _rounded(face.uncertainty, 3) if is_said(face.uncertainty) else None,
        "pose": face.pose and {name: round(float(value), 2) for name, value in face.pose._asdict().items()},
    }


def picture_json(image: str, image_rgb: Image, model: str, scheme: str, faces: Sequence[Face]) -> str:
    """The JSON file of one picture; ValueError if a number is not finite, which JSON cannot say."""
    height, width = image_rgb.shape[:2]
    record = {"image": image, "width": width, "height": height, "model": model, "scheme": scheme}
    return json.dumps(record | {"faces": [face_json(face) for face in faces]}, allow_nan=False) + "\n"


def check_save(save: Sequence[Save], scheme: Scheme) -> None:
    """ValueError, in one line, if faces of this scheme cannot be written as one of these."""
    if "aligned" in save and scheme.five_points is None:
        why = f"scheme {scheme.name!r} does not name five_points, by which faces are turned upright"
        raise ValueError(f"--save aligned: {why}; leave it out, or add them to the scheme and train again")


def picture_writers(
    base: Path, image_rgb: Image, text: str, faces: Sequence[Face], scheme: Scheme, save: Sequence[Save]
) -> dict[Path, Writer]:
    """The files of one picture and how each is written: `base.json`, `base.0.pts`, `base.overlay.png` and so on.

    ValueError if `save` names what faces of this scheme cannot be written as.
    """
    check_save(save, scheme)
    writers: dict[Path, Writer] = {}
    if "json" in save:
        writers[_beside(base, ".json")] = partial(_write_text, text=text)
    if "overlay" in save:
        writers[_beside(base, ".overlay.png")] = partial(write_png, pixels=draw_faces(image_rgb, faces, scheme))
    for i, face in enumerate(faces):
        if "pts" in save:
            writers[_beside(base, f".{i}.pts")] = partial(write_pts, points_px=face.landmarks)
        if "aligned" in save and face.five_points is not None:
            crop = aligned_crop(face.five_points)
            for size in ALIGNED_SIZES:
                path = _beside(base, f".{i}.aligned-{size}.png")
                writers[path] = partial(write_png, pixels=crop.extract(image_rgb, size))
    return writers


def restoration_writers(
    base: Path, image_rgb: Image, restored: Restored, scheme: Scheme, save: Sequence[RestoreSave]
) -> dict[Path, Writer]:
    """The files of one restored picture and how each is written: `base.restored.png`, `base.mask.png` and so on."""
    mask = np.where(restored.mask, 255, 0).astype(np.uint8)
    pictures: dict[RestoreSave, Callable[[], NDArray[np.uint8]]] = {
        "restored": lambda: restored.image,
        "mask": lambda: mask,
        "overlay": lambda: draw_faces(restored.image, restored.after, scheme),
        "comparison": lambda: side_by_side(
            {"before": image_rgb, "mask": np.repeat(mask[..., None], 3, axis=2), "after": restored.image}
        ),
    }
    return {_beside(base, f".{kind}.png"): partial(write_png, pixels=pictures[kind]()) for kind in save}


def write_together(writers: Mapping[Path, Writer]) -> None:
    """Writes every file beside its place first, and moves them there once all are whole; on an error none is left."""
    with ExitStack() as stack:
        for path, write in writers.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(stack.enter_context(written_whole(path)))


@contextmanager
def csv_table(path: Path, points: int) -> Iterator[AddRows]:
    """A CSV file with one row a face, which appears under its name when the block ends well; gives what adds rows."""
    per_point = [f"{name}{i}" for i in range(points) for name in ("x", "y", "visibility", "uncertainty")]
    header = ["image", "face", "score", "box_x0", "box_y0", "box_x1", "box_y1", "yaw", "pitch", "roll", *per_point]
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)

        def add(image: str, faces: Sequence[Face]) -> None:
            for i, face in enumerate(faces):
                pose: Sequence[float | str] = _rounded(face.pose, 2) if face.pose else ["", "", ""]
                columns = np.column_stack([face.landmarks, face.visibility, face.uncertainty])
                points = ["" if math.isnan(number) else number for number in _rounded(columns.ravel(), 4)]
                table.writerow([image, i, round(float(face.score), 4), *_rounded(face.box, 2), *pose, *points])

        yield add


def _beside(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)


def _rounded(values: Sequence[float] | NDArray[np.float32], digits: int) -> list[float]:
    rounded: list[float] = np.round(np.asarray(values, np.float64), digits).tolist()
    return rounded


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """RGB (H, W, 3) or grey (H, W), without loss."""
    try:
        path.write_bytes(png_bytes(pixels))
    except PngError as error:
        raise PngError(f"{path}: {error}") from None


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """RGB (H, W, 3) or grey (H, W) as a PNG file; PngError if OpenCV cannot."""
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    encoded, data = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not encoded:
        raise PngError("OpenCV could not encode the picture as PNG")
    return data.tobytes()
