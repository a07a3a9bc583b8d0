"""Very many pictures on Ray Data: a plan of shards, and workers that each write whole ones. L landmarks.

A shard is a parquet file under a name that the plan gives it, written beside its place and moved there. So a worker
that dies loses nothing, its shard is done again, and a run that was stopped goes on with the shards that are missing.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from unveil.batch.plan import Columns, Plan, Recipe, Shard, parquet_rows, shard_name
from unveil.inference.pipeline import Pipeline
from unveil.io.annotations import written_whole
from unveil.io.boxes import BoxFile
from unveil.io.images import ImageError, decode_image, read_image
from unveil.types import Face, Image, is_said

# One row a face. A picture without a face has one row without `face`, one that failed a row with its error.
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("face", pa.int32()),
        ("box", pa.list_(pa.float32())),
        ("score", pa.float32()),
        ("landmarks", pa.list_(pa.list_(pa.float32()))),
        ("visibility", pa.list_(pa.float32())),
        ("uncertainty", pa.list_(pa.float32())),
        ("pose", pa.struct([(name, pa.float32()) for name in ("yaw", "pitch", "roll")])),
        ("error", pa.string()),
    ]
)
TRIES = 4  # of a shard whose worker dies: Ray itself would let a picture kill its workers for ever
OBJECT_STORE = 128 * 2**20  # bytes; only names travel between the processes

# Ray speaks to nobody but its own processes, and on one machine listens on the loopback address only: whoever reaches
# its ports can run code. The last switch is named for the systems on which that is Ray's default. Ray reads them when
# it is imported: where somebody has done so before, they do nothing.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, slots=True)
class Tally:
    """What is in a shard, or in all of them."""

    pictures: int = 0
    faces: int = 0
    failed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.pictures + other.pictures, self.faces + other.faces, self.failed + other.failed)


class Done(NamedTuple):
    """A shard's number, and why it failed; None if its file is there."""

    number: int
    error: str | None


class Worker:
    """What a worker process holds: one pipeline of one thread. Called with a shard, it writes the shard's file."""

    def __init__(self, plan: Plan, out: str, here: str, boxes: BoxFile | None) -> None:
        cv2.setNumThreads(1)
        self.plan, self.out, self.here, self.boxes = plan, Path(out), Path(here), boxes
        self.pipeline = pipeline_of(plan.recipe, self.here, detect=boxes is None)

    def __call__(self, task: Mapping[str, Any]) -> dict[str, Any]:
        shard = Shard(int(task["number"]), tuple(map(str, task["paths"])), int(task["start"]), int(task["stop"]))
        try:
            with _tries(self.out / f".{shard_name(shard.number, self.plan)}.tries"):
                write_shard(shard, self.plan, self.out, self.here, self.pipeline, self.boxes)
        except Exception as error:  # a full disk, say: the driver names the shard, and the others go on
            return {"number": shard.number, "error": str(error) or type(error).__name__}
        return {"number": shard.number, "error": ""}


def pipeline_of(recipe: Recipe, here: Path, *, detect: bool = True) -> Pipeline:
    """The pipeline that the recipe names, with one thread; its paths are relative to `here`."""
    model = here / recipe.model if (here / recipe.model).is_dir() else recipe.model
    return Pipeline(
        model,
        recipe.detector if detect else None,
        detector_model=None if recipe.detector_model is None else here / recipe.detector_model,
        min_score=recipe.min_score,
        flip_average=recipe.flip_average,
        provider=recipe.provider,
    )


def write_shard(
    shard: Shard, plan: Plan, out: Path, here: Path, pipeline: Pipeline, boxes: BoxFile | None = None
) -> Tally:
    """Aligns the shard's pictures and writes its file whole or not at all; a picture that fails is a row."""
    rows: list[dict[str, Any]] = []
    tally = Tally()
    for name, picture in _pictures(shard, here, plan.columns):
        try:
            image_rgb = read_image(here / name) if picture is None else _decoded(picture, name)
            faces = pipeline(image_rgb, None if boxes is None else boxes.of(here / name))
        except Exception as error:  # one picture's trouble, whatever it is, does not stop the others
            rows.append({"path": name, "error": str(error) or type(error).__name__})
            tally += Tally(1, 0, 1)
        else:
            rows += [_row(name, index, face) for index, face in enumerate(faces)] or [{"path": name}]
            tally += Tally(1, len(faces), 0)
    facts = {"plan": plan.digest, "pictures": tally.pictures, "faces": tally.faces, "failed": tally.failed}
    table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({"unveil": json.dumps(facts)})
    with written_whole(out / shard_name(shard.number, plan)) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return tally


