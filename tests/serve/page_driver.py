"""A visit to the page in Chromium, driven by Playwright, and helpers for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from unveil.io.images import decode_image
from unveil.types import Image

VISIBLE_COLOUR, OCCLUDED_COLOUR = (0, 158, 115), (213, 94, 0)
DONE = "#stage[aria-busy=false]"


class Visit:
    """A page, and everything that it logged, requested, or broke."""

    def __init__(self, browser: Browser, address: str, script: str = "", **context: Any) -> None:
        opened = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **context})
        self.page: Page = opened.new_page()
        self.address = address
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if script:
            self.page.add_init_script(script)
        self.page.goto(address)

    def load(self) -> None:
        """Start again, as on a first visit."""
        self.page.unroute_all()
        self.page.goto(self.address)
        self.requests.clear()
        self.complaints.clear()

    def open(self, picture: Path) -> None:
        self.page.set_input_files("#file", picture)
        self.page.wait_for_selector(f"#desk:visible, {DONE} .wrong")
        self.done()

    def done(self) -> None:
        """Wait until the service has answered."""
        self.page.wait_for_selector(DONE)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def save(self, kind: str) -> Path:
        """Press a download's button and return the file, under the name that a user sees."""
        with self.page.expect_download() as download:
            self.page.click(f"[data-save={kind}]")
        path = Path(download.value.path())
        self.done()
        return path.rename(path.with_name(download.value.suggested_filename))

    def record(self) -> dict[str, Any]:
        """The JSON that the page saves."""
        loaded: dict[str, Any] = json.loads(self.save("json").read_text())
        return loaded

    def landmarks(self, face: int = 0) -> NDArray[np.float64]:
        return np.array(self.record()["faces"][face]["landmarks"])

    def canvas(self) -> Image:
        """What the canvas shows, RGB."""
        self.page.wait_for_timeout(50)  # it is drawn in the next frame
        return decode_image(self.page.locator("#view").screenshot())

    def at(self, x: float, y: float, width: int = 512) -> tuple[float, float]:
        """Where a pixel of the picture is on the screen, while all of the picture is in view."""
        frame = self.page.locator("#view").bounding_box()
        assert frame is not None
        scale = frame["width"] / width
        return frame["x"] + (x + 0.5) * scale, frame["y"] + (y + 0.5) * scale

    def drag(self, start: tuple[float, float], end: tuple[float, float], width: int = 512) -> None:
        """Drag from one pixel of the picture to another."""
        self.page.mouse.move(*self.at(*start, width))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end, width), steps=3)
        self.page.mouse.up()
        self.done()

    def close(self) -> None:
        self.page.context.close()


def amount(image: Image, colour: tuple[int, int, int]) -> int:
    """How many pixels have about this colour."""
    return int((np.abs(image.astype(int) - colour).max(axis=2) < 12).sum())
