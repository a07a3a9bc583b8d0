import base64
import csv
import io
import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from unveil.inference.drawing import draw_faces
from unveil.inference.pipeline import Pipeline
from unveil.io.annotations import read_pts
from unveil.io.images import decode_image
from unveil.io.results import image_json
from unveil.serve.schemas import ImageResponse, RestoreResponse
from unveil.types import Image

RAW = {"Content-Type": "image/jpeg"}
BOXES = [[170.0, 90.0, 270.0, 180.0], [20.0, 30.0, 200.0, 220.0]]


def own_answer(pipeline: Pipeline, data: bytes, name: str) -> str:
    image_rgb = decode_image(data)
    return image_json(name, image_rgb, "glomface-light", "ibug68", pipeline(image_rgb))


def test_align_answers_as_the_command_line_does(client: TestClient, pipeline: Pipeline, jpeg: bytes) -> None:
    response = client.post("/align", files={"file": ("me.jpg", jpeg, "image/jpeg")})
    assert response.status_code == 200
    assert response.text == own_answer(pipeline, jpeg, "me.jpg")


def test_a_raw_body_gives_the_same_faces(client: TestClient, jpeg: bytes) -> None:
    form = client.post("/align", files={"file": ("me.jpg", jpeg)}).json()
    raw = client.post("/align", content=jpeg, headers=RAW).json()
    assert raw == form | {"image": "image"}


