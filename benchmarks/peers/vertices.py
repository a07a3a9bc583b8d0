"""Match vertices of the MediaPipe mesh to the 68 landmarks: python -m benchmarks.peers.vertices --root DIR.

Each landmark gets the vertex with the lowest mean distance on training faces of 300W. No test face is used.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from benchmarks.peers.faces import write_images
from benchmarks.peers.jobs import Face
from benchmarks.peers.peers import PACKAGES
from benchmarks.peers.tune import training_faces

from unveil.geometry import tight_box
from unveil.metrics import normaliser_lengths


@dataclass(frozen=True)
class Options:
    """Print, for each of the 68 landmarks, the mesh vertex with the lowest mean distance on training faces of 300W."""

    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of 300W."""
    faces: int = 600
    """Number of faces, sampled evenly from all training folders."""


def main() -> None:
    """Compute and print the vertices."""
    options = tyro.cli(Options, description=Options.__doc__)
    faces = training_faces(options.root, options.faces)
    package = replace(PACKAGES["mediapipe"], options=("--all",))
    with tempfile.TemporaryDirectory() as folder:
        job = [
            Face(sample.name, path, package.box_of(tight_box(sample.points_px)))
            for sample, path in zip(faces.samples, write_images(faces, Path(folder)), strict=True)
        ]
        points_px = package.predict(job, Path(folder) / "run").points_px
    rows = [index for index, name in enumerate(faces.names) if name in points_px]
    mesh_px = np.stack([points_px[faces.names[index]] for index in rows])  # N V 2
    ground_truth_px = faces.points_px[rows]  # N 68 2
    lengths = normaliser_lengths(ground_truth_px, faces.scheme, "ocular")
    distances = np.stack(
        [
            (np.linalg.norm(mesh_px - ground_truth_px[:, landmark, None], axis=-1) / lengths[:, None]).mean(axis=0)
            for landmark in range(faces.scheme.points)
        ]
    )  # 68 V
    nearest = distances.argmin(axis=1)
    print(f"{len(rows)} of {len(faces)} faces detected; NME {100 * distances.min(axis=1).mean():.3f} %")
    for landmark, vertex in enumerate(nearest):
        name = faces.scheme.point_names[landmark]
        print(f"{landmark:2d} {name}: vertex {vertex}, {100 * distances[landmark, vertex]:.2f} %")
    print(", ".join(map(str, nearest)))


if __name__ == "__main__":
    main()
