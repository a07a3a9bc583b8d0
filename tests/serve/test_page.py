"""The page in a real browser: Chromium, driven by Playwright. UNVEIL_CHROMIUM names its program."""

import csv
import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from unveil.inference.pipeline import Pipeline
from unveil.io.annotations import read_pts
from unveil.io.images import decode_image, read_image
from unveil.serve.app import build_app
from unveil.serve.server import bind, url
from unveil.types import Image

CHROMIUM = os.environ.get("UNVEIL_CHROMIUM") or shutil.which("chromium")
if not CHROMIUM:
    pytest.skip("no Chromium; set UNVEIL_CHROMIUM to its program", allow_module_level=True)

from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402 - only where there is a browser

VISIBLE_COLOUR, OCCLUDED_COLOUR = (0, 158, 115), (213, 94, 0)
DONE = "#stage[aria-busy=false]"


@pytest.fixture(scope="module")
def services(pipeline: Pipeline, uncovering: Pipeline) -> Iterator[dict[str, str]]:
    """Two services on loopback, without and with a restorer: name to URL."""
    urls, servers, threads = {}, [], []
    for name, served in {"plain": pipeline, "restoring": uncovering}.items():
        bound = bind("127.0.0.1", 0)
        urls[name] = url(bound)
        server = uvicorn.Server(uvicorn.Config(build_app(served), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        servers.append(server)
        threads.append(thread)
    yield urls
    for server, thread in zip(servers, threads, strict=True):
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Visit:
    """A page, and everything that it said, asked for, or broke."""

    def __init__(self, browser: Browser, address: str, **context: Any) -> None:
        self.page: Page = browser.new_context(viewport={"width": 1100, "height": 800}, **context).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def open(self, picture: Path) -> None:
        self.page.set_input_files("#file", picture)
        self.page.wait_for_selector(DONE)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def save(self, kind: str) -> Path:
        with self.page.expect_download() as download:
            self.page.click(f"[data-save={kind}]")
        return Path(download.value.path())

    def canvas(self) -> Image:
        """What the canvas shows, RGB."""
        self.page.wait_for_timeout(50)  # it is drawn in the next frame
        return decode_image(self.page.locator("#view").screenshot())


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory, jpeg: bytes) -> Path:
    path = tmp_path_factory.mktemp("photo") / "portrait.jpg"
    path.write_bytes(jpeg)
    return path


@pytest.fixture(scope="module")
def shown(browser: Browser, services: dict[str, str], photo: Path) -> Iterator[Visit]:
    """The page with the portrait on it, for tests that only look."""
    visit = Visit(browser, services["plain"])
    visit.open(photo)
    yield visit
    visit.page.context.close()


@pytest.fixture
def visit(browser: Browser, services: dict[str, str], photo: Path) -> Iterator[Visit]:
    """The page with the portrait on it, for one test."""
    visit = Visit(browser, services["plain"])
    visit.open(photo)
    yield visit
    visit.page.context.close()


def amount(image: Image, colour: tuple[int, int, int]) -> int:
    """How many pixels have about this colour."""
    return int((np.abs(image.astype(int) - colour).max(axis=2) < 12).sum())


def test_a_photograph_shows_its_68_landmarks(shown: Visit) -> None:
    assert shown.text("#status") == "1 face"
    assert shown.text("#faces").startswith("68 of 68 landmarks seen.")
    assert amount(shown.canvas(), VISIBLE_COLOUR) > 300
    assert amount(shown.canvas(), OCCLUDED_COLOUR) < 30


def test_the_page_asks_nobody_else_and_does_not_complain(shown: Visit, services: dict[str, str]) -> None:
    assert shown.complaints == []
    assert [asked for asked in shown.requests if not asked.startswith((services["plain"], "blob:"))] == []


def test_without_a_restorer_the_reason_is_shown(shown: Visit) -> None:
    assert shown.page.is_disabled("#restore")
    assert "--restorer" in shown.text("#why")
    assert shown.page.is_hidden("#compare")


def test_switches_work_by_keyboard(visit: Visit) -> None:
    before = visit.canvas()
    for switch in ("points", "contours", "numbers", "boxes"):
        visit.page.focus(f"#{switch}")
        visit.page.keyboard.press("Space")
        after = visit.canvas()
        assert (before != after).any(), switch
        before = after
    assert amount(before, VISIBLE_COLOUR) < 30


def test_a_close_up_fills_the_view_with_the_face(visit: Visit) -> None:
    whole = amount(visit.canvas(), VISIBLE_COLOUR)
    visit.page.focus("#faces button")
    visit.page.keyboard.press("Enter")
    assert visit.page.get_attribute("#faces button", "aria-pressed") == "true"
    assert amount(visit.canvas(), VISIBLE_COLOUR) > 2 * whole
    visit.page.keyboard.press("Enter")
    assert amount(visit.canvas(), VISIBLE_COLOUR) == whole


def test_paint_hides_landmarks_until_it_is_undone(visit: Visit) -> None:
    clean = amount(visit.canvas(), OCCLUDED_COLOUR)
    visit.page.check("#paint")
    frame = visit.page.locator("#view").bounding_box()
    assert frame is not None
    x, y, side = frame["x"], frame["y"], frame["width"]
    visit.page.mouse.move(x + 0.37 * side, y + 0.30 * side)  # below the nose, from cheek to cheek
    visit.page.mouse.down()
    visit.page.mouse.move(x + 0.50 * side, y + 0.30 * side, steps=3)
    visit.page.mouse.up()
    visit.page.wait_for_selector(DONE)
    assert "outer lips" in visit.text("#faces")
    assert amount(visit.canvas(), OCCLUDED_COLOUR) > clean + 40
    covered = read_image(visit.save("png"))
    assert covered.shape == (512, 512, 3)
    visit.page.keyboard.press("Control+z")
    visit.page.wait_for_selector(DONE)
    assert visit.text("#faces").startswith("68 of 68 landmarks seen.")
    assert visit.page.is_disabled("#undo")
    visit.page.focus("#view")  # and the same without a pointer
    visit.page.keyboard.press("ArrowUp")
    visit.page.keyboard.press("Space")
    visit.page.wait_for_selector(DONE)
    visit.page.click("#clear")
    visit.page.wait_for_selector(DONE)
    assert visit.page.is_disabled("#clear")


def test_downloads_are_what_the_service_writes(shown: Visit) -> None:
    record = json.loads(shown.save("json").read_text())
    assert (record["image"], len(record["faces"])) == ("portrait.jpg", 1)
    landmarks = np.array(record["faces"][0]["landmarks"])
    np.testing.assert_allclose(read_pts(shown.save("pts")), landmarks, atol=0.011)
    (row,) = csv.DictReader(io.StringIO(shown.save("csv").read_text()))
    assert float(row["y8"]) == pytest.approx(landmarks[8, 1], abs=0.01)
    drawn = read_image(shown.save("png"))
    x, y = landmarks[30].round().astype(int)
    assert np.abs(drawn[y, x].astype(int) - VISIBLE_COLOUR).max() < 40


def test_a_damaged_file_is_named_and_removes_the_previous_picture(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("hello")
    visit.page.set_input_files("#file", tmp_path / "notes.jpg")
    visit.page.wait_for_selector("#status.wrong")
    assert "notes.jpg" in visit.text("#status")
    assert visit.page.is_hidden("#shown")
    assert visit.page.is_disabled("[data-save=json]")
    assert visit.text("#faces") == ""


def test_the_slider_goes_from_covered_to_restored(browser: Browser, services: dict[str, str], photo: Path) -> None:
    visit = Visit(browser, services["restoring"])
    visit.open(photo)
    visit.page.click("#restore")
    visit.page.wait_for_selector("#compare", state="visible")
    for switch in ("points", "contours"):
        visit.page.uncheck(f"#{switch}")
    greys = []
    for split in (0, 50, 100):
        visit.page.fill("#compare", str(split))
        greys.append(amount(visit.canvas(), (128, 128, 128)))
    assert greys[0] < greys[1] < greys[2]
    assert visit.complaints == []
    visit.page.context.close()


def test_no_width_scrolls_sideways(visit: Visit) -> None:
    visit.page.check("#paint")
    for width in (360, 768, 1440):
        visit.page.set_viewport_size({"width": width, "height": 780})
        visit.page.wait_for_timeout(50)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width


def test_every_control_has_a_name_and_a_place_in_the_order(visit: Visit) -> None:
    visit.page.check("#paint")
    for control in visit.page.locator("button, input:not([hidden]), canvas").all():
        if control.is_visible():
            assert control.aria_snapshot().split('"')[1:2] not in ([], [""]), control.evaluate("e => e.outerHTML")
    reached = []
    visit.page.focus("#theme")
    for _ in range(20):
        reached.append(visit.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        visit.page.keyboard.press("Tab")
    wanted = ["theme", "view", "Close-up", "choose", "film", "points", "contours", "numbers", "boxes", "paint"]
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted
    assert visit.page.get_attribute("#status", "aria-live") == "polite"


def test_dark_and_light_follow_the_system_until_told_otherwise(browser: Browser, services: dict[str, str]) -> None:
    visit = Visit(browser, services["plain"], color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = visit.page.evaluate(ground)
    visit.page.click("#theme")
    light = visit.page.evaluate(ground)
    visit.page.reload()
    assert visit.page.evaluate(ground) == light != dark
    visit.page.context.close()
