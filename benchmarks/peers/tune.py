"""Search for the input box of a package with the lowest NME: python -m benchmarks.peers.tune dlib --root DIR.

This is a pattern search over the parameters of `Square`. Each iteration evaluates all neighbours in one job. The best
neighbour becomes the next centre; if none is better, the step is halved. The criterion is the mean inter-ocular NME.
`offset_px` is added to the landmarks first, because the pixel conventions of the packages differ.
"""

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from benchmarks.peers.faces import Square, write_images
from benchmarks.peers.figures import INNER
from benchmarks.peers.jobs import Face
from benchmarks.peers.peers import PACKAGES, Package
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, three_hundred_w
from unveil.geometry import tight_box
from unveil.metrics import nme, point_errors

MIN_STEP = 0.02
MISSING_NME = 0.25  # of a face without a prediction
DIRECTIONS = np.array([(0.5, 0.5, 0), (0.5, -0.5, 0), (0, 0, 0.5)])  # size, width against height, vertical shift


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The result of one square."""

    parameters: NDArray[np.float64]
    """`width`, `height` and `down` of the `Square`, (3,)."""
    offset_px: NDArray[np.float64]
    """Median offset from the predicted inner landmarks to the ground truth, (2,)."""
    nme: float
    """Mean NME over the faces, after the offset is added."""

    def __str__(self) -> str:
        square, offset = (", ".join(f"{value:.2f}" for value in values) for values in (self.parameters, self.offset_px))
        return f"Square({square}) offset_px=({offset}) NME {100 * self.nme:.3f} %"


@dataclass(frozen=True)
class Options:
    """Print the input box with the lowest NME of a package on training faces of 300W."""

    package: Annotated[Literal["dlib", "mediapipe", "face-api", "lbf"], tyro.conf.Positional]
    """The package."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of 300W."""
    faces: int = 300
    """Number of faces, sampled evenly from all training folders."""
    step: float = 0.16
    """Initial step, as a fraction of the side length."""


def main() -> None:
    """Run the search and print each iteration."""
    options = tyro.cli(Options, description=Options.__doc__)
    package = PACKAGES[options.package]
    assert package.square is not None
    faces = training_faces(options.root, options.faces)
    print(f"{package.title}: {faces.label}, {len(faces)} faces")
    with tempfile.TemporaryDirectory() as folder:
        images, step = write_images(faces, Path(folder)), options.step
        best = evaluate_squares(package, [np.array(astuple(package.square))], faces, images, Path(folder) / "initial")[
            0
        ]
        print(f"{best} initial", flush=True)
        for iteration in itertools.count():
            if step < MIN_STEP:
                break
            neighbours = [best.parameters + sign * step * direction for direction in DIRECTIONS for sign in (-1, 1)]
            candidate = min(
                evaluate_squares(package, neighbours, faces, images, Path(folder) / str(iteration)),
                key=lambda fit: fit.nme,
            )
            best, step = (candidate, step) if candidate.nme < best.nme else (best, step / 2)
            print(f"{best} step {step:.3f}", flush=True)


def training_faces(root: Path, count: int) -> DataSet:
    """Return `count` training faces of 300W, sampled evenly."""
    return three_hundred_w(root, "train", partial=True).spaced(count)


def evaluate_squares(
    package: Package, squares: Sequence[NDArray[np.float64]], faces: DataSet, images: Sequence[str], folder: Path
) -> list[Fit]:
    """Run the package once with all squares.

    Args:
        package: The package; its own square and offset are not used.
        squares: Parameters of each square, (3,).
        faces: The faces with their ground truth.
        images: Their image files.
        folder: The folder of the exchange files; it must not exist.

    Returns:
        One result for each square.
    """
    job = [
        Face(f"{index}/{sample.name}", path, Square(*square).around(tight_box(sample.points_px)))
        for sample, path in zip(faces.samples, images, strict=True)
        for index, square in enumerate(squares)
    ]
    points_px = replace(package, offset_px=(0, 0)).predict(job, folder).points_px
    return [
        _fit(square, {name: points_px[key] for name in faces.names if (key := f"{index}/{name}") in points_px}, faces)
        for index, square in enumerate(squares)
    ]


def _fit(square: NDArray[np.float64], points_px: Mapping[str, NDArray[np.float64]], faces: DataSet) -> Fit:
    rows = [index for index, name in enumerate(faces.names) if name in points_px]
    predicted, true = np.stack([points_px[faces.names[index]] for index in rows]), faces.points_px[rows]
    offset = np.median((true - predicted)[:, INNER], axis=(0, 1))
    errors = point_errors(predicted + offset, true, faces.scheme)
    missing = len(faces) - len(rows)
    return Fit(square, offset, (float(nme(errors).sum()) + MISSING_NME * missing) / len(faces))


if __name__ == "__main__":
    main()
