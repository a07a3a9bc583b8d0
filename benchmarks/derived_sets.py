"""98 and 29 landmarks derived from the 68 of 300W, so that both ways from loader to figures are walked on real faces.

    python -m benchmarks.derived_sets write --root 300W --out runs/derived
    python -m benchmarks.derived_sets train --library LIBRARY --out runs/derived
    python -m benchmarks.derived_sets report --root 300W --out runs/derived

The sets are written as WFLW and COFW are released and read by those readers, but they are neither: their landmarks
follow from 68 others by rule, and no figure on them is a benchmark figure. They hold 300W's faces, so they stay in a
folder that git ignores. N faces.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from benchmarks.trials import at_budget, command_line, models_of, row, train_all
from numpy.typing import NDArray

from unveil.cli import main as unveil_command
from unveil.data.datasets import cofw, wflw
from unveil.data.datasets.registry import DataSet, read_data_set
from unveil.data.pack import Pack, cut_out, write_pack
from unveil.geometry import tight_box
from unveil.io.files import atomic_write
from unveil.schemes.scheme import COFW29, IBUG68, WFLW98, WFLW98_TO_IBUG68
from unveil.types import Image, Points

NOTE = (
    "Landmarks derived by rule from the 68 of 300W, to try the way of 98 and 29 points from loader to figures. "
    "This is neither WFLW nor COFW, and no figure on it is a benchmark figure."
)
SPLITS = {"train": "300w/train", "test": "300w/common"}
SIDE = 224  # pixels of a cut-out
BROW = 0.28  # how thick a brow is, in distances from the middle of its line to the eye's
MODEL = "glomface-light"
SHARE = 0.3
MASKS = ("--occlude", "mask")
NOISE = ("--occlude", "noise", "--coverage", str(SHARE))


@dataclass(frozen=True, slots=True)
class Derived:
    """A set that is derived, in the folder `name`: which reader takes it, and what its errors are divided by."""

    name: str
    reader: str
    by: str


SETS = (Derived(WFLW98.name, "wflw", "ocular"), Derived(COFW29.name, "cofw29", "pupil"))


def halfway(line: Points) -> NDArray[np.float64]:
    """The points midway between neighbours (N, 2) on the cubic spline through them: (N - 1, 2)."""
    from scipy.interpolate import CubicSpline

    at = np.arange(len(line))
    return np.asarray(CubicSpline(at, line.astype(np.float64))(at[:-1] + 0.5))


def lids(points: Points) -> Iterator[NDArray[np.float64]]:
    """The middles of the left eye's upper and lower lid, then of the right eye's, of (68, 2)."""
    for lid in ((36, 37, 38, 39), (39, 40, 41, 36), (42, 43, 44, 45), (45, 46, 47, 42)):
        yield halfway(points[list(lid)])[1]


def drops(points: Points) -> tuple[Points, Points]:
    """From a brow's upper edge to its lower one, left and right, of (68, 2): each (2,)."""
    left = points[36:42].mean(axis=0) - points[17:22].mean(axis=0)
    right = points[42:48].mean(axis=0) - points[22:27].mean(axis=0)
    return BROW * left, BROW * right


def as_wflw98(points: Points) -> Points:
    """WFLW's 98 landmarks from the 68, which are among them unchanged: (98, 2)."""
    derived = np.full((98, 2), np.nan, np.float32)
    derived[list(WFLW98_TO_IBUG68)] = points
    derived[1:33:2] = halfway(points[:17])
    left, right = drops(points)
    derived[38:42] = points[21:17:-1] + left
    derived[47:51] = points[25:21:-1] + right
    derived[[62, 66, 70, 74]] = np.stack(list(lids(points)))
    derived[96], derived[97] = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return derived


def as_cofw29(points: Points) -> Points:
    """COFW's 29 landmarks from the 68: (29, 2)."""
    left, right = drops(points)
    derived = np.stack(
        [
            *points[[17, 26, 21, 22]],
            *(points[19], points[19] + left, points[24], points[24] + right),
            *points[[36, 45, 39, 42]],
            *lids(points),
            *(points[36:42].mean(axis=0), points[42:48].mean(axis=0)),
            *points[[31, 35, 30, 33, 48, 54, 51, 62, 66, 57, 8]],
        ]
    )
    return derived.astype(np.float32)


def write_wflw(faces: DataSet, split: str, root: Path) -> None:
    """The faces as a list of WFLW's and a folder of pictures; none of the flags is set."""
    lines = []
    for sample, image, points in cut_outs(faces):
        picture = root / wflw.IMAGES / f"{sample}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(picture), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        derived = as_wflw98(points)
        numbers = (*derived.ravel(), *(round(value) for value in tight_box(derived)), *(0 for _ in wflw.FLAGS))
        lines.append(f"{' '.join(f'{number:.6f}'.rstrip('0').rstrip('.') for number in numbers)} {sample}.jpg\n")
    path = root / wflw.LISTS / f"list_98pt_rect_attr_{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines))


