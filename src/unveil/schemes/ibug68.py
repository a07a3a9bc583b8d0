"""Indices of the 68 iBUG points: parts as slices, single landmarks as numbers. "Left" is the left side of the image."""

from unveil.geometry import Crop, tight_box
from unveil.schemes.hierarchy import Part
from unveil.types import Points

JAW = slice(0, 17)
LEFT_BROW = slice(17, 22)
RIGHT_BROW = slice(22, 27)
BROWS = slice(17, 27)
NOSE_BRIDGE = slice(27, 31)
LOWER_NOSE = slice(29, 36)
NOSTRILS = slice(31, 36)
NOSE = slice(27, 36)
LEFT_EYE = slice(36, 42)
RIGHT_EYE = slice(42, 48)
UPPER_LIP = slice(48, 55)
OUTER_LIPS = slice(48, 60)
MOUTH = slice(48, 68)

LEFT_EAR, CHIN, RIGHT_EAR = 0, 8, 16
CHEEKS = (2, 14)
BETWEEN_EYES, BRIDGE, NOSE_TIP, NOSE_BASE = 27, 28, 30, 33
LOWER_LIP_MIDDLE = 57
NOSE_LINE = (27, 28, 29, 30, 33, 51)  # from between the eyes to the upper lip
UPPER_LIDS, LOWER_LIDS = ((37, 38), (43, 44)), ((40, 41), (46, 47))
LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)
MOUTH_OPENING = (62, 66)

COMPONENTS = tuple(
    Part.of(name, range(68)[points])
    for name, points in (
        ("jaw", JAW),
        ("left brow", LEFT_BROW),
        ("right brow", RIGHT_BROW),
        ("nose", NOSE),
        ("left eye", LEFT_EYE),
        ("right eye", RIGHT_EYE),
        ("mouth", MOUTH),
    )
)
"""The seven components that GAN-IA and DRDA restore separately.

Source: GAN-IA, section 4.2: "we also divide the face shape of 68 landmarks into seven components".
"""

COMPONENT_MARGIN = 1.4  # covers an eye with its lids and the surrounding skin


def component_crop(points_px: Points, component: Part, margin: float = COMPONENT_MARGIN) -> Crop:
    """Return the upright square crop around one component.

    Args:
        points_px: Landmarks of the whole face, (68, 2), in pixels.
        component: One of `COMPONENTS`.
        margin: Side of the crop in diagonals of the component's tight box.
    """
    return Crop.around(tight_box(points_px[list(component.points)]), margin)
