"""Search the box with the least error of a peer on training faces: python -m benchmarks.peers.tune dlib --root DIR.

A pattern search over the numbers of `Square`: all neighbours are one job, the best is the next centre, and if none is
better the step is halved. The criterion is the mean NME by the inter-ocular distance after the landmarks are moved by
`offset_px`, since peers count pixels from a corner or a centre, from 0 or from 1.
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
from benchmarks.peers.peers import PEERS, Peer
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, three_hundred_w
from unveil.geometry import tight_box
from unveil.metrics import nme, point_errors

FINEST = 0.02
MISSED = 0.25  # the NME of a face for which the peer finds nothing
DIRECTIONS = np.array([(0.5, 0.5, 0), (0.5, -0.5, 0), (0, 0, 0.5)])  # larger, wider than high, lower


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The result of a square."""

    numbers: NDArray[np.float64]
    """Width, height and down of the `Square`."""
    offset_px: NDArray[np.float64]
    """Median offset from the peer's inner landmarks to the ground truth, (2,)."""
    nme: float
    """The mean over the faces, moved by the offset."""

    def __str__(self) -> str:
        square, offset = (", ".join(f"{value:.2f}" for value in values) for values in (self.numbers, self.offset_px))
        return f"Square({square}) offset_px=({offset}) NME {100 * self.nme:.3f} %"


@dataclass(frozen=True)
class Options:
    """Prints the box that gives a peer its least NME on faces of 300W's training folders."""

    peer: Annotated[Literal["dlib", "mediapipe", "face-api", "lbf"], tyro.conf.Positional]
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of 300W."""
    faces: int = 300
    """Number of faces, evenly from all training folders."""
    step: float = 0.16
    """The first step, in sides of the box."""


def main() -> None:
    options = tyro.cli(Options, description=Options.__doc__)
    peer = PEERS[options.peer]
    assert peer.square is not None
    faces = training_faces(options.root, options.faces)
    print(f"{peer.title}: {faces.label}, {len(faces)} faces")
    with tempfile.TemporaryDirectory() as folder:
        images, step = write_images(faces, Path(folder)), options.step
        best = fits(peer, [np.array(astuple(peer.square))], faces, images, Path(folder) / "start")[0]
        print(f"{best} at the start", flush=True)
        for turn in itertools.count():
            if step < FINEST:
                break
            around = [best.numbers + sign * step * direction for direction in DIRECTIONS for sign in (-1, 1)]
            found = min(fits(peer, around, faces, images, Path(folder) / str(turn)), key=lambda fit: fit.nme)
            best, step = (found, step) if found.nme < best.nme else (best, step / 2)
            print(f"{best} step {step:.3f}", flush=True)


def training_faces(root: Path, count: int) -> DataSet:
    return three_hundred_w(root, "train", partial=True).spaced(count)


def fits(
    peer: Peer, squares: Sequence[NDArray[np.float64]], faces: DataSet, images: Sequence[str], folder: Path
) -> list[Fit]:
    """Measure each of the squares."""
    job = [
        Face(f"{index}/{sample.name}", path, Square(*square).of(tight_box(sample.points_px)))
        for sample, path in zip(faces.samples, images, strict=True)
        for index, square in enumerate(squares)
    ]
    points_px = replace(peer, offset_px=(0, 0)).answer(job, folder).points_px
    return [
        _fit(square, {name: points_px[key] for name in faces.names if (key := f"{index}/{name}") in points_px}, faces)
        for index, square in enumerate(squares)
    ]


def _fit(square: NDArray[np.float64], points_px: Mapping[str, NDArray[np.float64]], faces: DataSet) -> Fit:
    known = [index for index, name in enumerate(faces.names) if name in points_px]
    predicted, true = np.stack([points_px[faces.names[index]] for index in known]), faces.points_px[known]
    offset = np.median((true - predicted)[:, INNER], axis=(0, 1))
    errors = point_errors(predicted + offset, true, faces.scheme)
    missed = len(faces) - len(known)
    return Fit(square, offset, (float(nme(errors).sum()) + MISSED * missed) / len(faces))


if __name__ == "__main__":
    main()
