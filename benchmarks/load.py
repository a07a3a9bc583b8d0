"""The service under load: errors, memory, throughput, and response times beside hostile clients. Linux only.

python -m benchmarks.load --requests 2000 --clients 8
python -m benchmarks.load --requests 400 --clients 4 --hostile

The service runs in a process of its own on loopback, and so does each client. The bare pipeline decodes, aligns and
writes the same JSON in as many threads as the service has. The two take turns, so that other load on the machine
affects both. With --hostile the good clients alone, and beside silent, slow and malformed ones, take turns instead.
"""

import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import tyro
from skimage.data import astronaut

import unveil
from unveil.io.images import decode_image
from unveil.io.results import image_json

SETTLED = 200  # requests after which memory is measured first
HEADERS = {"Content-Type": "image/jpeg"}


@dataclass(frozen=True)
class Options:
    """Prints the figures as JSON; status 1 if an answer failed or is not the pipeline's own."""

    requests: int = 2000
    """Number of requests to the service; the bare pipeline gets as many."""
    clients: int = 8
    """Number of clients, each of which sends one request after another."""
    threads: int = 2
    """Threads of the service and of the bare pipeline."""
    turns: int = 10
    """How often the two take turns."""
    boxes: tyro.conf.FlagCreatePairsOff[bool] = False
    """Give the face's box, so that no detector runs and the service's own cost is the largest part."""
    hostile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure response times beside hostile clients."""
    hostile_address: str = "127.0.0.2"
    """Source address of the hostile clients; the good ones have 127.0.0.1."""


@dataclass(frozen=True)
class Sent:
    """The answers of one client: how many were wrong, and the time of each other in milliseconds."""

    wrong: int
    milliseconds: tuple[float, ...]


def main() -> int:
    options = tyro.cli(Options)
    portrait = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    jpeg = cv2.imencode(".jpg", portrait[..., ::-1])[1].tobytes()
    cv2.setNumThreads(1)
    pipeline = unveil.Pipeline()
    boxes = [[round(float(value), 2) for value in pipeline(portrait)[0].box]] if options.boxes else None
    path = f"/align?boxes={quote(json.dumps(boxes))}" if boxes else "/align"

    def bare(_: int) -> str:
        image_rgb = decode_image(jpeg)
        return image_json("image", image_rgb, "glomface-light", "ibug68", pipeline(image_rgb, boxes))

    expected = bare(0)
    if options.hostile:
        return _beside_hostile(options, path, jpeg, expected)
    each = -(-options.requests // (options.turns * options.clients))
    count = each * options.clients
    sent: list[Sent] = []
    memory: list[float] = []
    service_rates: list[float] = []
    bare_rates: list[float] = []
    with (
        _service(options.threads) as (process, port),
        ProcessPoolExecutor(options.clients, get_context("spawn")) as clients,
        ThreadPoolExecutor(options.threads) as threads,
    ):
        send = partial(_send, port, path, jpeg, expected)
        list(clients.map(send, [1] * options.clients))  # all clients have started before the clock runs
        for turn in range(options.turns):
            service_rates.append(_rate(count, lambda: sent.extend(clients.map(send, [each] * options.clients))))
            if count * (turn + 1) >= SETTLED or turn == options.turns - 1:
                memory.append(_resident(process))
            bare_rates.append(_rate(count, lambda: list(threads.map(bare, range(count)))))
            line = f"service {service_rates[-1]:.1f}/s, bare pipeline {bare_rates[-1]:.1f}/s"
            print(f"turn {turn + 1} of {options.turns}: {line}", file=sys.stderr)
    times = sorted(time for client in sent for time in client.milliseconds)
    wrong = sum(client.wrong for client in sent)
    if not times:
        print(f"error: none of {wrong} answers is right", file=sys.stderr)
        return 1
    figures = {
        "requests": len(times) + wrong,
        "clients": options.clients,
        "threads": options.threads,
        "boxes given": options.boxes,
        "wrong answers": wrong,
        "service, requests a second": round(statistics.median(service_rates), 2),
        "bare pipeline, images a second": round(statistics.median(bare_rates), 2),
        "ratio, median of turns": round(statistics.median(np.divide(service_rates, bare_rates).tolist()), 3),
        "milliseconds, median": round(statistics.median(times), 1),
        "milliseconds, 95th percentile": round(times[int(0.95 * len(times))], 1),
        "resident MiB, settled": round(memory[0], 1),
        "resident MiB, at the end": round(memory[-1], 1),
    }
    print(json.dumps(figures, indent=2))
    return 1 if wrong else 0


def _beside_hostile(options: Options, path: str, jpeg: bytes, expected: str) -> int:
    """Response times of good clients, alone and beside hostile ones in turns; status 1 if one was refused."""
    each = -(-options.requests // (2 * options.turns * options.clients))
    p95: dict[str, list[float]] = {"alone": [], "beside": []}
    wrong = 0
    with _service(options.threads) as (_, port), ProcessPoolExecutor(options.clients, get_context("spawn")) as clients:
        send = partial(_send, port, path, jpeg, expected)
        list(clients.map(send, [1] * options.clients))
        for _ in range(options.turns):
            for kind, times in p95.items():
                with _hostile(port, options.hostile_address) if kind == "beside" else nullcontext():
                    sent = list(clients.map(send, [each] * options.clients))
                times.append(float(np.percentile([time for client in sent for time in client.milliseconds], 95)))
                wrong += sum(client.wrong for client in sent)
            print(
                f"95th percentile: alone {p95['alone'][-1]:.0f} ms, beside {p95['beside'][-1]:.0f} ms", file=sys.stderr
            )
    alone, beside = (round(statistics.median(times), 1) for times in p95.values())
    ratio = round(statistics.median(np.divide(p95["beside"], p95["alone"]).tolist()), 2)
    figures = {
        "requests": 2 * each * options.clients * options.turns,
        "clients": options.clients,
        "threads": options.threads,
        "wrong answers": wrong,
        "milliseconds alone, 95th percentile": alone,
        "milliseconds beside hostile clients, 95th percentile": beside,
        "ratio, median of turns": ratio,
    }
    print(json.dumps(figures, indent=2))
    return 1 if wrong else 0


@contextmanager
def _hostile(port: int, address: str) -> Iterator[None]:
    """Run hostile clients in a process of their own during the block."""
    script = Path(__file__).with_name("hostile_clients.py")
    process = subprocess.Popen([sys.executable, str(script), str(port), "120", address])
    try:
        time.sleep(2)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _service(threads: int) -> Iterator[tuple[int, int]]:
    """Run `unveil serve` on a free port of loopback, without its log: yield its process and that port."""
    command = [str(Path(sys.executable).with_name("unveil")), "serve", "--port", "0", "--threads", str(threads)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, "--queue", "64"], stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().decode()
            if not ready:
                raise SystemExit("the service did not start; try: unveil serve")
            yield process.pid, int(ready.rsplit(":", 1)[1])
        finally:
            process.terminate()
            process.wait()


def _send(port: int, path: str, data: bytes, expected: str, count: int) -> Sent:
    """Send so many requests, one after another over one connection."""
    wrong, milliseconds = 0, []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(count):
            start = time.perf_counter()
            connection.request("POST", path, data, HEADERS)
            response = connection.getresponse()
            if response.read().decode() == expected and response.status == 200:
                milliseconds.append(1e3 * (time.perf_counter() - start))
            else:
                wrong += 1
    return Sent(wrong, tuple(milliseconds))


def _rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def _resident(process: int) -> float:
    """Return a process's resident memory in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    sys.exit(main())
