"""Annotation files in the layout that each tool documents: read, and back unchanged after writing."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from unveil.io.files import DataError
from unveil.io.formats import (
    FORMATS,
    FaceAnnotation,
    FormatName,
    ImageAnnotation,
    by_image,
    read_annotations,
)
from unveil.schemes.scheme import IBUG68, SCHEMES
from unveil.types import Box, Points

FIVE: list[list[float]] = [[30.5, 40.25], [70, 41], [50, 60], [35, 80], [66, 81]]

COCO: dict[str, Any] = {
    "info": {"description": "faces"},
    "licenses": [],
    "images": [
        {"id": 7, "width": 200, "height": 100, "file_name": "in/a.jpg", "license": 1, "date_captured": ""},
        {"id": 9, "width": 50, "height": 60, "file_name": "b.png"},
    ],
    "annotations": [
        {
            **{"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 1600.0, "bbox": [30, 40, 40, 41]},
            **{"segmentation": [], "num_keypoints": 4},
            "keypoints": [30.5, 40.25, 2, 70, 41, 1, 50, 60, 2, 35, 80, 2, 0, 0, 0],
        },
        {"id": 2, "image_id": 9, "category_id": 1, "keypoints": [v for p in FIVE for v in (*p, 2)]},
        {"id": 3, "image_id": 9, "category_id": 1, "bbox": [0, 0, 5, 5]},
    ],
    "categories": [{"id": 1, "name": "face", "supercategory": "person", "keypoints": list("abcde"), "skeleton": []}],
}

DLIB = """<?xml version='1.0' encoding='ISO-8859-1'?>
<?xml-stylesheet type='text/xsl' href='image_metadata_stylesheet.xsl'?>
<dataset>
<name>imglab dataset</name>
<comment>Created by imglab tool.</comment>
<images>
  <image file='in/a.jpg' width='200' height='100'>
    <box top='40' left='30' width='41' height='42'>
      <label>face</label>
      <part name='00' x='30' y='40'/>
      <part name='02' x='50' y='60'/>
      <part name='01' x='70' y='41'/>
    </box>
    <box top='1' left='1' width='5' height='5' ignore='1'/>
  </image>
  <image file='b.png'>
    <box top='40' left='30' width='41' height='42'>
      <part name='00' x='31' y='40'/>
      <part name='01' x='70' y='42'/>
    </box>
  </image>
</images>
</dataset>
"""

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>1</id><name>faces</name><size>2</size><mode>annotation</mode></task></meta>
  <image id="0" name="in/a.jpg" width="200" height="100">
    <points label="face" source="manual" occluded="0" points="30.50,40.25;70.00,41.00;50.00,60.00" z_order="0">
    </points>
    <box label="car" source="manual" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4" z_order="0"></box>
  </image>
  <image id="1" name="b.png" width="50" height="60">
    <skeleton label="face" source="manual" z_order="0">
      <points label="3" source="manual" outside="1" occluded="0" points="0.00,0.00"></points>
      <points label="1" source="manual" outside="0" occluded="0" points="30.50,40.25"></points>
      <points label="2" source="manual" outside="0" occluded="1" points="70.00,41.00"></points>
    </skeleton>
  </image>
</annotations>
"""


def region(label: str, x: float, y: float, **more: object) -> dict[str, Any]:
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    value = {"x": x / 2, "y": y, "width": 0.3, "keypointlabels": [label]}
    return {"id": label, "type": "keypointlabels", "from_name": "kp", "to_name": "img", **size, "value": value, **more}


def regions(**more: object) -> list[dict[str, Any]]:
    return [region(str(i), x, y, **more) for i, (x, y) in enumerate(FIVE)]


LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/3/1a2b3c4d-a%20b.jpg"},
        "annotations": [
            {"id": 4, "was_cancelled": True, "result": regions()[:2]},
            {
                "id": 5,
                "result": [
                    {"id": "r", "type": "rectanglelabels", "value": {"x": 1, "y": 2, "rectanglelabels": ["face"]}},
                    *regions(parentID="r")[::-1],
                    *regions(parentID="s", meta={"text": ["occluded"]}),
                ],
            },
        ],
        "predictions": [],
    },
    {
        "id": 2,
        "data": {"image": "/data/local-files/?d=in/c.jpg"},
        "annotations": [],
        "predictions": [{"model_version": "x", "result": regions() + regions()}],
    },
]


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), "utf-8")
    return path


def faces_of(source: Path, **options: Any) -> tuple[FaceAnnotation, ...]:
    annotations = read_annotations(source, allow_missing=True, **options)
    assert annotations.invalid == ()
    return annotations.valid


