"""`unveil batch`: align very many images, on all processors of this machine or on a Ray cluster."""

import hashlib
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unveil.cli.images import PipelineOptions, check_writable, counted
from unveil.cli.progress import Job
from unveil.installation import install_command

if TYPE_CHECKING:  # --help must not wait for OpenCV and onnxruntime
    from unveil.batch.shards import BatchJob

MAX_NAMED_FAILURES = 20
FAILURES = "_failed.txt"


@dataclass(frozen=True)
class Options(PipelineOptions):
    """Align very many images and write parquet shards, on this machine or, with --address, on a Ray cluster.

    The same command continues a run that was stopped. A failed image is a row with its error. Exit status: 0 success,
    1 some images failed, 2 nothing was done, 130 interrupted.
    """

    source: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE [SOURCE ...]", help_behavior_hint="(required)"),
    ]
    """Images, quoted globs, folders, .txt lists of names, .parquet files or folders with encoded images; also URIs:
    s3://, gs://, https://, and other protocols of fsspec."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the shards. On a cluster all machines must see it."""
    add: tyro.conf.FlagCreatePairsOff[bool] = False
    """Add images that are not in the output yet."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes, each with a pipeline of one thread. Default: one a processor."""
    address: Annotated[str | None, tyro.conf.arg(metavar="ADDR")] = None
    """A Ray cluster: auto or HOST:PORT; local starts Ray on this machine. All machines must see the sources and --out
    under the same paths."""
    shard: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Images in a shard, which a worker repeats if it is stopped. Default: 500, fewer if there are few images."""
    image_column: Annotated[str, tyro.conf.arg(metavar="NAME")] = "image"
    """The column of a parquet file with the encoded images; image.bytes selects a field of a struct."""
    path_column: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The column of a parquet file with their names. Default: FILE#ROW."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON, {image path: [[x0, y0, x1, y1], ...]}: tight landmark boxes in pixels, instead of a detector."""


def run(options: Options) -> int:
    """Plan and align, print the counts and the failed images, and return the exit status."""
    for library in ("pyarrow", "fsspec", *(("ray",) if options.address else ())):
        if find_spec(library) is None:
            extra = "cluster" if library == "ray" else "batch"
            print(f"error: batches need {library}: {install_command(extra)}", file=sys.stderr)
            return 2
    from unveil.batch.plan import clean_up, open_plan
    from unveil.batch.workers import processor_count, run_local, run_on_ray

    _check(options)
    job = _job(options)
    workers = options.workers or processor_count()
    plan = open_plan(
        options.source,
        options.out,
        job.recipe,
        job.columns,
        shard_size=options.shard,
        workers=workers,
        add=options.add,
    )
    clean_up(options.out)
    missing = plan.missing(options.out)
    if len(missing) < len(plan.shards):
        finished = len(plan.shards) - len(missing)
        print(f"{options.out}: {finished} of {len(plan.shards)} shards are finished already", file=sys.stderr)
    if missing:
        with Job(len(missing), "aligning shards") as progress:
            local = options.address is None
            results = (
                run_local(missing, job, workers)
                if local
                else run_on_ray(missing, job, str(options.address), options.workers)
            )
            for result in results:
                if result.error is None:
                    progress.succeed()
                else:
                    progress.fail(f"{options.out / result.shard.file_name}: {result.error}")
    return _finish(options, [options.out / shard.file_name for shard in plan.shards])


def _finish(options: Options, paths: list[Path]) -> int:
    """Name the failed images and print the counts; return the exit status."""
    from unveil.batch.shards import Summary, read_failures, read_summary

    finished = [path for path in paths if path.exists()]
    summaries = {path: read_summary(path) for path in finished}
    total = sum(summaries.values(), Summary())
    failures = [failure for path, one in summaries.items() if one.failed for failure in read_failures(path)]
    for name, error in failures[:MAX_NAMED_FAILURES]:
        print(f"error: {error if error.startswith(name) else f'{name}: {error}'}", file=sys.stderr)
    report = options.out / FAILURES
    if failures:
        report.write_text("".join(f"{name}\n" for name, _ in failures), encoding="utf-8")
        if len(failures) > MAX_NAMED_FAILURES:
            print(f"error: and {len(failures) - MAX_NAMED_FAILURES} more; {report} has all names", file=sys.stderr)
    else:
        report.unlink(missing_ok=True)
    faces = f"{counted(total.images, 'image')}, {counted(total.faces, 'face')}"
    print(f"{faces}, {total.failed} failed: {len(finished)} of {len(paths)} shards in {options.out}")
    return 2 if not finished else 1 if total.failed or len(finished) < len(paths) else 0


def _job(options: Options) -> "BatchJob":
    """Describe the run. Errors of the model and the detector are reported here, before anything is written."""
    from unveil.batch.plan import Recipe
    from unveil.batch.shards import BatchJob
    from unveil.batch.sources import ParquetColumns
    from unveil.inference.detector import load_detector
    from unveil.inference.onnx_model import ModelConfig, model_folder, read_config, shipped_models
    from unveil.io.boxes import BoxFile

    config = read_config(model_folder(options.model, shipped_models()), ModelConfig)
    if options.boxes is None:
        load_detector(options.detector, options.detector_model, options.min_score, 1)
    recipe = Recipe(
        model=options.model,
        model_sha256=config.sha256.get("model.onnx", ""),
        detector=options.detector,
        detector_model=None if options.detector_model is None else str(options.detector_model),
        min_score=options.min_score,
        flip_average=options.flip_average,
        boxes_sha256=hashlib.sha256(options.boxes.read_bytes()).hexdigest() if options.boxes else None,
    )
    columns = ParquetColumns(options.image_column, options.path_column)
    boxes = BoxFile.read(options.boxes) if options.boxes else None
    return BatchJob(recipe, columns, options.out.absolute(), Path.cwd(), boxes)


def _check(options: Options) -> None:
    """Raise ValueError, in one line, for options with which no run is possible."""
    if not options.source:
        raise ValueError("no SOURCE given: name images, a folder, a .txt list or a .parquet file")
    if options.boxes and any(source.endswith(".parquet") for source in options.source):
        raise ValueError("--boxes: only for image files, not for .parquet; leave it out")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"--min-score {options.min_score:g}: give a number from 0 to 1")
    for name, number in (("--workers", options.workers), ("--shard", options.shard)):
        if number is not None and number < 1:
            raise ValueError(f"{name} {number}: give 1 or more")
    check_writable(options.out)
