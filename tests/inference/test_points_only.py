"""A model that predicts points only, as PFLD does: visibility and uncertainty are absent everywhere."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from unveil.baselines.pfld import PfldConfig
from unveil.cli import main
from unveil.data.synthetic import frontal_shape
from unveil.export.onnx_export import export_model
from unveil.geometry import Crop
from unveil.inference.aligner import AlignmentModel
from unveil.inference.drawing import OCCLUDED_COLOUR, VISIBLE_COLOUR, draw_faces
from unveil.inference.onnx_model import ModelError
from unveil.inference.pipeline import Pipeline
from unveil.inference.track_files import track_files
from unveil.inference.tracking import TrackedFace, Tracker
from unveil.io.video import Frame
from unveil.models.checkpoints import NetworkSpec, weights_bytes
from unveil.registry import PRESETS as REGRESSORS
from unveil.registry import build_network as build
from unveil.registry import load_network
from unveil.schemes.scheme import IBUG68
from unveil.serve.app import build_app
from unveil.types import Box, Detection, Face, Image

BOX = Box(178, 91, 269, 177)  # on the portrait
MARGIN = 1.2


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thin PFLD with random weights that answers with a face as large as its box, moved a little by what it sees."""
    torch.manual_seed(0)
    shape = frontal_shape() - frontal_shape().mean(axis=0)
    shape *= 2 / MARGIN / np.linalg.norm(np.ptp(shape, axis=0))
    network = PfldConfig(width_mult=0.06).build(IBUG68)
    network.set_mean_shape(torch.from_numpy(shape.astype(np.float32)))
    for _ in range(3):
        network(torch.rand(4, 3, 112, 112))  # the norms count
    path = tmp_path_factory.mktemp("pfld") / "last.safetensors"
    path.write_bytes(weights_bytes(network.eval(), NetworkSpec("pfld", "ibug68", 112, MARGIN, {"width_mult": 0.06})))
    return path


@pytest.fixture(scope="module")
def pfld_dir(weights: Path) -> Path:
    return export_model(weights, weights.parent / "thin", "thin").folder


@pytest.fixture(scope="module")
def model(pfld_dir: Path) -> AlignmentModel:
    return AlignmentModel.load(pfld_dir)


@pytest.fixture(scope="module")
def face(model: AlignmentModel, portrait: Image) -> Face:
    (found,) = Pipeline(model, None)(portrait, [BOX])
    return found


