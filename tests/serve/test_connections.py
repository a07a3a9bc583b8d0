"""The service as it listens: silent, slow and hostile clients beside a good one, over real sockets on loopback."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from unveil.inference.pipeline import Pipeline
from unveil.serve.app import build_app
from unveil.serve.limits import Limits
from unveil.serve.server import Server, bind, server_of

OTHER = "127.0.0.2"  # another client's address
JPEG = {"Content-Type": "image/jpeg"}
Listen = Callable[..., int]


@pytest.fixture
def listen(pipeline: Pipeline) -> Iterator[Listen]:
    """Starts a service with these limits in a thread; the port. It ends with the test."""
    running: list[tuple[Server, threading.Thread, socket.socket]] = []

    def start(**limits: Any) -> int:
        bound, ready = bind("127.0.0.1", 0), threading.Event()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        server = server_of(build_app(pipeline, Limits(**limits)), ready=ready.set)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        running.append((server, thread, bound))
        assert ready.wait(20)
        port: int = bound.getsockname()[1]
        return port

    yield start
    for server, thread, bound in running:
        server.should_exit = True
        thread.join()
        bound.close()


@contextmanager
def connections(port: int, count: int, data: bytes = b"", address: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """So many open connections that have sent this much."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port), 10, (address, 0))
            opened.append(stack.enter_context(closing(client)))
            client.sendall(data)
        yield opened


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, JPEG if body else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def answer_of(client: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of what the service sends."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, json.loads(response.read())


def raw(port: int, data: bytes) -> tuple[int, dict[str, str], Any]:
    """The answer to these bytes; the service must close the connection after it."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(data)
        answer = answer_of(client)
        assert client.recv(1) == b""
    return answer


def upload_head(length: int, more: bytes = b"") -> bytes:
    head = f"POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + more


@pytest.mark.parametrize("address", ["127.0.0.1", OTHER])
@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: loc", upload_head(1000, b"\xff")])
def test_silent_and_slow_connections_do_not_lock_others_out(
    listen: Listen, jpeg: bytes, sent: bytes, address: str
) -> None:
    port = listen(connections=40, client_connections=30)
    with connections(port, 60, sent, address):
        started = time.monotonic()
        assert request(port, "GET", "/health")[0] == 200
        status, answer = request(port, "POST", "/align", jpeg)
        assert (status, len(answer["faces"])) == (200, 1)
        assert time.monotonic() - started < 5


def test_uploads_that_stall_use_no_slot(listen: Listen, jpeg: bytes) -> None:
    port = listen(threads=1, queue=1)
    with connections(port, 18, upload_head(1000, b"\xff")):
        assert request(port, "POST", "/align", jpeg)[0] == 200
        assert request(port, "GET", "/health")[1]["slots_in_use"] == 0


def test_one_client_has_no_more_connections_than_its_limit(listen: Listen) -> None:
    port = listen(client_connections=3)
    with connections(port, 1, address=OTHER) as (other,), connections(port, 5) as own:
        time.sleep(0.2)
        other.settimeout(0.1)
        with pytest.raises(TimeoutError):  # it is still open
            other.recv(1)
        status, headers, answer = answer_of(own[0])
        assert (status, answer["error"]["code"]) == (503, "too_many_connections")
        assert int(headers["retry-after"]) >= 1


def test_headers_and_bodies_that_do_not_arrive_are_given_up(listen: Listen) -> None:
    port = listen(header_timeout_s=0.3, stall_timeout_s=0.3)
    status, headers, answer = raw(port, b"GET /health HTTP/1.1\r\nHost: loc")
    assert (status, answer["error"]["code"]) == (408, "header_timeout")
    assert answer["error"]["request_id"] == headers["x-request-id"]
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(upload_head(1000, b"\xff"))
        status, _, answer = answer_of(client)
        assert (status, answer["error"]["code"]) == (408, "upload_timeout")
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        assert client.recv(1) == b""  # a silent connection is closed without words


def test_an_endless_body_ends_with_its_connection(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unveil.serve.connections.DRAIN_S", 0.2)
    port = listen(upload_bytes=1000)
    head = b"POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(head)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_slowly(client, 8)


def send_slowly(client: socket.socket, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.sendall(b"400\r\n" + bytes(1024) + b"\r\n")
        time.sleep(0.01)


def test_a_client_that_does_not_read_is_given_up(listen: Listen) -> None:
    port = listen(stall_timeout_s=0.3)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        end = time.monotonic() + 8
        while b'reason="response_not_read"} 1.0' not in metrics(port):
            assert time.monotonic() < end
            time.sleep(0.2)


def metrics(port: int) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"hello\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\nx y: z\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 400_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"POST /align HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not_implemented"),
        (b"POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400, "bad_request"),
        (upload_head(10).replace(b"Content-Length: 10", b"Transfer-Encoding: chunked") + b"zz\r\n", 400, "bad_request"),
    ],
)
def test_what_is_not_http_gets_the_one_error_shape(listen: Listen, data: bytes, status: int, code: str) -> None:
    found, headers, answer = raw(listen(), data)
    assert (found, answer["error"]["code"]) == (status, code)
    assert answer["error"]["request_id"] == headers["x-request-id"]
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["connection"] == "close"


def test_head_answers_with_the_headers_of_get_and_no_body(listen: Listen) -> None:
    port = listen()
    for path in ("/", "/health", "/ready", "/scheme", "/metrics", "/openapi.json", "/docs", "/static/app.js"):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("HEAD", path)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b""), path
            assert int(response.headers["content-length"]) > 0
            connection.request("GET", "/health")  # the connection is in order
            assert connection.getresponse().status == 200


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(pipeline: Pipeline) -> None:
    app = build_app(pipeline)
    assert not server_of(app).config.proxy_headers
    trusting = server_of(app, ("10.0.0.1", "172.30.5.0/24")).config
    assert trusting.proxy_headers
    assert trusting.forwarded_allow_ips == ["10.0.0.1", "172.30.5.0/24"]
