"""Every response is one that /openapi.json describes: Schemathesis sends what that document allows, and what not."""

from typing import Any

import cv2
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from unveil.inference.pipeline import Pipeline
from unveil.serve.app import build_app

KEY = "a-key-for-tests"
IMAGES = [cv2.imencode(".png", np.full((size, size, 3), 90, np.uint8))[1].tobytes() for size in (8, 40)]
# Whether an image, a box or a set of landmarks is valid is more than a schema can express.
CONTENT_DECIDES = [positive_data_acceptance]

schemathesis.openapi.media_type("image/*", st.sampled_from(IMAGES))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(IMAGES))
schemathesis.openapi.format("binary", st.sampled_from(IMAGES))


@pytest.fixture(scope="module")
def api(uncovering: Pipeline) -> Any:
    app = build_app(uncovering, hosts=("*",), api_key=KEY)
    return schemathesis.openapi.from_asgi("/openapi.json", app)


SLOW = list(HealthCheck)
GETS = [f"GET /{path}" for path in ("scheme", "health", "ready", "metrics")]
POSTS = [f"POST /{path}" for path in ("align", "restore", "convert")]
CASES = [(each, GenerationMode.POSITIVE) for each in GETS + POSTS] + [(each, GenerationMode.NEGATIVE) for each in POSTS]


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_every_response_is_described(api: Any, operation: str, mode: GenerationMode) -> None:
    method, path = operation.split()

    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=5, phases=[Phase.generate], deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    def check(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=CONTENT_DECIDES)

    check()
