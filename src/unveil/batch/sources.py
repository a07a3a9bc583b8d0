"""The sources of a batch: image files, and rows of parquet files that contain encoded images."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unveil.batch.storage import find_images, find_tables, is_uri, open_file, read_bytes, stamp
from unveil.io.files import DataError


@dataclass(frozen=True, slots=True)
class ParquetColumns:
    """The columns of a parquet file with images.

    Args:
        image: The column with the encoded images; a dot selects a field of a struct.
        path: The column with their names; None to name them FILE#ROW.
    """

    image: str = "image"
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file, or a range of rows of a parquet file.

    Args:
        path: The name of the file: a relative path, an absolute path or a URI.
        start: The first row; -1 for an image file.
        stop: The row after the last; -1 for an image file.
        stamp: Size and time of change of the file when it was planned; empty if unknown.
    """

    path: str
    start: int = -1
    stop: int = -1
    stamp: str = ""

    @property
    def images(self) -> int:
        """The number of images."""
        return 1 if self.start < 0 else self.stop - self.start


def find_entries(sources: Sequence[str], out: Path, columns: ParquetColumns) -> list[Entry]:
    """Find the images of a run.

    Args:
        sources: What `open_plan` takes.
        out: The output folder, which is not searched.
        columns: The columns of parquet sources.

    Returns:
        One entry for each image file, and one for all rows of each parquet file, without duplicates.

    Raises:
        ValueError: A source leads to no image.
    """
    files: dict[str, str] = {}
    tables: dict[str, str] = {}
    for source in sources:
        is_folder = not is_uri(source) and Path(source).is_dir()
        if source.endswith(".parquet"):
            tables |= find_tables(source, out)
        elif source.endswith(".txt") and not is_folder:
            files |= {name: stamp(name) for name in _listed(source)}
        else:
            try:
                files |= find_images(source, out)
            except ValueError:
                below = find_tables(source, out) if is_folder else {}
                if not below:
                    raise
                tables |= below
    entries = [Entry(name, stamp=changed) for name, changed in files.items()]
    entries += [Entry(name, 0, _count_rows(name, columns), changed) for name, changed in tables.items()]
    entries = [entry for entry in entries if entry.images]  # some programs write empty parts
    if not entries:
        raise ValueError(f"{', '.join(sources)}: no images")
    return entries


def read_rows(entry: Entry, here: Path, columns: ParquetColumns) -> pa.Table:
    """Read the rows of an entry. Only the row groups that contain them are read.

    Args:
        entry: A range of rows of a parquet file.
        here: The folder that relative paths start from.
        columns: The columns to read.

    Returns:
        The rows, with the fields of structs as columns `image.bytes`.
    """
    with open_file(entry.path, here) as opened, pq.ParquetFile(opened) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = [sum(sizes[: group + 1]) for group in range(len(sizes))]
        groups = [
            group
            for group, (end, rows) in enumerate(zip(ends, sizes, strict=True))
            if end > entry.start and end - rows < entry.stop
        ]
        wanted = [column for column in (columns.image, columns.path) if column]
        table = file.read_row_groups(groups, columns=wanted, use_threads=False)
    table = table.slice(entry.start - (ends[groups[0]] - sizes[groups[0]]), entry.images)
    while any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    return table


def read_images(entry: Entry, here: Path, columns: ParquetColumns) -> Iterator[tuple[str, object]]:
    """Read the encoded images of an entry.

    Args:
        entry: An image file or a range of rows.
        here: The folder that relative paths start from.
        columns: The columns of a parquet file.

    Yields:
        The name of each image and its bytes, or what the column contains instead.

    Raises:
        ImageError: An image file cannot be read.
    """
    if entry.start < 0:
        yield entry.path, read_bytes(entry.path, here)
        return
    table = read_rows(entry, here, columns)
    numbered = [f"{entry.path}#{row}" for row in range(entry.start, entry.stop)]
    named = table.column(columns.path).to_pylist() if columns.path else numbered
    for name, number, content in zip(named, numbered, table.column(columns.image).to_pylist(), strict=True):
        yield str(number if name is None else name), b"" if content is None else content


def content_digest(images: Sequence[tuple[str, object]]) -> str:
    """Return a digest of encoded images and, if there are several, of their names.

    Args:
        images: What `read_images` yields.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, content in images:
        if len(images) > 1:
            digest.update(name.encode("utf-8", "surrogateescape"))
        digest.update(content if isinstance(content, bytes) else repr(content).encode())
    return digest.hexdigest()


def escape_name(name: str) -> str:
    r"""Return text that parquet can store: bytes of a file name that are not UTF-8 become `\udcXX`.

    Args:
        name: The name of a file, or a message with one.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def unescape_name(stored: str) -> str:
    """Return the name that `escape_name` turned into this text.

    Args:
        stored: The text.
    """
    return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda match: chr(int(match[1], 16)), stored)


def _count_rows(name: str, columns: ParquetColumns) -> int:
    try:
        with open_file(name, Path.cwd()) as opened, pq.ParquetFile(opened) as file:
            has = {column.path.split(".list.")[0] for column in map(file.schema.column, range(len(file.schema)))}
            rows: int = file.metadata.num_rows
    except FileNotFoundError:
        raise ValueError(f"{name}: no such file; check the path") from None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{name}: not a parquet file, or truncated; copy it again") from error
    for option, column in (("--image-column", columns.image), ("--path-column", columns.path)):
        if column is not None and column not in has:
            raise ValueError(f"{name}: no column {column!r} among {', '.join(sorted(has))}; name it with {option}")
    return rows


def _listed(name: str) -> list[str]:
    """Return the names in a text file, one a line, without duplicates."""
    try:
        lines = read_bytes(name, Path.cwd()).decode("utf-8-sig").splitlines()
    except (DataError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: cannot be read as a list of paths, one a line ({error})") from error
    names = [line.strip() for line in lines if line.strip()]
    return [name if is_uri(name) else Path(name).as_posix() for name in names]
