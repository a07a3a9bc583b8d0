"""Models side by side on one photograph under twelve occluders, as the first paper's figure 8 shows them.

    python -m benchmarks.sheet --models plain=RUN/model hourglass=RUN/model ours=RUN/model --out sheet.png

A row a model, in the order they are given. The photograph is NASA's portrait of Eileen Collins; nobody annotated it, so
errors are distances from what the shipped model says of it uncovered, mirror-averaged. L landmarks.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from benchmarks.clips import portrait
from benchmarks.tracking import nme
from examples.occluders import covered_photographs

import unveil
from unveil.data.occlusion import Library
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.inference.drawing import BACKGROUND, GAP, add_caption, draw_faces
from unveil.io.images import write_png
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Face, Image, Points

COLUMNS, TILE, MARGIN = 6, 230, 1.15  # tiles in a row; pixels; diagonals of the landmarks' box
OFF = (230, 30, 120)  # the line from where a landmark is to where it was found
LEGEND = "pink: from the landmark to where it was found; per cent of the distance between the outer eye corners"


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a model found under an occluder, and its mean error in percent of the inter-ocular distance."""

    model: str
    occluder: str
    image: Image
    face: Face
    error: float


def main(arguments: Sequence[str]) -> int:
    """Writes the sheet and prints the errors; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", metavar="NAME=DIR", nargs="+", required=True, help="a shipped model's name does too"
    )
    parser.add_argument("--visibility", metavar="NAME", help="whose hidden landmarks are crosses; the last model's")
    parser.add_argument("--library", metavar="DIR", type=Path, help="mask templates in masks/, folders of sprites")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("out/sheet.png"))
    options = parser.parse_args(arguments)
    try:
        models = loaded(options.models)
        coloured = options.visibility or list(models)[-1]
        if coloured not in models:
            raise ValueError(f"--visibility {coloured}: no such model; there are {', '.join(models)}")
        shown = list(findings(models, Library.read(options.library)))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_png(options.out, sheet(shown, coloured))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in models:
        errors = [one.error for one in shown if one.model == name]
        print(f"{name:<24}{np.mean(errors):6.2f} % on average, {max(errors):.2f} % at worst")
    print(options.out)
    return 0


def loaded(named: Sequence[str]) -> dict[str, unveil.Pipeline]:
    """The models by the names that they are to have; ValueError for other points or a name given twice."""
    models: dict[str, unveil.Pipeline] = {}
    for text in named:
        name, _, place = text.partition("=")
        if not place:
            raise ValueError(f"--models {text}: give NAME=DIR, the name to show and the model's folder")
        if name in models:
            raise ValueError(f"--models {text}: the name is there twice; choose another")
        models[name] = unveil.Pipeline(place, detector=None)
        if (scheme := models[name].model.scheme) != IBUG68:
            raise ValueError(f"--models {text}: scheme {scheme.name!r}, but the photograph has the points of 'ibug68'")
    return models


def findings(models: Mapping[str, unveil.Pipeline], library: Library) -> Iterator[Shown]:
    """Every model under every occluder; each is given the box of the uncovered face."""
    plain, truth_px = portrait()
    for kind, occluded in covered_photographs(plain, truth_px, library):
        for name, pipeline in models.items():
            face = pipeline(occluded.image, [tight_box(truth_px)])[0]
            yield Shown(name, kind, occluded.image, face, nme(face.landmarks[None], truth_px[None]))


def sheet(shown: Sequence[Shown], coloured: str) -> Image:
    """The occluders in rows of six; of each row a row of tiles for each model."""
    models = list(dict.fromkeys(one.model for one in shown))
    occluders = list(dict.fromkeys(one.occluder for one in shown))
    by_place = {(one.model, one.occluder): one for one in shown}
    rows: list[Image] = []
    for start in range(0, len(occluders), COLUMNS):
        for name in models:
            tiles = [tile(by_place[name, kind], name == coloured) for kind in occluders[start : start + COLUMNS]]
            gap = np.full((len(tiles[0]), GAP, 3), BACKGROUND, np.uint8)
            rows.append(np.concatenate([part for one in tiles for part in (one, gap)][:-1], axis=1))
    colours = f"{coloured}: green discs are seen, orange crosses hidden"
    return add_caption(np.concatenate(rows), f"{LEGEND}; {colours}")


def tile(one: Shown, coloured: bool) -> Image:
    """One face, cut out and enlarged before it is drawn on, over the model's name and error."""
    truth_px = portrait()[1]
    crop = Crop.around(tight_box(truth_px), MARGIN)
    image = crop.extract(one.image, TILE)
    truth, found = (_in_tile(points_px, crop) for points_px in (truth_px, one.face.landmarks))
    for ends in np.round(16 * np.stack([truth, found], axis=1)).astype(np.int32):
        cv2.polylines(image, [ends], False, OFF, 2, cv2.LINE_AA, 4)
    visibility = one.face.visibility if coloured else None
    edge = Box(0, 0, TILE - 1, TILE - 1)
    drawn = draw_faces(image, [replace(one.face, box=edge, landmarks=found, visibility=visibility)], IBUG68)
    return add_caption(drawn, f"{one.model}, {one.occluder}: {one.error:.1f} %")


def _in_tile(points_px: Points, crop: Crop) -> Points:
    return unit_to_crop_px(crop.to_unit(points_px), TILE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
