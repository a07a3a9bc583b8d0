"""Landmarks that a turned head occludes itself. L landmarks.

Jaw landmarks on the far side of a turned head are annotated on the visible contour, not where the jaw is. We call them
occluded from the yaw at which the ear disappears.
"""

import numpy as np
from numpy.typing import NDArray

from unveil.schemes.pose import five_points, upright_yaw
from unveil.schemes.scheme import Scheme
from unveil.types import Points

# The far part of the jaw and the yaw, in degrees, from which it is occluded.
FAR_JAW = (("jaw", 25.0), ("chin", 45.0))


def self_occluded(scheme: Scheme, points: Points) -> NDArray[np.bool_]:
    """Return (L,), True where the head occludes a landmark; all False for schemes without five points or a jaw.

    Args:
        scheme: The landmark scheme.
        points: Landmarks (L, 2) in any frame with y down; the roll of the head does not matter.
    """
    occluded = np.zeros(scheme.points, dtype=bool)
    parts = {part.name: part.points for part in scheme.hierarchy.levels[0].parts}
    if scheme.five_points is None or "left jaw" not in parts:
        return occluded
    yaw = upright_yaw(five_points(scheme, points))
    side = "right" if yaw > 0 else "left"
    for name, limit in FAR_JAW:
        if abs(yaw) > limit:
            occluded[list(parts.get(f"{side} {name}", ()))] = True
    return occluded
