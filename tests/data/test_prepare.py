"""`unveil prepare`: an option that says nothing about the data set is refused, before anything is read or written."""

from dataclasses import fields
from pathlib import Path

import pytest

from unveil.cli import main
from unveil.cli.prepare import CONCERNED, Options


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("faces", "--scheme", "ibug68"), "--scheme ibug68: goes with folder, not with faces; leave it out"),
        (("folder", "--list", "ocfw.csv"), "--list ocfw.csv: goes with 300w, not with folder"),
        (("folder", "--split", "common"), "--split common: goes with 300w, not with folder"),
        (("folder", "--partial"), "--partial: goes with 300w and celebamask-hq and ocfw, not with folder"),
        (("300w", "--flip-average"), "--flip-average: goes with faces, not with 300w"),
        (("300w", "--model", "pfld"), "--model pfld: goes with faces and ocfw, not with 300w"),
        (("faces", "--clean", "0.5"), "--clean 0.5: goes with ocfw, not with faces"),
        (("ocfw", "--quality", "80"), "--quality 80: goes with 300w and folder and faces and celebamask-hq"),
    ],
)
def test_an_option_that_does_not_concern_the_set_is_one_line(
    arguments: tuple[str, ...], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["prepare", *arguments, "--root", str(tmp_path / "nothing"), "--out", str(out)]) == 2
    assert f"error: {line}" in capsys.readouterr().err
    assert not out.exists()


def test_every_option_named_as_concerned_exists() -> None:
    assert CONCERNED.keys() <= {option.name for option in fields(Options)}
