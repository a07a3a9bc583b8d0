"""Restorers side by side on faces that no training has used.

    python -m benchmarks.restoration packs/faces.npz --library LIBRARY --restorers gan-ia-light --out out/restoration
    python -m benchmarks.restoration 300w/common --root DIR --bare-only --restorers gan-ia-light models/new --out bare

A pack's faces are those of the validation split, by the hash of their names. Each is occluded by a mask (of the
templates that no training uses, or drawn), a hand and a polygon. Metrics are those inside the hole of what
`unveil restore` writes; see `unveil.evaluation.restoration`. Last, bare faces: how many keep every byte. The sheet
shows faces of the pack: their terms of use apply.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cv2
import tyro
from benchmarks.command import Model, Occluders, Threads, run
from rich.console import Console
from rich.progress import track

from unveil.data.datasets.registry import read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library
from unveil.data.pack import read_faces
from unveil.data.restoration_pairs import RestorationPair
from unveil.evaluation.provenance import code_facts
from unveil.evaluation.restoration import (
    FaceResult,
    evaluate_bare,
    evaluate_restorers,
    evaluation_samplers,
    validation_indices,
)
from unveil.evaluation.restoration_tables import contact_sheet, markdown, summarise
from unveil.inference.aligner import AlignmentModel
from unveil.inference.restorer import Restorer
from unveil.io.files import write_file
from unveil.io.images import write_png
from unveil.types import Image


def main(
    data: Annotated[str, tyro.conf.Positional],
    out: Path,
    root: Path | None = None,
    restorers: tuple[str, ...] = ("gan-ia-light",),
    model: Model = "glomface-light",
    library: Occluders = None,
    val_share: float = 0.08,
    count: int = 500,
    by_coverage: bool = False,
    bare_only: bool = False,
    rows: int = 16,
    threads: Threads = 1,
) -> None:
    """Write table.md, figures.json and sheet.png.

    Args:
        data: A pack, or a data set such as 300w/common with --root.
        out: The folder to write.
        root: The data set's release.
        restorers: Names of shipped restorers, or folders.
        val_share: The fraction that training held out.
        count: Number of faces, at most.
        by_coverage: Add a row for each range of coverage.
        bare_only: Count only bare faces that stay unchanged.
        rows: Of the sheet.
    """
    cv2.setNumThreads(1)
    strips: list[tuple[str, RestorationPair, Mapping[str, Image]]] = []

    def keep(kind: str, pair: RestorationPair, images: Mapping[str, Image]) -> None:
        if len(strips) < rows:
            strips.append((kind, pair, images))

    loaded = {Path(name).name: Restorer.load(name, threads) for name in restorers}
    aligner = AlignmentModel.load(model, threads)
    faces = read_faces(Path(data)) if root is None else read_data_set(data, root, partial=True)
    indices = validation_indices(faces, val_share if root is None else 1.0, count)
    results: list[FaceResult] = []
    if not bare_only:
        samplers = evaluation_samplers(Library.read(library), TEST_TEMPLATES)
        for index in track(indices, "restoring", console=Console(stderr=True)):
            results += evaluate_restorers(faces, [index], loaded, aligner, samplers, keep=keep)
    bare = evaluate_bare(faces, indices, loaded, aligner)
    summary = summarise(results, by_coverage=by_coverage)
    text = markdown(summary, bare)
    facts = {"faces": f"{len(indices)} of {faces.label}", "restorers": restorers, **code_facts()}
    record = {"facts": facts, "rows": [asdict(row) for row in summary], "bare": [asdict(one) for one in bare]}
    write_file(out / "table.md", text.encode())
    write_file(out / "figures.json", (json.dumps(record, indent=2) + "\n").encode())
    if strips:
        write_png(out / "sheet.png", contact_sheet(strips))
    print(text, end="")


if __name__ == "__main__":
    sys.exit(run(main))