def test_an_exported_pfld_equals_torch_without_its_pose_net(
    weights: Path, pfld_dir: Path, model: AlignmentModel, portrait: Image
) -> None:
    config = json.loads((pfld_dir / "config.json").read_text())
    assert (config["outputs"], config["input_size"], config["margin"]) == (["points_unit"], 112, MARGIN)
    assert b"pose." not in (pfld_dir / "model.onnx").read_bytes()
    network, _ = load_network(weights)
    around = Crop.around(BOX, MARGIN)
    crop = torch.from_numpy(around.extract(portrait, 112)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = network(crop).points_unit[0].numpy()
    (found,) = model(portrait, [BOX])
    np.testing.assert_allclose(around.to_unit(found.points_px), expected, atol=2e-3)
    again, _ = load_network(pfld_dir / "model.safetensors")
    with torch.no_grad():
        np.testing.assert_allclose(again(crop).points_unit[0], expected, atol=5e-3)


@pytest.mark.parametrize("flip_average", [False, True])
def test_what_the_model_does_not_predict_is_none(model: AlignmentModel, portrait: Image, flip_average: bool) -> None:
    for found in model(portrait, [BOX, BOX], flip_average):
        assert found.points_px.shape == (68, 2)
        assert found.visibility is None
        assert found.uncertainty_px is None


def test_portraits_are_not_packed_by_a_model_without_visibility(
    pfld_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = [
        "prepare",
        "portraits",
        "--root",
        str(tmp_path),
        "--out",
        str(tmp_path / "x.npz"),
        "--model",
        str(pfld_dir),
    ]
    assert main(prepare) == 2
    assert "predicts no visibility, which --visible needs" in capsys.readouterr().err


def test_its_files_have_nothing_in_those_places(
    pfld_dir: Path, portrait: Image, write_image: Callable[..., Path], tmp_path: Path
) -> None:
    photo, out = write_image("photo.png", portrait), tmp_path / "out"
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({str(photo): [BOX]}))
    saved = ["--save", "json", "csv", "pts", "overlay", "aligned"]
    assert main(["align", str(photo), "--model", str(pfld_dir), "--boxes", str(boxes), "--out", str(out), *saved]) == 0
    (entry,) = json.loads((out / "photo.json").read_text())["faces"]
    assert (entry["visibility"], entry["uncertainty"], len(entry["landmarks"])) == (None, None, 68)
    with (out / "faces.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert {row["visibility0"], row["uncertainty67"]} == {""}
    assert float(row["x0"]) == pytest.approx(entry["landmarks"][0][0], abs=0.01)
    assert {path.name for path in out.iterdir()} >= {"photo.pts", "photo.overlay.png", "photo.0.aligned-112.png"}


def test_its_landmarks_are_drawn_as_visible(model: AlignmentModel, face: Face, portrait: Image) -> None:
    drawn = draw_faces(portrait, [face], model.scheme)
    seen = draw_faces(portrait, [replace(face, visibility=np.ones(68, np.float32))], model.scheme)
    np.testing.assert_array_equal(drawn, seen)
    assert (drawn == VISIBLE_COLOUR).all(axis=2).any()
    assert not (drawn == OCCLUDED_COLOUR).all(axis=2).any()


class Watched:
    """A detector that has the face while it is there."""

    def __init__(self) -> None:
        self.there = True

    def __call__(self, _image_rgb: Image) -> list[Detection]:
        return [Detection(BOX, 0.9)] if self.there else []


def states(faces: Sequence[TrackedFace]) -> list[tuple[int, str]]:
    return [(face.id, face.state) for face in faces]


def test_a_tracked_face_is_there_as_long_as_the_detector_finds_it(
    model: AlignmentModel, portrait: Image, tmp_path: Path
) -> None:
    watched = Watched()
    tracker = Tracker(Pipeline(model, watched))
    seen: list[list[tuple[int, str]]] = []
    with track_files({"csv": tmp_path / "a.csv", "json": tmp_path / "a.jsonl"}, 10, model.scheme) as add:
        for index in range(45):
            watched.there = not 15 <= index < 22 and index < 30
            faces = tracker(portrait, index / 10)
            add(Frame(index, index / 10, portrait), faces)
            seen.append(states(faces))
    assert seen[14] == [(1, "tracked")]
    assert (1, "covered") in seen[21]  # the search in the second second has found nothing
    assert seen[26] == [(1, "tracked")]
    assert seen[44] == [(1, "lost")]
    lines = [json.loads(line)["faces"][0] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [lines[0]["visibility"], lines[0]["uncertainty"]] == [None, None]
    assert set(lines[21]["visibility"]) == {0}
    with (tmp_path / "a.csv").open() as file:
        assert next(csv.DictReader(file))["visibility0"] == ""


def test_the_service_answers_with_null(
    model: AlignmentModel, portrait: Image, write_image: Callable[..., Path]
) -> None:
    photo = write_image("photo.png", portrait).read_bytes()
    with TestClient(build_app(Pipeline(model, Watched())), base_url="http://localhost") as client:
        answer = client.post("/align", files={"file": ("photo.png", photo, "image/png")})
        assert answer.status_code == 200
        (entry,) = answer.json()["faces"]
        assert (entry["visibility"], entry["uncertainty"]) == (None, None)


def test_a_shard_has_null(
    model: AlignmentModel, portrait: Image, write_image: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="batches need pyarrow: pip install '.[batch]'")
    import pyarrow.parquet as pq

    from unveil.batch.plan import Recipe, open_plan
    from unveil.batch.shards import BatchJob, write_shard

    plan = open_plan([str(write_image("photo.png", portrait))], tmp_path / "out", Recipe())
    (shard,) = plan.missing(tmp_path / "out")
    job = BatchJob(plan.recipe, plan.columns, tmp_path / "out", Path.cwd())
    write_shard(shard, job, Pipeline(model, Watched()))
    (path,) = (tmp_path / "out").glob("shard-*.parquet")
    (row,) = pq.read_table(path).to_pylist()
    assert (row["visibility"], row["uncertainty"], len(row["landmarks"])) == (None, None, 136)


def test_evaluation_leaves_out_visibility(
    pfld_dir: Path, drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--models", str(pfld_dir), "--dataset", "folder", "--root", str(drawn_folder), "--occlude", "mask"]
    assert main(["evaluate", *arguments, "--save", "report", "--json", "figures.json"]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert "nme_ocular_occluded" in str(figures)
    assert "visibility_ece" not in str(figures)
    (kept,) = (tmp_path / "report").glob("*.npz")
    assert set(np.load(kept).files) == {"names", "ground_truth", "predictions", "visible"}
    assert main(["evaluate", "--predictions", str(kept), "--ground-truth", str(kept)]) == 0


def test_a_config_without_points_is_one_clear_line(pfld_dir: Path, tmp_path: Path) -> None:
    folder = copytree(pfld_dir, tmp_path / "pointless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "outputs": ["visibility"]}))
    with pytest.raises(ModelError, match="outputs: Value error, points_unit is not among them; export the model again"):
        AlignmentModel.load(folder)


@pytest.mark.parametrize("name", ["drn", "sdm"])
def test_a_cascade_on_sift_is_refused(name: str, tmp_path: Path) -> None:
    sizes = {"hidden": () if name == "sdm" else (4,), "stages": 1}
    spec = replace(REGRESSORS[name].model.spec(IBUG68), sizes=sizes)
    path = tmp_path / "best.safetensors"
    path.write_bytes(weights_bytes(build(spec), spec))
    with pytest.raises(ValueError, match="a network 'drn', which neither align nor restore runs"):
        export_model(path, tmp_path / "model", name)