def test_responses_match_openapi(client: TestClient, jpeg: bytes) -> None:
    answer = client.post("/align", content=jpeg, headers=RAW).json()
    ImageResponse.model_validate(answer)
    document = client.get("/openapi.json").json()
    align = document["paths"]["/align"]["post"]
    ImageResponse.model_validate(align["responses"]["200"]["content"]["application/json"]["example"])
    assert {"200", "400", "408", "413", "415", "422", "429", "503", "504"} <= align["responses"].keys()
    assert set(align["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
    assert {parameter["name"] for parameter in align["parameters"]} == {"as", "flip_average", "min_score", "boxes"}


def test_mirror_averaging_is_the_requests_choice(client: TestClient, pipeline: Pipeline, jpeg: bytes) -> None:
    plain = client.post("/align", content=jpeg, headers=RAW).json()
    averaged = client.post("/align?flip_average=true", content=jpeg, headers=RAW).json()
    assert averaged["faces"][0]["landmarks"] != plain["faces"][0]["landmarks"]
    image_rgb = decode_image(jpeg)
    expected = Pipeline(pipeline.model, pipeline.detector)(image_rgb, flip_average=True)[0]
    np.testing.assert_allclose(averaged["faces"][0]["landmarks"], expected.landmarks, atol=0.01)


def test_boxes_take_the_detectors_place(client: TestClient, jpeg: bytes) -> None:
    answer = client.post("/align", params={"boxes": json.dumps(BOXES)}, content=jpeg, headers=RAW).json()
    assert [face["box"] for face in answer["faces"]] == BOXES


def test_an_image_without_a_face_is_no_error(client: TestClient) -> None:
    done, blank = cv2.imencode(".png", np.full((64, 64, 3), 90, np.uint8))
    assert done
    assert client.post("/align", files={"file": blank.tobytes()}).json()["faces"] == []
    assert client.post("/align?as=pts", files={"file": blank.tobytes()}).json()["error"]["code"] == "no_face"


def test_csv_and_pts_are_the_command_lines(client: TestClient, jpeg: bytes, tmp_path: Path) -> None:
    face = client.post("/align", content=jpeg, headers=RAW).json()["faces"][0]
    rows = list(csv.DictReader(io.StringIO(client.post("/align?as=csv", files={"file": ("a b.jpg", jpeg)}).text)))
    assert [row["image"] for row in rows] == ["a b.jpg"]
    assert float(rows[0]["x30"]) == pytest.approx(face["landmarks"][30][0], abs=0.01)
    response = client.post("/align?as=pts", files={"file": ("a b.jpg", jpeg)})
    assert response.headers["content-disposition"] == 'attachment; filename="a-b.pts"'
    (tmp_path / "a.pts").write_bytes(response.content)
    np.testing.assert_allclose(read_pts(tmp_path / "a.pts"), face["landmarks"], atol=0.011)


def test_several_faces_come_as_a_zip_of_pts(client: TestClient, jpeg: bytes) -> None:
    response = client.post("/align", params={"as": "pts", "boxes": json.dumps(BOXES)}, files={"file": ("us.jpg", jpeg)})
    assert response.headers["content-type"] == "application/zip"
    assert zipfile.ZipFile(io.BytesIO(response.content)).namelist() == ["us.0.pts", "us.1.pts"]


def test_png_is_the_overlay(client: TestClient, pipeline: Pipeline, jpeg: bytes) -> None:
    response = client.post("/align?as=png", content=jpeg, headers=RAW)
    image_rgb = decode_image(jpeg)
    expected = draw_faces(image_rgb, pipeline(image_rgb), pipeline.model.scheme)
    np.testing.assert_array_equal(decode_image(response.content), expected)


def test_requests_at_once_get_the_pipelines_own_results(
    client: TestClient, pipeline: Pipeline, portrait: Image
) -> None:
    images = [cv2.imencode(".png", np.roll(portrait, 7 * i, axis=1))[1].tobytes() for i in range(12)]
    with ThreadPoolExecutor(6) as clients:
        responses = clients.map(lambda data: client.post("/align", files={"file": ("a.png", data)}), images)
        texts = [response.text for response in responses]
    assert texts == [own_answer(pipeline, data, "a.png") for data in images]


def test_restoring_gives_image_mask_and_faces(
    serve: Callable[..., TestClient], uncovering: Pipeline, jpeg: bytes
) -> None:
    client = serve(uncovering)
    answer = client.post("/restore?as=json", content=jpeg, headers=RAW).json()
    RestoreResponse.model_validate(answer)
    expected = uncovering.restore(decode_image(jpeg))
    np.testing.assert_array_equal(decode_image(base64.b64decode(answer["restored"])), expected.image)
    np.testing.assert_array_equal(decode_image(base64.b64decode(answer["mask"]))[..., 0], expected.mask * 255)
    assert answer["before"] != answer["after"]
    image = client.post("/restore", content=jpeg, headers=RAW)
    np.testing.assert_array_equal(decode_image(image.content), expected.image)
    assert client.get("/health").json()["restorer"] is True


def test_without_a_restorer_restoring_is_refused(client: TestClient, jpeg: bytes) -> None:
    response = client.post("/restore", content=jpeg, headers=RAW)
    assert response.status_code == 501
    assert "--restorer" in response.json()["error"]["message"]


def test_the_scheme_has_what_drawing_needs(client: TestClient, pipeline: Pipeline) -> None:
    answer, scheme = client.get("/scheme").json(), pipeline.model.scheme
    assert (answer["points"], answer["point_names"]) == (68, list(scheme.point_names))
    drawn = [(tuple(line["points"]), line["closed"]) for line in answer["contours"]]
    assert drawn == [(line.points, line.closed) for line in scheme.contours]


def test_a_detected_face_keeps_its_score_when_it_is_restored(
    serve: Callable[..., TestClient], uncovering: Pipeline, jpeg: bytes
) -> None:
    client = serve(uncovering)
    whole = client.post("/restore?as=json", content=jpeg, headers=RAW).json()
    filtered = client.post("/restore?as=json&min_score=0.5", content=jpeg, headers=RAW).json()
    assert filtered == whole
    assert whole["before"][0]["score"] == 0.9
    none = client.post("/restore?as=json&min_score=0.95", content=jpeg, headers=RAW).json()
    assert none["before"] == []
