import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from unveil.cli import main
from unveil.inference import pipeline as pipeline_module

SLOW = """
import sys, time
from unveil.inference import detector, pipeline
from unveil.types import Detection

def slow(image_rgb):
    if image_rgb.shape[0] > 128:  # not the picture that warms up
        print("working", flush=True)
        time.sleep(0.8)
    return []

pipeline.load_detector = lambda *_: slow
from unveil.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def process() -> Iterator["subprocess.Popen[str]"]:
    """`unveil serve` on a free port, with a detector that takes its time and finds nothing."""
    arguments = [sys.executable, "-c", SLOW, "serve", "--port", "0", "--threads", "1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


def address(process: "subprocess.Popen[str]") -> int:
    """The port, once the service says that it accepts."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("unveil serves glomface-light on http://127.0.0.1:"), line
    return int(line.rsplit(":", 1)[1])


def post(port: int, data: bytes, answers: list[Any]) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", "/align", data, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        answers.append((response.status, json.loads(response.read())))


def test_a_shutdown_finishes_what_runs_and_takes_no_more(process: "subprocess.Popen[str]", jpeg: bytes) -> None:
    port = address(process)
    answers: list[Any] = []
    client = threading.Thread(target=post, args=(port, jpeg, answers))
    client.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGTERM)
    refused = False
    while client.is_alive() and not refused:
        with socket.socket() as late:
            refused = late.connect_ex(("127.0.0.1", port)) != 0
        time.sleep(0.02)
    client.join()
    assert refused
    assert [(status, answer["faces"]) for status, answer in answers] == [(200, [])]
    assert process.wait(20) == 0
    assert process.stderr is not None
    lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["event"] for line in lines] == ["request"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "--threads 0: give 1 or more"),
        (["--queue", "-1"], "--queue -1: give 0 or more"),
        (["--timeout-s", "0"], "--timeout-s 0: give more than 0"),
        (["--max-upload-mb", "nan"], "--max-upload-mb nan: give more than 0"),
        (["--port", "99999"], "--port 99999: give a number from 0 to 65535"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid --port 8000"),
        (["--port", "0", "--model", "nothing"], "unknown model 'nothing'"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "load_detector", lambda *_: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the command tells OpenCV a limit there
    assert main(["serve", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_a_taken_port_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "choose another" in line


def test_other_than_loopback_is_warned_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "load_detector", lambda *_: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("unveil.serve.server.serve", lambda *_: None)
    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 0
    assert "is not loopback" in capsys.readouterr().err
    assert main(["serve", "--port", "0"]) == 0
    assert "is not loopback" not in capsys.readouterr().err
