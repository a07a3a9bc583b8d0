"""Tables and contact sheets of the evaluation of restorers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unveil.data.restoration_pairs import RestorationPair
from unveil.evaluation.restoration import COVERAGE_BOUNDS, OCCLUDED, BareResult, FaceResult
from unveil.evaluation.results import markdown_table
from unveil.inference.drawing import BACKGROUND, GAP, side_by_side
from unveil.metrics.restoration import frechet_distance
from unveil.types import Image


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the faces of one way and kind.

    Args:
        way: As of `FaceResult`.
        kind: The kind of occluder.
        coverage: The range of the occluded share, or "all".
        faces: Number of faces.
        psnr: Mean in the hole, dB.
        ssim: Mean in the hole.
        energy: Median of the gradient energy in the hole, relative to the clean face's.
        iou: Mean of the true and the predicted mask; None for a way without a mask.
        frechet: Fréchet distance between restored and clean faces; None for a single face.
    """

    way: str
    kind: str
    coverage: str
    faces: int
    psnr: float
    ssim: float
    energy: float
    iou: float | None
    frechet: float | None


def coverage_range(coverage: float) -> str:
    """Return the range of `COVERAGE_BOUNDS` that a share lies in, such as `20-30 %`.

    Args:
        coverage: The share, 0 to 1.
    """
    edges = [0.0, *COVERAGE_BOUNDS, 1.01]
    upper = next(i for i, edge in enumerate(edges[1:], start=1) if coverage < edge)
    if upper == 1:
        return f"below {100 * edges[1]:.0f} %"
    return f"{100 * edges[upper - 1]:.0f}-{100 * edges[upper]:.0f} %" if upper < len(edges) - 1 else "50 % and more"


def summarise(results: Sequence[FaceResult], *, by_coverage: bool = False) -> list[Row]:
    """Return the rows of the table: one for each kind and way.

    Args:
        results: The results of single faces.
        by_coverage: Add rows for each range of coverage.
    """
    groups: dict[tuple[str, str], dict[str, list[FaceResult]]] = defaultdict(lambda: defaultdict(list))
    for one in results:
        groups[one.kind, "all"][one.way].append(one)
        if by_coverage:
            groups[one.kind, coverage_range(one.coverage)][one.way].append(one)
    rows = []
    for (kind, coverage), ways in sorted(groups.items()):
        clean = np.stack([one.features for one in ways["clean"]])
        for way, found in ways.items():
            if way == "clean":
                continue
            ious = [one.iou for one in found if one.iou is not None]
            vectors = np.stack([one.features for one in found])
            rows.append(
                Row(
                    way,
                    kind,
                    coverage,
                    len(found),
                    float(np.mean([one.psnr for one in found])),
                    float(np.mean([one.ssim for one in found])),
                    float(np.median([one.energy for one in found])),
                    float(np.mean(ious)) if ious else None,
                    frechet_distance(clean, vectors) if len(found) > 1 else None,
                )
            )
    return rows


def markdown(rows: Sequence[Row], bare: Sequence[BareResult] = ()) -> str:
    """Return the tables of restored and of bare faces.

    Args:
        rows: The rows of the restored faces.
        bare: The counts of bare faces.
    """
    metrics = ("PSNR, dB", "SSIM", "gradient energy", "Fréchet distance", "mask IoU")
    restored = [
        (
            *(row.kind, row.coverage, row.way, row.faces, row.psnr, f"{row.ssim:.3f}", f"{row.energy:.0%}"),
            *(row.frechet, None if row.iou is None else f"{row.iou:.3f}"),
        )
        for row in rows
    ]
    text = markdown_table(("under a", "coverage", "restored by", "faces", *metrics), restored) + "\n" if rows else ""
    if bare:
        kept = [
            (one.way, one.faces, one.unchanged, f"{one.unchanged / max(one.faces, 1):.1%}", f"{one.changed_share:.2%}")
            for one in bare
        ]
        header = ("bare faces, restored by", "faces", "unchanged", "share", "pixels changed")
        text += markdown_table(header, kept)
    return text


def contact_sheet(strips: Sequence[tuple[str, RestorationPair, Mapping[str, Image]]]) -> Image:
    """Return one row for each face: every way, then the clean face.

    Args:
        strips: The kind of occluder, the pair and the image of each way, for each face.
    """
    rows = []
    for kind, pair, images in strips:
        shown = {f"{kind}, {pair.coverage:.0%}" if way == OCCLUDED else way: image for way, image in images.items()}
        rows.append(side_by_side({**shown, "clean": pair.clean}))
    gap = np.full((GAP, rows[0].shape[1], 3), BACKGROUND, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1])