def test_coco_keypoints_are_read(tmp_path: Path) -> None:
    first, second = faces_of(write_json(tmp_path / "a.json", COCO))
    assert (first.image, first.image_size, second.image) == ("in/a.jpg", (200, 100), "b.png")
    np.testing.assert_allclose(first.points_px[:4], FIVE[:4])
    assert np.isnan(first.points_px[4]).all()
    assert first.visible is not None
    assert first.visible.tolist() == [True, False, True, True, False]
    assert first.box == Box(30, 40, 70, 81)
    np.testing.assert_allclose(second.points_px, FIVE)


def test_a_missing_landmark_makes_a_face_invalid_unless_it_is_allowed(tmp_path: Path) -> None:
    annotations = read_annotations(write_json(tmp_path / "a.json", COCO))
    assert [face.image for face in annotations.valid] == ["b.png"]
    assert annotations.invalid[0].problem.endswith(
        "annotation 1: landmark 4 is not a finite number; fix it or take the face out"
    )


def test_coco_without_any_occluded_landmark_has_no_visibility(tmp_path: Path) -> None:
    content = {**COCO, "annotations": COCO["annotations"][1:]}
    (face,) = faces_of(write_json(tmp_path / "a.json", content))
    assert face.visible is None


def test_dlib_xml_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(DLIB, "utf-8")
    first, second = faces_of(tmp_path / "a.xml")
    assert (first.image, first.image_size, second.image_size) == ("in/a.jpg", (200, 100), None)
    np.testing.assert_array_equal(first.points_px, [[30, 40], [70, 41], [50, 60]])
    np.testing.assert_array_equal(second.points_px, [[31, 40], [70, 42], [np.nan, np.nan]])
    assert first.box == Box(30, 40, 70, 81)


def test_cvat_points_and_skeletons_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(CVAT, "utf-8")
    first, second = faces_of(tmp_path / "a.xml")
    assert (first.image, first.image_size, first.visible) == ("in/a.jpg", (200, 100), None)
    np.testing.assert_allclose(first.points_px, FIVE[:3])
    np.testing.assert_allclose(second.points_px, [*FIVE[:2], [np.nan, np.nan]])
    assert second.visible is not None
    assert second.visible.tolist() == [True, False, True]


def test_label_studio_tasks_are_read(tmp_path: Path) -> None:
    one, two, three, four = faces_of(write_json(tmp_path / "a.json", LABEL_STUDIO))
    assert [face.image for face in (one, two, three, four)] == ["a b.jpg", "a b.jpg", "in/c.jpg", "in/c.jpg"]
    assert one.image_size == (200, 100)
    for face in (one, two, three, four):
        np.testing.assert_allclose(face.points_px, FIVE, atol=1e-4)
    assert one.visible is not None
    assert one.visible.all()
    assert two.visible is not None
    assert not two.visible.any()


def test_label_studios_short_form_is_read(tmp_path: Path) -> None:
    size = {"original_width": 200, "original_height": 100}
    points = [
        {"x": x / 2, "y": y, "width": 0.3, "keypointlabels": [str(i + 1)], **size} for i, (x, y) in enumerate(FIVE)
    ]
    (face,) = faces_of(write_json(tmp_path / "a.json", [{"id": 1, "image": "/data/upload/1/a.jpg", "kp-1": points}]))
    assert face.image == "a.jpg"
    np.testing.assert_allclose(face.points_px, FIVE, atol=1e-4)


def test_a_task_without_keypoints_in_label_studios_short_form_is_an_image_without_a_face(tmp_path: Path) -> None:
    size = {"original_width": 200, "original_height": 100}
    points = [{"x": x / 2, "y": y, "keypointlabels": [str(i)], **size} for i, (x, y) in enumerate(FIVE)]
    tasks = [{"id": 1, "image": "/data/upload/1/a.jpg", "kp-1": points}, {"id": 2, "image": "/data/upload/1/b.jpg"}]
    assert [face.image for face in faces_of(write_json(tmp_path / "a.json", tasks))] == ["a.jpg"]


def test_a_face_that_was_removed_in_label_studio_does_not_come_back(tmp_path: Path) -> None:
    (first, *_) = json.loads(json.dumps(LABEL_STUDIO))
    predicted = first["annotations"][0]["result"]
    removed = {"data": first["data"], "predictions": [{"result": predicted}], "annotations": [{"result": []}]}
    kept = {"data": first["data"], "predictions": [{"result": predicted}], "annotations": []}
    assert len(faces_of(write_json(tmp_path / "a.json", [kept]))) == len(
        faces_of(write_json(tmp_path / "b.json", [kept, removed]))
    )


