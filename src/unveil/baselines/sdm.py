"""The supervised descent method: DRN's cascade with a linear map at each stage (Xiong and De la Torre 2013).

N faces, L landmarks, D features of a face. The map is fitted in closed form, without gradient descent.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unveil.baselines.shape_indexed import Features, Shapes


@dataclass(frozen=True, slots=True, eq=False)
class LinearStage:
    """A stage for `cascade`: offsets = (features - mean) · weights + bias.

    Args:
        mean: Mean features, (D,).
        weights: (D, 2L).
        bias: Mean offsets in unit coordinates, (2L,).
    """

    mean: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, features: Features) -> Shapes:
        """Return the offsets in unit coordinates.

        Args:
            features: Features at the landmarks.
        """
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
        """Return the solution of ridge regression.

        The system has one equation for each face or for each feature, whichever are fewer; both have the same solution.

        Args:
            features: Features of the training views.
            offsets: True offsets in unit coordinates.
            strength: λ, in units of the mean variance of a feature times N; above 0.

        Raises:
            ValueError: `strength` is not above 0.
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
