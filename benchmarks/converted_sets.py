"""300W's faces with 98 and 29 landmarks, which tests both schemes from the reader to the metrics on real faces.

    python -m benchmarks.converted_sets write --root 300W --out runs/converted
    python -m benchmarks.converted_sets train --library LIBRARY --out runs/converted
    python -m benchmarks.converted_sets report --root 300W --out runs/converted

The sets are written in the format of WFLW and COFW and read by their readers, but they are neither: their landmarks are
converted from 68 others by rule, and no metric on them is a benchmark figure. They hold 300W's faces, so they stay in a
folder that git ignores.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from benchmarks.command import Occluders, Out, Root, Steps, run, write_results
from benchmarks.equal_budget import BUDGET, Trial, train_all, trained_models

from unveil.data.datasets import cofw, wflw
from unveil.data.datasets.registry import DataSet, read_data_set
from unveil.data.pack import Pack, cut_out, write_pack
from unveil.evaluation import EvaluationConfig, compare, markdown_table
from unveil.geometry import tight_box
from unveil.io.files import atomic_write, write_file
from unveil.schemes.conversion import to_cofw29, to_wflw98
from unveil.schemes.scheme import COFW29, IBUG68, WFLW98
from unveil.types import Image, Points

NOTE = (
    "Landmarks converted by rule from the 68 of 300W, to test schemes of 98 and 29 points from reader to metrics. "
    "This is neither WFLW nor COFW, and no figure on it is a benchmark figure."
)
SPLITS = {"train": "300w/train", "test": "300w/common"}
SIDE = 224  # pixels of a cut-out
MODEL = "glomface-light"
NOISE = EvaluationConfig(occluder="noise", coverages=(0.3,))
MASKS = EvaluationConfig(occluder="mask")


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted set in the folder `name`: its reader, and the normaliser of its errors."""

    name: str
    reader: str
    normaliser: str

    @property
    def run(self) -> str:
        return f"{MODEL}.{self.name}"


SETS = (Converted(WFLW98.name, "wflw", "ocular"), Converted(COFW29.name, "cofw29", "pupil"))


def write(root: Root, out: Out) -> None:
    """Write both sets, training and test faces."""
    for split, name in SPLITS.items():
        faces = read_data_set(name, root, partial=True)
        write_sets(faces, split, out)
        print(f"{faces.label}: written as {' and '.join(one.name for one in SETS)} in {out}. {NOTE}")


def write_sets(faces: DataSet, split: str, out: Path) -> None:
    write_wflw(faces, split, out / WFLW98.name)
    write_cofw(faces, split, out / COFW29.name)
    (out / "README.txt").write_text(f"{NOTE}\n")


def write_wflw(faces: DataSet, split: str, root: Path) -> None:
    """Write the faces as a list of WFLW and a folder of images, with no flag set."""
    lines = []
    for name, image, points in cut_outs(faces):
        path = root / wflw.IMAGES / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        converted = to_wflw98(points)
        numbers = (*converted.ravel(), *(round(value) for value in tight_box(converted)), *(0 for _ in wflw.FLAGS))
        lines.append(f"{' '.join(f'{number:.6f}'.rstrip('0').rstrip('.') for number in numbers)} {name}.jpg\n")
    write_file(root / wflw.LISTS / f"list_98pt_rect_attr_{split}.txt", "".join(lines).encode())


def write_cofw(faces: DataSet, split: str, root: Path) -> None:
    """Write the faces as a colour file of COFW, without occlusion.

    At least one face fewer than the release has, so that every output calls the set partial.
    """
    import h5py

    some = faces.spaced(cofw.FACES[split] - 1)
    key, phis, boxes = cofw.KEYS[split], [], []
    root.mkdir(parents=True, exist_ok=True)
    with atomic_write(root / f"COFW_{split}_color.mat") as temporary, h5py.File(temporary, "w") as file:
        cells = file.create_dataset(f"Is{key}", (1, len(some)), dtype=h5py.ref_dtype)
        for i, (_, image, points) in enumerate(cut_outs(some)):
            stored = file.create_dataset(f"#refs#/{i:x}", data=image.T, compression="lzf")  # MATLAB transposes
            cells[0, i] = stored.ref
            converted = to_cofw29(points)
            box = tight_box(converted)
            phis.append([*(converted[:, 0] + 1), *(converted[:, 1] + 1), *(0 for _ in converted)])  # and counts from 1
            boxes.append([box.x0 + 1, box.y0 + 1, box.x1 - box.x0, box.y1 - box.y0])
        file[f"phis{key}"], file[f"bboxes{key}"] = np.array(phis).T, np.array(boxes).T


def cut_outs(faces: DataSet) -> Iterator[tuple[str, Image, Points]]:
    """Yield each face's name, its square cut-out (SIDE, SIDE, 3), and its 68 landmarks in pixels of that."""
    for sample in faces.samples:
        yield (sample.name, *cut_out(sample, SIDE))


def train(out: Out, library: Occluders = None, steps: Steps = BUDGET.steps) -> None:
    """Pack the sets that `write` wrote, and train a light model on each that has none."""
    for one in SETS:
        pack = out / f"{one.name}.npz"
        if not pack.exists():
            faces = read_data_set(f"{one.reader}/train", out / one.name, partial=True)
            write_pack(DataSet(f"{one.name} converted from {SPLITS['train']}", faces.samples, faces.scheme), pack)
        if not train_all(Pack.read(pack), {one.run: Trial(MODEL).config(library, steps)}, out):
            return


def report(out: Out, root: Path | None = None) -> None:
    """Write `converted_sets.md` and `converted_sets.json`.

    Args:
        root: 300W: measures the model of 98 points on the 68 that people annotated; those are real figures.
    """
    found: dict[str, dict[str, float]] = {}
    rows = []
    for one in SETS:
        models = trained_models([one.run], out)
        if not models:
            continue
        sets = [(f"{one.reader}/test", out / one.name, one.normaliser)]
        if one.reader == "wflw" and root is not None:
            sets.append(("300w/common", root, "ocular"))
        for name, place, normaliser in sets:
            faces = read_data_set(name, place, partial=True)
            annotated = faces.scheme == IBUG68
            configs = {"clean": EvaluationConfig(), "noise": NOISE} | ({"masks": MASKS} if annotated else {})
            flat = {key: compare(models, faces, config).flat(one.run) for key, config in configs.items()}
            errors = {key: metrics[f"nme_{normaliser}"] for key, metrics in flat.items()}
            title = f"{name}, {'annotated' if annotated else 'converted'}"
            found[f"{one.run} on {title}"] = errors
            rows.append((one.run, title, normaliser, *(errors.get(key) for key in ("clean", "noise", "masks"))))
    header = ("model", "faces", "normaliser", "clean", f"noise on {NOISE.coverages[0]:.0%}", "drawn masks")
    write_results(out, "converted_sets", {"note": NOTE, "nme": found}, f"{NOTE}\n\n{markdown_table(header, rows)}")


if __name__ == "__main__":
    sys.exit(run(write, train, report))
