"""The work of one request in a thread: decode, align or restore, and encode the response."""

import base64
import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unveil.inference.drawing import draw_faces
from unveil.inference.pipeline import Pipeline
from unveil.inference.restorer import RESTORED_NOTE, Restored
from unveil.io.annotations import pts_text
from unveil.io.images import encode_png
from unveil.io.results import csv_header, csv_row, escape_cell, face_json
from unveil.serve.decoding import DecodedImage, decode_upload
from unveil.serve.limits import Limits, RequestError
from unveil.serve.options import AlignOptions, Options, RestoreOptions
from unveil.serve.uploads import Upload
from unveil.serve.workers import Cancellation
from unveil.types import Box, Detection, Face


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
    """The work that a request asks for. Call `align` or `restore` in a worker's thread.

    Attributes:
        pipeline: Shared by all threads.
        limits: Limits of one request.
        uploads: At least one image.
        options: The client's options.
        boxes: Each image's boxes; None if faces are to be detected.
        request_id: For errors of single images.
    """

    pipeline: Pipeline
    limits: Limits
    uploads: tuple[Upload, ...]
    options: Options
    boxes: list[list[Box] | None]
    request_id: str


def warm_up(pipeline: Pipeline) -> None:
    """Run every network once: the first run allocates memory.

    Args:
        pipeline: The pipeline.
    """
    grey = np.full((128, 128, 3), 90, np.uint8)
    if pipeline.detector is not None:
        pipeline.detector(grey)
    pipeline(grey, [(32, 32, 96, 96)])


def align(job: Job, cancellation: Cancellation) -> JobResult:
    """Return the faces as `unveil align` saves them.

    Args:
        job: The work, with AlignOptions.
        cancellation: Checked between two images and two steps of one.

    Returns:
        The response's body.

    Raises:
        RequestError: An image or a box cannot be used, or 422 for `.pts` of images without a face.
        Cancelled: The result is not needed any more.
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
        job: The work, with RestoreOptions.
        cancellation: Checked between two images and two steps of one.

    Returns:
        The response's body.

    Raises:
        RequestError: An image or a box cannot be used.
        Cancelled: The result is not needed any more.
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


_Record = Callable[[Job, DecodedImage, Cancellation], tuple[dict[str, object], int]]


def _json_of(job: Job, cancellation: Cancellation, record: _Record) -> JobResult:
    """Return one image's record, or a list of several, in which an image that cannot be used has an error instead."""
    if len(job.uploads) == 1:
        (decoded,) = _decoded(job, cancellation)
        content, count = record(job, decoded, cancellation)
    else:
        images, count = list[dict[str, object]](), 0
        for i, upload in enumerate(job.uploads):
            cancellation.check()
            try:
                one, faces = record(job, decode_upload(job.uploads[i], job.boxes[i], job.limits), cancellation)
            except RequestError as error:
                one, faces = {"image": upload.name, **error.body(job.request_id)}, 0
            images.append(one)
            count += faces
        content = {"images": images}
    text = json.dumps(content, allow_nan=False) + "\n"
    return JobResult(text.encode(), "application/json", None, len(job.uploads), count)


def _align_record(job: Job, decoded: DecodedImage, cancellation: Cancellation) -> tuple[dict[str, object], int]:
    faces = decoded.as_sent(_faces(job, decoded, cancellation))
    return _head(job, decoded) | {"faces": [face_json(face) for face in faces]}, len(faces)


def _restore_record(job: Job, decoded: DecodedImage, cancellation: Cancellation) -> tuple[dict[str, object], int]:
    restored = _restored(job, decoded, cancellation)
    after = {
        "scale": decoded.scale,
        "before": [face_json(face) for face in decoded.as_sent(restored.before)],
        "after": [face_json(face) for face in decoded.as_sent(restored.after)],
        "restored": base64.b64encode(encode_png(restored.image, RESTORED_NOTE)).decode(),
        "mask": base64.b64encode(encode_png(restored.mask.astype(np.uint8) * 255)).decode(),
    }
    return _head(job, decoded) | after, len(restored.after)


def _head(job: Job, decoded: DecodedImage) -> dict[str, object]:
    model = job.pipeline.model
    size = {"width": decoded.width, "height": decoded.height}
    return {"image": decoded.name, **size, "model": model.config.name, "scheme": model.scheme.name}


def _decoded(job: Job, cancellation: Cancellation) -> Iterator[DecodedImage]:
    for i in range(len(job.uploads)):
        cancellation.check()
        yield decode_upload(job.uploads[i], job.boxes[i], job.limits)


def _detections(job: Job, decoded: DecodedImage) -> list[Detection]:
    """Return the given or detected faces in pixels of the image that is processed."""
    boxes = decoded.boxes_here()
    if boxes is not None:
        return [Detection(box, 1.0) for box in boxes]
    try:
        found = job.pipeline.detect(decoded.image_rgb)
    except ValueError as error:  # there is no detector, or its boxes do not fit the model's landmarks
        raise RequestError(422, "no_detector", str(error)) from error
    return [detection for detection in found if detection.score >= job.options.min_score]


def _faces(job: Job, decoded: DecodedImage, cancellation: Cancellation) -> list[Face]:
    detections, flip_average = _detections(job, decoded), job.options.flip_average
    return job.pipeline.align(decoded.image_rgb, detections, flip_average, cancellation.check)


def _restored(job: Job, decoded: DecodedImage, cancellation: Cancellation) -> Restored:
    detections, flip_average, check = _detections(job, decoded), job.options.flip_average, cancellation.check
    check()
    return job.pipeline.restore(decoded.image_rgb, detections, flip_average=flip_average, check=check)


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
    """Return the client's file name, without its suffix, as one that every file system and header accepts.

    Args:
        name: The file name.
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")[:80] or "image"


def _unused(stem: str, files: dict[str, bytes]) -> str:
    """Return the stem, with a number if another image's files have the same one."""
    stems = {name.partition(".")[0] for name in files}
    return next(each for each in (stem, *(f"{stem}-{n}" for n in range(2, len(files) + 3))) if each not in stems)
