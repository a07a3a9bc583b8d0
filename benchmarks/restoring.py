"""What a restorer is worth on faces that it never met: PSNR and SSIM inside the hole, and whether it found the hole.

    python benchmarks/restoring.py packs/clean.npz --library LIBRARY --restorer gan-ia-light --out out/restoring

The faces are those that training holds out, by the preset's seed and count. Each is covered by a mask (of the templates
that never enter training, or drawn where there are none), a hand and a polygon, the last two over 10 to 50 % of it.
Beside the restorer stand the covered face as it is, and OpenCV's inpainting, which is told the true hole. A guided
restorer is told the landmarks that `--model` finds on the covered face. "restored" is what the network says, laid over
the face by its own mask; "blended" is that as `unveil restore` writes it. All faces are framed by their true landmarks.
Last, each face as it is, bare: how many stay as they are to the byte.

The sheet shows faces of the pack: it is under their terms.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import Library, OcclusionConfig, OcclusionSampler
from unveil.data.pack import read_faces
from unveil.data.restoration_pairs import RestorationPair, held_out
from unveil.evaluation.provenance import code_facts
from unveil.geometry import Crop
from unveil.inference.aligner import AlignmentModel
from unveil.inference.blending import RestoredCrop, blended
from unveil.inference.drawing import GAP, PAPER, side_by_side
from unveil.inference.restorer import Restorer
from unveil.io.files import atomic_write
from unveil.io.images import write_png
from unveil.metrics.restoration import HoleFigures, Picture, hole_figures, overlap
from unveil.training.config import Restoring
from unveil.training.gan import inpainted, make_pair
from unveil.training.presets import RESTORERS
from unveil.types import Box, Image

BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Of the face's covered share: figures are given between each two of them, and over all."""
HANDS = "hands"  # the folder of sprites in the library
WAYS = ("occluded", "inpainted", "restored", "blended")
SEED = 2  # of what covers which face


