"""Finds the box that suits a peer best, on training faces alone: python -m benchmarks.peers.tune dlib --root DIR.

A pattern search over the numbers of `Square`: all neighbours are one job, the best is the next centre, and where none
is better the step is halved. What is made least is the mean NME by the inter-ocular distance.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from benchmarks.peers.boxes import Square
from benchmarks.peers.jobs import Face
from benchmarks.peers.peers import PEERS, Peer
from numpy.typing import NDArray

from unveil.data.landmarks import DataSet, three_hundred_w
from unveil.geometry import tight_box
from unveil.metrics import nme, point_errors

FINEST = 0.02
MISSED = 0.25  # the NME of a face for which the peer finds nothing
DIRECTIONS = np.array([(0.5, 0.5, 0), (0.5, -0.5, 0), (0, 0, 0.5)])  # larger, wider than high, lower


@dataclass(frozen=True)
class Options:
    """Prints the box that gives a peer its least NME on faces of 300W's training folders."""

    peer: Annotated[Literal["dlib", "mediapipe", "face-api", "lbf"], tyro.conf.Positional]
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where 300W lies."""
    faces: int = 300
    """So many, evenly from all training folders."""
    step: float = 0.16
    """The first step, in sides of the box."""


def main() -> None:
    options = tyro.cli(Options, description=Options.__doc__)
    peer = PEERS[options.peer]
    assert peer.square is not None
    faces = training_faces(options.root, options.faces)
    print(f"{peer.title}: {faces.label}, {len(faces)} faces")
    with tempfile.TemporaryDirectory() as folder:
        pictures = decoded(faces, Path(folder))
        best, step = np.array(astuple(peer.square)), options.step
        least = figures(peer, faces, pictures, [best], Path(folder) / "start")[0]
        rounds = 0
        while step >= FINEST:
            rounds += 1
            around = [best + sign * step * direction for direction in DIRECTIONS for sign in (-1, 1)]
            found = figures(peer, faces, pictures, around, Path(folder) / str(rounds))
            if min(found) < least:
                best, least = around[int(np.argmin(found))], min(found)
            else:
                step /= 2
            numbers = ", ".join(f"{value:.2f}" for value in best)
            print(f"Square({numbers})  NME {100 * least:.3f} %  step {step:.3f}", flush=True)


def training_faces(root: Path, count: int) -> DataSet:
    whole = three_hundred_w(root, "train", partial=True)
    chosen = np.linspace(0, len(whole) - 1, min(count, len(whole))).round().astype(int)
    return DataSet(whole.name, tuple(whole.samples[index] for index in chosen), whole.scheme)


def decoded(faces: DataSet, folder: Path) -> list[str]:
    """The pictures as PNG files."""
    paths = [str(folder / f"{index}.png") for index in range(len(faces))]
    for path, sample in zip(paths, faces.samples, strict=True):
        cv2.imwrite(path, cv2.cvtColor(sample.load(), cv2.COLOR_RGB2BGR))
    return paths


def figures(
    peer: Peer, faces: DataSet, pictures: Sequence[str], squares: Sequence[NDArray[np.float64]], folder: Path
) -> list[float]:
    """The mean NME that each of the squares gives."""
    jobs = [
        Face(f"{index}/{sample.name}", picture, Square(*square).of(tight_box(sample.points_px)))
        for sample, picture in zip(faces.samples, pictures, strict=True)
        for index, square in enumerate(squares)
    ]
    points_px = peer.answer(jobs, folder).points_px
    means = []
    for index in range(len(squares)):
        known = [number for number, name in enumerate(faces.names) if f"{index}/{name}" in points_px]
        predicted = np.stack([points_px[f"{index}/{faces.names[number]}"] for number in known])
        errors = point_errors(predicted, faces.points_px[known], faces.scheme)
        means.append((float(nme(errors).sum()) + MISSED * (len(faces) - len(known))) / len(faces))
    return means


if __name__ == "__main__":
    main()
