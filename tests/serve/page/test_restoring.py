"""The page after restoring a face, and before a camera."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.serve.page_driver import VISIBLE_COLOUR, Visit, amount

from unveil.io.images import decode_image, read_image

Open = Callable[..., Visit]
GREY = (128, 128, 128)
FILM = """navigator.mediaDevices.getUserMedia = async () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [512, 512];
  const picture = await createImageBitmap(await (await fetch("static/sample.jpg")).blob());
  const paint = () => { canvas.getContext("2d").drawImage(picture, 0, 0); requestAnimationFrame(paint); };
  paint();
  window.stream = canvas.captureStream(15);
  return window.stream;
}"""
ASKING = "navigator.mediaDevices.getUserMedia = () => new Promise((resolve) => { window.allow = resolve; })"
REFUSED = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"


def restored(page: Visit, photo: Path) -> Visit:
    page.open(photo)
    page.page.click("#restore")
    page.page.wait_for_selector("#compare", state="visible")
    page.done()
    return page


def test_dragging_on_the_image_compares_before_and_after(visit: Open, photo: Path) -> None:
    page = restored(visit(), photo)
    for switch in ("points", "contours"):
        page.page.uncheck(f"#{switch}")
    greys = []
    for x in (290, 225, 160):  # the right side is the restored one, its face is grey
        page.drag((250, 400), (x, 400))
        greys.append(amount(page.canvas(), GREY))
    assert greys[0] + 1000 < greys[1] < greys[2] - 1000
    assert page.complaints == []


def test_the_slider_compares_too_and_labels_are_on_their_sides(visit: Open, photo: Path) -> None:
    page = restored(visit(), photo)
    assert page.page.evaluate("document.activeElement.id") == "compare"
    before, after = (page.page.locator(f"#{each}").bounding_box() for each in ("before", "after"))
    assert before is not None
    assert after is not None
    assert (page.text("#before"), page.text("#after")) == ("Covered", "Restored")
    assert before["x"] < after["x"]
    greys = []
    for split in ("100", "50", "0"):
        page.page.fill("#compare", split)
        greys.append(amount(page.canvas(), GREY))
    assert greys[0] < greys[1] < greys[2]
    assert page.page.is_hidden("#before")
    assert page.page.is_visible("#after")


def test_restored_image_mask_and_new_landmarks_are_downloads(visit: Open, photo: Path) -> None:
    page = restored(visit(), photo)
    picture, mask = page.save("restored"), page.save("mask")
    assert (picture.name, mask.name) == ("portrait.restored.png", "portrait.mask.png")
    pixels, covered = read_image(picture), read_image(mask)[..., 0] == 255
    assert (pixels[covered] == 128).all()
    assert covered.sum() == pytest.approx(91 * 86, rel=0.03)
    after = page.record()
    assert after["image"] == "portrait.restored.png"
    page.page.select_option("#which", "faces")
    before = page.record()
    assert before["image"] == "portrait.jpg"
    assert after["faces"][0]["landmarks"] != before["faces"][0]["landmarks"]
    assert after["faces"][0]["score"] == before["faces"][0]["score"] == 0.9


def test_points_of_the_restored_side_are_corrected_there(visit: Open, photo: Path) -> None:
    page = restored(visit(), photo)
    page.page.fill("#compare", "0")
    after = page.landmarks()
    page.page.check("#move")
    page.drag(tuple(after[8]), (after[8, 0] + 20, after[8, 1] + 30))
    np.testing.assert_allclose(page.landmarks()[8] - after[8], (20, 30), atol=0.8)
    page.page.select_option("#which", "faces")
    before = page.landmarks()
    page.page.click("#undo")
    np.testing.assert_array_equal(page.landmarks(), before)


def test_undo_takes_a_restoration_back_and_paint_ends_it(visit: Open, photo: Path) -> None:
    page = restored(visit(), photo)
    page.page.click("#undo")
    assert page.page.is_hidden("#compare")
    page.page.click("#redo")
    assert page.page.is_visible("#compare")
    page.page.check("#paint")
    page.drag((300, 300), (340, 300))
    assert page.page.is_hidden("#compare")
    assert page.page.is_hidden("[data-save=mask]")


def test_on_a_phone_the_restored_image_stays_in_view_beside_every_control(visit: Open, photo: Path) -> None:
    page = restored(visit(viewport={"width": 390, "height": 844}), photo)
    for control in ("#compare", "#undo", "#restore", "[data-save=mask]"):
        page.page.locator(control).scroll_into_view_if_needed()
        for each in ("#view", control):
            frame = page.page.locator(each).bounding_box()
            assert frame is not None
            assert frame["y"] >= -1, (control, each)
            assert frame["y"] + frame["height"] <= 845, (control, each)
        found = page.page.evaluate(
            "([s]) => { const e = document.querySelector(s), b = e.getBoundingClientRect();"
            " return e.contains(document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2)); }",
            [control],
        )
        assert found, control  # nothing lies over it


def test_the_camera_shows_landmarks_live_with_latency_and_rate(visit: Open) -> None:
    page = visit(script=FILM)
    page.page.click("#film")
    page.page.wait_for_selector(".state:text-matches('latency [0-9]+ ms, [0-9.]+ pictures a second')")
    assert page.text("#camera .state").startswith("1 face")
    assert amount(decode_image(page.page.locator("#camera .layers").screenshot()), VISIBLE_COLOUR) > 100
    page.page.click("#camera .take")
    page.page.wait_for_selector("#faces li")
    assert page.record()["image"] == "camera.jpg"
    assert page.page.evaluate("window.stream.getTracks().every((track) => track.readyState === 'ended')")
    assert page.complaints == []


def test_while_permission_is_pending_the_page_shows_it_and_can_be_left(visit: Open) -> None:
    page = visit(script=ASKING)
    page.page.click("#film")
    assert page.text("#camera .state").startswith("Waiting for the camera")
    assert page.page.is_disabled("#camera .take")
    assert page.page.is_hidden("#camera video")
    page.page.click("#camera .leave")
    page.page.wait_for_selector("#empty", state="visible")
    assert page.page.evaluate("document.activeElement.id") == "film"


def test_a_refused_camera_is_explained(visit: Open) -> None:
    page = visit(script=REFUSED)
    page.page.click("#film")
    page.page.wait_for_selector("#status.wrong")
    assert "allow" in page.text("#status")
    assert page.page.is_visible("#empty")
