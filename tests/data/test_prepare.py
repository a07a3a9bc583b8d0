"""`unveil prepare`: each set has its own options, and what it packs trains a network of its points."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from unveil.cli import main
from unveil.cli.prepare_options import SETS
from unveil.data.datasets import wflw
from unveil.data.pack import Pack
from unveil.data.synthetic import drawn_face, write_drawn_faces
from unveil.io.annotations import write_pts
from unveil.schemes.scheme import COFW29, SCHEMES, WFLW98
from unveil.types import Image, Points

FEW = "--no-imagenet --steps 2 --batch 2 --val-share 0.4 --threads 1 --input-size 64 --dim 16 --memory-dim 24"
SIZES = "--part-dims 16 12 8 --patch-spacings-unit 0.1 --channels 8 --width-mult 0.25"


def derived(points_68: Points, count: int) -> Points:
    """So many points between the 68 ones: what they mark does not matter here."""
    places = np.linspace(0, 67, count)
    below = np.floor(places).astype(int)
    fraction = (places - below)[:, None]
    above = np.minimum(below + 1, 67)
    return np.asarray(points_68[below] * (1 - fraction) + points_68[above] * fraction, np.float32)


def faces(count: int, points: int, seed: int = 0) -> list[tuple[Image, Points]]:
    drawn = [drawn_face(np.random.default_rng((seed, i))) for i in range(count)]
    return [(image, derived(points_px, points)) for image, points_px in drawn]


def write_wflw(root: Path) -> None:
    """12 training and 8 test faces as the release has them; every flag occurs."""
    lists = root / "WFLW_annotations" / wflw.LISTS
    lists.mkdir(parents=True)
    (root / wflw.IMAGES).mkdir()
    for split, count, seed in (("train", 12, 0), ("test", 8, 1)):
        lines = []
        for i, (image, points_px) in enumerate(faces(count, 98, seed)):
            name = f"{split}_{i}.png"
            cv2.imwrite(str(root / wflw.IMAGES / name), image[..., ::-1])
            box = [*points_px.min(axis=0), *points_px.max(axis=0)]
            flags = [int(split == "test" and i % len(wflw.FLAGS) == f) for f in range(len(wflw.FLAGS))]
            numbers = [f"{value:.4f}" for value in (*points_px.ravel(), *box)]
            lines.append(" ".join([*numbers, *map(str, flags), name]))
        (lists / f"list_98pt_rect_attr_{split}.txt").write_text("\n".join(lines) + "\n")


def write_cofw(root: Path) -> None:
    """12 training and 6 test faces in MATLAB 7.3 files."""
    root.mkdir(parents=True)
    for split, key, count, seed in (("train", "Tr", 12, 0), ("test", "T", 6, 1)):
        drawn = faces(count, 29, seed)
        with h5py.File(root / f"COFW_{split}_color.mat", "w") as file:
            phis, boxes, cells = [], [], []
            for i, (image, points_px) in enumerate(drawn):
                cells.append(file.create_dataset(f"#refs#/{i}", data=image.T).ref)
                occluded = np.arange(29) % 5 == 0
                phis.append([*(points_px[:, 0] + 1), *(points_px[:, 1] + 1), *occluded])
                boxes.append([*points_px.min(axis=0), *np.ptp(points_px, axis=0)])
            file.create_dataset(f"Is{key}", data=np.array([cells], h5py.ref_dtype))
            file.create_dataset(f"phis{key}", data=np.array(phis, float).T)
            file.create_dataset(f"bboxes{key}", data=np.array(boxes, float).T)


def train_export_evaluate(pack: Path, dataset: str, root: Path, splits: list[str], folder: Path) -> None:
    run, model = folder / "run", folder / "model"
    train = ["train", "glomface-light", "--data", str(pack), "--out", str(run)]
    assert main([*train, *f"{FEW} {SIZES}".split()]) == 0
    assert main(["export", str(run / "best.safetensors"), "--out", str(model)]) == 0
    for split in splits:
        out = folder / split.replace("/", "-")
        evaluate = ["evaluate", "--models", str(model), "--dataset", dataset, "--split", split, "--root", str(root)]
        assert main([*evaluate, "--partial", "--save", str(out)]) == 0, split


def test_wflw_goes_from_its_release_to_figures_of_every_subset(tmp_path: Path) -> None:
    root, pack = tmp_path / "WFLW", tmp_path / "wflw.npz"
    write_wflw(root)
    assert main(["prepare", "wflw", "--root", str(root), "--out", str(pack), "--side", "96", "--partial"]) == 0
    assert Pack.read(pack).scheme == WFLW98
    train_export_evaluate(pack, "wflw", root, ["test", *wflw.FLAGS], tmp_path)


def test_cofw_goes_from_its_release_to_figures(tmp_path: Path) -> None:
    root, pack = tmp_path / "COFW", tmp_path / "cofw.npz"
    write_cofw(root)
    assert main(["prepare", "cofw29", "--root", str(root), "--out", str(pack), "--side", "96", "--partial"]) == 0
    found = Pack.read(pack)
    assert found.scheme == COFW29
    assert found.visible is not None
    assert (found.visible[0] == (np.arange(29) % 5 != 0)).all()
    train_export_evaluate(pack, "cofw29", root, ["test"], tmp_path)


def test_ocfw_goes_from_300w_and_its_two_lists_to_figures(tmp_path: Path) -> None:
    root, pack = tmp_path / "300W", tmp_path / "ocfw.npz"
    for place, count in (("afw", 8), ("helen/trainset", 4), ("helen/testset", 3), ("lfpw/testset", 3), ("ibug", 2)):
        write_drawn_faces(root / place, count, seed=len(place))
    (root / "lfpw/trainset").mkdir()
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    clean, occluded = tmp_path / "clean.txt", tmp_path / "occluded.txt"
    clean.write_text("\n".join(names[:12]) + "\n")
    occluded.write_text("\n".join(names[12:]) + "\n")
    prepare = ["prepare", "ocfw", "--root", str(root), "--out", str(pack), "--side", "96", "--list"]
    assert main([*prepare, str(clean)]) == 0
    assert len(Pack.read(pack)) == 12
    train_export_evaluate(pack, "ocfw", root, [str(occluded)], tmp_path)
    kinds = tmp_path / "kinds.csv"
    rows = [
        f"{Path(name).with_suffix('').as_posix()},{'clean' if i % 2 else 'occluded'}" for i, name in enumerate(names)
    ]
    kinds.write_text("name,kind\n" + "\n".join(rows) + "\n")
    assert main([*prepare, str(kinds), "--partial", "--kind", "occluded"]) == 0
    assert len(Pack.read(pack)) == 10


def test_a_missing_csv_or_list_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "ocfw", "--root", str(tmp_path), "--out", str(tmp_path / "o.npz")]) == 2
    assert "error: --list is missing; name OCFW's list of image paths" in capsys.readouterr().err


def test_a_folder_annotated_in_another_format_is_packed(tmp_path: Path) -> None:
    write_drawn_faces(tmp_path / "faces", 3, size=96)
    coco = tmp_path / "faces.coco.json"
    assert main(["convert", str(tmp_path / "faces"), "--to", "coco", "--out", str(coco)]) == 0
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in (tmp_path / "faces").glob("*.png"):
        path.rename(bare / path.name)
    pack = tmp_path / "p.npz"
    assert main(["prepare", "folder", "--root", str(bare), "--annotations", str(coco), "--out", str(pack)]) == 0
    assert (len(Pack.read(pack)), Pack.read(pack).scheme) == (3, SCHEMES["ibug68"])


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (lambda points: np.where(np.arange(68)[:, None] == 7, -1, points), "face_001.pts: landmark 7 is at (-1, -1)"),
        (lambda points: np.where(np.arange(68)[:, None] == 7, 9000, points), "landmark 7 is at (9000, 9000)"),
        (lambda points: np.full_like(points, 40), "all 68 landmarks are at (40, 40)"),
        (lambda points: points[1:], "face_001.pts: 67 points, but scheme 'ibug68' has 68"),
    ],
)
def test_landmarks_that_cannot_be_true_stop_or_are_left_out_by_name(
    wrong: object, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(wrong)
    write_drawn_faces(tmp_path / "faces", 3, size=96)
    _, points_px = drawn_face(np.random.default_rng((0, 1)), 96)
    write_pts(tmp_path / "faces/face_001.pts", wrong(points_px).astype(np.float32))
    pack = tmp_path / "p.npz"
    prepare = ["prepare", "folder", "--root", str(tmp_path / "faces"), "--out", str(pack)]
    assert main(prepare) == 2
    assert line in capsys.readouterr().err
    assert not pack.exists()
    assert main([*prepare, "--on-error", "skip"]) == 0
    output = capsys.readouterr()
    assert line in output.err
    assert "faces 2: 2 faces" in output.out
    assert "left out: 1" in output.out
    assert Pack.read(pack).names == ("face_000", "face_002")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("portraits", "--scheme", "ibug68"), "--scheme"),
        (("folder", "--list", "ocfw.csv"), "--list"),
        (("folder", "--split", "common"), "--split"),
        (("folder", "--partial"), "--partial"),
        (("300w", "--flip-average"), "--flip-average"),
        (("300w", "--model", "pfld"), "--model"),
        (("portraits", "--clean", "0.5"), "--clean"),
        (("ocfw-list", "--quality", "80"), "--quality"),
    ],
)
def test_an_option_of_another_set_is_refused_before_anything_is_written(
    arguments: tuple[str, ...], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["prepare", *arguments, "--root", str(tmp_path / "nothing"), "--out", str(out)]) == 2
    assert option in capsys.readouterr().err
    assert not out.exists()


def test_an_unknown_set_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "portrait", "--root", "x", "--out", "y"]) == 2
    assert capsys.readouterr().err == "error: unknown set 'portrait': did you mean 'portraits'?\n"


def test_the_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--help"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in SETS)
