"""Shards of landmarks: planned, written whole, and neither lost nor doubled when workers and drivers are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("ray", reason="batches need Ray: pip install 'unveil[batch]'")
pytest.importorskip("pyarrow", reason="batches need pyarrow: pip install 'unveil[batch]'")

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from unveil.batch.plan import Columns, Plan, Recipe, begin, make_plan, shard_name, tidy
from unveil.batch.runner import SCHEMA, TRIES, Tally, Worker, tally_of, write_shard
from unveil.cli import main
from unveil.data.synthetic import drawn_face
from unveil.geometry import tight_box
from unveil.inference.pipeline import Pipeline
from unveil.io.boxes import BoxFile

PICTURES, BROKEN, SHARD = 500, 7, 10
IMAGE = Columns()


def png(brightness: int = 90) -> bytes:
    """A picture of one colour."""
    return bytes(cv2.imencode(".png", np.full((24, 24, 3), brightness, np.uint8))[1].tobytes())


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven pictures of one colour in `photos`, below the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for index in range(7):
        (tmp_path / "photos" / f"{index}.png").write_bytes(png(index))
    return Path("photos")


@pytest.fixture(scope="module")
def blind() -> Pipeline:
    """A pipeline whose detector finds no face."""
    return Pipeline(detector=lambda _: [])


def plan_of(*sources: str, size: int = 3, columns: Columns = IMAGE) -> Plan:
    return make_plan(sources, Path("out"), Recipe(), columns, size)


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out).to_pylist()  # as a user would: the folder
    return found


def write_all(plan: Plan, pipeline: Pipeline, boxes: BoxFile | None = None) -> list[dict[str, Any]]:
    begin(plan, Path("out"))
    for shard in plan.shards:
        write_shard(shard, plan, Path("out"), Path.cwd(), pipeline, boxes)
    return rows(Path("out"))


def test_the_same_source_gives_the_same_plan(pictures: Path) -> None:
    plan = plan_of("photos")
    assert [len(shard.paths) for shard in plan.shards] == [3, 3, 1]
    assert plan == plan_of("photos")
    (pictures / "0.png").write_bytes(png(200) + b"more")
    assert plan_of("photos").digest != plan.digest


def test_a_run_that_was_begun_otherwise_is_refused(pictures: Path) -> None:
    plan = plan_of("photos")
    begin(plan, Path("out"))
    begin(plan, Path("out"))
    with pytest.raises(
        ValueError, match=r"out: begun with min_score 0.6, now 0.5; give it as it was, or another --out"
    ):
        begin(replace(plan, recipe=replace(plan.recipe, min_score=0.5)), Path("out"))
    with pytest.raises(ValueError, match="out: begun with --shard 3, now 4"):
        begin(plan_of("photos", size=4), Path("out"))
    (pictures / "7.png").write_bytes(png())
    with pytest.raises(ValueError, match=r"the source has changed .*7 pictures then, 8 now.*; choose another --out"):
        begin(plan_of("photos"), Path("out"))


def test_every_picture_has_a_row_whatever_becomes_of_it(pictures: Path, blind: Pipeline) -> None:
    (pictures / "3.png").write_bytes(b"no picture")
    image_rgb, points_px = drawn_face(np.random.default_rng(0))
    cv2.imwrite("photos/5.png", image_rgb[..., ::-1])
    box = [float(value) for value in tight_box(points_px)]
    entries = {f"photos/{index}.png": [box, box] if index == 5 else [] for index in range(7)}
    Path("boxes.json").write_text(json.dumps(entries))
    found = write_all(plan_of("photos"), blind, BoxFile.read(Path("boxes.json")))
    assert Counter(row["path"] for row in found) == Counter(f"photos/{i}.png" for i in (0, 1, 2, 3, 4, 5, 5, 6))
    assert found[3]["error"] == f"{Path.cwd()}/photos/3.png: not an image that OpenCV knows; save it as JPEG, PNG, " + (
        "WebP, TIFF or BMP"
    )
    assert [row["face"] for row in found if row["path"] == "photos/5.png"] == [0, 1]
    assert np.shape(found[5]["landmarks"]) == (68, 2)
    assert np.shape(found[5]["visibility"]) == np.shape(found[5]["uncertainty"]) == (68,)
    assert set(found[5]["pose"]) == {"yaw", "pitch", "roll"}
    tallies = [tally_of(path) for path in sorted(Path("out").glob("*.parquet"))]
    assert sum(tallies, Tally()) == Tally(pictures=7, faces=2, failed=1)


@pytest.mark.usefixtures("pictures")
def test_a_list_of_paths_is_read_once_each(blind: Pipeline) -> None:
    Path("list.txt").write_text("photos/2.png\n\nphotos/1.png\nphotos/2.png\nphotos/absent.png\n")
    found = write_all(plan_of("list.txt"), blind)
    assert [row["path"] for row in found] == ["photos/2.png", "photos/1.png", "photos/absent.png"]
    assert found[2]["error"].endswith("photos/absent.png: no such file; check the path")


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("column", ["jpeg", "image.bytes"])
def test_parquet_rows_are_shared_out_across_row_groups(column: str, blind: Pipeline) -> None:
    pixels = [png(index) for index in range(8)]
    pixels[6] = None  # type: ignore[call-overload]
    names = [f"n{index}" for index in range(8)]
    table = {"jpeg": pixels, "name": names, "other": names}
    if column == "image.bytes":
        table = {"image": [{"bytes": one, "path": None} for one in pixels], "name": names}
    pq.write_table(pa.table(table), "some.parquet", row_group_size=3)
    plan = plan_of("some.parquet", columns=Columns(column, "name"))
    assert [(shard.start, shard.stop) for shard in plan.shards] == [(0, 3), (3, 6), (6, 8)]
    found = write_all(replace(plan, size=3), blind)
    assert [row["path"] for row in found] == names
    assert [row["path"] for row in found if row["error"]] == ["n6"]
    with pytest.raises(ValueError, match=r"no column 'picture' among .*name.*; name it with --image-column"):
        plan_of("some.parquet", columns=Columns("picture"))


@pytest.mark.usefixtures("pictures")
def test_without_names_a_parquet_row_is_called_by_its_number(blind: Pipeline) -> None:
    pq.write_table(pa.table({"image": [png(), png()]}), "some.parquet")
    assert [row["path"] for row in write_all(plan_of("some.parquet"), blind)] == ["some.parquet#0", "some.parquet#1"]


@pytest.mark.usefixtures("pictures")
def test_a_shard_that_kills_its_workers_is_given_up() -> None:
    Path("boxes.json").write_text("{}")
    plan = plan_of("photos")
    begin(plan, Path("out"))
    worker = Worker(plan, "out", ".", BoxFile.read(Path("boxes.json")))
    task = {"number": 0, "paths": ["photos/0.png"], "start": -1, "stop": -1}
    marks = Path("out") / f".{shard_name(0, plan)}.tries"
    marks.write_bytes(b"." * TRIES)
    assert "4 workers died of it" in worker(task)["error"]
    assert [shard.number for shard in plan.missing(Path("out"))] == [0, 1, 2]
    tidy(Path("out"))
    assert worker(task)["error"] == ""
    assert [shard.number for shard in plan.missing(Path("out"))] == [1, 2]


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["absent/*.png"], "absent/*.png: no images match this pattern; quote it and check the folder"),
        (["absent.parquet"], "absent.parquet: no such file; check the path"),
        (["photos/0.png", "--workers", "0"], "--workers 0: give 1 or more"),
        (["photos/0.png", "--model", "none"], "unknown model 'none'"),
        (["a.parquet", "--boxes", "b.json"], "--boxes goes with picture files, not with .parquet; leave it out"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_ray_starts(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", *arguments, "--out", "out"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert not Path("out").exists()


@dataclass(frozen=True)
class Story:
    """What a batch left behind whose worker was killed, then its driver, and that was then run to its end."""

    out: Path
    killed_workers: int
    listened_on: set[str]
    before: dict[str, int]
    after: dict[str, int]
    status: int
    said: str
    complained: str


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """500 pictures, half of them with a box, seven broken: two workers, of which one is killed, then the driver."""
    root = tmp_path_factory.mktemp("batch")
    (root / "photos").mkdir()
    boxes = {}
    for index in range(PICTURES):
        (root / f"photos/{index:03}.png").write_bytes(b"broken" if index % 80 == 3 else png(index % 256))
        boxes[f"photos/{index:03}.png"] = [[4, 4, 20, 20]] if index % 2 else []
    (root / "boxes.json").write_text(json.dumps(boxes))
    options = f"photos --out out --boxes boxes.json --workers 2 --shard {SHARD}".split()
    command = [sys.executable, "-c", "import sys; from unveil.cli import main; sys.exit(main())", "batch", *options]
    out = root / "out"

    def there() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in out.glob("shard-*.parquet")}

    driver = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family: list[psutil.Process] = []
    try:
        until(lambda: len(there()) >= 2, driver)
        family = psutil.Process(driver.pid).children(recursive=True)
        workers = [process for process in family if name_of(process).startswith("ray::MapWorker")]
        os.kill(workers[0].pid, signal.SIGKILL)
        listened = {c.laddr.ip for p in family for c in connections(p) if c.status == psutil.CONN_LISTEN}
        seen = len(there())
        until(lambda: len(there()) >= seen + 3, driver)
    finally:
        driver.kill()
        driver.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
    before = there()
    again = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return Story(out, len(workers[:1]), listened, before, there(), again.returncode, again.stdout, again.stderr)


def until(condition: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert driver.poll() is None, "the driver ended too early"
        assert time.monotonic() < end
        time.sleep(0.02)


def name_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def connections(process: psutil.Process) -> list[Any]:
    try:
        return list(process.net_connections(kind="inet"))
    except psutil.Error:
        return []


@pytest.mark.ray
def test_killed_workers_and_drivers_lose_nothing_and_double_nothing(story: Story) -> None:
    assert story.killed_workers == 1
    found = rows(story.out)
    assert Counter(row["path"] for row in found) == Counter(f"photos/{index:03}.png" for index in range(PICTURES))
    assert sum(row["error"] is not None for row in found) == BROKEN
    assert pq.read_schema(next(story.out.glob("*.parquet"))).remove_metadata().equals(SCHEMA)
    assert not list(story.out.glob(".*"))


@pytest.mark.ray
def test_a_run_goes_on_where_it_was_killed(story: Story) -> None:
    assert 0 < len(story.before) < len(story.after) == PICTURES // SHARD
    assert {name: story.after[name] for name in story.before} == story.before  # none was written again
    assert story.status == 1  # some pictures are broken
    assert story.said.startswith(f"{PICTURES} pictures, 243 faces, {BROKEN} failed: 50 of 50 shards in out")
    assert story.complained == f"out: {len(story.before)} of 50 shards are there already\n"


@pytest.mark.ray
def test_on_one_machine_nothing_listens_to_other_hosts(story: Story) -> None:
    assert story.listened_on <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert story.listened_on