@dataclass(frozen=True, slots=True)
class Measured:
    """One face under one occluder: the share of it that was covered, and what each way makes of the hole."""

    kind: str
    share: float
    ways: Mapping[str, HoleFigures]
    iou: float
    """Of the true hole and the one that the restorer saw."""


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the faces under one kind of occluder, within some bounds."""

    kind: str
    covered: str
    faces: int
    ways: Mapping[str, HoleFigures]
    iou: float


def main(arguments: Sequence[str]) -> int:
    """Measures, writes table.md, figures.json and sheet.png; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="faces, of which training held some out")
    parser.add_argument("--restorer", metavar="NAME|DIR", default="gan-ia-light")
    parser.add_argument("--model", metavar="NAME|DIR", default="glomface-light", help="finds a guided one's landmarks")
    parser.add_argument("--library", metavar="DIR", type=Path, help="mask templates in masks/, hands in hands/")
    parser.add_argument("--preset", choices=RESTORERS, default="gan-ia-light", help="how it was trained")
    parser.add_argument("--held-out-faces", type=int, help="if it was trained with another number than the preset's")
    parser.add_argument("--faces", type=int, default=500, help="how many of the held-out ones, at most")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)
    options = parser.parse_args(arguments)
    preset = RESTORERS[options.preset]
    if options.held_out_faces is not None:
        preset = preset.model_copy(update={"held_out_faces": options.held_out_faces})
    cv2.setNumThreads(1)
    try:
        restorer, model = Restorer.load(options.restorer), AlignmentModel.load(options.model)
        faces = read_faces(options.pack)
        chosen = chosen_faces(faces, preset, options.faces)
        kinds = coverings(Library.read(options.library), preset)
        measured: list[Measured] = []
        strips: dict[tuple[str, str], Image] = {}
        left_alone = 0
        for index in track(chosen, "restoring", console=Console(stderr=True)):
            for number, (kind, sampler) in enumerate(kinds.items()):
                rng = np.random.default_rng((SEED, number, index))
                pair = covered_face(faces, index, preset, restorer, sampler, rng)
                pictures, hole = ways_of(pair, restorer, model)
                measured.append(measure(kind, pair, pictures, hole))
                strips.setdefault((kind, within(pair.share)), strip(kind, pair, pictures))
            bare = pair.clean
            left_alone += np.array_equal(blended(bare, [seen_by(restorer, model, bare)])[0], bare)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = list(rows_of(measured, tuple(kinds)))
    closing = f"Of {len(chosen)} bare faces {left_alone} stay as they are to the byte."
    facts = {
        "faces": f"{len(chosen)} held out of {faces.label}",
        "restorer": f"{restorer.config.name}, SHA-256 {restorer.config.sha256['model.onnx']}",
        "crop": f"{restorer.config.input_size} px, {restorer.config.margin:g} diagonals of the landmarks' box",
        **{kind: ", ".join(sampler.kinds) for kind, sampler in kinds.items()},
        **code_facts(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"facts": facts, "rows": [asdict(row) for row in rows], "bare_left_alone": left_alone}
    for name, text in (
        ("table.md", f"{markdown(rows)}\n{closing}\n"),
        ("figures.json", json.dumps(record, indent=2) + "\n"),
    ):
        with atomic_write(options.out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_png(options.out / "sheet.png", sheet(strips, rows))
    print(f"{markdown(rows)}\n{closing}")
    return 0


def chosen_faces(faces: Faces, preset: Restoring, count: int) -> list[int]:
    """Of the faces that a run of these settings never trains on, `count` or all. ValueError as of `held_out`."""
    _, held = held_out(faces, preset.held_out_faces, preset.schedule.seed)
    if count < 1 or not len(held):
        raise ValueError(f"{min(count, len(held))} faces to restore; give 1 or more in --faces and --held-out-faces")
    spread = np.linspace(0, len(held) - 1, min(count, len(held))).astype(int)
    return [int(index) for index in held[spread]]


def coverings(library: Library, preset: Restoring) -> Mapping[str, OcclusionSampler]:
    """What covers the faces, by the name that the table has for it; hands only where the library has some."""

    def sampler(kind: str, pictures: Library) -> OcclusionSampler:
        return OcclusionSampler(OcclusionConfig.of_kinds(**{kind: 1.0}, coverage=(BOUNDS[0], BOUNDS[-1])), pictures)

    test_only = preset.occlusion.exclude_templates
    never = tuple(template for template in library.templates if template.name.startswith(test_only))
    hands = tuple(sprite for sprite in library.sprites if sprite.group == HANDS)
    kinds = {"mask": sampler("template" if never else "mask", replace(library, templates=never))}
    if hands:
        kinds["hand"] = sampler("sprite", replace(library, sprites=hands))
    return {**kinds, "polygon": sampler("polygon", library)}


def covered_face(
    faces: Faces,
    index: int,
    preset: Restoring,
    restorer: Restorer,
    sampler: OcclusionSampler,
    rng: np.random.Generator,
) -> RestorationPair:
    """A face framed as the restorer sees it in use, clean and covered."""
    frame = preset.model.model_copy(update={"component": None, "margin": restorer.config.margin})
    config = preset.model_copy(update={"model": frame})
    return make_pair(faces, index, config, sampler, restorer.config.input_size, rng, still=True)


def ways_of(
    pair: RestorationPair, restorer: Restorer, model: AlignmentModel
) -> tuple[Mapping[str, Picture], NDArray[np.bool_]]:
    """What each way makes of the covered face, (S, S, 3), and where the restorer saw the occluder, (S, S)."""
    found = seen_by(restorer, model, pair.occluded)
    own, mask = found.restored.astype(np.float32), found.mask[..., None]
    pictures: dict[str, Picture] = {
        "occluded": pair.occluded,
        "inpainted": inpainted(pair),
        "restored": pair.occluded + mask * (own - pair.occluded),
        "blended": blended(pair.occluded, [found])[0],
    }
    return pictures, found.mask > 0.5


def seen_by(restorer: Restorer, model: AlignmentModel, face: Image) -> RestoredCrop:
    """What the restorer says of a framed face (S, S, 3), told the landmarks that the model finds on it."""
    size = len(face)
    middle, half = (size - 1) / 2, size / restorer.config.margin / math.sqrt(8)
    (aligned,) = model(face, [Box(middle - half, middle - half, middle + half, middle + half)])
    crop = Crop((middle, middle), size)
    (found,) = restorer.within(face, [crop], [aligned.points_px], model.scheme.contours)
    return found


def measure(kind: str, pair: RestorationPair, pictures: Mapping[str, Picture], hole: NDArray[np.bool_]) -> Measured:
    ways = {way: hole_figures(pair.clean, picture, pair.mask) for way, picture in pictures.items()}
    return Measured(kind, pair.share, ways, overlap(pair.mask, hole))


def within(share: float) -> str:
    """The bounds that a covered share lies between: `20-30 %`."""
    if share < BOUNDS[0]:
        return f"below {100 * BOUNDS[0]:.0f} %"
    for low, high in pairwise(BOUNDS):
        if share < high:
            return f"{100 * low:.0f}-{100 * high:.0f} %"
    return f"{100 * BOUNDS[-1]:.0f} % and more"


def rows_of(measured: Sequence[Measured], kinds: Sequence[str]) -> Iterator[Row]:
    """Of every kind the bounds that some face lies within, in rising order, then all of its faces."""
    for kind in kinds:
        own = sorted((one for one in measured if one.kind == kind), key=lambda one: one.share)
        for covered in dict.fromkeys(within(one.share) for one in own):
            yield _row(kind, covered, [one for one in own if within(one.share) == covered])
        yield _row(kind, "all", own)


def _row(kind: str, covered: str, faces: Sequence[Measured]) -> Row:
    def mean(way: str) -> HoleFigures:
        found = [asdict(one.ways[way]) for one in faces]
        return HoleFigures(**{name: float(np.mean([figures[name] for figures in found])) for name in found[0]})

    return Row(kind, covered, len(faces), {way: mean(way) for way in WAYS}, float(np.mean([one.iou for one in faces])))


def markdown(rows: Sequence[Row]) -> str:
    """The table: PSNR in dB and SSIM of each way inside the hole, and the overlap of the mask found."""
    head = ["under a", "covered", "faces", *(f"PSNR {way}" for way in WAYS), *(f"SSIM {way}" for way in WAYS), "IoU"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        psnr = [f"{row.ways[way].psnr:.2f}" for way in WAYS]
        ssim = [f"{row.ways[way].ssim:.3f}" for way in WAYS]
        lines.append([row.kind, row.covered, str(row.faces), *psnr, *ssim, f"{row.iou:.3f}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def strip(kind: str, pair: RestorationPair, pictures: Mapping[str, Picture]) -> Image:
    """One face in a row: covered, what each way makes of it, and as it is without the occluder."""
    shown = {way: np.clip(picture + 0.5, 0, 255).astype(np.uint8) for way, picture in pictures.items()}
    first = shown.pop("occluded")
    return side_by_side({f"{kind}, {pair.share:.0%}": first, **shown, "clean": pair.clean})


def sheet(strips: Mapping[tuple[str, str], Image], rows: Sequence[Row]) -> Image:
    """The first face of every row's kind and bounds, below each other."""
    ordered = [strips[row.kind, row.covered] for row in rows if (row.kind, row.covered) in strips]
    gap = np.full((GAP, ordered[0].shape[1], 3), PAPER, np.uint8)
    return np.concatenate([part for row in ordered for part in (row, gap)][:-1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
