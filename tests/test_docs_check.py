"""Every command in the documents runs, or is listed here with the reason why it does not run.

`make docs-check` runs the commands of each document in their order, in a separate folder with synthetic data. The tests
check only that each command is run or listed.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from unveil.data.synthetic import write_drawn_faces
from unveil.io.annotations import read_pts, write_pts
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import SCHEMES

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md")])
PROGRAMS = ("unveil", "python", "make", "pip", "accelerate", "torchrun")
SHELLS = ("", "bash", "sh", "console")
FEW_STEPS = "--steps 2 --batch 4 --validate-every 2 --checkpoint-every 2 --threads 1"
SMALL = f"{FEW_STEPS} --no-imagenet --input-size 64"


@dataclass(frozen=True)
class Rule:
    """Commands that match `pattern` as a whole: not run because of `reason`, or run with the options `more` added."""

    pattern: str
    reason: str = ""
    more: str = ""
    instead: str = ""
    """A command that is run instead and does the same."""


# The first rule that matches applies.
RULES = (
    Rule(r"pip install .*", "installs into the environment that runs this"),
    Rule(r"make test.*|make docs|make docs-check|make", "is the gate, the site, this check, or a list"),
    Rule(r"make demo", instead=f"python {ROOT}/examples/demo.py"),
    Rule(r"make (bench|picture|format|clean)", "measures for minutes, or changes the checkout"),
    Rule(r"(python|nice .*) ?(-m )?benchmarks[/.].*", "measures for minutes, some of it beside other libraries"),
    Rule(r"(accelerate launch|torchrun) .*", "needs several GPUs; tests/training/test_processes.py runs two processes"),
    Rule(r"unveil serve.*", "runs until it is stopped; tests/serve starts it"),
    Rule(r"unveil batch .*--address.*", "needs a cluster; tests/batch runs the same code on one machine"),
    Rule(r"unveil train (glomface|glomface-star|hourglass\S*) .*", "hours of training on a GPU"),
    Rule(r"unveil .*--detector yunet.*", "YuNet's weights do not ship"),
    Rule(r"unveil evaluate --predictions 300w.*", "published predictions on 300W may not ship"),
    Rule(r"unveil evaluate .*(masked300w|wflw|cofw|ocfw).*", "the data set may not ship, and its layout is tested"),
    Rule(r"unveil .*ocfw.*", "needs photographs of occluded faces; tests/data/test_ocfw.py runs it on synthetic ones"),
    Rule(r"unveil prepare (portraits|faces) .*", "needs photographs; tests/data packs some"),
    Rule(r"unveil .*(wflw|cofw29).*", "the data set may not ship; tests/data/test_prepare.py runs all of it"),
    Rule(r"unveil (train gan-ia\S*|prepare celebamask-hq) .*", "hours of training, or a data set that may not ship"),
    Rule(
        r"unveil export runs/((restorer|gan\S*|longer|glomface\S*|rcpr|detector)/|(light|pfld)/last).*",
        "its training is not run",
    ),
    Rule(
        r"unveil export runs/(after|sharper|texture|visible-c)/.*",
        "its training is not run",
    ),
    Rule(r"unveil export runs/(late|slow|last|dark)-.*", "its training is not run"),
    Rule(r"unveil evaluate --models models/(glomface|rcpr) .*", "its training is not run"),
    Rule(r"unveil restore .*models/gan-ia-components .*", "its training is not run"),
    Rule(r"unveil (train detector|evaluate-detector) .*", "needs photographs without faces; tests/models runs it"),
    Rule(r"unveil train --config runs/glomface-1/.*", "hours of training on a GPU"),
    Rule(r"unveil train --config .*", more="--steps 2 --validate-every 2"),
    Rule(r"unveil train glomface-light \$.*", "hours of training, and its settings are in the shell's variables"),
    Rule(r"unveil train .*--(library|resume|more).*", "the same run as a line above it, with images, faces or a stop"),
    Rule(r"unveil train (glomface-light|light-\S+|plain) .*", more=SMALL),
    Rule(r"unveil train (pfld\S*) .*", more=FEW_STEPS),
    Rule(r"unveil train (drn|sdm|rcpr|drda\S*) .*", "a cascade of its own settings; tests/training trains a small one"),
    Rule(r"unveil prepare 300w .*", more="--partial"),
    Rule(r"unveil evaluate .*--dataset 300w.*", more="--partial"),
    Rule(r"unveil occlude 300w .*", more="--partial"),
    Rule(
        r"unveil track (\d|rtsp|clips|frames).*",
        "needs a camera, a stream or frames; tests/io/test_video.py makes its own",
    ),
    Rule(r"unveil (align|restore|track|convert|prepare|export|occlude|evaluate|batch|doctor)\b.*"),
    Rule(r"python examples/.*"),
)
PLACES = {"DIR": "data", "LIBRARY": "library", "FILE": "file.json", "GROUPS": "photos", "IMAGES": "photos"}


def commands(document: Path) -> Iterator[str]:
    """Yield the commands in the fenced blocks of a document, without comments, one for each part of `a && b`."""
    for language, block in re.findall(r"^```(\S*)\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S):
        if language not in SHELLS:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.sub(r"(^|\s)#.*", "", line).split("&&"):
                words = part.removeprefix("$ ").split()
                if words and words[0] in PROGRAMS:
                    yield " ".join(words)


def rule_of(command: str) -> Rule | None:
    return next((rule for rule in RULES if re.fullmatch(rule.pattern, command)), None)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_in_the_documents_is_run_or_has_a_reason(document: Path) -> None:
    assert [command for command in commands(document) if rule_of(command) is None] == []


def test_commands_are_read_out_of_fenced_blocks_only(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(
        "unveil prose\n```\nunveil align a.jpg   # why\nls\n$ pip install x && make demo\nunveil \\\n  doctor\n```\n"
        "```python\npython = 1\n```\n"
    )
    assert list(commands(document)) == ["unveil align a.jpg", "pip install x", "make demo", "unveil doctor"]


def test_an_unknown_command_has_no_rule() -> None:
    assert rule_of("unveil teleport photo.jpg") is None
    assert rule_of("make coffee") is None


def write_data(folder: Path) -> None:
    """Write what the commands name: photographs, boxes, annotated folders, the layout of a data set."""
    for part in ("afw", "helen/trainset", "lfpw/trainset", "helen/testset", "lfpw/testset", "ibug"):
        write_drawn_faces(folder / "data/300w" / part, 40, seed=len(part))
    write_drawn_faces(folder / "data/folder", 80)
    write_drawn_faces(folder / "data/five", 80)
    for path in (folder / "data/five").glob("*.pts"):
        write_pts(path, five_points(SCHEMES["ibug68"], read_pts(path, SCHEMES["ibug68"])))
    (folder / "photos").mkdir()
    portrait = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]  # public domain
    box = [179, 76, 270, 177]
    for name in ("photo.jpg", "photos/a.jpg"):
        cv2.imwrite(str(folder / name), portrait[..., ::-1])
    np.save(folder / "photo.npy", portrait)
    video = cv2.VideoWriter(str(folder / "talk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, portrait.shape[:2])
    for _ in range(12):
        video.write(portrait[..., ::-1].copy())
    video.release()
    (folder / "boxes.json").write_text(json.dumps({"photo.jpg": [box], "photos/a.jpg": [box]}))
    (folder / "library/objects").mkdir(parents=True)
    (folder / "list.txt").write_text("photos/a.jpg\nphoto.jpg\n")
    shutil.copytree(folder / "photos", folder / "more")
    sprite = np.dstack([np.full((40, 40, 3), 90, np.uint8), np.full((40, 40), 255, np.uint8)])
    cv2.imwrite(str(folder / "library/objects/cup.png"), sprite)
    for shipped, name in (("glomface-light", "mine"), ("detector", "detector")):
        shutil.copytree(ROOT / "src/unveil/weights" / shipped, folder / "models" / name)
    faces = {path.stem: read_pts(path, SCHEMES["ibug68"]) for path in sorted((folder / "data/folder").glob("*.pts"))}
    for name in ("found.npz", "truth.npz"):
        np.savez(folder / name, names=np.array([*faces]), points=np.stack([*faces.values()]))
    rows = [",".join([name, *(f"{value:.3f}" for value in points.ravel())]) for name, points in faces.items()]
    (folder / "found.csv").write_text("\n".join(rows) + "\n")
    for document in DOCUMENTS:
        for block in re.findall(r"^```toml\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S):
            if found := re.search(r'^name = "(\w+)"', block, re.M):
                (folder / f"{found[1]}.toml").write_text(block)


def localised(command: str, rule: Rule) -> list[str]:
    """Return the words of a command, with the data of this folder in place of DIR and so on."""
    words = shlex.split(f"{rule.instead or command} {rule.more}")
    data_set = "300w" if "300w" in words else "five" if "five.toml" in words else "folder"
    places = {**PLACES, "DIR": f"data/{data_set}"}
    words = [places.get(word, word) for word in words]
    words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
    program = [sys.executable] if words[0] == "python" else [str(Path(sys.executable).with_name(words[0]))]
    return program + words[1:]


@cache
def help_options(*words: str) -> frozenset[str]:
    """Return the options in the help text of an `unveil` command."""
    program = str(Path(sys.executable).with_name("unveil"))
    environment = {**os.environ, "COLUMNS": "60", "NO_COLOR": "1"}
    done = subprocess.run([program, *words, "--help"], env=environment, capture_output=True, text=True, check=True)
    return frozenset(re.findall(r"--[a-z0-9][a-z0-9-]*", done.stdout))


def unknown_options(command: str) -> list[str]:
    """Return the options of a command that its help text does not have; [] if the command is none of `unveil`."""
    words = command.split()
    if words[0] != "unveil" or words[1:3] == ["train", "--config"]:
        return []
    names = words[1:3] if words[1] in ("prepare", "train") else words[1:2]
    return [word for word in words if word.startswith("--") and word not in help_options(*names)]


def run_all(documents: list[Path]) -> int:
    """Run the commands of documents and print the result of each; 1 if one failed.

    Of the commands that are not run, the options are checked.
    """
    failed = 0
    for document in documents:
        with TemporaryDirectory() as temporary:
            write_data(Path(temporary))
            for command in commands(document):
                rule = rule_of(command)
                if rule is None or rule.reason:
                    wrong = unknown_options(command) if rule else ["no rule"]
                    reason = ", ".join(wrong) if wrong else rule.reason if rule else ""
                    print(f"{'FAILED' if wrong else 'left':<8}{command}  ({reason})", flush=True)
                    failed += bool(wrong)
                    continue
                start = time.monotonic()
                done = subprocess.run(
                    localised(command, rule), cwd=temporary, capture_output=True, text=True, timeout=600, check=False
                )
                spent = f"{time.monotonic() - start:.0f} s"
                print(f"{'FAILED' if done.returncode else 'ran':<8}{command}  ({spent})", flush=True)
                if done.returncode:
                    failed += 1
                    print(done.stderr[-1500:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_all([Path(name).resolve() for name in sys.argv[1:]] or DOCUMENTS))
