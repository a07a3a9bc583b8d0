"""Files of a batch: local paths, and URIs such as `s3://`, `gs://` and `https://`.

A name is a path relative to the current folder, an absolute path, or a URI. Local files are read directly, `s3` and
`gs` through pyarrow, every other protocol through fsspec.
"""

import re
import time
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from unveil.io.image_sources import find_sources
from unveil.io.images import IMAGE_SUFFIXES, ImageError

ARROW_SCHEMES = ("s3", "gs", "gcs")
READ_ATTEMPTS = 3  # of a remote file
RETRY_SECONDS = 0.5


def is_uri(name: str) -> bool:
    """Tell whether a name is a URI.

    Args:
        name: A path or a URI.
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name) is not None


def find_images(source: str, out: Path) -> dict[str, str]:
    """Find the images that a file, folder, glob or URI names.

    Args:
        source: What to search. Folders are searched recursively; a URI may contain `*` and `**`.
        out: The output folder, which is not searched.

    Returns:
        The names and their stamps: size and time of change, or what the server gives instead.

    Raises:
        ValueError: Nothing was found.
    """
    if not is_uri(source):
        found = find_sources([source], out)
        if found.problems:
            raise ValueError(found.problems[0])
        return {name: stamp(name) for name in (local_name(image.path) for image in found.images)}
    infos = _list(source, tuple(IMAGE_SUFFIXES))
    if not infos:
        raise ValueError(f"{source}: no images there; check the address")
    return infos


def find_tables(source: str, out: Path) -> dict[str, str]:
    """Find the parquet files that a file, folder or URI names.

    Args:
        source: A `.parquet` file, or a folder with such files. Hidden files and those that begin with `_` do not count.
        out: The output folder, which is not searched.

    Returns:
        The names and their stamps, as `find_images` returns them.
    """
    if is_uri(source):
        return _list(source, (".parquet",))
    path = Path(source)
    files = [path]
    if path.is_dir():
        excluded = out.resolve()
        below = (file for file in path.rglob("*.parquet") if not file.name.startswith((".", "_")))
        files = sorted(file for file in below if excluded not in file.resolve().parents)
    return {name: stamp(name) for name in map(local_name, files)}


def local_name(path: Path) -> str:
    """Return a path relative to the current folder if it lies below it, otherwise unchanged.

    Args:
        path: A local path.
    """
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def stamp(name: str) -> str:
    """Return a text that changes when a file is written: size and time. Empty if they are unknown.

    Args:
        name: A path or a URI.
    """
    if is_uri(name):
        return ""  # only a listing gives the stamps of remote files
    try:
        status = Path(name).stat()
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def read_bytes(name: str, here: Path) -> bytes:
    """Read a file.

    Args:
        name: A path or a URI.
        here: The folder that relative paths start from.

    Returns:
        Its content.

    Raises:
        ImageError: The file does not exist or cannot be read.
    """
    for attempt in range(1, READ_ATTEMPTS + 1):
        try:
            if not is_uri(name):
                return (here / name).read_bytes()
            filesystem, path = open_uri(name)
            content: bytes = filesystem.cat_file(path)
            return content
        except FileNotFoundError:
            raise ImageError(f"{name}: no such file; check the path") from None
        except IsADirectoryError:
            raise ImageError(f"{name}: a folder, not an image") from None
        except Exception as error:  # the exceptions of remote file systems have no common base class
            if attempt == READ_ATTEMPTS or not is_uri(name) or isinstance(error, ValueError):
                raise ImageError(f"{name}: cannot be read ({_first_line(error)})") from error
            time.sleep(RETRY_SECONDS * attempt)
    raise AssertionError


def open_file(name: str, here: Path) -> IO[bytes]:
    """Open a file for random access.

    Args:
        name: A path or a URI.
        here: The folder that relative paths start from.

    Returns:
        The open file.

    Raises:
        OSError: The file does not exist or cannot be opened.
    """
    if not is_uri(name):
        return (here / name).open("rb")
    filesystem, path = open_uri(name)
    file: IO[bytes] = filesystem.open(path, "rb")
    return file


def open_uri(uri: str) -> tuple[Any, str]:
    """Open the file system of a URI.

    Args:
        uri: A URI. For `s3` and `gs` its query may contain options of pyarrow, such as `endpoint_override`.

    Returns:
        An fsspec file system, and the path of the URI in it.

    Raises:
        ValueError: No library for this protocol is installed, or the URI contains a password.
    """
    parts = urlsplit(uri)
    if parts.password is not None:
        raise ValueError(f"{parts.scheme}://{parts.hostname}: a password in a URI would be stored with the results; "
                         "set the environment variables of the service instead")  # fmt: skip
    if parts.scheme in ARROW_SCHEMES:
        root = f"{parts.scheme}://{parts.netloc}" + (f"?{parts.query}" if parts.query else "")
        return _arrow_filesystem(root), f"{parts.netloc.split('@')[-1]}{parts.path}"
    return _fsspec_filesystem(parts.scheme), uri


@cache
def _arrow_filesystem(root: str) -> Any:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    try:
        filesystem, _ = FileSystem.from_uri(root)
    except (ArrowException, OSError) as error:
        raise ValueError(f"{root}: cannot be opened ({_first_line(error)})") from error
    return ArrowFSWrapper(filesystem)


@cache
def _fsspec_filesystem(scheme: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except (ValueError, ImportError) as error:
        raise ValueError(f"{scheme}://: {_first_line(error)}") from error


def _list(uri: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Return the files with these suffixes at a URI: the file itself, what a pattern matches, or a folder's content."""
    filesystem, path = open_uri(uri)
    parts = urlsplit(uri)
    is_image = path.split("?")[0].lower().endswith(suffixes)
    try:
        if "*" in path:
            infos = filesystem.glob(path, detail=True)
        elif is_image:
            return {uri: _stamp(filesystem.info(path))}
        else:
            infos = filesystem.find(path, detail=True)
    except FileNotFoundError:
        raise ValueError(f"{uri}: not found; check the address") from None
    except Exception as error:  # the exceptions of remote file systems have no common base class
        raise ValueError(f"{uri}: cannot be listed ({_first_line(error)})") from error
    query = f"?{parts.query}" if parts.query and parts.scheme in ARROW_SCHEMES else ""
    prefix = f"{parts.scheme}://" if parts.scheme in ARROW_SCHEMES else ""
    files = {name: info for name, info in infos.items() if info["type"] == "file" and name.lower().endswith(suffixes)}
    return {f"{prefix}{name}{query}": _stamp(info) for name, info in sorted(files.items())}


def _stamp(info: dict[str, Any]) -> str:
    version = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified") if info.get(key)), "")
    return f"{info.get('size') or ''}:{version}" if version else ""


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
