"""Files on disk: atomic writes, and the error for input data that cannot be used."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

Writer: TypeAlias = Callable[[Path], None]
"""Writes one file to the path that it is given."""


class DataError(ValueError):
    """Input data that cannot be used. The message is one line that names the file and the fix."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all.

    Args:
        path: The file to write. Its folder must exist.

    Yields:
        A temporary path in the same folder. It replaces `path` when the block ends without an exception and is deleted
        otherwise, so that the old file stays.
    """
    temporary = path.with_name(f".{uuid4().hex[:12]}.part")  # a long name would not leave room for more
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def atomic_write_all(writers: Mapping[Path, Writer]) -> None:
    """Write several files together: all of them appear, or none.

    Args:
        writers: Path of each file and the function that writes it. Missing folders are created.
    """
    with ExitStack() as stack:
        for path, write in writers.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(stack.enter_context(atomic_write(path)))


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Args:
        path: The file. Missing folders are created.
        content: Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: object, indent: int | None = None) -> None:
    """Write a JSON file atomically.

    Args:
        path: The file. Missing folders are created.
        content: Its content.
        indent: Spaces of a level; None writes one line.

    Raises:
        ValueError: A number is not finite.
    """
    write_file(path, (json.dumps(content, indent=indent, allow_nan=False) + "\n").encode())


@contextmanager
def write_csv(path: Path, **options: Any) -> Iterator[Any]:
    """Write a CSV file, which appears when the block ends without an exception.

    Args:
        path: The file. Missing folders are created.
        options: Of `csv.writer`.

    Yields:
        The writer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        yield csv.writer(file, **options)
