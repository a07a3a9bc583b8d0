"""The work of one request in a thread: decode, align or restore, and encode the response."""

import base64
import copy
import csv
import io
import json
import math
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from unveil.inference.detector import Detector, YuNetDetector
from unveil.inference.drawing import draw_faces
from unveil.inference.pipeline import Pipeline
from unveil.inference.restorer import RESTORED_NOTE, Restored
from unveil.io.annotations import pts_text
from unveil.io.images import ImageError, decode_image, encode_png
from unveil.io.results import csv_header, csv_row, escape_cell, face_json
from unveil.serve.limits import Limits, RequestError
from unveil.serve.options import AlignOptions, Options, RestoreOptions, check_boxes
from unveil.serve.uploads import Upload, check_header
from unveil.serve.workers import Cancellation
from unveil.types import Box, Detection, Face, Image, Points

CHUNK = 16  # faces between two looks at the cancellation, as many as a model runs at once

_decoding_large = threading.Lock()  # images that are scaled down are decoded one at a time, since each is large


@dataclass(frozen=True, slots=True)
class JobResult:
    """A response's body.

    Attributes:
        content: The bytes.
        media_type: Their content type.
        file_name: The name under which a browser saves it; None if it should not.
        images: How many images were processed.
        faces: How many faces they show.
    """

    content: bytes
    media_type: str
    file_name: str | None = None
    images: int = 0
    faces: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """What a request asks for. Call `align` or `restore` in a worker's thread.

    Attributes:
        pipeline: Shared by all threads.
        limits: Bounds on one request.
        uploads: At least one image.
        options: The client's.
        boxes: Each image's boxes; None where faces are to be detected.
        request_id: For errors of single images.
    """

    pipeline: Pipeline
    limits: Limits
    uploads: tuple[Upload, ...]
    options: Options
    boxes: list[list[Box] | None]
    request_id: str


