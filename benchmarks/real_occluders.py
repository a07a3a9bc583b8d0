"""Face masks and dark glasses on photographs: how many of the landmarks behind them are predicted as occluded.

    python -m benchmarks.real_occluders --root DIR

DIR has photographs without annotations, mask_….jpg and sunglasses_….jpg, that no training uses. Those with visible eyes
and duplicates, found by eye, do not count. The largest detected face of each photograph counts.
"""

import sys
from pathlib import Path

import numpy as np
from benchmarks.command import Model, run
from rich.console import Console
from rich.progress import track

from unveil import Pipeline, read_image
from unveil.evaluation import markdown_table
from unveil.schemes.scheme import IBUG68

PARTS = {"sunglasses": ("eyes", "mouth"), "mask": ("mouth", "eyes")}
"""The occluded and the visible part of the face."""
VISIBLE_EYES = {4, 24, 39, 42, 53, 54, 60, 64, 68, 71, 76, 94, 98, 102, 107, 115, 122, 126, 135, 137, 151, 152}
VISIBLE_EYES |= {158, 186, 190, 191, 194, 197}
DUPLICATES = {100, 112, 123, 161, 164, 184, 189}


def main(root: Path, model: Model = "glomface-light") -> None:
    """Print the shares of landmarks that are predicted as occluded.

    Args:
        root: The photographs.
    """
    excluded = {f"sunglasses_{number:03}" for number in VISIBLE_EYES | DUPLICATES}
    pipeline = Pipeline(model)
    rows = []
    for kind, parts in PARTS.items():
        paths = [path for path in sorted(root.glob(f"{kind}_*.jpg")) if path.stem not in excluded]
        shares = []
        for path in track(paths, kind, transient=True, console=Console(stderr=True)):
            faces = pipeline(read_image(path))
            if not faces:
                continue
            face = max(faces, key=lambda face: (face.box.x1 - face.box.x0) * (face.box.y1 - face.box.y0))
            if face.visibility is None:
                raise ValueError(f"--model {model}: predicts no visibility; use glomface-light")
            shares.append([(face.visibility[list(IBUG68.hierarchy.parts[part])] < 0.5).mean() for part in parts])
        behind, beside = (
            f"{mean:.1%} of the {part}" for mean, part in zip(np.mean(shares, axis=0), parts, strict=True)
        )
        rows.append((kind, f"{len(shares)} of {len(paths)}", behind, beside))
    print(markdown_table(("occluder", "detected", "predicted as occluded", "beside it"), rows), end="")


if __name__ == "__main__":
    sys.exit(run(main))
