import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unveil.inference.tiling import TILE_SIDE, detect_faces, nms, tiles
from unveil.types import Box, Detection, Image


class BrightSquares:
    """A detector of squares that are bright and at least 16 px wide; it counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image_rgb: Image) -> list[Detection]:
        import cv2

        self.calls += 1
        assert max(image_rgb.shape[:2]) <= TILE_SIDE
        bright = (image_rgb[..., 0] > 200).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = [Box(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:].tolist()]
        return [Detection(box, 0.9) for box in boxes if box.x1 - box.x0 >= 16]


def squares(height: int, width: int, side: int, *corners: tuple[int, int]) -> Image:
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in corners:
        image[y : y + side, x : x + side] = 255
    return image


def test_a_large_image_is_searched_small_and_its_boxes_come_back_large() -> None:
    detector = BrightSquares()
    found = detect_faces(squares(3000, 4000, 800, (1000, 500)), detector, 0.5)
    assert detector.calls == 1
    assert found[0].box == pytest.approx((1000, 500, 1800, 1300), abs=8)


def test_small_faces_of_a_large_image_are_found_in_tiles_and_once_each() -> None:
    corners = tuple((x, y) for x in range(60, 3900, 640) for y in range(40, 2900, 560))
    found = detect_faces(squares(3000, 4000, 60, *corners), BrightSquares(), 0.5)
    assert len(found) == len(corners)
    for x, y in corners:
        assert any(np.allclose(detection.box, (x, y, x + 60, y + 60), atol=5) for detection in found)


def test_a_long_strip_keeps_enough_pixels_in_its_tiles() -> None:
    found = detect_faces(squares(800, 12000, 60, (11000, 300)), BrightSquares(), 0.5)
    assert len(found) == 1
    assert found[0].box == pytest.approx((11000, 300, 11060, 360), abs=5)


def test_a_small_image_is_not_cut_into_tiles() -> None:
    detector = BrightSquares()
    assert detect_faces(squares(480, 640, 0), detector, 0.5) == []
    assert detector.calls == 6  # as it is, half the size, three quarter turns, and a thumbnail


def test_a_face_that_only_a_quarter_turn_shows_comes_back_unturned() -> None:
    def left_part_only(image_rgb: Image) -> list[Detection]:
        return [found for found in BrightSquares()(image_rgb) if found.box.x1 < 60]

    (found,) = detect_faces(squares(200, 300, 30, (250, 20)), left_part_only, 0.5)
    assert found.box == pytest.approx((250, 20, 280, 50), abs=1.01)


@pytest.mark.parametrize("min_score", [0.3, 0.6])
def test_a_lower_score_finds_at_least_the_same_faces(min_score: float) -> None:
    def detector(image_rgb: Image) -> list[Detection]:
        doubtful = Detection(Box(0, 0, 0.4 * image_rgb.shape[1], 0.4 * image_rgb.shape[0]), 0.4)
        return [doubtful, *BrightSquares()(image_rgb)]

    found = detect_faces(squares(3000, 4000, 60, (3000, 2000)), detector, min_score)
    assert any(detection.score == 0.9 for detection in found)


def test_a_large_face_that_the_thumbnail_shows_needs_no_tiles() -> None:
    sides: list[int] = []

    def thumbnail_only(image_rgb: Image) -> list[Detection]:
        sides.append(max(image_rgb.shape[:2]))
        return [Detection(Box(60, 60, 190, 190), 0.9)] if sides[-1] < 300 else []

    (found,) = detect_faces(np.zeros((3000, 3000, 3), np.uint8), thumbnail_only, 0.6)
    assert found.box.x1 - found.box.x0 > 2000
    assert max(sides) == 640


def test_faces_below_the_score_are_left_out() -> None:
    assert detect_faces(squares(200, 200, 30, (20, 50)), BrightSquares(), 0.95) == []


def test_of_two_boxes_of_one_face_the_better_stays() -> None:
    better, worse, inner, other = Box(0, 0, 10, 10), Box(1, 1, 11, 11), Box(2, 2, 5, 5), Box(20, 0, 30, 10)
    found = [Detection(worse, 0.7), Detection(better, 0.9), Detection(inner, 0.8), Detection(other, 0.6)]
    assert [detection.box for detection in nms(found)] == [better, other]


@given(st.integers(1, 6000), st.integers(1, 6000))
def test_tiles_cover_the_image_and_stay_inside(width: int, height: int) -> None:
    seen_x, seen_y = np.zeros(width, bool), np.zeros(height, bool)
    for x0, y0, x1, y1 in tiles(width, height):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert max(x1 - x0, y1 - y0) <= TILE_SIDE
        seen_x[x0:x1] = seen_y[y0:y1] = True
    assert seen_x.all()
    assert seen_y.all()
