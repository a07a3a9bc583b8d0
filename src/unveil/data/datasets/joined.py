"""Two sets of faces as one: annotated ones, and others whose landmarks a teacher predicted. N faces, L landmarks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.samples import Faces
from unveil.io.files import DataError
from unveil.schemes.scheme import Scheme
from unveil.types import Image


@dataclass(frozen=True, eq=False)
class JoinedFaces:
    """The faces of two sets with the same scheme.

    Args:
        first: The faces that come first.
        more: The faces that follow.

    Raises:
        DataError: The sets have different schemes.
    """

    first: Faces
    more: Faces

    def __post_init__(self) -> None:
        if self.first.scheme != self.more.scheme:
            raise DataError(
                f"{self.more.label}: scheme {self.more.scheme.name!r}, but {self.first.label} has "
                f"{self.first.scheme.name!r}; add faces of the same scheme"
            )

    @property
    def label(self) -> str:
        """Labels of both sets."""
        return f"{self.first.label} + {self.more.label}"

    @property
    def scheme(self) -> Scheme:
        """Scheme of both sets."""
        return self.first.scheme

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the faces."""
        return (*self.first.names, *self.more.names)

    @cached_property
    def points_px(self) -> NDArray[np.float32]:
        """Landmarks (N, L, 2), each face in pixels of its own image."""
        return np.concatenate([self.first.points_px, self.more.points_px])

    @cached_property
    def visible(self) -> NDArray[np.bool_] | None:
        """(N, L), False where a landmark is occluded. Without this annotation, a face has True; a set has None."""
        if self.first.visible is None and self.more.visible is None:
            return None
        known = ((faces.visible, faces.points_px.shape[:2]) for faces in (self.first, self.more))
        return np.concatenate([np.ones(shape, np.bool_) if own is None else own for own, shape in known])

    def __len__(self) -> int:
        return len(self.first) + len(self.more)

    def image(self, index: int) -> Image:
        """Return the image of one face, RGB (H, W, 3).

        Args:
            index: The number of the face.
        """
        return self.first.image(index) if index < len(self.first) else self.more.image(index - len(self.first))
