"""Who may use the service: the API key, Origin; and what operators ask it: /ready, /metrics, /docs."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from unveil.inference.pipeline import Pipeline
from unveil.serve.app import build_app
from unveil.serve.limits import client_key

RAW = {"Content-Type": "image/jpeg"}


@pytest.fixture
def keyed(pipeline: Pipeline) -> Iterator[TestClient]:
    with TestClient(build_app(pipeline, api_key="s3cret-Ü"), base_url="http://localhost") as opened:
        yield opened


def test_work_needs_the_api_key_and_health_does_not(keyed: TestClient, jpeg: bytes) -> None:
    wrong: list[dict[str, str]] = [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}]
    for headers in [*wrong, {"Authorization": "Basic czNjcmV0"}]:
        for path in ("/align", "/restore", "/convert"):
            response = keyed.post(path, content=jpeg, headers=RAW | headers)
            assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
    key = "s3cret-Ü".encode()
    for name, value in ((b"Authorization", b"Bearer " + key), (b"X-API-Key", key)):
        assert keyed.post("/align", content=jpeg, headers=[(name, value), (b"Content-Type", b"image/jpeg")]).is_success
    assert keyed.get("/metrics").status_code == 401
    for path in ("/", "/health", "/ready", "/scheme", "/docs", "/openapi.json", "/static/app.js"):
        assert keyed.get(path).status_code == 200
    assert keyed.get("/health").json()["api_key"] is True
    assert keyed.get("/openapi.json").json()["components"]["securitySchemes"]


@pytest.mark.parametrize("path", ["/align%0A", "/restore%0A", "/convert%0A", "/metrics%0A", "/align%00", "/%0Aalign"])
def test_a_path_with_a_control_character_does_not_pass_the_key(keyed: TestClient, jpeg: bytes, path: str) -> None:
    assert keyed.post(path, content=jpeg, headers=RAW).status_code == 404
    assert keyed.get(path).status_code == 404


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("http://LOCALHOST:80", 200),
        ("http://localhost:8001", 403),
        ("https://localhost", 200),  # behind a proxy with TLS
        ("https://localhost:444", 403),
        ("http://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("http://[", 403),
    ],
)
def test_origin_decides_where_the_browser_sends_no_sec_fetch_site(
    client: TestClient, jpeg: bytes, origin: str, status: int
) -> None:
    assert client.post("/align", content=jpeg, headers=RAW | {"Origin": origin}).status_code == status
    assert client.get("/health", headers={"Origin": origin}).status_code == 200
    fetched = RAW | {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/align", content=jpeg, headers=fetched).status_code == 200


def test_metrics_count_requests_images_and_faces(client: TestClient, jpeg: bytes) -> None:
    client.post("/align", files=[("file", jpeg), ("file", jpeg)])
    client.get("/nowhere/a")
    client.request("BREW", "/nowhere/b")
    text = client.get("/metrics").text
    assert 'unveil_requests_total{method="POST",route="/align",status="200"} 1.0' in text
    assert 'unveil_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'unveil_images_total{route="/align"} 2.0' in text
    assert 'unveil_faces_total{route="/align"} 2.0' in text
    assert "nowhere" not in text
    assert "BREW" not in text


def test_ready_is_refused_before_the_models_are_and_while_all_slots_are_in_use(pipeline: Pipeline) -> None:
    cold = TestClient(build_app(pipeline), base_url="http://localhost")
    response = cold.get("/ready")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
    with cold:
        assert cold.get("/ready").json() == {"status": "ready"}


def test_the_documentation_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "http://" not in page + client.get("/static/docs.js").text.replace("http://www.w3.org", "")
    assert "https://" not in page + client.get("/static/docs.css").text
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/align", "/restore", "/convert", "/scheme", "/health", "/ready", "/metrics"}


def test_openapi_names_every_refusal_its_header_and_every_content_type(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    align = paths["/align"]["post"]["responses"]
    assert {"200", "400", "401", "403", "408", "413", "415", "422", "429", "500", "503", "504"} <= align.keys()
    assert set(align["200"]["content"]) == {
        "application/json",
        "text/csv",
        "text/plain",
        "image/png",
        "application/zip",
    }
    restore = paths["/restore"]["post"]["responses"]
    assert set(restore["200"]["content"]) == {"application/json", "image/png", "application/zip"}
    for status in ("429", "503"):
        assert "Retry-After" in align[status]["headers"]
    for operations in paths.values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                assert "X-Request-Id" in response["headers"], (operation["summary"], status)
    text = json.dumps(paths)
    assert "HTTPValidationError" not in text


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:2", "2001:db8::/64"),
        (None, "unknown"),
        ("testclient", "testclient"),
    ],
)
def test_one_client_is_an_address_or_a_network_of_ipv6(address: str | None, key: str) -> None:
    assert client_key(address) == key


def test_plain_http_errors_have_the_one_shape(client: TestClient) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: client.get("/nowhere"),
        lambda: client.delete("/align"),
        lambda: client.get("/static/none.js"),
        lambda: client.options("/align"),
        lambda: client.get("/align/"),
    ]
    for call in calls:
        response = call()
        assert response.json()["error"]["request_id"] == response.headers["x-request-id"]
        assert response.status_code in (404, 405)
    assert "POST" in client.get("/align").headers["allow"]
