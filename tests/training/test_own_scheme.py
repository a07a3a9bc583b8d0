"""A scheme of one's own from the folder to the landmarks, over the command line."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.schemes.own_schemes import FIVE, POINTS
from tests.tiny_networks import TINY, tiny_config

from unveil.cli import main
from unveil.cli.train import parse
from unveil.data.occlusion import OcclusionConfig
from unveil.data.pack import read_faces
from unveil.geometry import tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.inference.onnx_model import ModelError
from unveil.installation import install_command
from unveil.io.annotations import read_pts, write_pts
from unveil.io.images import read_image
from unveil.metrics import normaliser_lengths, normaliser_names
from unveil.models.checkpoints import NetworkSpec, load_network, weights_bytes
from unveil.schemes.scheme import IBUG68, SCHEMES
from unveil.schemes.scheme_file import read_scheme
from unveil.training.landmarks import LandmarkTask
from unveil.training.validation import face_lengths, training_normaliser

BARE = f'name = "bare"\n{POINTS}'
OF_68 = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))

SIZES = "--input-size 64 --dim 16 --memory-dim 24 --part-dims 16 12 8 --patch-spacings-unit 0.1 --channels 8"
FEW = "--width-mult 0.25 --no-imagenet --steps 2 --batch 2 --val-share 0.3 --threads 1"


def scheme_file(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.fixture(scope="module")
def five_folder(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn faces with five points instead of 68."""
    folder = tmp_path_factory.mktemp("five")
    for points in sorted(drawn_folder.glob("*.pts")):
        points_px = read_pts(points, IBUG68)
        five = np.stack([points_px[list(indices)].mean(axis=0) for indices in OF_68])
        write_pts(folder / points.name, five.astype(np.float32))
        (folder / f"{points.stem}.png").write_bytes(points.with_suffix(".png").read_bytes())
    return folder


def boxes_of(folder: Path, scheme: Path, path: Path) -> Path:
    faces = read_faces(folder, read_scheme(scheme))
    boxes = {f"{folder}/{n}.png": [list(tight_box(p))] for n, p in zip(faces.names, faces.points_px, strict=True)}
    path.write_text(json.dumps(boxes))
    return path


