"""Correcting on the page: boxes, points, visibility, deletion, undo, paint, and every format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from tests.serve.page_driver import OCCLUDED_COLOUR, Visit, amount

from unveil.io.formats import FormatName, read_annotations
from unveil.io.images import read_image
from unveil.schemes.scheme import SCHEMES
from unveil.types import Image

Open = Callable[..., Visit]
FACE = (178, 91, 269, 177)


@pytest.fixture
def portrait_page(visit: Open, photo: Path) -> Visit:
    page = visit()
    page.open(photo)
    return page


@pytest.fixture
def pair_page(visit: Open, portrait: Image, tmp_path: Path) -> Visit:
    """Two portraits side by side, the second with the lower score."""
    cv2.imwrite(str(tmp_path / "pair.jpg"), np.hstack([portrait, portrait])[..., ::-1])
    page = visit()
    page.open(tmp_path / "pair.jpg")
    return page


@pytest.fixture
def faceless_page(visit: Open, tmp_path: Path) -> Visit:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((512, 512, 3), 90, np.uint8))
    page = visit()
    page.open(tmp_path / "grey.png")
    return page


def test_where_no_face_was_found_a_box_can_be_drawn_and_moved(faceless_page: Visit) -> None:
    page = faceless_page
    assert page.text("#status").startswith("No face found. Draw a box")
    page.page.check("#draw")
    page.drag((100, 120), (300, 320))
    (face,) = page.record()["faces"]
    np.testing.assert_allclose(face["box"], [100, 120, 300, 320], atol=1.5)
    assert (len(face["landmarks"]), face["score"]) == (68, 1)
    page.drag((200, 220), (230, 200))  # from its middle: it moves
    page.drag((130, 100), (110, 90))  # from a corner: its size changes
    (face,) = page.record()["faces"]
    np.testing.assert_allclose(face["box"], [110, 90, 330, 300], atol=3)
    np.testing.assert_allclose(np.mean(face["landmarks"], axis=0), [220, 195], atol=40)
    page.page.click("#undo")
    page.page.click("#undo")
    page.done()
    np.testing.assert_allclose(page.record()["faces"][0]["box"], [100, 120, 300, 320], atol=1.5)


def test_a_box_is_drawn_by_keyboard(faceless_page: Visit) -> None:
    page = faceless_page
    page.page.focus("#draw")
    page.page.keyboard.press("Space")
    assert page.page.evaluate("document.activeElement.id") == "view"
    for key in ("Enter", "ArrowRight", "Shift+ArrowDown", "Enter"):  # the first one puts a box into the middle
        page.page.keyboard.press(key)
    page.page.wait_for_selector("#faces li")
    x0, y0, x1, y1 = page.record()["faces"][0]["box"]
    step = 5.12
    assert (x0 + x1 - 512) / 2 == pytest.approx(step, abs=1)
    assert (y1 - y0) - (x1 - x0) == pytest.approx(step, abs=1)
    page.page.focus("#view")
    page.page.keyboard.press("Escape")
    assert page.page.evaluate("document.activeElement.id") == "draw"
    assert not page.page.is_checked("#draw")


def test_a_drawn_box_is_sent_as_drawn_and_comes_back_as_in_openapi(portrait_page: Visit) -> None:
    page = portrait_page
    np.testing.assert_allclose(page.record()["faces"][0]["box"], FACE, atol=0.01)  # the detector's
    page.page.check("#draw")
    page.page.evaluate(
        "() => { const ask = fetch; window.fetch = (path, options) => {"
        " window.sentBoxes ??= options.body.get?.('boxes'); return ask(path, options); }; }"
    )
    page.drag((350, 350), (450, 470))
    boxes = json.loads(page.page.evaluate("window.sentBoxes"))
    assert len(boxes) == 1  # the other face is left as it is
    np.testing.assert_allclose(page.record()["faces"][1]["box"], boxes[0], atol=0.01)


def test_the_known_box_is_kept_after_painting_an_occluder(portrait_page: Visit) -> None:
    page = portrait_page
    page.page.check("#paint")
    page.page.fill("#size", "40")
    page.drag((190, 130), (260, 130))  # nearly the whole face
    assert page.text("#status") == "1 face"
    (face,) = page.record()["faces"]
    np.testing.assert_allclose(face["box"], FACE, atol=0.01)
    assert face["score"] == 0.9


def test_paint_occludes_landmarks_until_it_is_undone(portrait_page: Visit) -> None:
    page = portrait_page
    clean = amount(page.canvas(), OCCLUDED_COLOUR)
    page.page.check("#paint")
    page.drag((190, 154), (256, 154))  # below the nose, from cheek to cheek
    assert "Occluded: " in page.text("#faces")
    assert "outer lips" in page.text("#faces")
    assert amount(page.canvas(), OCCLUDED_COLOUR) > clean + 40
    assert read_image(page.save("png")).shape == (512, 512, 3)
    page.page.keyboard.press("Control+z")
    assert page.text("#faces").startswith("68 of 68 landmarks visible.")
    assert page.page.is_disabled("#undo")
    page.page.keyboard.press("Control+Shift+z")
    assert "outer lips" in page.text("#faces")


def test_painting_by_keyboard_moves_the_focus_to_the_image_and_keeps_it_there(portrait_page: Visit) -> None:
    page = portrait_page
    page.page.focus("#paint")
    page.page.keyboard.press("Space")
    for key in ("ArrowUp", "Space"):
        assert page.page.evaluate("document.activeElement.id") == "view"
        page.page.keyboard.press(key)
        page.done()
    assert page.page.evaluate("document.activeElement.id") == "view"
    page.page.click("#clear")
    page.done()
    assert page.page.is_disabled("#clear")


def test_a_point_is_dragged_with_the_mouse_and_undone(portrait_page: Visit) -> None:
    page = portrait_page
    before = page.landmarks()
    page.page.check("#move")
    x, y = before[30]
    page.drag((x, y), (x + 40, y + 60))
    expected = before.copy()
    expected[30] += (40, 60)
    np.testing.assert_allclose(page.landmarks(), expected, atol=0.8)
    page.page.click("#undo")  # the whole drag is one step
    np.testing.assert_array_equal(page.landmarks(), before)
    page.page.click("#redo")
    np.testing.assert_allclose(page.landmarks(), expected, atol=0.8)


def test_a_point_is_dragged_by_touch(visit: Open, photo: Path) -> None:
    page = visit(has_touch=True, viewport={"width": 390, "height": 844})
    page.open(photo)
    before = page.landmarks()
    page.page.check("#move")
    page.page.evaluate("document.getElementById('view').scrollIntoView({block: 'center'})")
    x, y = before[8]
    touch = page.page.context.new_cdp_session(page.page)
    for kind, place in (("touchStart", (x, y)), ("touchMove", (x + 30, y + 20)), ("touchEnd", None)):
        points = [] if place is None else [dict(zip(("x", "y"), page.at(*place), strict=True))]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    np.testing.assert_allclose(page.landmarks()[8] - before[8], (30, 20), atol=1.5)


def test_a_point_is_moved_and_its_visibility_set_by_keys(portrait_page: Visit) -> None:
    page = portrait_page
    before = page.landmarks()
    page.page.focus("#move")
    page.page.keyboard.press("Space")
    for key in ("n", "n", "p", "ArrowRight", "ArrowRight", "Shift+ArrowDown", "v"):
        page.page.keyboard.press(key)
    assert page.text("#point") == "0: left jaw 1, occluded"
    (face,) = page.record()["faces"]
    np.testing.assert_allclose(np.array(face["landmarks"])[0] - before[0], (2, 10), atol=0.011)
    assert face["visible"] == [False] + [True] * 67
    assert "67 of 68 landmarks visible." in page.text("#faces")
    page.page.check("#visible")
    assert page.text("#point") == "0: left jaw 1, visible"
    for _ in range(3):  # the two changes of visibility, and the moves of one point
        page.page.click("#undo")
    np.testing.assert_array_equal(page.landmarks(), before)


def test_corrections_stay_when_the_image_is_painted(portrait_page: Visit) -> None:
    page = portrait_page
    page.page.check("#move")
    for key in ("n", "Shift+ArrowLeft", "v"):
        page.page.keyboard.press(key)
    corrected = page.landmarks()[0]
    page.page.check("#paint")
    page.drag((190, 154), (256, 154))
    np.testing.assert_array_equal(page.landmarks()[0], corrected)
    assert page.record()["faces"][0]["visible"][0] is False


def test_faces_have_the_same_numbers_on_the_image_in_the_list_and_in_the_files(pair_page: Visit) -> None:
    page = pair_page
    lines = page.page.locator("#faces li span").all_inner_texts()
    assert [line[:2] for line in lines] == ["0:", "1:"]
    left, right = page.landmarks(0), page.landmarks(1)
    assert left[:, 0].max() < 512 < right[:, 0].min()
    page.page.uncheck("#points")
    page.page.uncheck("#contours")
    drawn = read_image(page.save("png")).astype(int)
    page.page.click("#faces li:first-child button:text('Delete')")
    page.done()
    alone = read_image(page.save("png")).astype(int)
    ys, xs = np.nonzero(np.abs(drawn - alone).max(axis=2))
    assert (xs < 512).any()  # the numbers, which a single face needs not
    assert (xs > 512).any()
    assert ys.max() < 120  # above the faces
    np.testing.assert_array_equal(page.landmarks(0), right)
    page.page.click("#undo")
    page.done()
    np.testing.assert_array_equal(page.landmarks(0), left)


def test_a_face_is_deleted_by_key_or_button_and_focus_is_not_lost(pair_page: Visit) -> None:
    page = pair_page
    page.page.focus("#faces li:last-child button:last-child")
    page.page.keyboard.press("Enter")
    page.done()
    assert page.page.evaluate("document.getElementById('faces').contains(document.activeElement)")
    page.page.check("#move")
    page.page.keyboard.press("n")
    page.page.keyboard.press("Delete")
    page.done()
    assert page.text("#faces") == ""
    page.page.click("#detect")
    page.page.wait_for_selector("#faces li:nth-child(2)")


def test_faces_below_the_least_score_are_on_no_image_and_in_no_file(pair_page: Visit) -> None:
    page = pair_page
    page.page.fill("#least", "80")
    assert page.text("#status") == "1 face. 1 below the least score."
    assert len(page.record()["faces"]) == 1
    page.page.fill("#least", "60")
    assert len(page.record()["faces"]) == 2


def test_corrected_landmarks_are_saved_in_every_format(portrait_page: Visit) -> None:
    page = portrait_page
    page.page.check("#move")
    for key in ("n", "Shift+ArrowLeft", "Shift+ArrowLeft"):
        page.page.keyboard.press(key)
    landmarks = page.landmarks()
    for kind in get_args(FormatName):
        saved = page.save(kind)
        assert saved.name.startswith("portrait.")
        (face,) = read_annotations(saved, scheme=SCHEMES["ibug68"]).valid
        np.testing.assert_allclose(face.points_px, landmarks, atol=0.51 if kind == "dlib" else 0.06, err_msg=kind)
