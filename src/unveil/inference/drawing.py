"""Images for people: landmarks drawn on the photograph, upright face crops, panels side by side."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, fit_similarity
from unveil.schemes.scheme import Scheme
from unveil.types import Box, Face, Image, Points

Colour = tuple[int, int, int]
# Okabe and Ito's bluish green and vermillion, which colour-blind people can tell apart; the shapes differ as well.
VISIBLE_COLOUR: Colour = (0, 158, 115)
OCCLUDED_COLOUR: Colour = (213, 94, 0)
LINE_COLOUR: Colour = (255, 255, 255)
BOX_COLOUR: Colour = (86, 180, 233)
OUTLINE_COLOUR: Colour = (20, 20, 20)

SUBPIXEL_BITS = 4
CROSS = np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
VISIBLE_FROM = 0.5
MIN_DRAWN_SIDE = 800  # canvas pixels; smaller faces are enlarged to about this size before drawing
MARGIN = 0.05  # of a face's diagonal: space for the marks of its outermost landmarks
ALIGNED_SIZES = (112, 256)
PANEL_SIDES = (256, 1280)  # limits of a panel's longer side: smaller images are enlarged, larger ones reduced
GAP, CAPTION_HEIGHT, TEXT_COLOUR, BACKGROUND = 8, 34, (40, 40, 40), 255

# Left eye, right eye, nose tip, mouth corners on the 112 px crop of ArcFace and most recognition models since.
TEMPLATE_SIZE = 112
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


def draw_faces(image_rgb: Image, faces: Sequence[Face], scheme: Scheme) -> Image:
    """Draw each face's box, contours and landmarks: a green disc is visible, an orange cross is occluded.

    Args:
        image_rgb: RGB image (H, W, 3).
        faces: Faces of the image.
        scheme: Scheme of their landmarks.

    Returns:
        A copy of the image with the drawings. Landmarks without visibility are drawn as visible.
    """
    canvas = image_rgb.copy()
    for face in faces:
        _draw_face(canvas, face, scheme)
    return canvas


def _draw_face(canvas: Image, face: Face, scheme: Scheme) -> None:
    """Draw into `canvas`.

    A small face is enlarged by repeating pixels and reduced again by averaging, because OpenCV cannot draw discs of two
    pixels. Pixels between the marks are unchanged.
    """
    extent = np.concatenate([face.landmarks, np.array(face.box, np.float32).reshape(2, 2)])
    size = float(np.hypot(*np.ptp(face.landmarks, axis=0)))
    height, width = canvas.shape[:2]
    x0, y0 = (max(0, math.floor(value - MARGIN * size)) for value in extent.min(axis=0))
    x1, y1 = (math.ceil(value + MARGIN * size) + 1 for value in extent.max(axis=0))
    region = canvas[y0 : min(y1, height), x0 : min(x1, width)]
    if not region.size:
        return
    zoom = max(1, MIN_DRAWN_SIDE // max(region.shape[:2]))
    enlarged = np.ascontiguousarray(region.repeat(zoom, axis=0).repeat(zoom, axis=1))
    origin = np.array([x0, y0], np.float32)
    drawing = _Drawing(enlarged, lambda points_px: (points_px - origin + 0.5) * zoom - 0.5, size * zoom)
    drawing.box(face.box)
    for contour in scheme.contours:
        drawing.line(face.landmarks[list(contour.points)], contour.closed)
    visible = np.ones(len(face.landmarks), bool) if face.visibility is None else face.visibility >= VISIBLE_FROM
    for point, is_visible in zip(face.landmarks, visible, strict=True):
        drawing.landmark(point, bool(is_visible))
    region[...] = cv2.resize(enlarged, (region.shape[1], region.shape[0]), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Draws image coordinates on a canvas, with line widths for a face of `size` canvas pixels."""

    canvas: Image
    to_canvas: Callable[[Points], Points]
    size: float

    def box(self, box: Box) -> None:
        first, last = self._fixed(np.array(box, np.float32).reshape(2, 2)).tolist()
        width = max(1, round(self.size / 200))
        cv2.rectangle(self.canvas, first, last, BOX_COLOUR, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def line(self, points_px: Points, closed: bool) -> None:
        width = max(1, round(self.size / 300))
        cv2.polylines(self.canvas, [self._fixed(points_px)], closed, LINE_COLOUR, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def landmark(self, point_px: Points, visible: bool) -> None:
        radius = max(1.5, self.size / 110)
        centre, steps = self._fixed(point_px), 2**SUBPIXEL_BITS
        for colour, reach, stroke in (
            (OUTLINE_COLOUR, 1.3 * radius, 1.3 * radius),
            (VISIBLE_COLOUR if visible else OCCLUDED_COLOUR, radius, 0.7 * radius),
        ):
            if visible:
                cv2.circle(self.canvas, centre.tolist(), round(reach * steps), colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)
            else:
                arms = centre + (reach * steps * CROSS).astype(np.int32)
                width = max(1, round(stroke))
                cv2.polylines(self.canvas, list(arms), False, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def _fixed(self, points_px: Points) -> NDArray[np.int32]:
        """Return canvas coordinates in OpenCV's fixed-point format."""
        fixed: NDArray[np.int32] = np.round(self.to_canvas(points_px) * 2**SUBPIXEL_BITS).astype(np.int32)
        return fixed


def side_by_side(images: Mapping[str, Image]) -> Image:
    """Place images in a row, each above its name, resized for display.

    Args:
        images: RGB images of one size (H, W, 3), by name.

    Returns:
        The row.
    """
    panels = [add_caption(_resize_for_display(image_rgb), name) for name, image_rgb in images.items()]
    gap = np.full((panels[0].shape[0], GAP, 3), BACKGROUND, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def add_caption(image_rgb: Image, text: str) -> Image:
    """Add one line of text below an image. A narrow image gets smaller text.

    Args:
        image_rgb: RGB image (H, W, 3).
        text: The line.

    Returns:
        The image with its caption, (H + CAPTION_HEIGHT, W, 3).
    """
    width = image_rgb.shape[1]
    caption = np.full((CAPTION_HEIGHT, width, 3), BACKGROUND, np.uint8)
    (full, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    scale = min(0.6, (width - 2 * GAP) / max(full, 1))
    origin = (GAP, CAPTION_HEIGHT - 11)
    cv2.putText(caption, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, TEXT_COLOUR, 1, cv2.LINE_AA)
    return np.concatenate([image_rgb, caption])


def _resize_for_display(image_rgb: Image) -> Image:
    longer = max(image_rgb.shape[:2])
    scale = min(max(longer, PANEL_SIDES[0]), PANEL_SIDES[1]) / longer
    if scale == 1:
        return image_rgb
    size = (max(1, round(scale * image_rgb.shape[1])), max(1, round(scale * image_rgb.shape[0])))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_rgb, size, interpolation=interpolation), np.uint8)


def aligned_crop(five_points_px: Points) -> Crop:
    """Return the crop that maps five points to ArcFace's template with the least squared error.

    `aligned_crop(face.five_points).extract(image_rgb, 112)` is the input of most face recognition models.

    Args:
        five_points_px: Left eye, right eye, nose tip, left and right mouth corner, (5, 2), in pixels.

    Returns:
        The crop.
    """
    template_unit = (2 * np.array(TEMPLATE) + 1) / TEMPLATE_SIZE - 1
    scale, angle, shift = fit_similarity(template_unit, five_points_px.astype(np.float64))
    return Crop(centre=(float(shift[0]), float(shift[1])), side=2 * scale, angle=angle)
