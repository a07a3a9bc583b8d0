"""Restorers side by side on faces that no training has used.

    python benchmarks/restoring.py packs/faces.npz --library LIBRARY --restorer gan-ia-light --out out/restoring
    python benchmarks/restoring.py 300w/common --root DIR --restorer gan-ia-light models/new --bare-only --out out/bare

A pack's faces are those of the validation split, by the hash of their names. Each is occluded by a mask (of the
templates that no training uses, or drawn), a hand and a polygon. Metrics are those inside the hole of what
`unveil restore` writes; see `unveil.evaluation.restoration`. Last, bare faces: how many keep every byte. The sheet
shows faces of the pack: their terms of use apply.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import track

from unveil.data.datasets.registry import read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library
from unveil.data.pack import read_faces
from unveil.data.restoration_pairs import RestorationPair
from unveil.evaluation.provenance import code_facts
from unveil.evaluation.restoration import (
    FaceResult,
    contact_sheet,
    evaluate_bare,
    evaluate_restorers,
    evaluation_samplers,
    validation_indices,
    markdown,
    summarise,
)
from unveil.inference.aligner import AlignmentModel
from unveil.inference.restorer import Restorer
from unveil.io.files import atomic_write
from unveil.io.images import write_png
from unveil.types import Image


def main(arguments: Sequence[str]) -> int:
    """Measure, and write table.md, figures.json and sheet.png; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", help="a pack, or a data set such as 300w/common with --root")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the data set's release")
    parser.add_argument("--restorer", nargs="+", metavar="NAME|DIR", default=["gan-ia-light"])
    parser.add_argument("--model", metavar="NAME|DIR", default="glomface-light", help="finds the landmarks")
    parser.add_argument("--library", metavar="DIR", type=Path, help="mask templates in masks/, hands in hands/")
    parser.add_argument("--val-share", type=float, default=0.08, help="the share that training held out")
    parser.add_argument("--count", type=int, default=500, help="how many faces, at most")
    parser.add_argument("--by-coverage", action="store_true", help="also a row for each range of the covered share")
    parser.add_argument("--bare-only", action="store_true", help="only count bare faces that stay unchanged")
    parser.add_argument("--rows", type=int, default=16, help="of the sheet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    strips: list[tuple[str, RestorationPair, Mapping[str, Image]]] = []

    def keep(kind: str, pair: RestorationPair, images: Mapping[str, Image]) -> None:
        if len(strips) < options.rows:
            strips.append((kind, pair, images))

    results: list[FaceResult] = []
    try:
        restorers = {Path(name).name: Restorer.load(name, options.threads) for name in options.restorer}
        model = AlignmentModel.load(options.model, options.threads)
        faces = (
            read_faces(Path(options.faces))
            if options.root is None
            else read_data_set(options.faces, options.root, partial=True)
        )
        indices = validation_indices(faces, options.val_share if options.root is None else 1.0, options.count)
        console = Console(stderr=True)
        if not options.bare_only:
            samplers = evaluation_samplers(Library.read(options.library), TEST_TEMPLATES)
            for index in track(indices, "restoring", console=console):
                results += evaluate_restorers(faces, [index], restorers, model, samplers, keep=keep)
        bare = evaluate_bare(faces, indices, restorers, model)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = summarise(results, by_coverage=options.by_coverage)
    text = markdown(rows, bare)
    facts = {"faces": f"{len(indices)} of {faces.label}", "restorers": options.restorer, **code_facts()}
    record = {"facts": facts, "rows": [asdict(row) for row in rows], "bare": [asdict(one) for one in bare]}
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in (("table.md", text), ("figures.json", json.dumps(record, indent=2) + "\n")):
        with atomic_write(options.out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    if strips:
        write_png(options.out / "sheet.png", contact_sheet(strips))
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
