"""Batches: planned shards that are written completely, continued, extended, and repeated when a worker dies."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="batches need pyarrow: pip install '.[batch]'")

import pyarrow as pa
import pyarrow.parquet as pq
from tests.batch.batch_files import png, read_rows

from unveil.batch.plan import Plan, Recipe, clean_up, open_plan
from unveil.batch.shards import MAX_ATTEMPTS, BatchJob, ShardWorker, Summary, read_summary, write_shard
from unveil.batch.sources import ParquetColumns
from unveil.cli import main
from unveil.data.synthetic import drawn_face
from unveil.geometry import tight_box
from unveil.inference.pipeline import Pipeline
from unveil.io.boxes import BoxFile

IMAGE = ParquetColumns()
RECIPE = Recipe()
OUT = Path("out")


@pytest.fixture(scope="module")
def blind() -> Pipeline:
    """Load a pipeline whose detector finds no face."""
    return Pipeline(detector=lambda _: [])


def plan_of(
    *sources: str, size: int | None = 3, columns: ParquetColumns = IMAGE, add: bool = False, recipe: Recipe = RECIPE
) -> Plan:
    return open_plan(sources, OUT, recipe, columns, shard_size=size, add=add)


def job_of(plan: Plan, boxes: BoxFile | None = None) -> BatchJob:
    return BatchJob(plan.recipe, plan.columns, OUT.absolute(), Path.cwd(), boxes)


def write_missing(plan: Plan, pipeline: Pipeline, boxes: BoxFile | None = None) -> list[dict[str, Any]]:
    for shard in plan.missing(OUT):
        write_shard(shard, job_of(plan, boxes), pipeline)
    return read_rows(OUT)


@pytest.mark.usefixtures("images")
def test_the_same_command_continues_the_same_plan() -> None:
    plan = plan_of("photos")
    assert [len(shard.entries) for shard in plan.shards] == [3, 3, 1]
    assert plan == plan_of("photos") == plan_of("photos", size=None)


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode")
def test_a_name_that_is_not_utf_8_is_stored_with_its_bytes_escaped(images: Path, blind: Pipeline) -> None:
    for name, content in ((b"odd\xff.png", png()), (b"odd\xfe.png", b"no image")):
        Path(os.fsdecode(os.fsencode(images) + b"/" + name)).write_bytes(content)
    rows = {row["path"]: row["error"] for row in write_missing(plan_of("photos"), blind)}
    assert rows["photos/odd\\udcff.png"] is None
    assert "odd\\udcfe.png: " in rows["photos/odd\\udcfe.png"]
    assert plan_of("photos").missing(OUT) == []


def test_a_touched_file_changes_nothing_and_a_changed_one_is_refused(images: Path, blind: Pipeline) -> None:
    write_missing(plan_of("photos"), blind)
    for path in images.glob("*.png"):
        os.utime(path, (1, 1))
    plan = plan_of("photos")
    assert plan.missing(OUT) == []
    assert plan == plan_of("photos")  # the new times are stored
    (images / "0.png").write_bytes(png(200))
    with pytest.raises(ValueError, match=r"photos/0.png: its content changed after it was aligned; delete out/shard-"):
        plan_of("photos")


def test_a_file_that_changes_before_its_shard_is_written_is_no_problem(images: Path) -> None:
    plan_of("photos")
    (images / "0.png").write_bytes(png(200))
    assert len(plan_of("photos").missing(OUT)) == 3


def test_a_run_with_other_options_or_images_is_refused(images: Path) -> None:
    plan_of("photos")
    with pytest.raises(ValueError, match=r"out: started with min_score 0.6, now 0.5; use 0.6, or another --out"):
        plan_of("photos", recipe=replace(Recipe(), min_score=0.5))
    with pytest.raises(ValueError, match="out: started with --shard 3, now 4"):
        plan_of("photos", size=4)
    (images / "7.png").write_bytes(png())
    with pytest.raises(ValueError, match=r"1 image is not in this output, photos/7.png .*; give --add"):
        plan_of("photos")
    (images / "7.png").unlink()
    (images / "6.png").unlink()
    with pytest.raises(ValueError, match=r"1 of its sources were not given, photos/6.png .* --add"):
        plan_of("photos")


def test_new_images_are_added_to_a_finished_output(images: Path, blind: Pipeline) -> None:
    write_missing(plan_of("photos"), blind)
    before = {path.name: path.stat().st_mtime_ns for path in OUT.glob("shard-*")}
    (images / "7.png").write_bytes(png())
    Path("more").mkdir()
    Path("more/a.png").write_bytes(png())
    rows = write_missing(plan_of("photos", "more", add=True), blind)
    assert Counter(row["path"] for row in rows) == Counter([*(f"photos/{i}.png" for i in range(8)), "more/a.png"])
    assert {name: (OUT / name).stat().st_mtime_ns for name in before} == before
    Path("more/b.png").write_bytes(png())
    rows = write_missing(plan_of("more", size=None, add=True), blind)  # the new folder alone
    assert len(rows) == 10
    assert plan_of("photos", "more").missing(OUT) == []


def test_every_image_has_a_row_whatever_happens(images: Path, blind: Pipeline) -> None:
    (images / "3.png").write_bytes(b"no image")
    image_rgb, points_px = drawn_face(np.random.default_rng(0))
    cv2.imwrite("photos/5.png", image_rgb[..., ::-1])
    box = [float(value) for value in tight_box(points_px)]
    entries = {f"photos/{index}.png": [box, box] if index == 5 else [] for index in range(7)}
    Path("boxes.json").write_text(json.dumps(entries))
    rows = write_missing(plan_of("photos"), blind, BoxFile.read(Path("boxes.json")))
    assert Counter(row["path"] for row in rows) == Counter(f"photos/{i}.png" for i in (0, 1, 2, 3, 4, 5, 5, 6))
    assert rows[3]["error"].startswith("photos/3.png: not an image")
    assert (rows[3]["width"], rows[0]["width"], rows[0]["height"], rows[5]["width"]) == (None, 24, 24, 160)
    assert {(row["model"], row["scheme"]) for row in rows} == {("glomface-light", "ibug68")}
    assert [row["face"] for row in rows if row["path"] == "photos/5.png"] == [0, 1]
    assert set(rows[5]["pose"]) == {"yaw", "pitch", "roll"}
    assert sum(map(read_summary, OUT.glob("shard-*.parquet")), Summary()) == Summary(images=7, faces=2, failed=1)


def test_numpy_stacks_the_columns_of_all_faces(images: Path, blind: Pipeline) -> None:
    image_rgb, points_px = drawn_face(np.random.default_rng(0))
    for index in range(7):
        cv2.imwrite(f"photos/{index}.png", image_rgb[..., ::-1])
    boxes = BoxFile(Path("b"), {path.resolve(): [list(map(float, tight_box(points_px)))] for path in images.glob("*")})
    write_missing(plan_of("photos"), blind, boxes)
    frame = pq.read_table(OUT).to_pandas()
    assert np.stack(frame["landmarks"]).reshape(-1, 68, 2).dtype == np.float32
    assert np.stack(frame["visibility"]).shape == np.stack(frame["uncertainty"]).shape == (7, 68)
    assert np.stack(frame["box"]).shape == (7, 4)
    (face,) = blind(image_rgb, [tight_box(points_px)])
    assert np.array_equal(np.stack(frame["landmarks"])[0].reshape(68, 2), face.landmarks)


@pytest.mark.usefixtures("images")
def test_a_list_of_paths_is_read_once_each(blind: Pipeline) -> None:
    Path("list.txt").write_text("photos/2.png\n\n./photos/1.png\nphotos/2.png\nphotos/absent.png\n")
    rows = write_missing(plan_of("list.txt"), blind)
    assert [row["path"] for row in rows] == ["photos/2.png", "photos/1.png", "photos/absent.png"]
    assert rows[2]["error"] == "photos/absent.png: no such file; check the path"


def test_paths_below_the_current_folder_are_relative(images: Path, blind: Pipeline) -> None:
    (images / "3.png").write_bytes(b"no image")
    rows = write_missing(plan_of(str(images.absolute())), blind)
    assert [row["path"] for row in rows] == [f"photos/{index}.png" for index in range(7)]
    assert str(Path.cwd()) not in rows[3]["error"] + (OUT / "_manifest.json").read_text()


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("column", ["jpeg", "image.bytes"])
def test_parquet_rows_are_divided_across_row_groups(column: str, blind: Pipeline) -> None:
    pixels: list[bytes | None] = [png(index) for index in range(8)]
    pixels[6] = None
    names = [f"n{index}" for index in range(8)]
    table: dict[str, Any] = {"jpeg": pixels, "name": names, "other": names}
    if column == "image.bytes":
        table = {"image": [{"bytes": one, "path": None} for one in pixels], "name": names}
    Path("tables").mkdir()
    pq.write_table(pa.table(table), "tables/some.parquet", row_group_size=3)
    plan = plan_of("tables", columns=ParquetColumns(column, "name"))
    assert [(entry.start, entry.stop) for shard in plan.shards for entry in shard.entries] == [(0, 3), (3, 6), (6, 8)]
    rows = write_missing(plan, blind)
    assert [row["path"] for row in rows] == names
    assert [row["path"] for row in rows if row["error"]] == ["n6"]
    os.utime("tables/some.parquet", (1, 1))
    assert plan_of("tables/some.parquet", columns=ParquetColumns(column, "name")).missing(OUT) == []
    with pytest.raises(ValueError, match=r"no column 'picture' among .*name.*; name it with --image-column"):
        plan_of("tables/some.parquet", columns=ParquetColumns("picture"))


@pytest.mark.usefixtures("images")
def test_a_run_goes_on_with_its_output_among_the_tables_and_an_empty_part(blind: Pipeline) -> None:
    Path("tables").mkdir()
    pq.write_table(pa.table({"image": [png(), png()]}), "tables/one.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), "tables/two.parquet")
    out = Path("tables/out")
    plan = open_plan(["tables"], out, RECIPE, IMAGE, shard_size=3, add=False)
    for shard in plan.missing(out):
        write_shard(shard, BatchJob(plan.recipe, plan.columns, out.absolute(), Path.cwd(), None), blind)
    assert len(read_rows(out)) == 2
    assert open_plan(["tables"], out, RECIPE, IMAGE, shard_size=3, add=False).missing(out) == []


@pytest.mark.usefixtures("images")
def test_without_names_a_parquet_row_is_named_by_its_number(blind: Pipeline) -> None:
    pq.write_table(pa.table({"image": [png(), png()]}), "some.parquet")
    assert [row["path"] for row in write_missing(plan_of("some.parquet"), blind)] == [
        "some.parquet#0",
        "some.parquet#1",
    ]


@pytest.mark.usefixtures("images")
def test_a_shard_that_kills_its_workers_is_given_up() -> None:
    plan = plan_of("photos")
    worker = ShardWorker(job_of(plan, BoxFile(Path("b"), {})))
    marks = OUT / f".{plan.shards[0].file_name}.attempts"
    marks.write_bytes(b"." * MAX_ATTEMPTS)
    assert "4 workers died" in str(worker(plan.shards[0]))
    assert [shard.number for shard in plan.missing(OUT)] == [0, 1, 2]
    clean_up(OUT)
    assert worker(plan.shards[0]) is None
    assert [shard.number for shard in plan.missing(OUT)] == [1, 2]


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["absent/*.png"], "absent/*.png: no images match this pattern; quote it and check the folder"),
        (["absent.parquet"], "absent.parquet: no such file; check the path"),
        (["photos/0.png", "--workers", "0"], "--workers 0: give 1 or more"),
        (["photos/0.png", "--model", "none"], "unknown model 'none'"),
        (["a.parquet", "--boxes", "b.json"], "--boxes: only for image files, not for .parquet; leave it out"),
        (["ftpx://host/a.png"], "ftpx://"),
        (["s3://user:secret@bucket/a.png"], "a password in a URI would be stored with the results"),
    ],
)
def test_an_impossible_run_is_one_line_and_writes_nothing(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", *arguments, "--out", "out"]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert line in message
    assert "secret" not in message
    assert not OUT.exists()


def test_the_command_names_failed_images_at_the_end(
    images: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (images / "3.png").write_bytes(b"no image")
    Path("boxes.json").write_text(json.dumps({f"photos/{index}.png": [] for index in range(7)}))
    command = ["batch", "photos", "--out", "out", "--boxes", "boxes.json", "--workers", "1"]
    assert main(command) == 1
    output = capfd.readouterr()
    assert output.out == "7 images, 0 faces, 1 failed: 1 of 1 shards in out\n"
    (line,) = output.err.splitlines()
    assert line.startswith("error: photos/3.png: not an image")
    assert (OUT / "_failed.txt").read_text() == "photos/3.png\n"
    assert main(command) == 1
    assert "out: 1 of 1 shards are finished already" in capfd.readouterr().err
