import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message

from unveil.inference.pipeline import Pipeline
from unveil.serve import jobs
from unveil.serve.app import build_app
from unveil.serve.jobs import JobResult
from unveil.serve.limits import Limits

Serve = Callable[..., TestClient]
RAW = {"Content-Type": "image/jpeg"}
IMAGE = b"\xff\xd8\xff"  # the beginning of a JPEG


class Stopped:
    """A job that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.started = threading.Semaphore(0)
        self.count = 0

    def __call__(self, *_: object) -> JobResult:
        self.count += 1
        self.started.release()
        assert self.go_on.wait(20)
        return JobResult(b"done", "text/plain")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopped]:
    job = Stopped()
    monkeypatch.setattr(jobs, "align", job)
    yield job
    job.go_on.set()


def wait_for(taken: int, client: TestClient) -> None:
    end = time.monotonic() + 10
    while client.get("/health").json()["slots_in_use"] != taken:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_full_queue_sends_clients_away_and_keeps_those_it_has(
    serve: Serve, pipeline: Pipeline, stopped: Stopped
) -> None:
    client = serve(pipeline, threads=1, queue=1)
    with ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(client.post, "/align", content=IMAGE, headers=RAW) for _ in range(2)]
        wait_for(2, client)
        refused = client.post("/align", content=IMAGE, headers=RAW)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        stopped.go_on.set()
        assert [response.result().text for response in waiting] == ["done", "done"]
    wait_for(0, client)


def test_a_job_that_takes_too_long_keeps_its_place_until_it_ends(
    serve: Serve, pipeline: Pipeline, stopped: Stopped
) -> None:
    client = serve(pipeline, threads=1, queue=0, timeout_s=0.6)
    slow = client.post("/align", content=IMAGE, headers=RAW)
    assert (slow.status_code, slow.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert client.post("/align", content=IMAGE, headers=RAW).status_code == 429
    stopped.go_on.set()
    wait_for(0, client)
    assert client.post("/align", content=IMAGE, headers=RAW).text == "done"


def test_who_waits_too_long_is_not_worked_for(serve: Serve, pipeline: Pipeline, stopped: Stopped) -> None:
    client = serve(pipeline, threads=1, queue=1, timeout_s=0.6)
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(client.post, "/align", content=IMAGE, headers=RAW)
        assert stopped.started.acquire(timeout=10)
        second = clients.submit(client.post, "/align", content=IMAGE, headers=RAW)
        assert first.result().status_code == 504
        assert (second.result().status_code, second.result().json()["error"]["code"]) == (503, "queue_timeout")
    stopped.go_on.set()
    wait_for(0, client)
    assert stopped.count == 1


async def answers(app: FastAPI, receive: Callable[[], Awaitable[Message]]) -> list[Message]:
    """What the service sends to a client whose body comes as `receive` says."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"image/jpeg")]
    scope = {"type": "http", "method": "POST", "path": "/align", "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    return sent


def test_an_upload_that_does_not_arrive_is_given_up(pipeline: Pipeline) -> None:
    async def receive() -> Message:
        await asyncio.sleep(20)
        raise AssertionError("nobody waits so long")

    app = build_app(pipeline, Limits(timeout_s=0.1))
    start, body = asyncio.run(answers(app, receive))
    assert start["status"] == 408
    assert b"upload_timeout" in body["body"]


def test_who_leaves_the_queue_is_not_worked_for(pipeline: Pipeline, stopped: Stopped) -> None:
    app = build_app(pipeline, Limits(threads=1, queue=1, timeout_s=20))

    async def visit() -> list[Message]:
        stays = asyncio.create_task(answers(app, body_then(asyncio.Event().wait)))
        await asyncio.to_thread(stopped.started.acquire, timeout=10)
        leaves = await answers(app, body_then(partial(asyncio.sleep, 0.01)))
        stopped.go_on.set()
        assert (await stays)[0]["status"] == 200
        return leaves

    start, body = asyncio.run(visit())
    assert start["status"] == 503
    assert b"client_disconnected" in body["body"]
    assert stopped.count == 1


def body_then(wait: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[Message]]:
    """A client that sends a body, waits, and is gone."""
    messages: list[Message] = [{"type": "http.request", "body": IMAGE, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await wait()
        return {"type": "http.disconnect"}

    return receive
