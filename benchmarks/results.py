"""The tables of docs/results.md: a model on 300W Common, clean, in other boxes, under occluders, and under noise.

    python -m benchmarks.results --root 300W --library LIBRARY [--model DIR]

A row is one run of `unveil evaluate`, with the options that docs/results.md gives beside it.
"""

import sys
from collections.abc import Mapping

from benchmarks.command import Model, Occluders, Root, Threads, run

from unveil.cli.progress import progress_bars
from unveil.data.datasets.registry import read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library
from unveil.evaluation import EvaluationConfig, compare, markdown_table
from unveil.inference.aligner import AlignmentModel

TRAIN_TEMPLATES = ("KN95", "gas")
COVERAGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # of the face, by noise


def configs(library: Library) -> dict[str, EvaluationConfig]:
    """Return what is measured, by the name of the row."""
    templates = {
        f"{', '.join(names)} templates": EvaluationConfig(
            occluder="template", library=library.only(names), templates=names
        )
        for names in (TEST_TEMPLATES, TRAIN_TEMPLATES)
    }
    return {
        "clean": EvaluationConfig(),
        "mirror-averaged": EvaluationConfig(flip_average=True),
        "boxes from the detector": EvaluationConfig(boxes="detector"),
        "boxes off by up to 10 % in place and size": EvaluationConfig(box_noise=0.1),
        **templates,
        "drawn masks": EvaluationConfig(occluder="mask"),
        "drawn masks cut flat": EvaluationConfig(occluder="flat"),
        "drawn sunglasses": EvaluationConfig(occluder="sunglasses"),
    }


def tables(found: Mapping[str, Mapping[str, float]], swept: Mapping[str, float]) -> str:
    """Return the tables of errors, of visibility where the occluders are known, and of the sweep."""
    interval = "nme_ocular_ci95_"
    errors = [
        (
            *(name, metrics["nme_ocular"], f"{metrics[f'{interval}low']:.2f}–{metrics[f'{interval}high']:.2f}"),  # noqa: RUF001
            *(metrics["fr8_ocular"], metrics.get("nme_ocular_visible"), metrics.get("nme_ocular_occluded")),
            *(metrics["nme_pupil"], metrics["nme_box"], metrics["nrmse_ocular"]),
        )
        for name, metrics in found.items()
    ]
    visibility = [
        (name, metrics["occlusion_recall_at_precision80"], metrics["visibility_ece"])
        for name, metrics in found.items()
        if "visibility_ece" in metrics
    ]
    percent = [f"{100 * coverage:.0f}" for coverage in COVERAGES]
    swept_errors = (swept[f"nme_ocular_at_coverage{coverage}"] for coverage in percent)
    header = ("faces and boxes", "NME", "95 % interval", "FR8", "visible", "occluded", "inter-pupil", "box", "NRMSE")
    return "\n".join(
        [
            markdown_table(header, errors),
            markdown_table(("occluder", "recall at 80 % precision", "calibration error"), visibility),
            markdown_table(("occluded, % of the face", *percent), [("NME", *swept_errors)]),
        ]
    )


def main(root: Root, library: Occluders, model: Model = "glomface-light", threads: Threads = 1) -> None:
    """Print the tables of docs/results.md."""
    models = {model: AlignmentModel.load(model, threads)}
    faces = read_data_set("300w/common", root)
    with progress_bars() as bar:
        found = {
            name: compare(models, faces, config, progress=bar(name)).flat(model)
            for name, config in configs(Library.read(library)).items()
        }
        noise = EvaluationConfig(occluder="noise", coverages=COVERAGES)
        swept = compare(models, faces, noise, progress=bar("noise")).flat(model)
    print(tables(found, swept), end="")


if __name__ == "__main__":
    sys.exit(run(main))
