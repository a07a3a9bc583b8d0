"""One shard: its images are aligned and written to one parquet file. L landmarks."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from unveil.batch.plan import Recipe, Shard
from unveil.batch.sources import ParquetColumns, content_digest, escape_name, read_images
from unveil.inference.pipeline import Pipeline
from unveil.io.boxes import BoxFile
from unveil.io.files import atomic_write
from unveil.io.images import ImageError, decode_image
from unveil.types import Face

MAX_ATTEMPTS = 4  # of a shard whose worker dies


def schema_for(landmarks: int) -> pa.Schema:
    """Return the columns of a shard. Lists have a fixed size, so that numpy stacks them.

    An image without a face has one row without `face`, a failed image one row with `error`.

    Args:
        landmarks: The number of landmarks of the model's scheme, L.
    """
    return pa.schema(
        [
            ("path", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("model", pa.string()),
            ("scheme", pa.string()),
            ("face", pa.int32()),
            ("box", pa.list_(pa.float32(), 4)),
            ("score", pa.float32()),
            ("landmarks", pa.list_(pa.float32(), 2 * landmarks)),  # x0, y0, x1, y1, ...
            ("visibility", pa.list_(pa.float32(), landmarks)),
            ("uncertainty", pa.list_(pa.float32(), landmarks)),
            ("pose", pa.struct([(name, pa.float32()) for name in ("yaw", "pitch", "roll")])),
            ("error", pa.string()),
        ]
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of one or more shards.

    Args:
        images: The number of images.
        faces: The number of faces.
        failed: The number of images that failed.
    """

    images: int = 0
    faces: int = 0
    failed: int = 0

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(self.images + other.images, self.faces + other.faces, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What all shards of a run share. It is sent to the workers, so it contains no list of images.

    Args:
        recipe: The options that determine the landmarks.
        columns: The columns of parquet sources.
        out: The output folder, absolute.
        here: The folder that relative paths start from.
        boxes: Boxes instead of a detector.
    """

    recipe: Recipe
    columns: ParquetColumns
    out: Path
    here: Path
    boxes: BoxFile | None = None


class ShardWorker:
    """Aligns the images of shards with one pipeline of one thread.

    Args:
        job: What all shards share.
    """

    def __init__(self, job: BatchJob) -> None:
        cv2.setNumThreads(1)
        self.job = job
        self.pipeline = load_pipeline(job)

    def __call__(self, shard: Shard) -> str | None:
        """Write one shard.

        Args:
            shard: The shard.

        Returns:
            Why it failed, in one line; None if its file was written.
        """
        try:
            with _count_attempts(self.job.out / f".{shard.file_name}.attempts"):
                write_shard(shard, self.job, self.pipeline)
        except Exception as error:  # for example a full disk: the other shards continue
            return str(error) or type(error).__name__
        return None


def load_pipeline(job: BatchJob) -> Pipeline:
    """Load the pipeline of a run, with one thread.

    Args:
        job: What all shards share.

    Returns:
        The pipeline; without a detector if the run has boxes.
    """
    recipe = job.recipe
    folder = job.here / recipe.model
    return Pipeline(
        folder if folder.is_dir() else recipe.model,
        None if job.boxes is not None else recipe.detector,
        detector_model=None if recipe.detector_model is None else job.here / recipe.detector_model,
        min_score=recipe.min_score,
        provider=recipe.provider,
    )


def write_shard(shard: Shard, job: BatchJob, pipeline: Pipeline) -> Summary:
    """Align the images of a shard and write its file, completely or not at all. A failed image is a row.

    Args:
        shard: The shard.
        job: What all shards share.
        pipeline: The pipeline.

    Returns:
        The counts.
    """
    constant = {"model": pipeline.model.config.name, "scheme": pipeline.model.scheme.name}
    rows: list[dict[str, Any]] = []
    digests = []
    summary = Summary()
    for entry in shard.entries:
        try:
            images = [*read_images(entry, job.here, job.columns)]
        except ImageError as error:
            digests.append("")
            rows.append({"path": entry.path, "error": str(error), **constant})
            summary += Summary(images=1, failed=1)
            continue
        digests.append(content_digest(images))
        for name, content in images:
            found = [row | constant for row in _align(name, content, job, pipeline)]
            failed = found[0].get("error") is not None
            summary += Summary(1, sum("face" in row for row in found), int(failed))
            rows += found
    for row in rows:
        row |= {key: escape_name(row[key]) for key in ("path", "error") if key in row}
    metadata = {"images": summary.images, "faces": summary.faces, "failed": summary.failed, "content": digests}
    table = pa.Table.from_pylist(rows, schema_for(pipeline.model.scheme.points))
    with atomic_write(job.out / shard.file_name) as temporary:
        pq.write_table(table.replace_schema_metadata({"unveil": json.dumps(metadata)}), temporary, compression="zstd")
    return summary


def read_summary(path: Path) -> Summary:
    """Read the counts of a finished shard from its metadata.

    Args:
        path: The file of the shard.

    Returns:
        The counts.
    """
    metadata = json.loads(pq.read_metadata(path).metadata[b"unveil"])
    return Summary(metadata["images"], metadata["faces"], metadata["failed"])


def read_failures(path: Path) -> list[tuple[str, str]]:
    """Read the failed images of a finished shard.

    Args:
        path: The file of the shard.

    Returns:
        The name and the error of each.
    """
    table = pq.read_table(path, columns=["path", "error"])
    return [(row["path"], row["error"]) for row in table.to_pylist() if row["error"] is not None]


def _align(name: str, content: object, job: BatchJob, pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the rows of one image, at least one."""
    size: dict[str, Any] = {}
    try:
        if not isinstance(content, bytes):
            kind = type(content).__name__
            raise ImageError(f"{name}: the column contains a {kind}, not the bytes of an image file")
        image_rgb = decode_image(content, name, _warn)
        size = {"height": image_rgb.shape[0], "width": image_rgb.shape[1]}
        boxes = None if job.boxes is None else job.boxes.boxes_of(job.here / name)
        faces = pipeline(image_rgb, boxes, flip_average=job.recipe.flip_average)
    except Exception as error:  # one image must not stop the others
        return [{"path": name, "error": str(error) or type(error).__name__, **size}]
    return [{"path": name, **size, **_row(index, face)} for index, face in enumerate(faces)] or [{"path": name, **size}]


def _warn(text: str) -> None:
    print("warning:", text if text.isprintable() else ascii(text), file=sys.stderr, flush=True)


def _row(index: int, face: Face) -> dict[str, Any]:
    return {
        "face": index,
        "box": list(face.box),
        "score": face.score,
        "landmarks": face.landmarks.ravel().tolist(),
        "visibility": None if face.visibility is None else face.visibility.tolist(),
        "uncertainty": None if face.uncertainty is None else face.uncertainty.tolist(),
        "pose": None if face.pose is None else face.pose._asdict(),
    }


@contextmanager
def _count_attempts(marks: Path) -> Iterator[None]:
    """Count in a file how often a shard was started; RuntimeError after too many workers died."""
    attempts = marks.stat().st_size if marks.exists() else 0
    if attempts >= MAX_ATTEMPTS:
        raise RuntimeError(f"{attempts} workers died while aligning it; remove the image that needs too much memory")
    with marks.open("ab") as file:
        file.write(b".")
    try:
        yield
    finally:
        marks.unlink(missing_ok=True)
