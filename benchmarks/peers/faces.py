"""Faces as peers get them: image files, and the square that each peer was trained on."""

from dataclasses import dataclass
from pathlib import Path

import cv2
from benchmarks.peers.jobs import Box

from unveil.data.datasets.registry import DataSet
from unveil.data.occluded_set import face_rng
from unveil.data.occlusion import Occluder


@dataclass(frozen=True, slots=True)
class Square:
    """A square around the tight box: its side is a sum of the box's width and height, its centre shifted vertically.

    Found by `tune.py` as the one with the peer's least NME on 300 training faces of 300W (200 for face-api);
    no test face was used.

    Args:
        width: Weight of the box's width.
        height: Weight of the box's height.
        down: How far the centre is below the box's, in sides of the square.
    """

    width: float
    height: float
    down: float

    def of(self, box: Box) -> Box:
        x0, y0, x1, y1 = box
        side = self.width * (x1 - x0) + self.height * (y1 - y0)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2 + self.down * side
        return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def write_images(faces: DataSet, folder: Path, occlude: Occluder | None = None, seed: int = 0) -> list[str]:
    """Write the images, under an occluder if one is given, as PNG files, which all peers decode alike."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / f"{index}.png") for index in range(len(faces))]
    for path, sample in zip(paths, faces.samples, strict=True):
        image = sample.load()
        if occlude is not None:
            image = occlude(image, sample.points_px, face_rng(sample.name, seed)).image
        cv2.imwrite(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return paths
