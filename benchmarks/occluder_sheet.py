"""Models side by side on one photograph under twelve occluders, as in figure 8 of the GlomFace paper.

    python -m benchmarks.occluder_sheet --models plain=RUN/model hourglass=RUN/model ours=RUN/model --out sheet.png

The photograph is NASA's portrait of Eileen Collins. It has no annotation: errors are distances from the prediction of
the shipped model without occluders, averaged with the mirrored one. Occluded landmarks are orange.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.clips import portrait
from benchmarks.command import Occluders, run
from examples.occluders import occluded_photographs

from unveil.data.occlusion import Library
from unveil.evaluation.qualitative import MARGIN, SheetRow, qualitative_sheet
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.io.images import write_png
from unveil.metrics import nme, point_errors
from unveil.schemes.scheme import IBUG68


def main(models: tuple[str, ...], library: Occluders = None, out: Path = Path("out/sheet.png")) -> None:
    """Write the sheet and print the errors.

    Args:
        models: NAME=DIR, a name to show and the folder of a model or the name of a shipped one.
        out: The image to write.
    """
    loaded = load(models)
    image, points_px = portrait()
    box = tight_box(points_px)
    rows = [
        SheetRow(Crop.around(box, MARGIN), occluded.image, tuple(m(occluded.image, [box])[0] for m in loaded.values()))
        for _, occluded in occluded_photographs(image, points_px, Library.read(library))
    ]
    titles: dict[str, str] = {}
    for i, name in enumerate(loaded):
        predicted = np.stack([row.results[i].points_px for row in rows])
        errors = nme(point_errors(predicted, np.broadcast_to(points_px, predicted.shape), IBUG68))
        titles[name] = f"{name}: {errors.mean():.1%}"
        print(f"{name:<24}{errors.mean():7.2%} on average, {errors.max():.2%} at worst")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, qualitative_sheet(rows, {titles[name]: model.scheme for name, model in loaded.items()}))
    print(out)


def load(named: Sequence[str]) -> Mapping[str, AlignmentModel]:
    """Load the models by name; ValueError for another scheme or a name that is given twice."""
    models: dict[str, AlignmentModel] = {}
    for text in named:
        name, _, place = text.partition("=")
        if not place:
            raise ValueError(f"--models {text}: give NAME=DIR, the name to show and the model's folder")
        if name in models:
            raise ValueError(f"--models {text}: the name is given twice; choose another")
        models[name] = AlignmentModel.load(place)
        if (scheme := models[name].scheme) != IBUG68:
            raise ValueError(f"--models {text}: scheme {scheme.name!r}, but the photograph has the points of 'ibug68'")
    return models


if __name__ == "__main__":
    sys.exit(run(main))
