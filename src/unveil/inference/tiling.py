"""Face search in an image of any size: the whole image reduced, a padded thumbnail, and tiles, as far as needed."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import longer_side, shared_areas, undo_quarter_turns
from unveil.types import Box, Detection, Image

VIEW_SIDE = 640  # longest side of the reduced image and of a tile
TURNED_SIDE = 320  # longest side of the quarter turns
THUMBNAIL_SIDE, THUMBNAIL_PADDING = 160, 48  # shows a face that fills the image at a size that is well detected
CERTAIN_SCORE = 0.75  # of the best face: below, another view may show it better
USUAL_SCORE = 0.6  # the detections whose sizes decide on further views: a lower minimum score loses no face
HALVED_SHARE = 0.5  # a face this large, in sides of the view, is detected better at half size
LARGE_SHARE = 0.6  # a face this large, in sides of the view, may be a part of a larger one
SMALL_SIDE = 64  # faces in the full view, in its pixels; below, the image may contain more that the view cannot show
RELIABLE_SIDE = 24  # if all faces in the tiles are at least this large, those of half the size are detected there too
TILED_PIXELS = 4096 * 3072  # tiles are cut from the image reduced to this
TILE_SIDE, TILE_OVERLAP = 1280, 128
MIN_GAIN = 1.25  # magnification against the full view from which tiles are worthwhile
MAX_IOU, MAX_CONTAINMENT = 0.4, 0.7  # two boxes are one face above these: of their union, of the smaller one

DetectFn: TypeAlias = Callable[[Image], list[Detection]]
"""A detector that runs once on an image, in the pixels of that image."""


def detect_faces(
    image_rgb: Image,
    detect: DetectFn,
    min_score: float,
    tile_side: int = TILE_SIDE,
    certain_score: float = CERTAIN_SCORE,
    turned_penalty: float = 0.0,
) -> list[Detection]:
    """Detect the faces in an image of any size.

    The first view is the whole image, reduced to 640 px. If it contains no certain face or a large one, half the size
    is next. If there is still no certain face, its quarter turns follow, and for a doubtful or a very large one a
    padded thumbnail. If all faces are small and the image has more pixels than the view, tiles of half its size follow,
    and tiles of its full size unless those show faces and none of them is small.

    Args:
        image_rgb: RGB image (H, W, 3).
        detect: The detector.
        min_score: Minimum score in [0, 1].
        tile_side: Longest side of a tile in pixels.
        certain_score: Score of the best face below which the quarter turns and the thumbnail are searched too. It does
            not depend on `min_score`, so that a lower one finds at least the same faces.
        turned_penalty: Subtracted from the score of a face that a quarter turn shows: three more views are three more
            chances for a false positive.

    Returns:
        The faces, highest score first, in pixels of the image.
    """
    height, width = image_rgb.shape[:2]
    scale = min(1.0, VIEW_SIDE / max(height, width))
    view = _resized(image_rgb, scale)
    found = _confident(detect(view), min_score)
    largest = _largest_side(found, min_score)
    if _best_score(found) < CERTAIN_SCORE or largest > HALVED_SHARE * min(view.shape[:2]):
        half = _resized(view, 0.5)
        found = nms(found + [_from_scaled(one, 0.5) for one in _confident(detect(half), min_score)])
    if _best_score(found) < certain_score:
        turned = [one._replace(score=one.score - turned_penalty) for one in _detect_turned(view, detect)]
        found = nms(found + _confident(turned, min_score))
    largest = _largest_side(found, min_score)
    if _best_score(found) < certain_score or largest > LARGE_SHARE * min(view.shape[:2]):
        found = found + _confident(_detect_in_thumbnail(view, detect), min_score)
        largest = _largest_side(found, min_score)
    found = [_from_scaled(detection, scale) for detection in found]
    if largest < SMALL_SIDE:
        found = _detect_small(image_rgb, detect, found, scale, min_score, tile_side)
    return nms(found)


def _detect_small(
    image_rgb: Image, detect: DetectFn, found: list[Detection], view_scale: float, min_score: float, tile_side: int
) -> list[Detection]:
    """Return the faces found so far and those in tiles, in pixels of the image."""
    full = min(1.0, math.sqrt(TILED_PIXELS / (image_rgb.shape[0] * image_rgb.shape[1])))
    for scale in (full / 2, full):
        if scale <= MIN_GAIN * view_scale:
            continue
        tiled = _confident(_detect_in_tiles(_resized(image_rgb, scale), detect, tile_side), min_score)
        found = nms(found + [_from_scaled(detection, scale) for detection in tiled])
        sides = [longer_side(detection.box) for detection in _usual(found, min_score)]
        if sides and min(sides) * scale >= RELIABLE_SIDE:
            break
    return found


def nms(found: list[Detection]) -> list[Detection]:
    """Suppress detections that overlap one of a higher score.

    Args:
        found: Detections in any order.

    Returns:
        The others, highest score first.
    """
    ordered = sorted(found, key=lambda detection: -detection.score)
    return [ordered[index] for index in suppressed(np.array([detection.box for detection in ordered]))]


def suppressed(boxes: NDArray[np.float64]) -> list[int]:
    """Return the indices of the boxes that overlap no box before them which is returned too.

    Args:
        boxes: Boxes x0, y0, x1, y1 in pixels, (N, 4), highest score first.
    """
    kept: list[int] = []
    rest = np.arange(len(boxes))
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        rest = rest[~_same_face(boxes[best], boxes[rest])]
    return kept


def tiles(width: int, height: int, side: int = TILE_SIDE) -> Iterator[tuple[int, int, int, int]]:
    """Yield windows (x0, y0, x1, y1) of about the same size that cover an image and overlap by about 128 px.

    Args:
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        side: Longest side of a window in pixels.
    """
    for (y0, y1), (x0, x1) in product(_spans(height, side), _spans(width, side)):
        yield x0, y0, x1, y1


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """Return the fewest spans of at most `side` that cover a length and overlap; all have about the same size."""
    count = max(1, math.ceil((length - TILE_OVERLAP) / (side - TILE_OVERLAP)))
    size = min(length, math.ceil((length + (count - 1) * TILE_OVERLAP) / count))
    return [(start, start + size) for start in np.linspace(0, length - size, count).round().astype(int).tolist()]


def _confident(found: list[Detection], min_score: float) -> list[Detection]:
    return [detection for detection in found if detection.score >= min_score]


def _detect_turned(image_rgb: Image, detect: DetectFn) -> list[Detection]:
    """Detect in the three quarter turns of the reduced image: upright faces have the highest scores."""
    scale = min(1.0, TURNED_SIDE / max(image_rgb.shape[:2]))
    small = _resized(image_rgb, scale)
    height, width = small.shape[:2]
    found = []
    for turns in (1, 2, 3):
        for detection in detect(np.ascontiguousarray(np.rot90(small, turns))):
            x0, y0, x1, y1 = detection.box
            corners = undo_quarter_turns(np.array([[x0, y0], [x1, y1]], np.float32), turns, width, height)
            points = detection.points
            points = None if points is None else undo_quarter_turns(points, turns, width, height)
            box = Box(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
            found.append(_from_scaled(Detection(box, detection.score, points), scale))
    return found


def _detect_in_thumbnail(image_rgb: Image, detect: DetectFn) -> list[Detection]:
    scale = min(1.0, THUMBNAIL_SIDE / max(image_rgb.shape[:2]))
    padding = (THUMBNAIL_PADDING,) * 4
    padded = cv2.copyMakeBorder(_resized(image_rgb, scale), *padding, cv2.BORDER_CONSTANT)
    moved = (_moved(found, -THUMBNAIL_PADDING, -THUMBNAIL_PADDING) for found in detect(np.asarray(padded, np.uint8)))
    return [_from_scaled(found, scale) for found in moved]


def _detect_in_tiles(image_rgb: Image, detect: DetectFn, side: int) -> list[Detection]:
    height, width = image_rgb.shape[:2]
    found = []
    for x0, y0, x1, y1 in tiles(width, height, side):
        for detection in detect(np.ascontiguousarray(image_rgb[y0:y1, x0:x1])):
            moved = _moved(detection, x0, y0)
            if not _is_cut(moved.box, (x0, y0, x1, y1), width, height):
                found.append(moved)
    return found


def _is_cut(box: Box, window: tuple[int, int, int, int], width: int, height: int) -> bool:
    """Return whether a face touches an edge that its tile shares with another tile, which contains it whole."""
    x0, y0, x1, y1 = window
    left, top = box.x0 <= x0 + 2 and x0 > 0, box.y0 <= y0 + 2 and y0 > 0
    right, bottom = box.x1 >= x1 - 3 and x1 < width, box.y1 >= y1 - 3 and y1 < height
    return left or top or right or bottom


def _resized(image_rgb: Image, scale: float) -> Image:
    if scale == 1:
        return image_rgb
    size = (max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _from_scaled(detection: Detection, scale: float) -> Detection:
    """Return to the pixels of the image. A scale acts about (-0.5, -0.5), since pixel centres are whole numbers."""
    box = Box(*((value + 0.5) / scale - 0.5 for value in detection.box))
    points = None if detection.points is None else ((detection.points + 0.5) / scale - 0.5).astype(np.float32)
    return Detection(box, detection.score, points)


def _moved(detection: Detection, x: float, y: float) -> Detection:
    box = detection.box
    points = None if detection.points is None else (detection.points + np.array([x, y])).astype(np.float32)
    return Detection(Box(box.x0 + x, box.y0 + y, box.x1 + x, box.y1 + y), detection.score, points)


def _best_score(found: list[Detection]) -> float:
    return max((detection.score for detection in found), default=0.0)


def _usual(found: list[Detection], min_score: float) -> list[Detection]:
    return _confident(found, max(min_score, USUAL_SCORE))


def _largest_side(found: list[Detection], min_score: float) -> float:
    return max((longer_side(detection.box) for detection in _usual(found, min_score)), default=0.0)


def _same_face(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    shared = shared_areas(box, others)
    area, areas = (box[2:] - box[:2]).clip(min=0).prod(), (others[:, 2:] - others[:, :2]).clip(min=0).prod(axis=1)
    same: NDArray[np.bool_] = (shared > MAX_IOU * (area + areas - shared)) | (
        shared > MAX_CONTAINMENT * np.minimum(area, areas)
    )
    return same
