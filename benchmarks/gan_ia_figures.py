"""Figures 3, 7 and 9 of the GAN-IA paper, with the networks of a folder of runs and any faces.

    python -m benchmarks.gan_ia_figures attention --runs RUNS --out figure-3.png
    python -m benchmarks.gan_ia_figures landmarks --runs RUNS --out figure-7.png
    python -m benchmarks.gan_ia_figures landmarks --runs RUNS --rows "GAN-IA + DRN" --out figure-9.png

RUNS is as for `benchmarks.ocfw`. Without --images the faces are NASA's portrait of Eileen Collins under twelve
occluders; with it, the faces that the detector finds in a folder of images.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.clips import portrait
from benchmarks.command import Limit, Occluders, Photographs, Runs, run
from benchmarks.ocfw import ROWS, aligners
from examples.occluders import occluded_photographs

import unveil
from unveil.baselines.coupled import restore_fn
from unveil.data.occlusion import Library
from unveil.evaluation.qualitative import MARGIN, SIDE, SheetRow, tile, tile_grid
from unveil.geometry import Crop, tight_box
from unveil.inference.torch_restorer import load_torch_restorer
from unveil.io.image_sources import list_images
from unveil.io.images import read_image, write_png
from unveil.registry import NETWORKS
from unveil.schemes.scheme import IBUG68
from unveil.types import Image, Points

COLUMNS = 4  # of a sheet with one model


class Shown(NamedTuple):
    """A face of a figure.

    Args:
        image: The image as the networks get it, RGB (H, W, 3).
        points_px: The landmarks that say where the face is, (68, 2).
        original: The image without the occluder; None if the occluder is real.
    """

    image: Image
    points_px: Points
    original: Image | None


def shown_faces(images: Path | None, library: Path | None, limit: int | None) -> list[Shown]:
    """Return the first faces: the portrait under occluders, or those that the shipped model finds in a folder."""
    if images is None:
        plain, points_px = portrait()
        covered = [one.image for _, one in occluded_photographs(plain, points_px, Library.read(library))]
        return [Shown(image, points_px, plain) for image in covered[:limit]]
    pipeline = unveil.Pipeline()
    loaded = [read_image(path) for path in list_images(images)]
    found = [Shown(image, face.landmarks, None) for image in loaded for face in pipeline(image)]
    if not found:
        raise ValueError(f"--images {images}: no image has a face; give others")
    return found[:limit]


def attention(
    runs: Runs,
    out: Path,
    images: Photographs = None,
    library: Occluders = None,
    restorers: tuple[str, str] = ("gan-ia-no-attention", "gan-ia"),
    limit: Limit = 12,
) -> None:
    """Write figure 3: the image, the occluded image, restored without and with self-attention.

    Args:
        out: The image to write.
        restorers: The runs to compare.
    """
    restore = [restore_fn(load_torch_restorer(runs / name, NETWORKS)) for name in restorers]
    rows = []
    for face in shown_faces(images, library, limit):
        crop = Crop.around(tight_box(face.points_px), MARGIN)
        before = [face.image] if face.original is None else [face.original, face.image]
        after = [one(face.image, face.points_px) for one in restore]
        rows.append([crop.extract(image, SIDE) for image in (*before, *after)])
    titles = [*(["original", "occluded"] if len(rows[0]) == 4 else ["occluded"]), *restorers]
    _write(out, tile_grid(rows, titles))


def landmarks(
    runs: Runs,
    out: Path,
    images: Photographs = None,
    library: Occluders = None,
    rows: tuple[str, ...] = ("DRDA (autoencoders + DRN)", "GAN-IA + DRN"),
    limit: Limit = 12,
) -> None:
    """Write figure 7, rows of the table side by side, or with a single row figure 9.

    Args:
        out: The image to write.
        rows: Names of rows of `benchmarks.ocfw`.
    """
    by_name = {row.name: row for row in ROWS}
    if unknown := [name for name in rows if name not in by_name]:
        raise ValueError(f"--rows {unknown[0]}: no such row; there are {', '.join(by_name)}")
    models = aligners([by_name[name] for name in rows], runs)
    if missing := [name for name in rows if name not in models]:
        raise ValueError(f"--rows {missing[0]}: {runs} lacks its runs; see docs/papers/gan-ia.md")
    tiles = []
    for face in shown_faces(images, library, limit):
        box = tight_box(face.points_px)
        results = tuple(model(face.image, [box])[0] for model in models.values())
        row = SheetRow(Crop.around(box, MARGIN), face.image, results)
        tiles.append([tile(row, IBUG68, result) for result in results])
    if len(models) == 1:
        single = [row[0] for row in tiles]
        tiles = [single[start : start + COLUMNS] for start in range(0, len(single), COLUMNS)]
    _write(out, tile_grid(tiles, list(models)))


def _write(out: Path, sheet: Image) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, sheet)
    print(out)


if __name__ == "__main__":
    sys.exit(run(attention, landmarks))