def test_a_scheme_file_goes_from_the_folder_to_aligned_faces_and_is_named_once(
    five_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scheme = scheme_file(tmp_path, FIVE)
    boxes = boxes_of(five_folder, scheme, tmp_path / "boxes.json")
    pack, run, model, out = (tmp_path / name for name in ("five.npz", "run", "model", "out"))
    assert main(["prepare", "folder", "--root", f"{five_folder}", "--out", f"{pack}", "--scheme", f"{scheme}"]) == 0
    scheme.unlink()
    assert main(["train", "glomface-light", "--data", f"{pack}", "--out", f"{run}", *f"{SIZES} {FEW}".split()]) == 0
    output = capsys.readouterr()
    assert "without mask, sunglasses" in " ".join(output.err.split())
    assert "nme_ocular_clean" in output.out
    assert main(["export", f"{run}/last.safetensors", "--out", f"{model}"]) == 0
    saves = ("json", "pts", "csv", "overlay", "aligned")
    assert (
        main(
            [
                "align",
                f"{five_folder}",
                "--model",
                f"{model}",
                "--boxes",
                f"{boxes}",
                "--out",
                f"{out}",
                "--save",
                *saves,
            ]
        )
        == 0
    )
    record: dict[str, Any] = json.loads((out / "face_000.json").read_text())
    assert record["scheme"] == "five"
    assert np.shape(record["faces"][0]["landmarks"]) == (5, 2)
    assert list(record["faces"][0]["pose"]) == ["yaw", "pitch", "roll"]
    assert read_image(out / "face_000.0.aligned-112.png").shape == (112, 112, 3)
    assert json.loads((run / "config.json").read_text())["occlusion"]["mask"] == 0


def test_a_scheme_of_only_the_whole_without_five_points_or_normalisers_is_trained_and_aligned(
    five_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scheme = scheme_file(tmp_path, BARE)
    boxes = boxes_of(five_folder, scheme, tmp_path / "boxes.json")
    run, model, out = (tmp_path / name for name in ("run", "model", "out"))
    train = ["train", "glomface-light", "--data", f"{five_folder}", "--scheme", f"{scheme}", f"--out={run}"]
    assert main([*train, *f"{SIZES} {FEW}".split()]) == 0
    assert "nme_box_clean" in capsys.readouterr().out
    assert main([*train, "--resume", "--steps", "3"]) == 0
    assert f"{run}: step 3" in capsys.readouterr().out
    assert main(["export", f"{run}/best.safetensors", "--out", f"{model}"]) == 0
    align = ["align", f"{five_folder}", "--model", f"{model}", "--boxes", f"{boxes}", "--out", f"{out}", "--save"]
    assert main([*align, "json", "csv", "overlay"]) == 0
    face = json.loads((out / "face_000.json").read_text())["faces"][0]
    assert face["pose"] is None
    assert np.shape(face["visibility"]) == (5,)
    with (out / "faces.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["yaw"], row["pitch"], row["roll"]) == ("", "", "")
    assert float(row["y4"]) == pytest.approx(face["landmarks"][4][1], abs=0.01)
    capsys.readouterr()
    assert main([*align, "aligned"]) == 2
    assert "error: --save aligned: scheme 'bare' has no five_points" in capsys.readouterr().err


def test_the_message_names_what_is_wrong_with_the_scheme_of_a_model(tmp_path: Path) -> None:
    config = {"format": 1, "name": "a", "scheme": "five", "input_size": 64, "margin": 1.0, "sha256": {"model.onnx": ""}}
    (tmp_path / "model.onnx").write_bytes(b"")
    config["sha256"] = {"model.onnx": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    (tmp_path / "config.json").write_text(json.dumps(config | {"own_scheme": {"name": "five", "points": ["a"]}}))
    with pytest.raises(ModelError, match=r"config\.json: its own_scheme: flip is missing; add it"):
        AlignmentModel.load(tmp_path)
    own = {"name": "six", "points": ["a"], "flip": [0]}
    (tmp_path / "config.json").write_text(json.dumps(config | {"own_scheme": own}))
    with pytest.raises(ModelError, match="its scheme is 'five', but its own_scheme is 'six'"):
        AlignmentModel.load(tmp_path)


CONFIG = tiny_config(steps=2, batch=2)


def test_occluders_of_the_68_points_fall_on_no_other_scheme() -> None:
    every = OcclusionConfig(template=1.0, sprite=1.0)
    assert every.for_scheme(IBUG68) == every
    for scheme in (SCHEMES["wflw98"], SCHEMES["cofw29"]):
        assert every.for_scheme(scheme).weights.keys() == {"noise", "polygon", "sprite"}


def test_the_error_is_divided_by_the_eyes_else_the_first_normaliser_else_the_box(tmp_path: Path) -> None:
    assert [training_normaliser(scheme) for scheme in SCHEMES.values()] == ["ocular"] * 3
    nose = FIVE.replace("ocular = [[0], [1]]", "mouth = [[3], [4]]\nnose = [[2], [4]]")
    assert training_normaliser(read_scheme(scheme_file(tmp_path, nose))) == "mouth"
    assert training_normaliser(read_scheme(scheme_file(tmp_path, BARE))) == "box"


@pytest.mark.parametrize("normaliser", normaliser_names(IBUG68))
def test_lengths_in_torch_are_those_of_the_metrics(normaliser: str) -> None:
    points: NDArray[np.float32] = np.random.default_rng(0).normal(size=(3, 68, 2)).astype(np.float32)
    expected = torch.from_numpy(normaliser_lengths(points, IBUG68, normaliser)).float()
    torch.testing.assert_close(face_lengths(torch.from_numpy(points), IBUG68, normaliser), expected)


def test_a_face_without_a_length_is_named_before_training(five_folder: Path, tmp_path: Path) -> None:
    eyes = FIVE.replace("ocular = [[0], [1]]", "ocular = [[0], [0]]")
    with pytest.raises(ValueError, match=r"'face_000'.*ocular length of its ground truth is zero; fix the landmarks"):
        LandmarkTask(read_faces(five_folder, read_scheme(scheme_file(tmp_path, eyes))), CONFIG)


def test_weights_carry_their_scheme_and_old_ones_without_it_still_load(five_folder: Path, tmp_path: Path) -> None:
    scheme = read_scheme(scheme_file(tmp_path, FIVE))
    task = LandmarkTask(read_faces(five_folder, scheme), CONFIG)
    (tmp_path / "own.safetensors").write_bytes(weights_bytes(task.model, task.spec))
    network, spec = load_network(tmp_path / "own.safetensors")
    assert spec.own_scheme == task.spec.own_scheme is not None
    assert network(torch.zeros(1, 3, 64, 64)).points_unit.shape == (1, 5, 2)
    built_in = TINY.spec(IBUG68)
    assert json.loads(built_in.to_json()).keys() == {"network", "scheme", "input_size", "margin", "sizes"}
    assert NetworkSpec(**json.loads(built_in.to_json())).own_scheme is None


def test_without_torch_training_names_the_extra_on_one_line() -> None:
    without = "import sys; sys.modules['torch'] = None"
    code = f"{without}; from unveil.cli import main; sys.exit(main(['train', 'glomface-light']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, f"error: training needs torch: {install_command('train')}\n")


@pytest.mark.parametrize(
    "form", [("--resume", "--out", "RUN"), ("--out", "RUN", "--resume"), ("--out=RUN", "--resume")]
)
def test_a_resumed_run_is_found_however_out_is_written(
    form: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").mkdir()
    (tmp_path / "RUN" / "checkpoint.pt").touch()
    (tmp_path / "RUN" / "config.json").write_text(CONFIG.model_dump_json())
    options = parse(["glomface-light", "--data", "x", *form])
    assert (options.config, options.out, options.resume) == (CONFIG, Path("RUN"), True)


def test_a_scheme_that_is_neither_built_in_nor_a_file_is_one_line(
    five_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "glomface-light", "--data", f"{five_folder}", "--scheme", "ibug86"]) == 2
    assert "unknown scheme 'ibug86': did you mean 'ibug68'? (or name a scheme file" in capsys.readouterr().err
