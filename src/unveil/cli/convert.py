"""`unveil convert`: landmark annotations from one file format to another."""

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.images import check_writable, counted
from unveil.cli.progress import Job

if TYPE_CHECKING:  # --help must not wait for OpenCV
    from unveil.io.formats import FaceAnnotation, ImageAnnotation
    from unveil.io.formats.matching import ImageIndex


@dataclass(frozen=True)
class Options:
    """Convert landmark annotations between .pts, JSON, CSV, COCO keypoints, dlib XML, CVAT and Label Studio.

    The format of the source is recognised by its content. Exit status: 0 all faces converted, 1 some faces could not be
    converted, 2 nothing was written.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A file, or a folder with .pts files or with the JSON files of `unveil align`."""
    to: Literal["pts", "json", "csv", "coco", "dlib", "cvat", "label-studio"]
    """The format to write. pts and json write one file per face or image below the folder --out; json writes a single
    file if --out ends in .json."""
    out: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """The file to write, or the folder for pts and json."""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images: for their sizes, which coco, cvat and label-studio state, and for their paths below it.
    Not needed if the images are beside the annotations, or the source states sizes and paths."""
    scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """The landmark scheme, for the names of the landmarks: a scheme file or a built-in scheme. By default the built-in
    scheme with as many landmarks."""


def run(options: Options) -> int:
    """Convert, print one line on stderr for each face that could not be converted, and return the exit status."""
    with Job(0, "converting") as job:
        summary = _convert(options, job)
    print(summary, file=sys.stdout)
    return 1 if job.failed else 0


def _convert(options: Options, job: Job) -> str:
    import numpy as np

    from unveil.io.annotations import implausible
    from unveil.io.formats import FORMATS, FaceAnnotation, by_image, read_annotations
    from unveil.io.formats.records import missing_problem
    from unveil.schemes.scheme import SCHEMES
    from unveil.schemes.scheme_file import load_scheme

    scheme = None if options.scheme is None else load_scheme(options.scheme)
    form = FORMATS[options.to]
    check_writable(options.out if form.in_folder and options.out.suffix != ".json" else options.out.parent)
    if options.out.is_dir() and not form.in_folder:
        raise ValueError(f"--out {options.out}: a folder; name the file to write, as in faces{form.suffix}")
    if options.out.is_file() and options.out.resolve() == options.source.resolve():
        raise ValueError(f"--out {options.out}: that is the source itself; choose another name")
    annotations = read_annotations(options.source, scheme=scheme, allow_missing=True)
    for invalid in annotations.invalid:
        job.fail(invalid.problem)
    if not annotations.valid:
        raise ValueError(f"{options.source}: no face could be read")
    count = Counter(len(face.points_px) for face in annotations.valid).most_common(1)[0][0]
    if scheme is not None and scheme.points != count:
        raise ValueError(f"{options.source}: {count} points, but scheme {scheme.name!r} has {scheme.points}")
    usable = list[FaceAnnotation]()
    for face in annotations.valid:
        if len(face.points_px) != count:
            job.fail(f"{face.where}: {len(face.points_px)} points, but most faces have {count}; convert it on its own")
        elif not np.isfinite(face.points_px).any():
            job.fail(f"{face.where}: all landmarks are missing")
        else:
            usable.append(face)
    valid = tuple(usable)
    for face in valid:
        problem = implausible(face.points_px, face.image_size) if missing_problem(face) is None else None
        if problem is not None:
            job.warn(f"{face.where}: {problem}; converted as it is")
    if form.needs_all:
        valid = tuple(face for face in valid if _is_complete(face, options.to, job))
    scheme = scheme or next((known for known in SCHEMES.values() if known.points == count), None)
    images = by_image(_with_image_files(options, valid, job))
    if form.needs_size:
        images = _with_sizes(options, images, job)
    if not images:
        raise ValueError(f"{options.source}: no face could be converted")
    form.write(options.out, images, scheme)
    if options.to in ("pts", "dlib", "cvat") and any(face.is_visible is not None for face in valid):
        job.warn(f"{options.out}: {options.to} has no visibility for each landmark, so it is not written")
    faces = sum(len(image.faces) for image in images)
    return f"{counted(len(images), 'image')}, {counted(faces, 'face')}: {options.to} in {options.out}"


def _is_complete(face: "FaceAnnotation", target: str, job: Job) -> bool:
    from unveil.io.formats.records import check_complete

    try:
        check_complete(face, target)
    except ValueError as error:
        job.fail(str(error))
        return False
    return True


def _index(options: Options) -> "ImageIndex | None":
    """Return the images in --images, else those beside the annotations; None if there are none."""
    from unveil.io.files import DataError
    from unveil.io.formats.matching import ImageIndex

    if options.images is not None:
        return ImageIndex(options.images)
    try:
        return ImageIndex(options.source if options.source.is_dir() else options.source.parent)
    except DataError:
        return None


def _with_image_files(options: Options, faces: "tuple[FaceAnnotation, ...]", job: Job) -> "list[FaceAnnotation]":
    """Replace the images' paths by those below --images; without it, of `.pts` files only, which name no image."""
    from unveil.io.formats.matching import match_faces

    named = [] if options.images is not None else [face for face in faces if not face.image.lower().endswith(".pts")]
    if len(named) == len(faces) or (options.images is None and options.to == "pts"):
        return list(faces)
    others = [face for face in faces if face not in named]
    index = _index(options)
    if index is None:
        return [*named, *(replace(face, image=face.name) for face in others)]
    matched, problems = match_faces(others, index)
    for problem in problems:
        job.fail(problem)
    return [
        *named,
        *(replace(face.annotation, image=face.image.relative_to(index.root).as_posix()) for face in matched),
    ]


def _with_sizes(options: Options, images: "list[ImageAnnotation]", job: Job) -> "list[ImageAnnotation]":
    """Read the sizes of the images that have none."""
    from unveil.io.images import ImageError, read_image

    index = _index(options) if any(image.size is None for image in images) else None
    sized = []
    for image in images:
        path = index.find(image.image) if index is not None and image.size is None else None
        if path is not None:
            try:
                height, width = read_image(path, job.warn).shape[:2]
            except ImageError as error:
                job.fail(str(error))
                continue
            sized.append(replace(image, size=(width, height)))
        else:
            sized.append(image)
    return sized
