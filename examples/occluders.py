"""Restore one photograph under twelve occluders, and write occluded image, predicted mask and result to one sheet."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from skimage.data import astronaut

import unveil
from unveil.data.occlusion import Library, Occluded, occluder
from unveil.geometry import Crop, tight_box
from unveil.inference.drawing import BACKGROUND, GAP, add_caption, side_by_side
from unveil.io.images import write_png
from unveil.types import Face, Image, Points

# Kind, seed, and another kind that is used instead if the library has images for it.
OCCLUDERS = (
    ("sunglasses", 8, None),
    ("sunglasses", 5, "sprite"),
    ("mask", 2, None),
    ("mask", 3, "template"),
    ("mask", 7, "template"),
    ("polygon", 4, None),
    ("polygon", 1, "sprite"),
    ("polygon", 11, "sprite"),
    ("polygon", 6, None),
    ("noise", 9, "sprite"),
    ("noise", 2, None),
    ("noise", 5, "template"),
)
ROWS, TILE, MARGIN = 6, 256, 1.5  # rows of each of two columns; pixels; diagonals of the landmark box


def main(arguments: Sequence[str]) -> int:
    """Write the sheet.

    Returns:
        The exit status: 0, or 2 with one line on stderr.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restorer", metavar="NAME|PATH", default="gan-ia-light")
    parser.add_argument("--library", metavar="DIR", type=Path, help="mask templates in masks/, folders of sprites")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("out/occluders.png"))
    options = parser.parse_args(arguments)
    try:
        sheet = restoration_sheet(unveil.Pipeline(restorer=options.restorer), Library.read(options.library))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_png(options.out, sheet)
    print(options.out)
    return 0


def restoration_sheet(pipeline: unveil.Pipeline, library: Library) -> Image:
    """Return the sheet with the rows of all occluders."""
    plain = photograph()
    face = pipeline(plain)[0]
    rows = [
        restoration_row(pipeline, plain, face, name, occluded)
        for name, occluded in occluded_photographs(plain, face.landmarks, library)
    ]
    left, right = (np.concatenate(rows[start : start + ROWS]) for start in (0, ROWS))
    return np.concatenate([left, np.full((len(left), 4 * GAP, 3), BACKGROUND, np.uint8), right], axis=1)


def photograph() -> Image:
    """Return NASA's portrait of Eileen Collins, public domain."""
    return np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]


def occluded_photographs(plain: Image, landmarks_px: Points, library: Library) -> Iterator[tuple[str, Occluded]]:
    """Yield the photograph under each of the twelve occluders, with kind and seed as a name."""
    available = {"template": bool(library.templates), "sprite": bool(library.sprites)}
    for default_kind, seed, library_kind in OCCLUDERS:
        kind = library_kind if library_kind is not None and available[library_kind] else default_kind
        yield f"{kind} {seed}", occluder(kind, library)(plain, landmarks_px, np.random.default_rng(seed))


def restoration_row(pipeline: unveil.Pipeline, plain: Image, face: Face, name: str, occluded: Occluded) -> Image:
    """Return crops of the occluded image, the predicted mask and the restored image, side by side."""
    restored = pipeline.restore(occluded.image, [face.box])
    mask = np.repeat(np.where(restored.mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    crop = Crop.around(tight_box(face.landmarks), MARGIN)
    images = {name: occluded.image, "predicted mask": mask, "restored": restored.image}
    row = side_by_side({name: crop.extract(image, TILE) for name, image in images.items()})
    difference = np.abs(restored.image.astype(np.float32) - plain)[occluded.mask].mean()
    return add_caption(row, f"mean difference from the plain photograph under the occluder: {difference:.0f} levels")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