@pytest.mark.parametrize("name", ["dlib", "label-studio"])
def test_a_file_in_which_every_face_lacks_landmark_0_is_not_shifted(tmp_path: Path, name: FormatName) -> None:
    points = shape(0)
    points[0] = np.nan
    form = FORMATS[name]
    images = [ImageAnnotation("a.jpg", (FaceAnnotation("a.jpg", "", points),), (200, 190))]
    form.write(tmp_path / f"faces{form.suffix}", images, None)
    (read,) = read_annotations(tmp_path / f"faces{form.suffix}", allow_missing=True).valid
    np.testing.assert_allclose(read.points_px, points, atol=0.51)


def test_labels_may_be_the_names_of_the_landmarks(tmp_path: Path) -> None:
    scheme = SCHEMES["cofw29"]
    names = scheme.point_names
    result = [region(name, i, 2 * i) for i, name in reversed(list(enumerate(names)))]
    task: dict[str, Any] = {"data": {"image": "a.jpg"}, "annotations": [{"result": result}]}
    for given in (scheme, None):
        (face,) = faces_of(write_json(tmp_path / "a.json", [task]), scheme=given)
        np.testing.assert_allclose(face.points_px, [[i, 2 * i] for i in range(29)], atol=1e-4)
    result[0]["value"] = {"x": 1, "y": 2, "keypointlabels": ["left ear"]}
    with pytest.raises(DataError, match=r"a\.json: label 'left ear' is neither a landmark of a built-in scheme nor"):
        read_annotations(write_json(tmp_path / "a.json", [task]))
    task["annotations"] = [{"result": [region("90", 1, 2)]}]
    with pytest.raises(DataError, match=r"a\.json: label '90', but scheme 'cofw29' has 29 points"):
        read_annotations(write_json(tmp_path / "a.json", [task]), scheme=scheme)


def shape(seed: int, points: int = 68) -> Points:
    """Whole pixels, which every format keeps."""
    return np.random.default_rng(seed).integers(20, 180, (points, 2)).astype(np.float32)


def face(image: str, seed: int, **more: Any) -> FaceAnnotation:
    return FaceAnnotation(image, image, shape(seed), **more)


IMAGES = [
    ImageAnnotation("in/a.jpg", (face("in/a.jpg", 0), face("in/a.jpg", 1)), (200, 190)),
    ImageAnnotation("b c.png", (face("b c.png", 2),), (300, 310)),
    ImageAnnotation("image.003.jpg", (face("image.003.jpg", 3),), (300, 310)),
]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("scheme", [IBUG68, None])
def test_every_format_comes_back_as_it_was_written(tmp_path: Path, name: FormatName, scheme: Any) -> None:
    form = FORMATS[name]
    path = tmp_path / "out" if form.in_folder else tmp_path / f"faces{form.suffix}"
    form.write(path, IMAGES, scheme)
    read = by_image(faces_of(path, scheme=scheme))
    expected = {image.faces[0].name: image for image in IMAGES}
    numbered = {"in/a.0": IMAGES[0].faces[0], "in/a.1": IMAGES[0].faces[1]} if name == "pts" else {}
    assert len(read) == len(expected) + bool(numbered)
    for image in read:
        if image.faces[0].name in numbered:
            np.testing.assert_array_equal(image.faces[0].points_px, numbered[image.faces[0].name].points_px)
            continue
        original = expected[image.faces[0].name]
        assert image.size == (None if name in ("pts", "csv") else original.size)
        if name != "pts":
            assert image.image == original.image
        for one, other in zip(image.faces, original.faces, strict=True):
            np.testing.assert_allclose(one.points_px, other.points_px, atol=1e-3)


@pytest.mark.parametrize("name", ["coco", "label-studio"])
def test_a_folder_with_the_same_faces_in_two_formats_is_refused(tmp_path: Path, name: FormatName) -> None:
    FORMATS["json"].write(tmp_path, IMAGES, IBUG68)
    assert len(faces_of(tmp_path)) == 4
    FORMATS[name].write(tmp_path / "faces.json", IMAGES, IBUG68)
    (tmp_path / "settings.json").write_text("3")
    with pytest.raises(DataError, match=r"b c\.json and faces\.json both hold annotations; name one of them"):
        faces_of(tmp_path)


@pytest.mark.parametrize("name", ["json", "csv", "coco", "label-studio"])
def test_visibility_and_missing_landmarks_come_back(tmp_path: Path, name: FormatName) -> None:
    points, visible = shape(0), np.random.default_rng(0).random(68) < 0.5
    points[3], visible[3] = np.nan, False
    form = FORMATS[name]
    images = [ImageAnnotation("a.jpg", (FaceAnnotation("a.jpg", "", points, visible=visible),), (200, 190))]
    form.write(tmp_path / f"faces{form.suffix}", images, IBUG68)
    (read,) = faces_of(tmp_path / f"faces{form.suffix}")
    np.testing.assert_allclose(read.points_px, points, atol=1e-3)
    assert read.is_visible is not None
    np.testing.assert_array_equal(read.is_visible[[i for i in range(68) if i != 3]], np.delete(visible, 3))


