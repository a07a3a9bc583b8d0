"""Batches read images from servers: HTTP folders and files, and an S3 service."""

import functools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="batches need pyarrow: pip install '.[batch]'")
pytest.importorskip("aiohttp", reason="https:// needs aiohttp: pip install '.[batch]'")

import pyarrow as pa
import pyarrow.parquet as pq

from unveil.batch.plan import Recipe, open_plan
from unveil.batch.shards import BatchJob, write_shard
from unveil.batch.sources import ParquetColumns
from unveil.inference.pipeline import Pipeline

FILES = ("a.png", "deep/b c.png", "deep/notes.md")
OUT = Path("out")


def png() -> bytes:
    return bytes(cv2.imencode(".png", np.full((24, 32, 3), 90, np.uint8))[1].tobytes())


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves files and listings of folders."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class FakeS3(BaseHTTPRequestHandler):
    """Serves one bucket: ListObjectsV2, HeadObject and GetObject, also of ranges."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def do_HEAD(self) -> None:
        self.answer(head=True)

    def do_GET(self) -> None:
        self.answer(head=False)

    def answer(self, *, head: bool) -> None:
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix("/bucket").removeprefix("/")
        query = parse_qs(parts.query)
        if "list-type" in query:
            return self.send(200, self.listing(query).encode(), head=head)
        if key not in self.objects:
            return self.send(200 if not key else 404, b"", head=head)
        content = self.objects[key]
        if given := self.headers.get("Range"):
            start, stop = given.removeprefix("bytes=").split("-")
            return self.send(206, content[int(start) : int(stop or len(content)) + 1], head=head)
        return self.send(200, content, head=head)

    def listing(self, query: dict[str, list[str]]) -> str:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys, folders = [], set()
        for key in sorted(self.objects):
            rest = key.removeprefix(prefix)
            if key.startswith(prefix) and delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
            elif key.startswith(prefix):
                keys.append(key)
        entries = [
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size><ETag>1</ETag>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in keys
        ]
        entries += [f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in sorted(folders)]
        count = f"<IsTruncated>false</IsTruncated><KeyCount>{len(entries)}</KeyCount>"
        return f'<?xml version="1.0"?><ListBucketResult>{count}{"".join(entries)}</ListBucketResult>'

    def send(self, status: int, content: bytes, *, head: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        if not head:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        path = tmp_path / "served" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    pq.write_table(pa.table({"image": [png(), b"broken"]}), tmp_path / "served/two.parquet")
    return tmp_path / "served"


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """Serve the folder over HTTP."""
    handler = functools.partial(QuietFiles, directory=str(folder))
    yield from serve(ThreadingHTTPServer(("127.0.0.1", 0), handler))


@pytest.fixture
def s3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the folder as an S3 bucket; pyarrow reads the address from the environment."""
    objects = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    handler = type("Handler", (FakeS3,), {"objects": objects})
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    for address in serve(ThreadingHTTPServer(("127.0.0.1", 0), handler)):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield "s3://bucket"


def serve(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def align(*sources: str) -> list[dict[str, object]]:
    plan = open_plan(sources, OUT, Recipe())
    job = BatchJob(plan.recipe, ParquetColumns(), OUT.absolute(), Path.cwd())
    for shard in plan.missing(OUT):
        write_shard(shard, job, Pipeline(detector=lambda _: []))
    assert open_plan(sources, OUT, Recipe()).missing(OUT) == []
    rows: list[dict[str, object]] = pq.read_table(OUT).to_pylist()
    return rows


def test_images_and_tables_are_read_over_http(web: str) -> None:
    rows = align(f"{web}/", f"{web}/two.parquet")
    assert [row["path"] for row in rows] == [
        f"{web}/a.png",
        f"{web}/deep/b%20c.png",
        f"{web}/two.parquet#0",
        f"{web}/two.parquet#1",
    ]
    assert [row["width"] for row in rows] == [32, 32, 32, None]


def test_a_missing_file_on_a_server_is_a_failed_image(web: str) -> None:
    Path("list.txt").write_text(f"{web}/a.png\n{web}/absent.png\n")
    rows = align("list.txt")
    assert [row["error"] for row in rows] == [None, f"{web}/absent.png: no such file; check the path"]


@pytest.mark.parametrize(
    ("source", "names"),
    [("", ["a.png", "deep/b c.png"]), ("/deep", ["deep/b c.png"]), ("/*.png", ["a.png"]), ("/a.png", ["a.png"])],
)
def test_images_are_read_from_s3(source: str, names: list[str], s3: str) -> None:
    rows = align(f"{s3}{source}")
    assert [(row["path"], row["width"]) for row in rows] == [(f"{s3}/{name}", 32) for name in names]


def test_tables_are_read_from_s3(s3: str) -> None:
    assert [row["path"] for row in align(f"{s3}/two.parquet")] == [f"{s3}/two.parquet#0", f"{s3}/two.parquet#1"]


def test_an_address_without_images_is_one_line(s3: str) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket/absent: no"):
        align(f"{s3}/absent")
