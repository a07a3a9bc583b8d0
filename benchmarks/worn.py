"""Masks and dark glasses that people really wear: how many of the landmarks behind them the model calls hidden.

    python -m benchmarks.worn --root DIR

Photographs without landmarks, called mask_….jpg and sunglasses_….jpg, that never train. Not all that are called so wear
dark glasses over their eyes, and some are there twice: found by eye, these do not count. Where a face is, the detector
says; of several faces in a photograph the largest counts.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from unveil import Pipeline
from unveil.io.images import read_image
from unveil.schemes.scheme import IBUG68

BEHIND = {"sunglasses": "eyes", "mask": "mouth"}
BESIDE = {"sunglasses": "mouth", "mask": "eyes"}
SEEN_EYES = {4, 24, 39, 42, 53, 54, 60, 64, 68, 71, 76, 94, 98, 102, 107, 115, 122, 126, 135, 137, 151, 152}
SEEN_EYES |= {158, 186, 190, 191, 194, 197}
TWICE = {100, 112, 123, 161, 164, 184, 189}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default="glomface-light")
    options = parser.parse_args()
    out = {f"sunglasses_{number:03}" for number in SEEN_EYES | TWICE}
    pipeline = Pipeline(options.model)
    print(f"{'worn':<12}{'found':>10}{'hidden behind it':>24}{'hidden beside it':>24}")
    for kind, part in BEHIND.items():
        paths = [path for path in sorted(options.root.glob(f"{kind}_*.jpg")) if path.stem not in out]
        behind, beside = _hidden(pipeline, paths, (part, BESIDE[kind]))
        columns = (f"{np.mean(behind):.1%} of the {part}", f"{np.mean(beside):.1%} of the {BESIDE[kind]}")
        print(f"{kind:<12}{f'{len(behind)}/{len(paths)}':>10}{columns[0]:>24}{columns[1]:>24}")


def _hidden(pipeline: Pipeline, paths: list[Path], names: tuple[str, str]) -> list[list[float]]:
    """For each part, the share of its landmarks that is called hidden, a face each."""
    parts = [list(IBUG68.hierarchy.parts[name]) for name in names]
    shares: list[list[float]] = [[], []]
    for path in track(paths, "looking", transient=True, console=Console(stderr=True)):
        faces = pipeline(read_image(path))
        if not faces:
            continue
        face = max(faces, key=lambda face: (face.box.x1 - face.box.x0) * (face.box.y1 - face.box.y0))
        for share, part in zip(shares, parts, strict=True):
            assert face.visibility is not None  # glomface-light predicts it
            share.append(float((face.visibility[part] < 0.5).mean()))
    return shares


if __name__ == "__main__":
    main()
