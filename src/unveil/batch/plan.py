"""The plan of a batch: which images form which shard. It is stored with the output, so that a run can continue.

`_manifest.json` has the options that determine the landmarks, `_plan.parquet` one row for each entry of a shard.
Readers of a folder of parquet files ignore names that begin with an underscore.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unveil.batch.sources import (
    Entry,
    ParquetColumns,
    content_digest,
    escape_name,
    find_entries,
    read_images,
    unescape_name,
)
from unveil.inference.detector import DetectorName
from unveil.inference.external_detectors import MIN_SCORE
from unveil.inference.onnx_model import Provider
from unveil.io.files import DataError, atomic_write

MANIFEST, PLAN = "_manifest.json", "_plan.parquet"
FORMAT, VERSION = "unveil batch", 2
DEFAULT_COLUMNS = ParquetColumns()
MAX_SHARD, MIN_SHARD = 500, 10  # images; a worker that dies repeats at most one shard
SHARDS_PER_WORKER = 8  # so that all workers finish at about the same time

PLAN_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("path", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("stamp", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The options that determine the landmarks of an image.

    Args:
        model: Name of a shipped model, or a model folder relative to the current folder.
        model_sha256: SHA-256 of its `model.onnx`.
        detector: The detector.
        detector_model: The detector's ONNX file, relative to the current folder.
        min_score: Detections with a lower score are ignored.
        flip_average: Whether to average with the mirrored face.
        provider: The device of the networks.
        boxes_sha256: SHA-256 of the file with boxes; None if the detector finds the faces.
    """

    model: str = "glomface-light"
    model_sha256: str = ""
    detector: DetectorName = "unveil"
    detector_model: str | None = None
    min_score: float = MIN_SCORE
    flip_average: bool = False
    provider: Provider = "cpu"
    boxes_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """The images of one output file.

    Args:
        number: The number in the name of the file.
        entries: Image files, or one range of rows.
    """

    number: int
    entries: tuple[Entry, ...]

    @property
    def file_name(self) -> str:
        """The name of the output file."""
        return f"shard-{self.number:05}.parquet"


@dataclass(frozen=True, slots=True)
class Plan:
    """The shards of a run and the options that they depend on.

    Args:
        recipe: The options that determine the landmarks.
        columns: The columns of parquet sources.
        shard_size: The largest number of images in a shard.
        shards: All shards, also finished ones.
    """

    recipe: Recipe
    columns: ParquetColumns
    shard_size: int
    shards: tuple[Shard, ...] = field(default=())

    @property
    def images(self) -> int:
        """The number of images."""
        return sum(entry.images for shard in self.shards for entry in shard.entries)

    def missing(self, out: Path) -> list[Shard]:
        """Return the shards whose files do not exist yet.

        Args:
            out: The output folder.
        """
        finished = {path.name for path in out.glob("shard-*.parquet")}
        return [shard for shard in self.shards if shard.file_name not in finished]


