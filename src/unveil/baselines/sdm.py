"""The supervised descent method: DRN's cascade with a linear map at each stage (Xiong and De la Torre 2013).

N faces, L landmarks, D features of a face. Fitted in closed form, so it is the baseline that needs no training.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unveil.baselines.shape_indexed import Features, Shapes


@dataclass(frozen=True, slots=True, eq=False)
class LinearStage:
    """offsets = (features - mean) · weights + bias, a stage for `cascade`: (D,), (D, 2L) and (2L,)."""

    mean: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, features: Features) -> Shapes:
        flat = features.reshape(len(features), -1)
        offsets = (flat - self.mean) @ self.weights + self.bias
        return np.asarray(offsets.reshape(len(features), -1, 2), np.float32)

    @classmethod
    def fit(
        cls,
        features: Features,
        offsets: Shapes,
        strength: float = 20.0,
    ) -> Self:
        """Ridge regression; `strength` is its λ, in units of a centred feature's mean variance times N.

        Solved over faces or over features, whichever are fewer: both give the same map.
        """
        if not strength > 0:
            raise ValueError(f"strength {strength}: ridge regression needs more than 0")
        x = features.reshape(len(features), -1).astype(np.float64)
        y = offsets.reshape(len(offsets), -1).astype(np.float64)
        mean, bias = x.mean(axis=0), y.mean(axis=0)
        x, y = x - mean, y - bias
        faces, count = x.shape
        penalty = strength * max(float(np.square(x).sum()) / count, 1e-12)
        if faces < count:
            weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(faces), y)
        else:
            weights = np.linalg.solve(x.T @ x + penalty * np.eye(count), x.T @ y)
        return cls(mean.astype(np.float32), weights.astype(np.float32), bias.astype(np.float32))
