"""`unveil batch`: very many pictures, on all processors of this machine or of a Ray cluster."""

import hashlib
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unveil.cli.pictures import FaceOptions, check_writable
from unveil.cli.progress import Job, reason

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.batch.plan import Plan


@dataclass(frozen=True)
class Options(FaceOptions):
    """Aligns very many pictures into parquet shards in --out, on this machine or, with --address, on a Ray cluster.

    The same command again goes on after a stop. A picture that fails is a row with its error. Status: 0 all well,
    1 some pictures failed, 2 nothing could be done, 130 interrupted.
    """

    source: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE [SOURCE ...]", help_behavior_hint="(required)"),
    ]
    """Images, quoted globs, folders, .txt lists of paths, .parquet files or folders with the bytes of pictures."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where the shards go; on a cluster a folder that all its machines see."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes, each with a pipeline of one thread; one a processor unless given."""
    address: Annotated[str | None, tyro.conf.arg(metavar="ADDR")] = None
    """Of a Ray cluster: auto, or HOST:PORT. All its machines must see sources and --out under the same paths."""
    shard: Annotated[int, tyro.conf.arg(metavar="N")] = 500
    """Pictures a shard, which is what a stopped worker has to do again."""
    image_column: Annotated[str, tyro.conf.arg(metavar="NAME")] = "image"
    """Column of a parquet file with the bytes of its pictures; image.bytes leads into a struct."""
    path_column: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Column of a parquet file with their names; FILE#ROW unless given."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON, {image path: [[x0, y0, x1, y1], ...]}: tight landmark boxes in pixels, instead of a detector's."""


def run(options: Options) -> int:
    """Plans, does what is missing, and says what all shards hold together."""
    for library in ("pyarrow", "ray"):  # looked for, not imported: Ray reads its switches when it is
        if find_spec(library) is None:
            print(f"error: batches need {library}: pip install 'unveil[batch]'", file=sys.stderr)
            return 2
    try:
        return _run(options)
    except (ValueError, OSError) as error:
        print(f"error: {reason(error)}", file=sys.stderr)
        return 2


def _run(options: Options) -> int:
    from unveil.batch.plan import begin, shard_name, tidy
    from unveil.batch.runner import Tally, run_plan, tally_of
    from unveil.io.boxes import BoxFile

    _check(options)
    boxes = BoxFile.read(options.boxes) if options.boxes else None
    plan = _plan(options)
    begin(plan, options.out)
    tidy(options.out)
    missing = len(plan.missing(options.out))
    if missing < plan.count:
        print(f"{options.out}: {plan.count - missing} of {plan.count} shards are there already", file=sys.stderr)
    with Job(missing, "aligning shards") as progress:
        for done in run_plan(plan, options.out, workers=options.workers, address=options.address, boxes=boxes):
            if done.error is None:
                progress.succeed()
            else:
                progress.fail(f"{options.out / shard_name(done.number, plan)}: {done.error}")
    paths = sorted(options.out.glob("shard-*.parquet"))
    total = sum(map(tally_of, paths), Tally())
    counts = f"{total.pictures} pictures, {total.faces} faces, {total.failed} failed"
    print(f"{counts}: {len(paths)} of {plan.count} shards in {options.out}")
    return 2 if not paths else 1 if total.failed or len(paths) < plan.count else 0


def _plan(options: Options) -> "Plan":
    """The plan, once model and detector have been loaded here: what they lack is better known before Ray starts."""
    from unveil.batch.plan import Columns, Recipe, make_plan
    from unveil.batch.runner import pipeline_of

    recipe = Recipe(
        model=options.model,
        detector=options.detector,
        detector_model=None if options.detector_model is None else str(options.detector_model),
        min_score=options.min_score,
        flip_average=options.flip_average,
        boxes_sha256=hashlib.sha256(options.boxes.read_bytes()).hexdigest() if options.boxes else None,
    )
    model = pipeline_of(recipe, Path.cwd(), detect=options.boxes is None).model
    recipe = replace(recipe, model_sha256=model.config.sha256["model.onnx"])
    columns = Columns(options.image_column, options.path_column)
    return make_plan(options.source, options.out, recipe, columns, options.shard)


def _check(options: Options) -> None:
    """ValueError, in one line, for options that no batch could be done with."""
    if not options.source:
        raise ValueError("no SOURCE given: name images, a folder, a .txt list or a .parquet file")
    if options.boxes and any(source.endswith(".parquet") for source in options.source):
        raise ValueError("--boxes goes with picture files, not with .parquet; leave it out")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"--min-score {options.min_score:g}: give a number from 0 to 1")
    for name, number in (("--workers", options.workers), ("--shard", options.shard)):
        if number is not None and number < 1:
            raise ValueError(f"{name} {number}: give 1 or more")
    check_writable(options.out)
