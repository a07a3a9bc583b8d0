"""Pictures out: landmarks drawn on the photograph, faces cut out and turned upright, before beside after."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, similarity
from unveil.schemes.scheme import Scheme
from unveil.types import Box, Face, Image, Points

Colour = tuple[int, int, int]
# Okabe and Ito's bluish green and vermillion, which colour-blind people tell apart; the shapes differ as well.
SEEN: Colour = (0, 158, 115)
HIDDEN: Colour = (213, 94, 0)
LINE: Colour = (255, 255, 255)
BOX: Colour = (86, 180, 233)
RIM: Colour = (20, 20, 20)

SUBPIXEL_BITS = 4
CROSS = np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
VISIBLE_FROM = 0.5
DRAWN_SIDE = 800  # canvas pixels; smaller faces are enlarged about to this to be drawn
MARGIN = 0.05  # of a face's diagonal, room for the marks of its outermost landmarks
ALIGNED_SIZES = (112, 256)
PANEL = (256, 1280)  # the longer side of a picture beside others: smaller ones are enlarged, larger ones shrunk
GAP, CAPTION, INK, PAPER = 8, 34, (40, 40, 40), 255

# Left eye, right eye, nose tip, mouth corners on the 112 px crop that ArcFace and most recognition models since expect.
TEMPLATE_SIZE = 112
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


def draw_faces(image_rgb: Image, faces: Sequence[Face], scheme: Scheme) -> Image:
    """A copy of the picture with each face's box, contours and landmarks: green discs are seen, orange crosses not."""
    canvas = image_rgb.copy()
    for face in faces:
        _draw_face(canvas, face, scheme)
    return canvas


def _draw_face(canvas: Image, face: Face, scheme: Scheme) -> None:
    """Draws into `canvas`; a small face enlarged, since OpenCV's discs of two pixels are no discs, and shrunk again.

    Repeating pixels and averaging them again leaves those between the marks exactly as they were.
    """
    extent = np.concatenate([face.landmarks, np.array(face.box, np.float32).reshape(2, 2)])
    size = float(np.hypot(*np.ptp(face.landmarks, axis=0)))
    height, width = canvas.shape[:2]
    x0, y0 = (max(0, math.floor(value - MARGIN * size)) for value in extent.min(axis=0))
    x1, y1 = (math.ceil(value + MARGIN * size) + 1 for value in extent.max(axis=0))
    part = canvas[y0 : min(y1, height), x0 : min(x1, width)]
    if not part.size:
        return
    zoom = max(1, DRAWN_SIDE // max(part.shape[:2]))
    enlarged = np.ascontiguousarray(part.repeat(zoom, axis=0).repeat(zoom, axis=1))
    place = np.array([x0, y0], np.float32)
    marks = _Marks(enlarged, lambda points_px: (points_px - place + 0.5) * zoom - 0.5, size * zoom)
    marks.box(face.box)
    for contour in scheme.contours:
        marks.line(face.landmarks[list(contour.points)], contour.closed)
    for point, visibility in zip(face.landmarks, face.visibility, strict=True):
        marks.landmark(point, not visibility < VISIBLE_FROM)  # one of which nothing is said, NaN, counts as seen
    part[...] = cv2.resize(enlarged, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)
class _Marks:
    """Draws on a canvas what is given in the picture's pixels, in widths that fit a face of `size` canvas pixels."""

    canvas: Image
    to_canvas: Callable[[Points], Points]
    size: float

    def box(self, box: Box) -> None:
        first, last = self._fixed(np.array(box, np.float32).reshape(2, 2)).tolist()
        cv2.rectangle(self.canvas, first, last, BOX, max(1, round(self.size / 200)), cv2.LINE_AA, SUBPIXEL_BITS)

    def line(self, points_px: Points, closed: bool) -> None:
        width = max(1, round(self.size / 300))
        cv2.polylines(self.canvas, [self._fixed(points_px)], closed, LINE, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def landmark(self, point_px: Points, seen: bool) -> None:
        radius = max(1.5, self.size / 110)
        centre, steps = self._fixed(point_px), 2**SUBPIXEL_BITS
        for colour, reach, stroke in (
            (RIM, 1.3 * radius, 1.3 * radius),
            (SEEN if seen else HIDDEN, radius, 0.7 * radius),
        ):
            if seen:
                cv2.circle(self.canvas, centre.tolist(), round(reach * steps), colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)
            else:
                arms = centre + (reach * steps * CROSS).astype(np.int32)
                width = max(1, round(stroke))
                cv2.polylines(self.canvas, list(arms), False, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def _fixed(self, points_px: Points) -> NDArray[np.int32]:
        """The whole numbers of 1/16 canvas pixel that OpenCV draws at."""
        fixed: NDArray[np.int32] = np.round(self.to_canvas(points_px) * 2**SUBPIXEL_BITS).astype(np.int32)
        return fixed


def side_by_side(pictures: Mapping[str, Image]) -> Image:
    """Pictures of one size (H, W, 3) in a row, each over its name, at a size to look at."""
    panels = [captioned(_to_look_at(image_rgb), name) for name, image_rgb in pictures.items()]
    gap = np.full((panels[0].shape[0], GAP, 3), PAPER, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def captioned(image_rgb: Image, line: str) -> Image:
    """A picture over a line of text, which is made smaller where the picture is narrow."""
    width = image_rgb.shape[1]
    caption = np.full((CAPTION, width, 3), PAPER, np.uint8)
    (full, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    scale = min(0.6, (width - 2 * GAP) / max(full, 1))
    cv2.putText(caption, line, (GAP, CAPTION - 11), cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)
    return np.concatenate([image_rgb, caption])


def _to_look_at(image_rgb: Image) -> Image:
    longer = max(image_rgb.shape[:2])
    scale = min(max(longer, PANEL[0]), PANEL[1]) / longer
    if scale == 1:
        return image_rgb
    size = (max(1, round(scale * image_rgb.shape[1])), max(1, round(scale * image_rgb.shape[0])))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_rgb, size, interpolation=how), np.uint8)


def aligned_crop(five_points_px: Points) -> Crop:
    """The window that puts five points on ArcFace's template as nearly as turning, scaling and moving allow.

    `aligned_crop(face.five_points).extract(image_rgb, 112)` is what recognition models are trained on.
    """
    template_unit = (2 * np.array(TEMPLATE) + 1) / TEMPLATE_SIZE - 1
    scale, angle, shift = similarity(template_unit, five_points_px.astype(np.float64))
    return Crop(centre=(float(shift[0]), float(shift[1])), side=2 * scale, angle=angle)
