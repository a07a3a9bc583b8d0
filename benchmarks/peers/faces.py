"""The input of the packages: image files, and the square box that each package expects."""

from dataclasses import dataclass
from pathlib import Path

import cv2
from benchmarks.peers.jobs import Box

from unveil.data.datasets.registry import DataSet
from unveil.data.occluded_set import face_rng
from unveil.data.occlusion import Occluder


@dataclass(frozen=True, slots=True)
class Square:
    """A square computed from the tight box: a side length from width and height, and a vertical shift of the centre.

    `tune.py` selects the square with the lowest NME of the package on 300 training faces of 300W (200 for face-api).
    No test face is used.

    Args:
        width: Weight of the box's width in the side length.
        height: Weight of the box's height in the side length.
        down: Downward shift of the centre, as a fraction of the side length.
    """

    width: float
    height: float
    down: float

    def around(self, box: Box) -> Box:
        """Return the square for a tight box, both as (x0, y0, x1, y1) in pixels."""
        x0, y0, x1, y1 = box
        side = self.width * (x1 - x0) + self.height * (y1 - y0)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2 + self.down * side
        return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def write_images(faces: DataSet, folder: Path, occlude: Occluder | None = None, seed: int = 0) -> list[str]:
    """Write the images as PNG files, so that all packages decode the same pixels.

    Args:
        faces: The faces.
        folder: The folder of the files.
        occlude: The occluder; None leaves the images unchanged.
        seed: The seed of the occluder.

    Returns:
        The paths, in the order of the faces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / f"{index}.png") for index in range(len(faces))]
    for path, sample in zip(paths, faces.samples, strict=True):
        image = sample.load()
        if occlude is not None:
            image = occlude(image, sample.points_px, face_rng(sample.name, seed)).image
        cv2.imwrite(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return paths
