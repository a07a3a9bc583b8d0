"""98 and 29 points converted from 68: where they lie, and their way from the readers of WFLW and COFW to figures."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmarks.command import run
from benchmarks.converted_sets import NOTE, SETS, SIDE, report, train, write, write_cofw, write_sets

from unveil.data.datasets.registry import folder, read_data_set
from unveil.data.pack import Pack
from unveil.data.synthetic import drawn_face, frontal_shape
from unveil.geometry import Crop, flip_points, tight_box
from unveil.schemes.conversion import halfway, to_cofw29, to_wflw98
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import COFW29, COFW29_NAMES, IBUG68, SCHEMES, WFLW98, WFLW98_TO_IBUG68, Scheme
from unveil.types import Points

CONVERT = {WFLW98.name: to_wflw98, COFW29.name: to_cofw29}


def shape(seed: int = 0) -> Points:
    return drawn_face(np.random.default_rng(seed))[1]


@pytest.mark.parametrize("seed", range(3))
def test_the_68_points_come_back_exactly_from_the_98_converted_ones(seed: int) -> None:
    converted = to_wflw98(shape(seed))
    assert np.isfinite(converted).all()
    np.testing.assert_array_equal(converted[list(WFLW98_TO_IBUG68)], shape(seed))


@pytest.mark.parametrize(("convert", "scheme"), [(to_wflw98, WFLW98), (to_cofw29, COFW29)], ids=["98", "29"])
def test_a_mirrored_face_has_the_mirrored_points(convert: Callable[[Points], Points], scheme: Scheme) -> None:
    mirrored = convert(flip_points(shape(), 160, IBUG68.flip_order))
    np.testing.assert_allclose(mirrored, flip_points(convert(shape()), 160, scheme.flip_order), atol=1e-3)


def test_points_halfway_on_a_curve_lie_on_it() -> None:
    angles = np.linspace(0, np.pi, 17)
    between = halfway(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(between, axis=1), 1, atol=1e-3)


def test_converted_points_lie_where_their_names_state() -> None:
    upright = 50 * frontal_shape() + 80
    at = dict(zip(COFW29_NAMES, to_cofw29(upright), strict=True))
    for side in ("left", "right"):
        assert at[f"{side} brow top"][1] < at[f"{side} brow bottom"][1] < at[f"{side} lid top"][1]
        assert at[f"{side} lid top"][1] < at[f"{side} pupil"][1] < at[f"{side} lid bottom"][1]
    assert at["upper lip top"][1] < at["upper lip bottom"][1] < at["lower lip bottom"][1] < at["chin"][1]
    np.testing.assert_allclose(at["left pupil"], five_points(IBUG68, upright)[0], rtol=1e-6)
    brow = to_wflw98(upright)[33:42]
    assert (brow[5:, 1] > brow[[4, 3, 2, 1], 1]).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_readers_of_wflw_and_cofw_take_the_sets_and_call_them_partial(
    split: str, drawn_folder: Path, tmp_path: Path
) -> None:
    faces = folder(drawn_folder)
    write_sets(faces, split, tmp_path)
    for one in SETS:
        data_set = read_data_set(f"{one.reader}/{split}", tmp_path / one.name, partial=True)
        assert (data_set.scheme.name, data_set.found) == (one.name, len(faces))
        assert data_set.expected is not None
        assert data_set.found < data_set.expected
        assert data_set.image(0).shape == (SIDE, SIDE, 3)
        assert data_set.samples[0].box == pytest.approx(tight_box(data_set.points_px[0]), abs=1)
    assert (tmp_path / "README.txt").read_text() == f"{NOTE}\n"


def test_a_set_as_large_as_the_release_is_left_short_by_a_face(
    drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unveil.data.datasets.cofw.FACES", {"test": 12})
    write_cofw(folder(drawn_folder), "test", tmp_path)
    assert read_data_set("cofw29/test", tmp_path, partial=True).label == "cofw29/test 11/12"


def test_packs_and_figures_are_made_of_them_and_the_figures_are_labelled(
    drawn_folder: Path,
    tmp_path: Path,
    make_model: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for split in ("train", "test"):
        write_sets(folder(drawn_folder), split, tmp_path)
    for one in SETS:
        points = CONVERT[one.name](frontal_shape())
        points_unit = Crop.around(tight_box(points)).to_unit(points)
        make_model(f"{one.run}/model", points_unit, SCHEMES[one.name])
        (tmp_path / one.run / "best.json").write_text("{}")  # it is trained
    for command in ("train", "report"):
        assert run(write, train, report, args=[command, "--out", str(tmp_path)]) == 0
    assert [Pack.read(tmp_path / f"{one.name}.npz").label for one in SETS] == [
        "wflw98 converted from 300w/train 12",
        "cofw29 converted from 300w/train 12",
    ]
    assert capsys.readouterr().out.startswith(NOTE)
    found = json.loads((tmp_path / "converted_sets.json").read_text())
    assert found["note"] == NOTE
    assert 0 < found["nme"]["glomface-light.wflw98 on wflw/test, converted"]["clean"] < 20
    assert 0 < found["nme"]["glomface-light.cofw29 on cofw29/test, converted"]["noise"] < 20
