import json
import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from unveil.inference.pipeline import Pipeline
from unveil.serve.logs import JsonFormatter
from unveil.types import Image

Serve = Callable[..., TestClient]
RAW = {"Content-Type": "image/jpeg"}


def code(response: httpx2.Response, status: int) -> str:
    """An error's code, once its status is the expected one and it has the shape of all errors."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert ".py" not in response.text
    assert ".cpp" not in response.text
    word: str = error["code"]
    return word


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that says it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_bytes_that_are_no_image_are_refused(client: TestClient) -> None:
    assert code(client.post("/align", content=b"hello" * 50, headers=RAW), 415) == "unsupported_format"
    assert code(client.post("/align", files={"file": ("x.jpg", b"<svg/>")}), 415) == "unsupported_format"


def test_a_truncated_jpeg_is_refused_by_its_name(client: TestClient, jpeg: bytes) -> None:
    response = client.post("/align", files={"file": ("half.jpg", jpeg[: len(jpeg) // 2])})
    assert code(response, 400) == "bad_image"
    assert response.json()["error"]["message"].startswith("half.jpg: the JPEG is cut short")


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"II*\0", b"MM\0*"])
def test_a_header_that_leads_nowhere_is_refused(client: TestClient, magic: bytes) -> None:
    for rest in (b"", b"\0" * 100, b"\xff" * 100, bytes(range(256))):
        response = client.post("/align", content=magic + rest, headers=RAW)
        assert code(response, response.status_code) in ("bad_image", "too_many_pixels")


def test_damage_anywhere_is_never_a_fault_of_ours(client: TestClient, portrait: Image) -> None:
    small = cv2.resize(portrait, (32, 32))
    random = np.random.default_rng(0)
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
        whole = np.frombuffer(cv2.imencode(suffix, small)[1].tobytes(), np.uint8)
        for _ in range(4):
            data = whole.copy()
            data[random.integers(0, min(len(data), 400), 5)] = random.integers(0, 256, 5)
            assert client.post("/align", content=data.tobytes(), headers=RAW).status_code in (200, 400, 413, 415)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (10_001, 6000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("unveil.serve.decoding.decode_image", decode)
    assert code(client.post("/align", content=bomb(width, height), headers=RAW), 413) == "too_many_pixels"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_pixels_are_counted_in_every_format(serve: Serve, pipeline: Pipeline, portrait: Image, suffix: str) -> None:
    data = cv2.imencode(suffix, portrait)[1].tobytes()
    assert serve(pipeline, max_pixels=512 * 512).post("/align", files={"file": data}).status_code == 200
    assert (
        code(serve(pipeline, max_pixels=512 * 512 - 1).post("/align", files={"file": data}), 413) == "too_many_pixels"
    )


def test_an_upload_over_the_limit_is_refused_with_and_without_a_length(
    serve: Serve, pipeline: Pipeline, jpeg: bytes
) -> None:
    client = serve(pipeline, upload_bytes=50_000)
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 10_000
            yield bytes(10_000)

    assert len(jpeg) > 50_000
    assert code(client.post("/align", content=jpeg, headers=RAW), 413) == "too_large"
    assert code(client.post("/align", files={"file": jpeg}), 413) == "too_large"
    assert code(client.post("/align", content=chunks(), headers=RAW), 413) == "too_large"


@pytest.mark.parametrize("kind", ["text/html", "application/json", "application/x-www-form-urlencoded", ""])
def test_a_unsupported_content_type_is_refused(client: TestClient, jpeg: bytes, kind: str) -> None:
    assert code(client.post("/align", content=jpeg, headers={"Content-Type": kind}), 415) == "unsupported_content_type"


def test_an_empty_body_and_a_form_without_a_file_are_refused(client: TestClient, jpeg: bytes) -> None:
    assert code(client.post("/align", headers=RAW), 400) == "empty_body"
    assert code(client.post("/align", files={"file": b""}), 400) == "empty_body"
    assert code(client.post("/align", files={"photo": jpeg}), 400) == "no_file"
    torn = {"Content-Type": "multipart/form-data; boundary=x"}
    assert code(client.post("/align", content=b"--x\r\nnonsense", headers=torn), 400) in ("bad_form", "no_file")
    without = {"Content-Type": "multipart/form-data"}
    assert code(client.post("/align", content=jpeg, headers=without), 400) == "bad_form"


@pytest.mark.parametrize(
    "boxes", ["x", "5", "[[1,2,3]]", "[[5,5,5,9]]", "[[0,0,1e9,1e9]]", "[[NaN,0,9,9]]", json.dumps([[0, 0, 9, 9]] * 65)]
)
def test_boxes_that_cannot_be_are_refused(client: TestClient, jpeg: bytes, boxes: str) -> None:
    assert code(client.post("/align", params={"boxes": boxes}, content=jpeg, headers=RAW), 422) == "bad_boxes"


def test_options_that_cannot_be_are_refused(client: TestClient, jpeg: bytes) -> None:
    assert code(client.post("/align?as=exe", content=jpeg, headers=RAW), 422) == "bad_option"
    assert code(client.get("/nowhere"), 404) == "not_found"
    assert code(client.get("/../../../../etc/passwd"), 404) == "not_found"
    assert code(client.get("/static/%2e%2e/app.py"), 404) == "not_found"
    assert code(client.get("/align"), 405) == "method_not_allowed"


def test_the_log_has_all_of_a_fault_and_the_client_gets_nothing_of_it(
    serve: Serve, pipeline: Pipeline, jpeg: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    client = serve(pipeline)
    monkeypatch.setattr("unveil.serve.decoding.decode_image", fail)
    with caplog.at_level(logging.INFO, "unveil.serve"):
        response = client.post("/align", content=jpeg, headers=RAW | {"X-Request-Id": "abc-1"})
    assert code(response, 500) == "internal_error"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "abc-1"
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    fault = next(line for line in lines if line["event"] == "internal_error")
    assert fault["request_id"] == "abc-1"
    assert "RuntimeError: secret" in fault["trace"]


def test_every_request_leaves_one_line_of_json_without_names(
    client: TestClient, jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "unveil.serve"):
        response = client.post("/align", files={"file": ("private-name.jpg", jpeg)})
    (line,) = [JsonFormatter().format(record) for record in caplog.records if record.name == "unveil.serve"]
    fields: dict[str, Any] = json.loads(line)
    assert "\n" not in line
    assert "private-name" not in line
    assert fields["request_id"] == response.headers["x-request-id"]
    assert (fields["method"], fields["path"], fields["status"]) == ("POST", "/align", 200)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "<script>"])
def test_a_request_id_that_is_not_plain_is_replaced(client: TestClient, given: str) -> None:
    own = client.get("/health", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert own != given
    assert len(own) == 32


def test_another_host_name_is_refused(client: TestClient) -> None:
    for host in ("evil.example", "localhost.evil.example", "", "[::2]", "[", "127.0.0.2:8000"):
        assert code(client.get("/health", headers={"Host": host}), 400) == "wrong_host"
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert client.get("/health", headers={"Host": host}).status_code == 200


def test_another_sites_page_may_not_use_the_service(client: TestClient, jpeg: bytes) -> None:
    for site in ("cross-site", "same-site"):
        headers = RAW | {"Sec-Fetch-Site": site}
        assert code(client.post("/align", content=jpeg, headers=headers), 403) == "cross_site"
    assert client.post("/align", content=jpeg, headers=RAW | {"Sec-Fetch-Site": "same-origin"}).status_code == 200
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/align", headers=headers).headers


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/health", "/nowhere"])
def test_every_answer_has_the_headers_that_browsers_obey(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
