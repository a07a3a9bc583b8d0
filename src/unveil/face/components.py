"""The seven components that GAN-IA and DRDA restore one by one, as data; L landmarks of scheme ibug68."""

from unveil.face.hierarchy import Part
from unveil.geometry import Crop, tight_box
from unveil.types import Points

COMPONENTS = (
    Part.of("jaw", range(17)),
    Part.of("left brow", range(17, 22)),
    Part.of("right brow", range(22, 27)),
    Part.of("nose", range(27, 36)),
    Part.of("left eye", range(36, 42)),
    Part.of("right eye", range(42, 48)),
    Part.of("mouth", range(48, 68)),
)
"""The paper's section 4.2: "we also divide the face shape of 68 landmarks into seven components"."""

MARGIN = 1.4  # an eye with its lids and the skin round it; the jaw is nearly the whole face


def component_crop(points_px: Points, component: Part, margin: float = MARGIN) -> Crop:
    """The upright square window round a component, for landmarks (L, 2) of the whole face in pixels."""
    return Crop.around(tight_box(points_px[list(component.points)]), margin)
