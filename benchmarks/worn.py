"""Masks and dark glasses that people really wear: how many of the landmarks behind them the model calls hidden.

    python -m benchmarks.worn --root DIR
    python -m benchmarks.worn --root DIR --training packs/sunglasses

Photographs without landmarks, called mask_….jpg and sunglasses_….jpg. Of those in sunglasses every fourth, by the hash
of its name, is held out and counted here; the second line copies the others into a folder, for `unveil prepare faces`.
Not all that are called so wear dark glasses over their eyes: those who do not, found by eye, neither train nor count.
What is there twice, once on either side, does not train either. Masks never train. Where a face is, the detector says;
of several faces in a photograph the largest counts.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from unveil import Pipeline
from unveil.data.landmarks import read_image
from unveil.face.schemes import IBUG68
from unveil.training.batches import split_by_name

HELD_OUT = 0.25
BEHIND = {"sunglasses": "eyes", "mask": "mouth"}
SEEN_EYES = {4, 24, 39, 42, 53, 54, 60, 64, 68, 71, 76, 94, 98, 102, 107, 115, 122, 126, 135, 137, 151, 152}
SEEN_EYES |= {158, 186, 190, 191, 194, 197}
TWICE = (10, 12, 70, 157)  # of held-out faces; these leave the training side
FREE = {"sunglasses": "mouth", "mask": "eyes"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default="glomface-light")
    parser.add_argument("--training", type=Path)
    options = parser.parse_args()
    photographs = {kind: sorted(options.root.glob(f"{kind}_*.jpg")) for kind in BEHIND}
    dark = [path for path in photographs["sunglasses"] if _number(path) not in SEEN_EYES]
    photographs["sunglasses"] = dark
    slices = split_by_name([path.stem for path in dark], HELD_OUT)
    training = [dark[i] for i in slices.training]
    if options.training is not None:
        options.training.mkdir(parents=True)
        copied = [path for path in training if _number(path) not in TWICE]
        for path in copied:
            shutil.copy(path, options.training)
        print(f"{len(copied)} photographs in {options.training}")
        return
    print(f"{'worn':<12}{'found':>10}{'hidden behind it':>24}{'hidden beside it':>24}")
    pipeline = Pipeline(options.model)
    for kind, paths in photographs.items():
        counted = [path for path in paths if path not in training]
        behind, beside = _hidden(pipeline, counted, (BEHIND[kind], FREE[kind]))
        columns = (f"{np.mean(behind):.1%} of the {BEHIND[kind]}", f"{np.mean(beside):.1%} of the {FREE[kind]}")
        print(f"{kind:<12}{f'{len(behind)}/{len(counted)}':>10}{columns[0]:>24}{columns[1]:>24}")


def _number(path: Path) -> int:
    return int(path.stem.rsplit("_", 1)[1])


def _hidden(pipeline: Pipeline, paths: list[Path], names: tuple[str, str]) -> list[list[float]]:
    """For each part, the share of its landmarks that is called hidden, a face each."""
    parts = {part.name: list(part.points) for level in IBUG68.hierarchy.levels for part in level.parts}
    shares: list[list[float]] = [[], []]
    for path in track(paths, "looking", transient=True, console=Console(stderr=True)):
        faces = pipeline(read_image(path))
        if not faces:
            continue
        face = max(faces, key=lambda face: (face.box.x1 - face.box.x0) * (face.box.y1 - face.box.y0))
        for share, name in zip(shares, names, strict=True):
            share.append(float((face.visibility[parts[name]] < 0.5).mean()))
    return shares


if __name__ == "__main__":
    main()