@pytest.mark.parametrize("name", ["pts", "cvat"])
def test_what_a_format_cannot_express_is_refused(tmp_path: Path, name: FormatName) -> None:
    points = shape(0)
    points[3] = np.nan
    images = [ImageAnnotation("a.jpg", (FaceAnnotation("a.jpg", "a.csv, line 2", points),), (200, 190))]
    with pytest.raises(ValueError, match=rf"a\.csv, line 2: landmark 3 is missing, which {name} cannot express"):
        FORMATS[name].write(tmp_path / "out", images, IBUG68)
    assert list(tmp_path.iterdir()) == []


def test_label_studio_without_the_size_of_an_image_is_refused(tmp_path: Path) -> None:
    images = [ImageAnnotation("a.jpg", (face("a.jpg", 0),))]
    with pytest.raises(ValueError, match=r"a\.jpg: label-studio needs the size of the image; give --images"):
        FORMATS["label-studio"].write(tmp_path / "out.json", images, IBUG68)


def test_parts_of_dlib_sort_in_the_order_of_the_landmarks(tmp_path: Path) -> None:
    FORMATS["dlib"].write(tmp_path / "a.xml", IMAGES, IBUG68)
    names = [part.get("name", "") for part in ElementTree.parse(tmp_path / "a.xml").iter("part")]
    assert names[:68] == sorted(names[:68])


@pytest.mark.parametrize("name", ["json", "csv", "coco", "label-studio"])
def test_a_name_of_odd_bytes_survives(tmp_path: Path, name: FormatName) -> None:
    odd = b'\xff\xe9t\xe9, "1"\n.jpg'.decode("utf-8", "surrogateescape")
    form = FORMATS[name]
    form.write(tmp_path / f"faces{form.suffix}", [ImageAnnotation(odd, (face(odd, 0),), (200, 200))], IBUG68)
    (read,) = faces_of(tmp_path / f"faces{form.suffix}")
    assert read.image == odd


@pytest.mark.parametrize("image", ["=1+1.jpg", "+a.jpg", "-a.jpg", "@a.jpg", "\ta.jpg", "'=a.jpg", "'a.jpg", "a=1.jpg"])
def test_no_name_in_a_csv_is_a_formula_and_every_name_comes_back(tmp_path: Path, image: str) -> None:
    path = tmp_path / "faces.csv"
    FORMATS["csv"].write(path, [ImageAnnotation(image, (face(image, 0),))], IBUG68)
    assert path.read_text().splitlines()[1][0] not in "=+-@\t"
    (read,) = faces_of(path)
    assert read.image == image


@pytest.mark.parametrize("name", ["dlib", "cvat"])
def test_a_name_that_xml_cannot_express_is_refused(tmp_path: Path, name: FormatName) -> None:
    odd = b"\xff.jpg".decode("utf-8", "surrogateescape")
    with pytest.raises(ValueError, match=r"XML takes UTF-8 only, which '.*\\udcff\.jpg.*' is not; rename the file"):
        FORMATS[name].write(tmp_path / "out.xml", [ImageAnnotation(odd, (face(odd, 0),), (200, 200))], IBUG68)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.xml", "<dataset><images>", r"a\.xml: not XML, or cut short"),
        ("a.xml", "<html/>", r"a\.xml: <html> is neither <dataset> of dlib nor <annotations> of CVAT"),
        ("a.xml", "<annotations><track/></annotations>", r"a\.xml: CVAT for video; export the task as 'CVAT for im"),
        ("a.xml", CVAT.replace("70.00,41.00;", "70.00;"), r"face 0: points '30\.50,40\.25;70\.00;.*, expected x,y;x,y"),
        ("a.xml", DLIB.replace("x='50'", "x='5O'"), r"in/a\.jpg, face 0: x of <part> is '5O', not a number"),
        ("a.xml", DLIB.replace("name='02'", "name='nose'"), r"a\.xml: label 'nose' is neither"),
        ("a.json", json.dumps({**COCO, "images": [{}]}), r"a\.json: not COCO keypoints; expected images with ids"),
        ("a.json", json.dumps({**COCO, "images": []}), r"a\.json: annotation 1: no image has the id 7"),
        (
            "a.json",
            json.dumps(COCO).replace("70, 41, 1, ", "70, "),
            r"annotation 1: its keypoints are not numbers x, y, v",
        ),
        ("a.yaml", "", r"a\.yaml: not a \.json, \.csv, \.xml, \.npz or \.pts file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(DataError, match=complaint):
        raise DataError(read_annotations(tmp_path / name, allow_missing=True).invalid[0].problem)
