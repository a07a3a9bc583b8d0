"""The seven components that GAN-IA and DRDA restore one by one, as data; L landmarks of scheme ibug68."""

from unveil.geometry import Crop, tight_box
from unveil.schemes.hierarchy import Part
from unveil.schemes.ibug68 import JAW, LEFT_BROW, LEFT_EYE, MOUTH, NOSE, RIGHT_BROW, RIGHT_EYE
from unveil.types import Points

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
"""The paper's section 4.2: "we also divide the face shape of 68 landmarks into seven components"."""

MARGIN = 1.4  # an eye with its lids and the skin round it; the jaw is nearly the whole face


def component_crop(points_px: Points, component: Part, margin: float = MARGIN) -> Crop:
    """The upright square window round a component, for landmarks (L, 2) of the whole face in pixels."""
    return Crop.around(tight_box(points_px[list(component.points)]), margin)
