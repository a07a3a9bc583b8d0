"""Match vertices of MediaPipe's mesh to the 68 landmarks: python -m benchmarks.peers.vertices --root DIR.

For each landmark the vertex that is nearest in the mean over 300W's training faces; no test face is used.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from benchmarks.peers.faces import write_images
from benchmarks.peers.jobs import Face
from benchmarks.peers.peers import PEERS
from benchmarks.peers.tune import training_faces

from unveil.geometry import tight_box
from unveil.metrics import normaliser_lengths


@dataclass(frozen=True)
class Options:
    """Prints, for each of the 68 landmarks, the vertex of the mesh that is nearest on 300W's training faces."""

    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of 300W."""
    faces: int = 600
    """Number of faces, evenly from all training folders."""


def main() -> None:
    options = tyro.cli(Options, description=Options.__doc__)
    faces = training_faces(options.root, options.faces)
    peer = replace(PEERS["mediapipe"], options=("--all",))
    with tempfile.TemporaryDirectory() as folder:
        job = [
            Face(sample.name, path, peer.box_of(tight_box(sample.points_px)))
            for sample, path in zip(faces.samples, write_images(faces, Path(folder)), strict=True)
        ]
        points_px = peer.answer(job, Path(folder) / "run").points_px
    known = [index for index, name in enumerate(faces.names) if name in points_px]
    mesh_px = np.stack([points_px[faces.names[index]] for index in known])  # N V 2
    true_px = faces.points_px[known]  # N 68 2
    lengths = normaliser_lengths(true_px, faces.scheme, "ocular")
    distances = np.stack(
        [
            (np.linalg.norm(mesh_px - true_px[:, landmark, None], axis=-1) / lengths[:, None]).mean(axis=0)
            for landmark in range(faces.scheme.points)
        ]
    )  # 68 V
    nearest = distances.argmin(axis=1)
    print(f"{len(known)} of {len(faces)} faces were found; NME {100 * distances.min(axis=1).mean():.3f} %")
    for landmark, vertex in enumerate(nearest):
        name = faces.scheme.point_names[landmark]
        print(f"{landmark:2d} {name}: vertex {vertex}, {100 * distances[landmark, vertex]:.2f} %")
    print(", ".join(map(str, nearest)))


if __name__ == "__main__":
    main()
