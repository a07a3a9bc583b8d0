"""Faces of a teacher beside the annotated ones: they train, never validate, and are drawn as often as told."""

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from tests.tiny_networks import TINY, tiny_config

from unveil.baselines.drda import DrdaTrainConfig
from unveil.cli import main
from unveil.data.augment import AugmentConfig
from unveil.data.datasets.joined import JoinedFaces
from unveil.data.datasets.registry import DataSet
from unveil.data.occlusion import OcclusionConfig
from unveil.data.pack import read_faces, write_pack
from unveil.data.synthetic import write_drawn_faces
from unveil.registry import load_network
from unveil.schemes.scheme import SCHEMES
from unveil.training.batches import BatchSampler, check_more, set_weights
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig
from unveil.training.detection import DetectionTask, DetectorTrainConfig
from unveil.training.landmarks import LandmarkTask
from unveil.training.losses import visibility_loss
from unveil.training.restoration import RestorationTask

CONFIG = tiny_config(more_share=(0.75,))


@pytest.fixture
def more_folder(tmp_path: Path) -> Path:
    write_drawn_faces(tmp_path / "more", 8, seed=5)
    return tmp_path / "more"


def test_more_faces_leave_what_is_held_out_and_the_start_as_they_are(drawn_folder: Path, more_folder: Path) -> None:
    faces, more = read_faces(drawn_folder), read_faces(more_folder)
    alone, joined = LandmarkTask(faces, CONFIG), LandmarkTask(faces, CONFIG, [more])
    np.testing.assert_array_equal(alone.split.val, joined.split.val)
    assert set(joined.split.train) == set(alone.split.train) | set(range(len(faces), len(faces) + len(more)))
    assert torch.equal(alone.model.get_buffer("mean_shape"), joined.model.get_buffer("mean_shape"))


def test_more_faces_are_drawn_as_often_as_requested(drawn_folder: Path, more_folder: Path) -> None:
    task = LandmarkTask(read_faces(drawn_folder), CONFIG, [read_faces(more_folder)])
    added = task.split.train >= len(read_faces(drawn_folder))
    assert task.weights.sum() == pytest.approx(1)
    assert task.weights[added].sum() == pytest.approx(0.75)
    order = BatchSampler(task.split.train, ScheduleConfig(batch=2), 0, weights=task.weights)
    drawn = [item for batch in islice(order, 400) for _, item in batch]
    assert np.mean(np.array(drawn) >= len(read_faces(drawn_folder))) == pytest.approx(0.75, abs=0.1)


def test_several_sets_are_drawn_by_a_fraction_each(drawn_folder: Path, more_folder: Path) -> None:
    config = CONFIG.model_copy(update={"more_share": (0.2, 0.5)})
    task = LandmarkTask(read_faces(drawn_folder), config, [read_faces(more_folder), read_faces(more_folder)])
    first, size = len(read_faces(drawn_folder)), len(read_faces(more_folder))
    places = np.digitize(task.split.train, [first, first + size])
    assert [task.weights[places == i].sum() for i in range(3)] == pytest.approx([0.3, 0.2, 0.5])


def test_a_run_from_when_there_was_one_fraction_is_read() -> None:
    assert LandmarkTrainConfig.model_validate({"more_share": 0.3}).more_share == (0.3,)


