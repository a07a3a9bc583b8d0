"""One browser and three services for all tests of the page. UNVEIL_CHROMIUM names Chromium's program."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from unveil.inference.aligner import AlignmentModel
from unveil.inference.pipeline import Pipeline
from unveil.serve.app import build_app
from unveil.serve.server import bind, url
from unveil.types import Box, Detection, Image

CHROMIUM = os.environ.get("UNVEIL_CHROMIUM") or shutil.which("chromium")
if not CHROMIUM:
    collect_ignore_glob = ["test_*.py"]
else:
    from playwright.sync_api import Browser, sync_playwright
    from tests.serve.page_driver import Visit

KEY = "correct horse"


def find_faces(image_rgb: Image) -> list[Detection]:
    """A face in every square of a row of portraits, each with a lower score; none on a picture of one colour."""
    height, width = image_rgb.shape[:2]
    if not np.ptp(image_rgb):
        return []
    scale = height / 512
    corners = [(178 + 512 * i, 91, 269 + 512 * i, 177) for i in range(max(1, width // height))]
    return [Detection(Box(*(scale * np.array(box)).tolist()), 0.9 - 0.2 * i) for i, box in enumerate(corners)]


@pytest.fixture(scope="session")
def services(model: AlignmentModel, uncovering: Pipeline) -> Iterator[dict[str, str]]:
    """Services on loopback, without and with a restorer, and with an API key: name to URL."""
    restoring = type(uncovering)(model, find_faces)
    restoring.restorer = uncovering.restorer
    apps = {
        "plain": build_app(Pipeline(model, find_faces)),
        "restoring": build_app(restoring),
        "keyed": build_app(Pipeline(model, find_faces), api_key=KEY),
    }
    urls, servers, threads = dict[str, str](), [], []
    for name, app in apps.items():
        bound = bind("127.0.0.1", 0)
        urls[name] = url(bound)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        servers.append(server)
        threads.append(thread)
    yield urls
    for server, thread in zip(servers, threads, strict=True):
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One browser for a module. Playwright's event loop runs until it ends, and other tests start their own."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def restoring_page(browser: "Browser", services: dict[str, str]) -> "Iterator[Visit]":
    """One page for all tests that need nothing special, since each new one starts a process."""
    page = Visit(browser, services["restoring"])
    yield page
    page.close()


@pytest.fixture
def visit(browser: "Browser", services: dict[str, str], restoring_page: "Visit") -> "Iterator[Callable[..., Visit]]":
    """Opens the page of a service."""
    opened: list[Visit] = []

    def start(service: str = "restoring", **options: Any) -> Visit:
        if service == "restoring" and not options:
            restoring_page.load()
            return restoring_page
        opened.append(Visit(browser, services[service], **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory, jpeg: bytes) -> Path:
    path = tmp_path_factory.mktemp("photo") / "portrait.jpg"
    path.write_bytes(jpeg)
    return path