def tally_of(path: Path) -> Tally:
    """What a shard says of itself, from its last bytes."""
    facts = json.loads(pq.read_metadata(path).metadata[b"unveil"])
    return Tally(facts["pictures"], facts["faces"], facts["failed"])


def run_plan(
    plan: Plan, out: Path, *, workers: int | None = None, address: str | None = None, boxes: BoxFile | None = None
) -> Iterator[Done]:
    """Does the shards that are not there yet, and says of each when it is done or has failed.

    `workers` is their number, all processors unless given. Without `address` Ray starts on this machine and ends with
    the run; with it the run joins a cluster, whose machines must see `out` and the sources under the same paths.
    ValueError, in one line, if Ray cannot start the workers.
    """
    missing = plan.missing(out)
    if not missing:
        return
    with _ray(address, workers) as cores:
        import ray.data
        from ray.exceptions import RayError

        size = max(1, min(workers or cores, cores, len(missing)))
        tasks = [
            {"number": shard.number, "paths": list(shard.paths), "start": shard.start, "stop": shard.stop}
            for shard in missing
        ]
        done = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map(
            Worker,  # type: ignore[arg-type]  # a class of callables, which Ray calls an actor
            fn_constructor_args=(plan.without_shards(), str(out.absolute()), str(Path.cwd()), boxes),
            compute=ray.data.ActorPoolStrategy(size=size),
            num_cpus=1,
        )
        try:
            for row in done.iter_rows():
                yield Done(int(row["number"]), row["error"] or None)
        except RayError as error:
            raise ValueError(f"Ray: {str(error).strip().splitlines()[-1]}") from error


@contextmanager
def _ray(address: str | None, workers: int | None) -> Iterator[int]:
    """Ray for the length of the block; gives the number of its processors. ValueError if there is none at `address`."""
    for name, value in (QUIET if address else QUIET | LOOPBACK).items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data

    try:
        with _quiet_stderr():
            ray.init(
                address=address or "local",
                num_cpus=None if address else workers or len(os.sched_getaffinity(0)),
                object_store_memory=None if address else OBJECT_STORE,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray there; start one with `ray start --head`") from error
    try:
        for logger in ("ray", "ray.data"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        yield int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Nothing reaches stderr inside the block, not even from C++: Ray greets there, whatever its log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - it is no path to us
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _tries(marks: Path) -> Iterator[None]:
    """Counts, beside the shard, how often it was begun; RuntimeError once its workers have died too often."""
    begun = marks.stat().st_size if marks.exists() else 0
    if begun >= TRIES:
        raise RuntimeError(f"{begun} workers died of it; look for a picture that needs more memory than there is")
    with marks.open("ab") as file:
        file.write(b".")
    try:
        yield
    finally:
        marks.unlink(missing_ok=True)


def _pictures(shard: Shard, here: Path, columns: Columns) -> Iterator[tuple[str, Any]]:
    """Each picture's name, and its bytes if they come from a parquet file."""
    if shard.start < 0:
        yield from ((path, None) for path in shard.paths)
        return
    (path,) = shard.paths
    table = parquet_rows(here / path, shard.start, shard.stop, columns)
    pictures = table.column(columns.image).to_pylist()
    numbered = [f"{path}#{row}" for row in range(shard.start, shard.stop)]
    named = table.column(columns.path).to_pylist() if columns.path else numbered
    for name, number, picture in zip(named, numbered, pictures, strict=True):
        yield str(number if name is None else name), picture if picture is not None else b""


def _decoded(picture: object, name: str) -> Image:
    if not isinstance(picture, bytes):
        raise ImageError(f"{name}: its column holds a {type(picture).__name__}, not the bytes of a picture file")
    return decode_image(picture, name)


def _row(name: str, index: int, face: Face) -> dict[str, Any]:
    return {
        "path": name,
        "face": index,
        "box": list(face.box),
        "score": face.score,
        "landmarks": face.landmarks.tolist(),
        "visibility": face.visibility.tolist() if is_said(face.visibility) else None,
        "uncertainty": face.uncertainty.tolist() if is_said(face.uncertainty) else None,
        "pose": None if face.pose is None else face.pose._asdict(),
    }