@pytest.mark.parametrize(
    ("fractions", "line"),
    [("0.3 0.2", "--more-share 0.3 0.2: 2 for 1 sets of --more, more 8; give one each"), ("1.0", "less than 1")],
)
def test_fractions_that_do_not_fit_are_one_line(
    fractions: str, line: str, drawn_folder: Path, more_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--data", str(drawn_folder), "--more", str(more_folder)]
    assert main(["train", "glomface-light", *sets, "--batch", "4", "--more-share", *fractions.split()]) == 2
    assert line in capsys.readouterr().err


def test_fractions_that_leave_no_annotated_face_are_refused(drawn_folder: Path, more_folder: Path) -> None:
    config, more = CONFIG.model_copy(update={"more_share": (0.5, 0.6)}), [read_faces(more_folder)] * 2
    with pytest.raises(ValueError, match=r"--more-share 0\.5 0\.6: together 1 or more"):
        LandmarkTask(read_faces(drawn_folder), config, more)


def test_every_task_asks_for_one_value_for_each_set_with_the_same_line(drawn_folder: Path, more_folder: Path) -> None:
    faces, more, scenes = read_faces(drawn_folder), [read_faces(more_folder)] * 2, drawn_folder
    line = r" 0\.2: 1 for 2 sets of --more, more 8, more 8; give one each"
    with pytest.raises(ValueError, match="--more-share" + line):
        LandmarkTask(faces, CONFIG.model_copy(update={"more_share": (0.2,)}), more)
    with pytest.raises(ValueError, match="--more-share" + line):
        RestorationTask(faces, DrdaTrainConfig(more_share=(0.2,)), more)
    with pytest.raises(ValueError, match="--more-weight" + line):
        DetectionTask(faces, DetectorTrainConfig(more_weight=(0.2,), scenes=scenes), more)
    with pytest.raises(ValueError, match=r"--more-share 0\.2: 1 for 0 sets of --more; give one each"):
        RestorationTask(faces, DrdaTrainConfig(more_share=(0.2,)))


def test_weights_of_sets_may_be_above_one(drawn_folder: Path, more_folder: Path) -> None:
    check_more((2.0, 3.0), [read_faces(more_folder)] * 2, "--more-weight", math.inf)
    with pytest.raises(ValueError, match=r"--more-share 0\.5 0\.6: together 1 or more, so no face of --data"):
        RestorationTask(read_faces(drawn_folder), DrdaTrainConfig(more_share=(0.5, 0.6)), [read_faces(more_folder)] * 2)


def test_what_is_covered_in_the_image_itself_trains_as_occluded(drawn_folder: Path, tmp_path: Path) -> None:
    faces = read_faces(drawn_folder)
    assert isinstance(faces, DataSet)
    left = np.array(faces.scheme.hierarchy.parts["left eye"])
    bare = ~np.isin(np.arange(68), left)
    covered = replace(faces, samples=tuple(replace(sample, visible=bare) for sample in faces.samples))
    write_pack(covered, tmp_path / "covered.npz", side=64)
    pack = read_faces(tmp_path / "covered.npz")
    config = CONFIG.model_copy(
        update={
            "augment": AugmentConfig(rotation=0, shift=0),
            "occlusion": OcclusionConfig(occluded_fraction=0.0),
            "more_share": (0.99,),
        }
    )
    task = LandmarkTask(faces, config, [pack])
    batch = next(task.batches(0))
    occluded = {tuple(np.flatnonzero(~visible)) for visible in batch["visible"].numpy()[:, 36:48]}
    mirrored = {faces.scheme.flip_order[point] - 36 for point in left}
    assert occluded - {()} == {tuple(left - 36), tuple(sorted(mirrored))}


def test_a_joined_face_is_that_of_its_own_set(drawn_folder: Path, more_folder: Path) -> None:
    first, more = read_faces(drawn_folder), read_faces(more_folder)
    joined = JoinedFaces(first, more)
    assert len(joined) == len(joined.names) == len(joined.points_px) == len(first) + len(more)
    np.testing.assert_array_equal(joined.image(len(first) + 2), more.image(2))
    np.testing.assert_array_equal(joined.points_px[len(first) + 2], more.points_px[2])
    assert joined.visible is None


def test_faces_of_another_scheme_are_refused_by_name(drawn_folder: Path) -> None:
    faces = read_faces(drawn_folder)
    assert isinstance(faces, DataSet)
    with pytest.raises(ValueError, match=r"scheme 'cofw29', but .* has 'ibug68'"):
        JoinedFaces(faces, replace(faces, scheme=SCHEMES["cofw29"]))


def test_only_landmark_networks_take_more_faces(drawn_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "pfld", "--data", str(drawn_folder), "--more", str(drawn_folder)]) == 2
    assert "--more" in capsys.readouterr().err


HEAD = CONFIG.model_copy(
    update={"model": TINY.model_copy(update={"visibility_dim": 8}), "visibility_only": True, "unlabelled_weight": 0.5}
)


def test_the_visibility_head_trains_alone(drawn_folder: Path, tmp_path: Path) -> None:
    """Landmarks and uncertainty stay as they are, to the bit."""
    faces = read_faces(drawn_folder)
    task = LandmarkTask(faces, HEAD)
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    task.fit(tmp_path / "run")
    trained, _ = load_network(tmp_path / "run/last.safetensors")
    changed = {name for name, tensor in trained.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in changed} == {"visibility_head", "calibration"}


def test_visible_landmarks_of_unlabelled_faces_weigh_less(drawn_folder: Path, more_folder: Path) -> None:
    faces = cast(DataSet, read_faces(drawn_folder))
    labelled = replace(faces, samples=tuple(replace(one, visible=np.ones(68, np.bool_)) for one in faces.samples))
    task = LandmarkTask(labelled, HEAD, [read_faces(more_folder)])
    assert task.labelled.tolist() == [True] * len(faces) + [False] * (len(task.faces) - len(faces))
    logits, visible = torch.zeros(2, 4), torch.tensor([[True, True, False, False]] * 2)
    loss = visibility_loss(logits, visible, torch.tensor([True, False]), 0.5)
    assert float(loss) == pytest.approx(math.log(2) * (4 + 2 + 2 * 0.5) / 8)


def test_a_network_without_a_visibility_head_cannot_train_it_alone(drawn_folder: Path) -> None:
    with pytest.raises(ValueError, match="visibility-dim"):
        LandmarkTask(read_faces(drawn_folder), CONFIG.model_copy(update={"visibility_only": True}))


def test_a_set_keeps_its_share_though_some_of_its_faces_do_not_train() -> None:
    weights = set_weights(np.array([0] * 8 + [1] * 2), (0.5,))
    assert weights[:8].sum() == pytest.approx(0.5)
    assert weights[8:].sum() == pytest.approx(0.5)
    assert set_weights(np.array([0, 0, 1, 1]), ()).tolist() == [0.25] * 4
