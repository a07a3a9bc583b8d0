"""The command line as a process: exit status, interruption, help and imports."""

import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.inference.command_output import Align, WriteImage, errors, written

from unveil.cli import main
from unveil.cli.align import Options
from unveil.inference.external_detectors import MIN_SCORE
from unveil.io import images
from unveil.types import Image


def test_ctrl_c_leaves_nothing_half_written(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("a.png")
    write_image("b.png")

    def interrupt(path: Path, _warn: object) -> Image:
        if path.name == "b.png":
            raise KeyboardInterrupt
        return np.full((64, 96, 3), 90, np.uint8)

    monkeypatch.setattr(images, "read_image", interrupt)
    assert align("a.png", "b.png", "--save", "json", "csv") == 130
    assert written(tmp_path / "out") == ["a.json"]
    assert errors(capsys) == ["interrupted; files that were written are complete"]


def test_a_termination_request_leaves_nothing_half_written(
    align: Align, write_image: WriteImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("a.png")

    def terminate(_path: Path, _warn: object) -> Image:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    monkeypatch.setattr(images, "read_image", terminate)
    with pytest.raises(SystemExit) as stop:
        align("a.png", "--save", "json", "csv")
    assert stop.value.code == 143
    assert written(tmp_path / "out") == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_control_characters_in_a_name_do_not_reach_the_terminal(align: Align, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "\x1b[31m:smile:[b].jpg").write_bytes(b"")
    assert align("\x1b[31m:smile:[b].jpg") == 2
    assert capfd.readouterr().err.startswith("error: \\x1b[31m:smile:[b].jpg: the file is empty")


def test_a_python_warning_of_a_command_is_one_line(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(_options: object) -> int:
        warnings.simplefilter("always")
        warnings.warn("a\x1b.png: 2 frames", stacklevel=1)
        return 0

    monkeypatch.setattr("unveil.cli.align.run", warn)
    assert main(["align", "a.png"]) == 0
    assert errors(capsys) == ["warning: a\\x1b.png: 2 frames"]


def test_no_source_and_an_unknown_command_are_one_line(capsys: Any) -> None:
    assert main(["align"]) == 2
    assert len(errors(capsys)) == 1
    assert main(["algin", "a.jpg"]) == 2
    assert "did you mean 'align'?" in errors(capsys)[0]
    assert main([]) == 2


def test_an_unknown_option_is_status_2_and_help_0(capsys: Any) -> None:
    assert main(["align", "a.jpg", "--colour", "red"]) == 2
    assert main(["align", "--help"]) == 0
    assert "--flip-average" in capsys.readouterr().out
    assert main(["--version"]) == 0


def test_a_reader_who_leaves_gets_no_traceback() -> None:
    code = "import sys; from unveil.cli import main; sys.exit(main(['align', '--help']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_default_score_is_the_detectors() -> None:
    assert Options(source=("a.jpg",)).min_score == MIN_SCORE


def test_help_imports_neither_torch_nor_opencv_and_align_no_torch() -> None:
    code = (
        "import sys; from unveil.cli import main; main(['align', '--help']); "
        "assert not {'torch', 'cv2', 'onnxruntime'} & set(sys.modules); "
        "import unveil.inference.pipeline, unveil.io.results; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
