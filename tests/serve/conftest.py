"""The shipped model behind a detector of one portrait, so that nothing here waits for detection."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from unveil.inference.aligner import AlignmentModel
from unveil.inference.pipeline import Pipeline
from unveil.inference.restorer import Restored
from unveil.serve.app import build_app
from unveil.serve.limits import Limits
from unveil.types import Box, Detection, Image

FACE = Box(178, 91, 269, 177)  # on the portrait of 512 x 512


def find_face(image_rgb: Image) -> list[Detection]:
    """The portrait's face at any size of the image; none on an image of one colour."""
    height, width = image_rgb.shape[:2]
    scale = np.array([width, height, width, height]) / 512
    return [Detection(Box(*(np.array(FACE) * scale).tolist()), 0.9)] if np.ptp(image_rgb) else []


class Uncovering(Pipeline):
    """A pipeline whose restorer paints every face grey."""

    def restore(self, image_rgb: Image, boxes: Sequence[Any] | None = None, **_: Any) -> Restored:
        detections = self._detections(image_rgb, boxes)
        before = self.align(image_rgb, detections)
        restored, mask = image_rgb.copy(), np.zeros(image_rgb.shape[:2], np.bool_)
        for face in before:
            x0, y0, x1, y1 = (round(value) for value in face.box)
            restored[y0:y1, x0:x1] = 128
            mask[y0:y1, x0:x1] = True
        return Restored(restored, mask, before, self.align(restored, detections))


@pytest.fixture(scope="session")
def model() -> AlignmentModel:
    return AlignmentModel.load("glomface-light")


@pytest.fixture(scope="session")
def pipeline(model: AlignmentModel) -> Pipeline:
    return Pipeline(model, find_face)


@pytest.fixture(scope="session")
def uncovering(model: AlignmentModel) -> Pipeline:
    restoring = Uncovering(model, find_face)
    restoring.restorer = object()  # type: ignore[assignment] # `restore` above does without
    return restoring


@pytest.fixture(scope="session")
def portrait() -> Image:
    """NASA's public-domain portrait of Eileen Collins, 512 x 512, one face."""
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def jpeg(portrait: Image) -> bytes:
    return encoded(portrait, ".jpg")


def encoded(image_rgb: Image, suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, image_rgb[..., ::-1])
    assert done
    return data.tobytes()


@pytest.fixture
def client(pipeline: Pipeline) -> Iterator[TestClient]:
    with TestClient(build_app(pipeline), base_url="http://localhost") as opened:
        yield opened


@pytest.fixture
def serve() -> Iterator[Callable[..., TestClient]]:
    """Starts a service with this pipeline and these limits; it ends with the test."""
    opened: list[TestClient] = []

    def start(pipeline: Pipeline, **limits: Any) -> TestClient:
        client = TestClient(build_app(pipeline, Limits(**limits)), base_url="http://localhost")
        opened.append(client)
        return client.__enter__()

    yield start
    for client in opened:
        client.__exit__(None, None, None)
