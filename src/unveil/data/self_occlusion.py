"""Which landmarks a head hides from itself. L landmarks; any upright frame, y down.

Jaw landmarks on the far side of a turned head are annotated on the visible contour, not where the jaw is; we call them
occluded from the yaw at which the ear has gone.
"""

import numpy as np
from numpy.typing import NDArray

from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import Scheme
from unveil.types import Points

# The far part of the jaw and the yaw, in degrees, from which it is hidden.
FAR_JAW = (("jaw", 25.0), ("chin", 45.0))


def turned_away(scheme: Scheme, points: Points) -> NDArray[np.bool_]:
    """True where self-occlusion hides a landmark; all false for schemes without five points or a jaw."""
    hidden = np.zeros(scheme.points, dtype=bool)
    parts = {part.name: part.points for part in scheme.hierarchy.levels[0].parts}
    if scheme.five_points is None or "left jaw" not in parts:
        return hidden
    yaw = head_pose(five_points(scheme, points)).yaw
    side = "right" if yaw > 0 else "left"
    for name, limit in FAR_JAW:
        if abs(yaw) > limit:
            hidden[list(parts.get(f"{side} {name}", ()))] = True
    return hidden
