"""The output of the detector's network as arrays: one box, score and five points for each cell. N cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unveil.types import Box, Detection

STRIDES = (8, 16, 32)
MAX_CELLS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of one image, highest score first.

    Args:
        boxes: Boxes x0, y0, x1, y1 in pixels, (N, 4).
        scores: Scores in [0, 1], (N,).
        points: The five points of each in pixels, (N, 5, 2).
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float32]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def detection(self, index: int) -> Detection:
        """Return one cell as a detection.

        Args:
            index: Which cell.
        """
        return Detection(Box(*self.boxes[index].tolist()), float(self.scores[index]), self.points[index])


def decode_cells(
    scores: NDArray[np.float32],
    distances: NDArray[np.float32],
    points: NDArray[np.float32],
    width: int,
    min_score: float,
) -> Cells:
    """Return the cells with a high score, `MAX_CELLS` at most.

    Args:
        scores: Score of each cell, (N,). The order of cells is that of `unveil.models.detector`.
        distances: Logarithms of the distances from a cell to the sides of its box, (N, 4), in strides.
        points: Offsets of the five points from the cell, (N, 10), in units of four strides.
        width: Width of the network's input in pixels.
        min_score: Minimum score in [0, 1].
    """
    cells = np.flatnonzero(scores >= min_score)
    cells = cells[np.argsort(-scores[cells])][:MAX_CELLS]
    counts = [len(scores) * STRIDES[-1] ** 2 // (stride**2 * 21) for stride in STRIDES]  # 16 : 4 : 1
    starts = np.cumsum([0, *counts])
    level = np.searchsorted(starts, cells, side="right") - 1
    stride = np.array(STRIDES)[level]
    row, column = np.divmod(cells - starts[level], width // stride)
    centre = np.stack([column, row], axis=1) * stride[:, None] + (stride[:, None] - 1) / 2
    reach = np.exp(np.minimum(distances[cells], 6)) * stride[:, None]
    boxes = np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1)
    five = points[cells].reshape(-1, 5, 2) * (4 * stride[:, None, None]) + centre[:, None]
    return Cells(boxes, scores[cells], five.astype(np.float32))