def write_cofw(faces: DataSet, split: str, root: Path) -> None:
    """The faces as a colour file of COFW's, spread evenly over the set; nothing is said to be covered.

    One face fewer than the release has, at most: a set that is short is called partial wherever it is named.
    """
    import h5py

    count = min(len(faces), cofw.FACES[split] - 1)
    chosen = np.linspace(0, len(faces) - 1, count).round().astype(int)
    some = DataSet(faces.name, tuple(faces.samples[i] for i in chosen), IBUG68)
    key, phis, boxes = cofw.KEYS[split], [], []
    root.mkdir(parents=True, exist_ok=True)
    with atomic_write(root / f"COFW_{split}_color.mat") as temporary, h5py.File(temporary, "w") as file:
        cells = file.create_dataset(f"Is{key}", (1, count), dtype=h5py.ref_dtype)
        for i, (_, image, points) in enumerate(cut_outs(some)):
            stored = file.create_dataset(f"#refs#/{i:x}", data=image.T, compression="lzf")  # MATLAB transposes
            cells[0, i] = stored.ref
            derived = as_cofw29(points)
            box = tight_box(derived)
            phis.append([*(derived[:, 0] + 1), *(derived[:, 1] + 1), *(0 for _ in derived)])  # and counts from 1
            boxes.append([box.x0 + 1, box.y0 + 1, box.x1 - box.x0, box.y1 - box.y0])
        file[f"phis{key}"], file[f"bboxes{key}"] = np.array(phis).T, np.array(boxes).T


def cut_outs(faces: DataSet) -> Iterator[tuple[str, Image, Points]]:
    """Each face's name, its square window as (SIDE, SIDE, 3), and its 68 landmarks in pixels of that."""
    for sample in faces.samples:
        yield (sample.name, *cut_out(sample, SIDE))


def write(root: Path, out: Path) -> None:
    """Both sets, training and test faces, each in its own folder of `out`."""
    for split, name in SPLITS.items():
        faces = read_data_set(name, root, partial=True)
        write_sets(faces, split, out)
        print(f"{faces.label}: written as {' and '.join(one.name for one in SETS)} in {out}. {NOTE}")


def write_sets(faces: DataSet, split: str, out: Path) -> None:
    write_wflw(faces, split, out / WFLW98.name)
    write_cofw(faces, split, out / COFW29.name)
    (out / "README.txt").write_text(f"{NOTE}\n")


def train(out: Path, library: Path | None, steps: int) -> None:
    """Packs what `write` wrote, then trains a light model on each, if that was not done before."""
    for one in SETS:
        pack = out / f"{one.name}.npz"
        if not pack.exists():
            faces = read_data_set(f"{one.reader}/train", out / one.name, partial=True)
            write_pack(DataSet(f"{one.name} derived from {SPLITS['train']}", faces.samples, faces.scheme), pack)
        config = at_budget(MODEL, "full", steps=steps, library=library)
        if not train_all(Pack.read(pack), {run_of(one): config}, out):
            return


def run_of(one: Derived) -> str:
    return f"{MODEL}.{one.name}"


def report(root: Path | None, out: Path) -> None:
    """What `unveil evaluate` says of the models: `derived_sets.md` and `derived_sets.json` in `out`.

    With `root`, the model of 98 points also on the 68 that people annotated: those are real figures on 300W Common.
    """
    print(NOTE)  # before the first table that names a set WFLW or COFW
    found: dict[str, dict[str, dict[str, float]]] = {}
    lines = [NOTE, "", row("model", "faces", "by", "clean", f"noise on {SHARE:.0%}", "drawn masks"), f"|{'---|' * 6}"]
    for one in SETS:
        if not models_of([run_of(one)], out):
            continue
        sets = {f"{one.reader}/test, derived": (one.reader, "test", out / one.name, one.by)}
        if one.reader == "wflw" and root is not None:
            sets["300w/common, annotated"] = ("300w", "common", root, "ocular")
        for words, (reader, split, place, by) in sets.items():
            conditions = {"clean": (), "noise": NOISE} | ({"mask": MASKS} if reader == "300w" else {})
            where = ("--dataset", reader, "--split", split, "--root", str(place))
            figures = {name: evaluated(out / run_of(one) / "model", where, how) for name, how in conditions.items()}
            found[f"{run_of(one)} on {words}"] = figures
            errors = (figures[name][f"nme_{by}"] if name in figures else None for name in ("clean", "noise", "mask"))
            lines.append(row(run_of(one), words, by, *errors))
    (out / "derived_sets.json").write_text(json.dumps({"note": NOTE, "figures": found}, indent=1) + "\n")
    (out / "derived_sets.md").write_text("\n".join(lines) + "\n")
    print((out / "derived_sets.md").read_text())


def evaluated(model: Path, where: tuple[str, ...], how: tuple[str, ...]) -> dict[str, float]:
    """The figures of `unveil evaluate`, metric name to value; SystemExit where it can do nothing."""
    path = model.parent / f"{'-'.join((where[1], *how)).replace('--', '')}.json"
    arguments = ["evaluate", "--models", str(model), *where, "--partial", *how, "--json", str(path)]
    if (status := unveil_command(arguments)) == 2:
        raise SystemExit(status)
    figures: dict[str, float] = json.loads(path.read_text())
    return figures


def main() -> None:
    given = command_line(__doc__, {"write": ["root"], "train": [], "report": []})
    if given.what == "write":
        write(given.root, given.out)
    elif given.what == "train":
        train(given.out, given.library, given.steps)
    else:
        report(given.root, given.out)


if __name__ == "__main__":
    main()