def open_plan(
    sources: Sequence[str],
    out: Path,
    recipe: Recipe,
    columns: ParquetColumns = DEFAULT_COLUMNS,
    *,
    shard_size: int | None = None,
    workers: int = 1,
    add: bool = False,
) -> Plan:
    """Plan a run and store the plan, or continue the run in `out`.

    Args:
        sources: Images, globs, folders, `.txt` lists of names, `.parquet` files or folders with such files; also URIs.
        out: The output folder.
        recipe: The options that determine the landmarks.
        columns: The columns of parquet sources.
        shard_size: The largest number of images in a shard; None to continue with the stored size, or to choose one.
        workers: The number of workers that the chosen size is for.
        add: Add images that are not in the output yet. Images that are missing from `sources` stay in the output.

    Returns:
        The plan.

    Raises:
        ValueError: A source leads to no image, or `out` has a run with other options, other images or changed images.
    """
    entries = find_entries(sources, out, columns)
    if not (out / MANIFEST).exists():
        if next(out.glob("shard-*.parquet"), None) is not None:
            raise ValueError(f"{out}: shards of a run without {MANIFEST}; choose another --out")
        images = sum(entry.images for entry in entries)
        size = shard_size or min(MAX_SHARD, max(MIN_SHARD, -(-images // (SHARDS_PER_WORKER * workers))))
        plan = Plan(recipe, columns, size, tuple(_shards(entries, size, 0)))
        _save(plan, out)
        return plan
    stored = _load(out)
    _check_options(stored, Plan(recipe, columns, shard_size or stored.shard_size), out)
    plan = _continued(stored, entries, out, add=add)
    if plan != stored:
        _save(plan, out)
    return plan


def clean_up(out: Path) -> None:
    """Remove the temporary files of workers that were killed. No worker may be running.

    Args:
        out: The output folder.
    """
    for pattern in (".*.part", ".shard-*.attempts"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


def _shards(entries: Sequence[Entry], size: int, first: int) -> Iterator[Shard]:
    """Group entries into shards of at most `size` images, numbered from `first`."""
    files = [entry for entry in entries if entry.start < 0]
    groups = [tuple(files[start : start + size]) for start in range(0, len(files), size)]
    for table in (entry for entry in entries if entry.start >= 0):
        starts = range(table.start, table.stop, size)
        groups += [(replace(table, start=start, stop=min(start + size, table.stop)),) for start in starts]
    for number, group in enumerate(groups, first):
        yield Shard(number, group)


def _continued(stored: Plan, entries: Sequence[Entry], out: Path, *, add: bool) -> Plan:
    """Return the stored plan with current stamps and, with `add`, new shards; ValueError if the images differ."""
    current = {entry.path: entry for entry in entries}
    known = {entry.path for shard in stored.shards for entry in shard.entries}
    new = [entry for entry in entries if entry.path not in known]
    gone = sorted(known - set(current))
    if new and not add:
        raise ValueError(f"{out}: {_count(new)} not in this output, {new[0].path} for example; give --add to add it")
    if gone and not add:
        raise ValueError(
            f"{out}: {len(gone)} of its sources were not given, {gone[0]} for example; give all, or --add to add more"
        )
    _check_rows(stored, current)
    missing = {shard.number for shard in stored.missing(out)}
    shards = [_restamped(shard, current, stored, None if shard.number in missing else out) for shard in stored.shards]
    return replace(stored, shards=(*shards, *_shards(new, stored.shard_size, len(shards))))


def _count(entries: Sequence[Entry]) -> str:
    images = sum(entry.images for entry in entries)
    return "1 image is" if images == 1 else f"{images} images are"


def _check_rows(stored: Plan, current: dict[str, Entry]) -> None:
    """Raise ValueError if a parquet file has another number of rows than when it was planned."""
    rows: dict[str, int] = {}
    for shard in stored.shards:
        for entry in shard.entries:
            rows[entry.path] = max(rows.get(entry.path, -1), entry.stop)
    for path, count in rows.items():
        if path in current and current[path].stop != count:
            raise ValueError(f"{path}: {current[path].stop} rows, {count} when the run began; choose another --out")


def _restamped(shard: Shard, current: dict[str, Entry], plan: Plan, out: Path | None) -> Shard:
    """Return a shard with current stamps. A finished shard has `out`: a file with a new stamp needs its old content."""
    changed = {
        index: current[entry.path].stamp
        for index, entry in enumerate(shard.entries)
        if entry.path in current and current[entry.path].stamp not in ("", entry.stamp)
    }
    if not changed:
        return shard
    entries = list(shard.entries)
    digests = [] if out is None else finished_digests(out / shard.file_name)
    for index, new_stamp in changed.items():
        entry = entries[index]
        if digests and digests[index] != _current_digest(entry, plan.columns):
            shard_path = out / shard.file_name if out else ""
            raise ValueError(
                f"{entry.path}: its content changed after it was aligned; delete {shard_path} to align it again"
            )
        entries[index] = replace(entry, stamp=new_stamp)
    return replace(shard, entries=tuple(entries))


def finished_digests(path: Path) -> list[str]:
    """Return the digests of the entries of a finished shard.

    Args:
        path: The file of the shard.
    """
    digests: list[str] = json.loads(pq.read_metadata(path).metadata[b"unveil"])["content"]
    return digests


def _current_digest(entry: Entry, columns: ParquetColumns) -> str:
    try:
        return content_digest([*read_images(entry, Path.cwd(), columns)])
    except DataError:
        return ""


def _save(plan: Plan, out: Path) -> None:
    """Write the plan, and after it the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    entries = ((shard, entry) for shard in plan.shards for entry in shard.entries)
    rows = [{"shard": shard.number, **asdict(entry), "path": escape_name(entry.path)} for shard, entry in entries]
    with atomic_write(out / PLAN) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, PLAN_SCHEMA), temporary, compression="zstd")
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "recipe": asdict(plan.recipe),
        "columns": asdict(plan.columns),
        "shard": plan.shard_size,
    }
    with atomic_write(out / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _load(out: Path) -> Plan:
    """Read a stored plan; ValueError if it is not one, or of another version."""
    path = out / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise KeyError("format")
        if manifest["version"] != VERSION:
            raise ValueError(f"of version {manifest['version']}, expected {VERSION}")
        rows = pq.read_table(out / PLAN).to_pylist()
        recipe, columns = Recipe(**manifest["recipe"]), ParquetColumns(**manifest["columns"])
        size = int(manifest["shard"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the manifest of a batch; choose another --out") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read ({error}); choose another --out") from error
    groups: dict[int, list[Entry]] = {}
    for row in rows:
        groups.setdefault(row.pop("shard"), []).append(Entry(unescape_name(row.pop("path")), **row))
    shards = tuple(Shard(number, tuple(entries)) for number, entries in sorted(groups.items()))
    return Plan(recipe, columns, size, shards)


def _check_options(stored: Plan, given: Plan, out: Path) -> None:
    """Raise ValueError, naming the first option that differs from the stored run."""
    for before, now in ((stored.recipe, given.recipe), (stored.columns, given.columns)):
        for name, value in asdict(now).items():
            old = getattr(before, name)
            if old != value:
                raise ValueError(f"{out}: started with {name} {old!r}, now {value!r}; use {old!r}, or another --out")
    if stored.shard_size != given.shard_size:
        raise ValueError(f"{out}: started with --shard {stored.shard_size}, now {given.shard_size}; leave it out")
