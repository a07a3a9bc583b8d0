"""Options in the query and in the form, several images in a request, large images, conversion."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from unveil.inference.pipeline import Pipeline
from unveil.io.formats import FormatName
from unveil.io.images import decode_image
from unveil.serve.schemas import ImagesResponse, RestoredImagesResponse

Serve = Callable[..., TestClient]
RAW = {"Content-Type": "image/jpeg"}
BOX = [170.0, 90.0, 270.0, 180.0]


def test_options_are_form_fields_and_query_parameters_and_the_form_comes_first(client: TestClient, jpeg: bytes) -> None:
    query = client.post("/align", params={"as": "csv", "boxes": json.dumps([BOX])}, files={"file": jpeg})
    form = client.post("/align", data={"as": "csv", "boxes": json.dumps([BOX])}, files={"file": jpeg})
    both = client.post("/align?as=png", data={"as": "csv", "boxes": json.dumps([BOX])}, files={"file": jpeg})
    assert query.headers["content-type"].startswith("text/csv")
    assert query.text == form.text == both.text


@pytest.mark.parametrize(
    "field", [{"as": "exe"}, {"flip_average": "perhaps"}, {"min_score": "2"}, {"flipaverage": "1"}]
)
def test_an_option_that_is_not_valid_is_refused_in_both_places(
    client: TestClient, jpeg: bytes, field: dict[str, str]
) -> None:
    for response in (
        client.post("/align", data=field, files={"file": jpeg}),
        client.post("/align", params=field, files={"file": jpeg}),
    ):
        assert response.status_code == 422
        assert response.json()["error"]["code"] == "bad_option"
        assert response.json()["error"]["message"].startswith(next(iter(field)))


def test_faces_below_the_least_score_are_left_out(client: TestClient, jpeg: bytes) -> None:
    for score, count in (("0.8", 1), ("0.95", 0)):
        assert len(client.post(f"/align?min_score={score}", content=jpeg, headers=RAW).json()["faces"]) == count


def test_several_images_are_answered_in_their_order_each_for_itself(client: TestClient, jpeg: bytes) -> None:
    files = [("file", ("a.jpg", jpeg)), ("file", ("b.jpg", jpeg[:500])), ("file", ("c.jpg", jpeg))]
    response = client.post("/align", files=files)
    answer = response.json()
    ImagesResponse.model_validate(answer)
    assert [image["image"] for image in answer["images"]] == ["a.jpg", "b.jpg", "c.jpg"]
    assert answer["images"][0] == client.post("/align", files=files[:1]).json()
    error = answer["images"][1]["error"]
    assert (error["code"], error["request_id"]) == ("bad_image", response.headers["x-request-id"])
    assert client.post("/align?as=csv", files=files).json()["error"]["message"].startswith("b.jpg")


def test_several_images_have_boxes_of_their_own(client: TestClient, jpeg: bytes) -> None:
    files = [("file", ("a.jpg", jpeg)), ("file", ("a.jpg", jpeg))]
    answer = client.post("/align", data={"boxes": json.dumps([[BOX, BOX], None])}, files=files).json()
    assert [len(image["faces"]) for image in answer["images"]] == [2, 1]
    refused = client.post("/align", data={"boxes": json.dumps([BOX])}, files=files)
    assert refused.json()["error"]["code"] == "bad_boxes"
    archive = client.post("/align?as=pts", files=files)
    assert zipfile.ZipFile(io.BytesIO(archive.content)).namelist() == ["a.pts", "a-2.pts"]
    rows = list(csv.DictReader(io.StringIO(client.post("/align?as=csv", files=files).text)))
    assert [row["image"] for row in rows] == ["a.jpg", "a.jpg"]


def test_more_images_than_a_request_may_have_are_refused(serve: Serve, pipeline: Pipeline, jpeg: bytes) -> None:
    files = [("file", (f"{i}.jpg", jpeg)) for i in range(3)]
    response = serve(pipeline, images=2).post("/align", files=files)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_form")


def test_several_restored_images_come_as_a_zip_or_a_list(serve: Serve, uncovering: Pipeline, jpeg: bytes) -> None:
    client, files = serve(uncovering), [("file", ("a.jpg", jpeg)), ("file", ("b.jpg", jpeg))]
    archive = zipfile.ZipFile(io.BytesIO(client.post("/restore", files=files).content))
    assert archive.namelist() == ["a.restored.png", "b.restored.png"]
    RestoredImagesResponse.model_validate(client.post("/restore?as=json", files=files).json())


def test_a_large_image_is_scaled_down_and_answered_in_its_own_pixels(
    serve: Serve, uncovering: Pipeline, jpeg: bytes
) -> None:
    plain = serve(uncovering).post("/align", content=jpeg, headers=RAW).json()
    client = serve(uncovering, pixels=256 * 256)
    scaled = client.post("/align", content=jpeg, headers=RAW).json()
    assert (scaled["width"], scaled["height"]) == (512, 512)
    np.testing.assert_allclose(scaled["faces"][0]["box"], plain["faces"][0]["box"], atol=1)
    np.testing.assert_allclose(scaled["faces"][0]["landmarks"], plain["faces"][0]["landmarks"], atol=3)
    boxed = client.post("/align", params={"boxes": json.dumps([BOX])}, content=jpeg, headers=RAW).json()
    np.testing.assert_allclose(boxed["faces"][0]["box"], BOX, atol=0.01)
    restored = client.post("/restore?as=json", content=jpeg, headers=RAW).json()
    assert (restored["width"], restored["scale"]) == (512, 0.5)
    assert decode_image(client.post("/restore", content=jpeg, headers=RAW).content).shape == (256, 256, 3)


@pytest.mark.parametrize("name", ["=1+1.jpg", "+x.jpg", "-x.jpg", "@x.jpg"])
def test_a_name_that_a_spreadsheet_would_run_is_escaped(client: TestClient, jpeg: bytes, name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(client.post("/align?as=csv", files={"file": (name, jpeg)}).text))
    assert row["image"] == f"'{name}"
    record = client.post("/align", files={"file": (name, jpeg)}).json()
    (row,) = csv.DictReader(io.StringIO(client.post("/convert?as=csv", json=record).text))
    assert row["image"] == f"'{name}"


@pytest.mark.parametrize("kind", get_args(FormatName))
def test_landmarks_are_converted_to_every_format(client: TestClient, jpeg: bytes, kind: str, tmp_path: Any) -> None:
    from unveil.io.formats import read_annotations

    record = client.post("/align", files={"file": ("me.jpg", jpeg)}).json()
    record["faces"][0]["landmarks"][8] = [200.0, 210.0]  # corrected by hand
    response = client.post(f"/convert?as={kind}", json=record)
    assert response.status_code == 200, response.text
    path = tmp_path / response.headers["content-disposition"].split('"')[1]
    path.write_bytes(response.content)
    (face,) = read_annotations(path, scheme=client_scheme()).valid
    np.testing.assert_allclose(face.points_px, record["faces"][0]["landmarks"], atol=0.51 if kind == "dlib" else 0.06)


def client_scheme() -> Any:
    from unveil.schemes.scheme import SCHEMES

    return SCHEMES["ibug68"]


@pytest.mark.parametrize("name", ["照片.jpg", "Mu\u0308ller.jpg", 'my."photo".jpg'])
@pytest.mark.parametrize("kind", ["json", "pts"])
def test_a_file_is_named_for_a_header_whatever_the_image_is_called(
    client: TestClient, jpeg: bytes, name: str, kind: str
) -> None:
    record = client.post("/align", content=jpeg, headers=RAW).json() | {"image": name}
    response = client.post(f"/convert?as={kind}", json=record)
    assert response.status_code == 200
    assert re.fullmatch(rf'attachment; filename="[A-Za-z0-9_-]+\.{kind}"', response.headers["content-disposition"])


def test_indented_json_of_several_images_is_converted(client: TestClient, jpeg: bytes) -> None:
    record = client.post("/align", content=jpeg, headers=RAW).json()
    several = json.dumps({"images": [record | {"image": f"{name}.jpg"} for name in "ab"]}, indent=2)
    response = client.post("/convert?as=csv", content=several, headers={"Content-Type": "application/json"})
    assert response.status_code == 200
    assert [row["image"] for row in csv.DictReader(io.StringIO(response.text))] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"faces": [{"landmarks": [[1, 2]]}]}, 422),
        ({"faces": [{"landmarks": [[1, 2]] * 68, "visibility": [0.5]}]}, 422),
        ({"faces": [{"landmarks": [[1, 1e30]] * 68}]}, 422),
        ({"faces": [], "width": 0}, 422),
        ({"faces": []}, 422),
        ({"image": "../../etc/x.jpg"}, 200),
    ],
)
def test_what_cannot_be_converted_is_refused(
    client: TestClient, change: dict[str, Any], status: int, jpeg: bytes
) -> None:
    record = client.post("/align", content=jpeg, headers=RAW).json() | change
    response = client.post("/convert?as=pts", json=record)
    assert response.status_code == status, response.text
    assert ".." not in response.headers.get("content-disposition", "")


def test_what_is_no_json_is_refused(client: TestClient) -> None:
    plain = client.post("/convert?as=pts", content=b"x", headers={"Content-Type": "text/plain"})
    torn = client.post("/convert?as=pts", content=b'{"faces": [', headers={"Content-Type": "application/json"})
    assert (plain.status_code, torn.status_code) == (415, 400)
    deep = client.post("/convert?as=pts", content=b"[" * 100_000, headers={"Content-Type": "application/json"})
    assert deep.status_code in (400, 422)


def test_an_image_without_a_face_is_scaled_down_too(serve: Serve, pipeline: Pipeline) -> None:
    large = cv2.imencode(".png", np.full((1500, 1500, 3), 90, np.uint8))[1].tobytes()
    answer = serve(pipeline, pixels=1_000_000).post("/align", files={"file": large})
    assert (answer.json()["width"], answer.json()["faces"]) == (1500, [])
