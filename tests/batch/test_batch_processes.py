"""Batches on several processes: killed ones, and those of a Ray cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="batches need pyarrow: pip install '.[batch]'")

import psutil
import pyarrow.parquet as pq
from tests.batch.batch_files import png, read_rows

from unveil.batch.shards import schema_for
from unveil.cli import main

IMAGES, BROKEN, SHARD = 500, 7, 10


@dataclass(frozen=True)
class KilledRun:
    """The output of a batch whose worker was killed, then its main process, and that was then run to its end."""

    out: Path
    killed_workers: int
    before: dict[str, int]
    after: dict[str, int]
    status: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory: pytest.TempPathFactory) -> KilledRun:
    """Align 500 images, half with a box, seven broken, with two workers; kill a worker, then the main process."""
    root = tmp_path_factory.mktemp("batch")
    (root / "photos").mkdir()
    boxes = {}
    for index in range(IMAGES):
        (root / f"photos/{index:03}.png").write_bytes(b"broken" if index % 80 == 3 else png(index % 256))
        boxes[f"photos/{index:03}.png"] = [[4, 4, 20, 20]] if index % 2 else []
    (root / "boxes.json").write_text(json.dumps(boxes))
    options = f"photos --out out --boxes boxes.json --workers 2 --shard {SHARD}".split()
    command = [sys.executable, "-c", "import sys; from unveil.cli import main; sys.exit(main())", "batch", *options]
    out = root / "out"

    def finished() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in out.glob("shard-*.parquet")}

    driver = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family: list[psutil.Process] = []
    try:
        wait_for(lambda: len(finished()) >= 2, driver)
        family = psutil.Process(driver.pid).children(recursive=True)
        workers = [process for process in family if "spawn_main" in command_line(process)]
        os.kill(workers[0].pid, signal.SIGKILL)
        count = len(finished())
        wait_for(lambda: len(finished()) >= count + 3, driver)
    finally:
        driver.kill()
        driver.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
    before = finished()
    again = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return KilledRun(out, len(workers[:1]), before, finished(), again.returncode, again.stdout, again.stderr)


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert driver.poll() is None, "the main process ended too early"
        assert time.monotonic() < end
        time.sleep(0.02)


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_killed_processes_lose_and_duplicate_nothing(killed_run: KilledRun) -> None:
    assert killed_run.killed_workers == 1
    rows = read_rows(killed_run.out)
    assert Counter(row["path"] for row in rows) == Counter(f"photos/{index:03}.png" for index in range(IMAGES))
    assert sum(row["error"] is not None for row in rows) == BROKEN
    assert pq.read_schema(next(killed_run.out.glob("shard-*"))).remove_metadata().equals(schema_for(68))
    assert not list(killed_run.out.glob(".*"))


def test_a_killed_run_continues_where_it_stopped(killed_run: KilledRun) -> None:
    assert 0 < len(killed_run.before) < len(killed_run.after) == IMAGES // SHARD
    unchanged = {name: killed_run.after[name] for name in killed_run.before}
    assert unchanged == killed_run.before
    assert killed_run.status == 1  # some images are broken
    assert killed_run.stdout.startswith(f"{IMAGES} images, 243 faces, {BROKEN} failed: 50 of 50 shards in out")
    first, *failed = killed_run.stderr.splitlines()
    assert first == f"out: {len(killed_run.before)} of 50 shards are finished already"
    assert len(failed) == BROKEN


@pytest.mark.ray
def test_ray_writes_the_same_rows_without_noise_and_listens_to_this_machine_only(images: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="clusters need Ray: pip install '.[cluster]'")
    (images / "3.png").write_bytes(b"no image")
    Path("boxes.json").write_text(json.dumps({f"photos/{i}.png": [[4, 4, 20, 20]] for i in range(7)}))
    options = ["photos", "--boxes", "boxes.json", "--shard", "2"]
    program = [sys.executable, "-c", "import sys; from unveil.cli import main; sys.exit(main())", "batch"]
    assert main(["batch", *options, "--out", "local", "--workers", "1"]) == 1
    driver = subprocess.Popen(
        [*program, *options, "--out", "out", "--address", "local", "--workers", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    listening: set[str] = set()
    while driver.poll() is None:
        for process in [psutil.Process(driver.pid), *children(driver.pid)]:
            listening |= listening_addresses(process)
        time.sleep(0.1)
    output, errors = driver.communicate()
    assert output == "7 images, 6 faces, 1 failed: 4 of 4 shards in out\n"
    assert len(errors.splitlines()) == 1
    assert listening
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert read_rows(Path("out")) == read_rows(Path("local"))


def children(pid: int) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return children
    except psutil.Error:
        return []


def listening_addresses(process: psutil.Process) -> set[str]:
    try:
        connections = process.net_connections(kind="inet")
    except psutil.Error:
        return set()
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
