"""The page in a real browser: what it shows, switches, saves and reports."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, Route
from tests.serve.page_driver import DONE, OCCLUDED_COLOUR, VISIBLE_COLOUR, Visit, amount

from unveil.io.annotations import read_pts
from unveil.io.images import read_image
from unveil.types import Image

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def shown(browser: Browser, services: dict[str, str], photo: Path) -> Iterator[Visit]:
    """The page with the portrait on it, for tests that do not change it."""
    visit = Visit(browser, services["plain"])
    visit.open(photo)
    yield visit
    visit.close()


def test_a_photograph_shows_its_68_landmarks(shown: Visit) -> None:
    assert shown.text("#status") == "1 face"
    assert shown.text("#faces").startswith("68 of 68 landmarks visible.")
    assert amount(shown.canvas(), VISIBLE_COLOUR) > 300
    assert amount(shown.canvas(), OCCLUDED_COLOUR) < 30


def test_the_page_contacts_no_other_host_and_states_it(shown: Visit, services: dict[str, str]) -> None:
    assert shown.complaints == []
    assert [asked for asked in shown.requests if not asked.startswith((services["plain"], "blob:"))] == []
    assert shown.page.text_content("#privacy") == "Nothing leaves this machine."


def test_without_a_restorer_the_reason_is_shown(shown: Visit) -> None:
    assert shown.page.is_disabled("#restore")
    assert "--restorer" in shown.text("#why")
    assert shown.page.is_hidden("#compare")


def test_downloads_are_what_the_service_writes(shown: Visit) -> None:
    record = shown.record()
    assert (record["image"], record["model"], len(record["faces"])) == ("portrait.jpg", "glomface-light", 1)
    landmarks = np.array(record["faces"][0]["landmarks"])
    np.testing.assert_allclose(read_pts(shown.save("pts")), landmarks, atol=0.011)
    (row,) = csv.DictReader(io.StringIO(shown.save("csv").read_text()))
    assert float(row["y8"]) == pytest.approx(landmarks[8, 1], abs=0.01)
    drawn = read_image(shown.save("png"))
    x, y = landmarks[30].round().astype(int)
    assert np.abs(drawn[y, x].astype(int) - VISIBLE_COLOUR).max() < 40


def test_switches_work_by_keyboard(visit: Open, photo: Path) -> None:
    page = visit()
    page.open(photo)
    before = page.canvas()
    for switch in ("points", "contours", "numbers", "boxes", "uncertainty"):
        page.page.focus(f"#{switch}")
        page.page.keyboard.press("Space")
        after = page.canvas()
        assert (before != after).any(), switch
        before = after
    assert amount(before, VISIBLE_COLOUR) < 30


def test_score_pose_and_uncertainty_are_shown_on_request(visit: Open, photo: Path) -> None:
    page = visit()
    page.open(photo)
    assert "Score" not in page.text("#faces")
    page.page.check("#details")
    page.page.check("#uncertainty")
    assert "Score 0.90. Yaw " in page.text("#faces")
    assert "Expected error " in page.text("#faces")


def test_a_close_up_fills_the_view_with_the_face(visit: Open, photo: Path) -> None:
    page = visit()
    page.open(photo)
    whole = amount(page.canvas(), VISIBLE_COLOUR)
    page.page.focus("#faces button")
    page.page.keyboard.press("Enter")
    assert page.page.get_attribute("#faces button", "aria-pressed") == "true"
    assert amount(page.canvas(), VISIBLE_COLOUR) > 2 * whole
    page.page.keyboard.press("Enter")
    assert amount(page.canvas(), VISIBLE_COLOUR) == whole


def test_the_first_visit_offers_a_sample(visit: Open) -> None:
    page = visit()
    page.page.click("#sample")
    page.page.wait_for_selector("#faces li")
    assert page.record()["image"] == "sample.jpg"


@pytest.mark.parametrize("kind", ["webp", "png"])
def test_landmarks_of_a_turned_image_lie_on_its_face(visit: Open, portrait: Image, tmp_path: Path, kind: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # show it turned a quarter clockwise
    path = tmp_path / f"turned.{kind}"
    PIL.Image.fromarray(np.rot90(portrait[:400])).save(path, exif=exif, lossless=True)  # which PNG is anyhow
    page = visit()
    page.open(path)
    record = page.record()
    assert (record["width"], record["height"]) == (512, 400)
    drawn = read_image(page.save("png"))
    assert drawn.shape == (400, 512, 3)
    page.page.uncheck("#points")
    page.page.uncheck("#contours")
    np.testing.assert_array_equal(read_image(page.save("png")), portrait[:400])


def test_a_damaged_file_is_named_and_removes_the_previous_image(visit: Open, photo: Path, tmp_path: Path) -> None:
    page = visit()
    page.open(photo)
    (tmp_path / "notes.jpg").write_text("hello")
    page.page.set_input_files("#file", tmp_path / "notes.jpg")
    page.page.wait_for_selector("#status.wrong")
    assert page.text("#status").startswith("notes.jpg: the file is damaged")
    assert page.page.is_hidden("#shown")
    assert page.page.is_visible("#empty")
    assert page.page.is_disabled("[data-save=json]")
    assert page.text("#faces") == ""


def test_controls_are_disabled_while_the_service_works(visit: Open, photo: Path) -> None:
    page, held = visit(), list[Route]()
    page.page.route("**/align*", lambda route: held.append(route))
    page.page.set_input_files("#file", photo)
    page.page.wait_for_selector("#stage[aria-busy=true]")
    waiting = "#restore, #detect, #least, [data-save]:not(.restored)"
    assert all(each.is_disabled() for each in page.page.locator(waiting).all())
    assert page.text("#status") == "Looking for faces…"
    page.page.wait_for_timeout(50)
    held[0].continue_()
    page.done()
    assert not any(each.is_disabled() for each in page.page.locator(waiting).all())


def test_a_busy_service_is_tried_again_and_then_by_a_button(visit: Open, photo: Path) -> None:
    page, asked = visit(), list[Route]()

    def refuse(route: Route) -> None:
        asked.append(route)
        error = {"error": {"code": "queue_full", "message": "all slots are in use", "request_id": "1"}}
        route.fulfill(status=429, headers={"Retry-After": "0"}, json=error)

    page.page.route("**/align*", refuse)
    page.open(photo)
    assert (len(asked), page.text("#status")) == (4, "all slots are in use")
    page.page.unroute("**/align*")
    page.page.click("#again")
    page.page.wait_for_selector("#faces li")
    assert page.page.is_hidden("#again")


def test_an_api_key_is_requested_until_it_is_right(visit: Open, photo: Path) -> None:
    page = visit("keyed")
    page.page.set_input_files("#file", photo)
    for key, alert in (("wrong", ""), ("correct horse", "The service refused this key.")):
        page.page.wait_for_selector("#key:open" if not alert else "#key [role=alert]:not(:empty)")
        assert page.page.text_content("#key [role=alert]") == alert
        page.page.fill("#key input", key)
        page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#faces li")
    assert page.record()["image"] == "portrait.jpg"  # without another question
    page.page.reload()
    page.open(photo)
    assert page.text("#status") == "1 face"


def test_without_a_key_the_error_can_be_tried_again(visit: Open, photo: Path) -> None:
    page = visit("keyed")
    page.page.set_input_files("#file", photo)
    page.page.wait_for_selector("#key:open")
    page.page.keyboard.press("Escape")
    page.page.wait_for_selector("#status.wrong")
    assert (page.text("#status"), page.page.is_visible("#again")) == ("The service needs an API key.", True)


def test_contours_are_visible_on_white(visit: Open, tmp_path: Path, portrait: Image) -> None:
    white = np.full_like(portrait, 255)
    white[0, 0] = 254  # not of one colour, so that a face is found
    cv2.imwrite(str(tmp_path / "white.png"), white)
    page = visit()
    page.open(tmp_path / "white.png")
    page.page.uncheck("#points")
    assert page.canvas().min() < 140


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1440])
def test_no_width_and_no_name_scrolls_sideways(visit: Open, tmp_path: Path, jpeg: bytes, width: int) -> None:
    page = visit(viewport={"width": width, "height": 780})
    path = tmp_path / f"{'long' * 40}.jpg"
    path.write_bytes(jpeg)
    page.open(path)
    for tool in ("move", "draw", "paint"):
        page.page.check(f"#{tool}")
        assert page.page.evaluate("document.documentElement.scrollWidth") == width, tool
    path.write_text("damaged")
    page.page.set_input_files("#file", path)
    page.page.wait_for_selector("#status.wrong")
    assert page.page.evaluate("document.documentElement.scrollWidth") == width


def test_every_control_has_a_name_and_a_place_in_the_order(visit: Open, photo: Path) -> None:
    page = visit()
    page.open(photo)
    page.page.check("#paint")
    for control in page.page.locator("button, input:not([hidden]), canvas, select").all():
        if control.is_visible():
            assert control.aria_snapshot().split('"')[1:2] not in ([], [""]), control.evaluate("e => e.outerHTML")
    reached = []
    page.page.focus("#theme")
    for _ in range(20):
        reached.append(page.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        page.page.keyboard.press("Tab")
    wanted = ["theme", "view", "move", "draw", "paint", "Close-up", "choose", "film", "points", "contours", "numbers"]
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted
    assert page.page.get_attribute("#status", "aria-live") == "polite"


def test_dark_and_light_follow_the_system_until_the_button_is_pressed(visit: Open) -> None:
    page = visit("plain", color_scheme="dark").page
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    light = page.evaluate(ground)
    page.reload()
    assert page.evaluate(ground) == light != dark


def test_forced_colours_show_which_tool_is_on(visit: Open, photo: Path) -> None:
    page = visit(forced_colors="active")
    page.open(photo)
    page.page.check("#paint")
    colour = "selector => getComputedStyle(document.querySelector(selector)).backgroundColor"
    on, off = (page.page.evaluate(colour, f".toggle:has(#{tool})") for tool in ("paint", "move"))
    assert on != off
    swatches = {
        page.page.evaluate(colour, f".swatches input[value='{ink}']") for ink in ("#151515", "#f4f4f2", "#8fc6d8")
    }
    assert len(swatches) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Open, photo: Path, scheme: str) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit(color_scheme=scheme)
    states: dict[str, Callable[[], object]] = {
        "empty": lambda: None,
        "faces": lambda: page.open(photo),
        "restored": lambda: page.page.click("#restore"),
    }
    for tool in ("move", "draw", "paint"):
        states[tool] = partial(page.page.check, f"#{tool}")
    states["wrong"] = lambda: page.page.evaluate("document.getElementById('status').classList.add('wrong')")
    states["key"] = lambda: page.page.evaluate("document.getElementById('key').showModal()")
    for name, enter in states.items():
        enter()
        page.page.wait_for_selector(DONE)
        found = axe.Axe().run(page.page)
        assert found.violations_count == 0, f"{name}: {json.dumps(found.response['violations'], indent=1)[:3000]}"