@dataclass(frozen=True, slots=True)
class _Decoded:
    """An image at the size that is processed, and its width and height as it was sent."""

    name: str
    image_rgb: Image
    width: int
    height: int
    boxes: list[Box] | None

    @property
    def scale(self) -> float:
        return float(self.image_rgb.shape[1] / self.width)

    def as_sent(self, faces: Sequence[Face]) -> list[Face]:
        """The faces in pixels of the image as it was sent."""
        if self.image_rgb.shape[:2] == (self.height, self.width):
            return list(faces)
        ratio = 1 / self._ratio()
        return [
            replace(
                face,
                box=_scaled_box(face.box, ratio),
                landmarks=_scaled(face.landmarks, ratio),
                uncertainty=None if face.uncertainty is None else face.uncertainty / np.float32(self.scale),
                five_points=None if face.five_points is None else _scaled(face.five_points, ratio),
            )
            for face in faces
        ]

    def boxes_here(self) -> list[Box] | None:
        """The boxes in pixels of the image that is processed."""
        return None if self.boxes is None else [_scaled_box(box, self._ratio()) for box in self.boxes]

    def _ratio(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.array([self.image_rgb.shape[1] / self.width, self.image_rgb.shape[0] / self.height])


class SerializedDetector:
    """A detector that threads may share: OpenCV's keeps the image's size between two calls.

    Args:
        detector: The detector that one thread at a time may call.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._lock = threading.Lock()

    def __call__(self, image_rgb: Image) -> list[Detection]:
        with self._lock:
            return self._detector(image_rgb)


def shared_by_threads(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline with the same models that several threads may call."""
    shared = copy.copy(pipeline)
    if isinstance(pipeline.detector, YuNetDetector):
        shared.detector = SerializedDetector(pipeline.detector)
    return shared


def warm_up(pipeline: Pipeline) -> None:
    """Run every network once: the first run allocates memory."""
    grey = np.full((128, 128, 3), 90, np.uint8)
    if pipeline.detector is not None:
        pipeline.detector(grey)
    pipeline(grey, [(32, 32, 96, 96)])


def align(job: Job, cancellation: Cancellation) -> JobResult:
    """Return the faces as `unveil align` saves them.

    Args:
        job: What the request asks for, with AlignOptions.
        cancellation: Read between two images and two steps of one.

    Raises:
        RequestError: For an image or a box that cannot be used, or 422 for `.pts` of images without a face.
        Cancelled: If nobody waits any more.
    """
    assert isinstance(job.options, AlignOptions)
    scheme, kind = job.pipeline.model.scheme, job.options.as_
    if kind == "json":
        return _json_of(job, cancellation, _align_record)
    files, rows, count = dict[str, bytes](), list[list[object]](), 0
    for decoded in _decoded(job, cancellation):
        faces = _faces(job, decoded, cancellation)
        count += len(faces)
        stem = _unused(file_stem(decoded.name), files)
        if kind == "csv":
            sent = decoded.as_sent(faces)
            rows += [csv_row(escape_cell(decoded.name), i, face) for i, face in enumerate(sent)]
        elif kind == "png":
            files[f"{stem}.overlay.png"] = encode_png(draw_faces(decoded.image_rgb, faces, scheme))
        else:
            several = len(faces) > 1
            for i, face in enumerate(decoded.as_sent(faces)):
                files[f"{stem}.{i}.pts" if several else f"{stem}.pts"] = pts_text(face.landmarks).encode()
    stem = file_stem(job.uploads[0].name)
    if kind == "csv":
        table = io.StringIO(newline="")
        csv.writer(table).writerows([csv_header(scheme.points), *rows])
        return JobResult(table.getvalue().encode(), "text/csv", f"{stem}.csv", len(job.uploads), count)
    if not files:
        raise RequestError(422, "no_face", "no face was detected, so there is no .pts to write; give boxes")
    media_type, archive = ("image/png", "overlay.zip") if kind == "png" else ("text/plain", "pts.zip")
    return files_result(files, media_type, f"{stem}.{archive}", len(job.uploads), count)


def restore(job: Job, cancellation: Cancellation) -> JobResult:
    """Return the images without what occludes their faces; as JSON also the masks and the faces before and after.

    Args:
        job: What the request asks for, with RestoreOptions.
        cancellation: Read between two images and two steps of one.

    Raises:
        RequestError: For an image or a box that cannot be used.
        Cancelled: If nobody waits any more.
    """
    assert isinstance(job.options, RestoreOptions)
    if job.options.as_ == "json":
        return _json_of(job, cancellation, _restore_record)
    files, count = dict[str, bytes](), 0
    for decoded in _decoded(job, cancellation):
        restored = _restored(job, decoded, cancellation)
        files[f"{_unused(file_stem(decoded.name), files)}.restored.png"] = encode_png(restored.image, RESTORED_NOTE)
        count += len(restored.after)
    archive = f"{file_stem(job.uploads[0].name)}.restored.zip"
    return files_result(files, "image/png", archive, len(job.uploads), count)


_Record = Callable[[Job, "_Decoded", Cancellation], tuple[dict[str, object], int]]


def _json_of(job: Job, cancellation: Cancellation, record: _Record) -> JobResult:
    """One image's record, or a list of several, in which an image that cannot be used has an error instead."""
    if len(job.uploads) == 1:
        (decoded,) = _decoded(job, cancellation)
        content, count = record(job, decoded, cancellation)
    else:
        images, count = list[dict[str, object]](), 0
        for i, upload in enumerate(job.uploads):
            cancellation.check()
            try:
                one, faces = record(job, _decode(job, i), cancellation)
            except RequestError as error:
                one, faces = {"image": upload.name, **error.body(job.request_id)}, 0
            images.append(one)
            count += faces
        content = {"images": images}
    text = json.dumps(content, allow_nan=False) + "\n"
    return JobResult(text.encode(), "application/json", None, len(job.uploads), count)


def _align_record(job: Job, decoded: _Decoded, cancellation: Cancellation) -> tuple[dict[str, object], int]:
    faces = decoded.as_sent(_faces(job, decoded, cancellation))
    return _head(job, decoded) | {"faces": [face_json(face) for face in faces]}, len(faces)


def _restore_record(job: Job, decoded: _Decoded, cancellation: Cancellation) -> tuple[dict[str, object], int]:
    restored = _restored(job, decoded, cancellation)
    after = {
        "scale": decoded.scale,
        "before": [face_json(face) for face in decoded.as_sent(restored.before)],
        "after": [face_json(face) for face in decoded.as_sent(restored.after)],
        "restored": base64.b64encode(encode_png(restored.image, RESTORED_NOTE)).decode(),
        "mask": base64.b64encode(encode_png(restored.mask.astype(np.uint8) * 255)).decode(),
    }
    return _head(job, decoded) | after, len(restored.after)


def _head(job: Job, decoded: _Decoded) -> dict[str, object]:
    model = job.pipeline.model
    size = {"width": decoded.width, "height": decoded.height}
    return {"image": decoded.name, **size, "model": model.config.name, "scheme": model.scheme.name}


def _ignore(_: str) -> None:
    """A response has no place for warnings."""


def _decoded(job: Job, cancellation: Cancellation) -> Iterator[_Decoded]:
    for i in range(len(job.uploads)):
        cancellation.check()
        yield _decode(job, i)


def _decode(job: Job, index: int) -> _Decoded:
    """An image at a size that may be processed. RequestError 400, 413, 415 or 422 if there is none, or its boxes
    are not on it."""
    upload, limits = job.uploads[index], job.limits
    large = check_header(upload, limits.max_pixels) > limits.pixels
    with _decoding_large if large else nullcontext():
        try:
            image_rgb = decode_image(upload.data, upload.name, _ignore)
        except ImageError as error:
            text = f"{upload.name}: cannot be decoded; save it as PNG or JPEG"  # OpenCV's words name its source files
            raise RequestError(400, "bad_image", text if error.__cause__ else str(error)) from error
        height, width = image_rgb.shape[:2]
        if width * height > limits.pixels:
            scale = math.sqrt(limits.pixels / (width * height))
            size = (max(1, int(width * scale)), max(1, int(height * scale)))
            image_rgb = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    check_boxes(job.boxes[index], width, height)
    return _Decoded(upload.name, image_rgb, width, height, job.boxes[index])


def _faces(job: Job, decoded: _Decoded, cancellation: Cancellation) -> list[Face]:
    """The faces in pixels of the image that is processed."""
    pipeline, boxes, faces = job.pipeline, decoded.boxes_here(), list[Face]()
    if boxes is not None:
        detections = [Detection(box, 1.0) for box in boxes]
    elif pipeline.detector is None:
        raise RequestError(422, "no_detector", "the service has no detector; give boxes")
    else:
        detections = [each for each in pipeline.detector(decoded.image_rgb) if each.score >= job.options.min_score]
    for start in range(0, len(detections), CHUNK):
        cancellation.check()
        batch = detections[start : start + CHUNK]
        faces += pipeline.align(decoded.image_rgb, batch, job.options.flip_average)
    return faces


def _restored(job: Job, decoded: _Decoded, cancellation: Cancellation) -> Restored:
    options, boxes = job.options, decoded.boxes_here()
    if boxes is None and options.min_score > 0:
        boxes = [face.box for face in _faces(job, decoded, cancellation)]
    check = cancellation.check
    check()
    return job.pipeline.restore(decoded.image_rgb, boxes, flip_average=options.flip_average, check=check)


def files_result(files: dict[str, bytes], media_type: str, archive_name: str, images: int, faces: int) -> JobResult:
    """Return the one file, or an uncompressed archive of several.

    Args:
        files: Content by name, at least one.
        media_type: Of a file.
        archive_name: Of the archive.
        images: As in `JobResult`.
        faces: As in `JobResult`.
    """
    if len(files) == 1:
        ((name, content),) = files.items()
        return JobResult(content, media_type, name, images, faces)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return JobResult(packed.getvalue(), "application/zip", archive_name, images, faces)


def file_stem(name: str) -> str:
    """Return the client's file name, without its suffix, as one that every file system and header accepts."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")[:80] or "image"


def _unused(stem: str, files: dict[str, bytes]) -> str:
    """The stem, with a number if another image's files have the same one."""
    stems = {name.partition(".")[0] for name in files}
    return next(each for each in (stem, *(f"{stem}-{n}" for n in range(2, len(files) + 3))) if each not in stems)


def _scaled(points_px: Points, ratio: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Points:
    """Pixel centres lie at whole numbers, so a scale acts about half a pixel before 0."""
    return np.asarray((points_px + 0.5) * ratio - 0.5, np.float32)


def _scaled_box(box: Box, ratio: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Box:
    return Box(*((np.array(box).reshape(2, 2) + 0.5) * ratio - 0.5).ravel().tolist())
