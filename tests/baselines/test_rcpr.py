"""RCPR: features on the lines between landmarks, zones weighted by visibility, smart restarts, the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from unveil.baselines.coupled import coupled
from unveil.baselines.rcpr import Rcpr, RcprConfig, interpolate, pixels_at
from unveil.baselines.rcpr_training import FeatureSelection, RcprTask, RcprTrainConfig, zone_of
from unveil.cli import main
from unveil.data.pack import read_faces
from unveil.data.synthetic import write_drawn_faces
from unveil.export.deployed import deploy
from unveil.export.onnx_export import float16_weights
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.registry import load_network
from unveil.schemes.scheme import COFW29, IBUG68

TINY = RcprConfig(input_size=64, stages=4, regressors=2, ferns=3, depth=3, starts=3, rounds=2, early=0.25)


def config(**changes: object) -> RcprTrainConfig:
    fields = {"model": TINY, "views": 2, "view_starts": 4, "pool": 30, "shrinkage": 1.0, "val_share": 0.3, "threads": 1}
    return RcprTrainConfig.model_validate(fields | changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, a run and its export, by the commands; exporting takes seconds."""
    folder = tmp_path_factory.mktemp("rcpr")
    write_drawn_faces(folder / "faces", 12)
    sizes = ["--stages", "3", "--regressors", "2", "--ferns", "2", "--depth", "3", "--starts", "3", "--rounds", "2"]
    training = ["--input-size", "64", "--views", "2", "--view-starts", "4", "--pool", "20", "--shrinkage", "1"]
    data = ["--data", str(folder / "faces"), "--out", str(folder / "run"), "--val-share", "0.3", "--threads", "1"]
    assert main(["train", "rcpr", *data, *sizes, *training]) == 0
    assert main(["export", str(folder / "run/best.safetensors"), "--out", str(folder / "model")]) == 0
    return folder


def test_a_feature_moves_with_the_two_landmarks_that_it_lies_between() -> None:
    points, ends = torch.tensor([[[-0.5, 0.0], [0.5, 0.4]]]), torch.tensor([[0, 1], [1, 0], [0, 0]])
    found = interpolate(points, ends, torch.tensor([0.25, 0.25, 0.7]))
    torch.testing.assert_close(found, torch.tensor([[[-0.25, 0.1], [0.25, 0.3], [-0.5, 0.0]]]))
    turned = interpolate(points.flip(-1), ends, torch.tensor([0.25, 0.25, 0.7]))
    torch.testing.assert_close(turned, found.flip(-1))


def test_pixels_are_read_at_their_centres_and_outside_as_on_the_edge() -> None:
    grey = torch.arange(16.0).reshape(1, 1, 4, 4)
    unit = torch.tensor([[[[-0.75, -0.75], [0.75, -0.75], [0.25, 0.25], [9.0, 9.0]]]])
    torch.testing.assert_close(pixels_at(grey, unit), torch.tensor([[[0.0, 3.0, 10.0, 15.0]]]))


def test_the_difference_that_explains_the_target_is_chosen() -> None:
    values = torch.rand(200, 12, generator=torch.Generator().manual_seed(0))
    pairs = FeatureSelection(values).pairs((values[:, [3]] - values[:, [8]]) * 2)
    assert set(pairs[0].tolist()) == {3, 8}


def test_zones_are_the_cells_of_a_grid_over_the_mean_shape() -> None:
    mean = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [0.9, -0.9]])
    assert zone_of(mean, mean).tolist() == [0, 8, 4, 2]


def test_a_regressor_counts_less_the_more_of_its_zone_is_occluded() -> None:
    stage = RcprConfig(stages=2, regressors=2).build(COFW29).stages[0]
    stage.zones[0, 0] = stage.zones[1, 1] = 1.0  # type: ignore[operator]
    state = torch.zeros(1, 1, 29, 3)
    updates = torch.stack([torch.full((87,), 1.0), torch.full((87,), -1.0)])[None, None]
    assert not stage.combine(state, updates).any()  # type: ignore[operator]
    state[..., 0, 2] = 0.5
    assert float(stage.combine(state, updates)[0, 0, 5, 0]) == pytest.approx(-1 / 3)  # type: ignore[operator]


def test_another_set_of_starts_is_taken_where_the_first_one_disagrees() -> None:
    network = RcprConfig(stages=2, starts=2, rounds=3).build(COFW29)
    network.max_spread.fill_(0.5)
    sets = torch.zeros(2, 3, 2, 29, 3)
    sets[:, :, 1, :, 0] = torch.tensor([[3.0, 2.0, 0.4], [3.0, 2.0, 4.0]])[..., None]
    chosen = network.agreeing(sets.flatten(1, 2))
    torch.testing.assert_close(chosen, torch.stack([sets[0, 2], sets[1, 1]]))  # none agrees: the least spread


def test_training_lowers_the_error_and_the_cascade_does_what_training_did(tmp_path: Path) -> None:
    write_drawn_faces(tmp_path / "faces", 16)
    task = RcprTask(read_faces(tmp_path / "faces"), config())
    samples = task.training_samples()
    with torch.no_grad():
        errors = []
        for stage in task.model.stages:
            errors.append(float((samples.target - samples.state)[..., :2].norm(dim=-1).mean()))
            fitted = task.fit_stage(stage, samples)  # type: ignore[arg-type]
            torch.testing.assert_close(fitted, stage(samples.grey(0), samples.state), atol=1e-3, rtol=0)
            samples = samples._replace(state=fitted)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.7 * errors[0]


def test_a_run_has_weights_metrics_and_settings_and_loads_strictly(run: Path) -> None:
    network, spec = load_network(run / "run/best.safetensors")
    assert isinstance(network, Rcpr)
    assert spec.network == "rcpr"
    assert float(network.max_spread) < 1
    assert not (network.calibration == torch.tensor([1.0, 0.0, 1.0])).all()
    metrics = json.loads((run / "run/best.json").read_text())
    assert set(metrics) == {"nme_ocular_clean", "nme_ocular_occluded", "score"}
    assert {path.suffix for path in (run / "run").iterdir()} == {".safetensors", ".json"}  # and no pickle


def test_the_exported_model_is_evaluated_by_the_command(run: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    arguments = ["--models", str(run / "model"), "--dataset", "folder", "--root", str(run / "faces")]
    assert main(["evaluate", *arguments, "--json", str(scores)]) == 0
    assert 0 < json.loads(scores.read_text())["nme_ocular"] < 40


def test_onnx_and_torch_agree_on_faces_and_in_flat_areas(run: Path) -> None:
    network, faces = load_network(run / "run/best.safetensors")[0], read_faces(run / "faces")
    crops = [Crop.around(tight_box(points)).extract(faces.image(i), 64) for i, points in enumerate(faces.points_px[:4])]
    images = np.concatenate([np.stack(crops), *(np.full((1, 64, 64, 3), grey, np.uint8) for grey in (0, 77, 200))])
    inputs = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / 255
    with torch.no_grad():
        expected = deploy(float16_weights(network))[0](torch.from_numpy(inputs))
    found = AlignmentModel.load(run / "model").session.run(("points_unit", "visibility"), {"images": inputs})
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.numpy(), other, atol=1e-5)


def test_no_threshold_lies_where_the_difference_of_a_flat_area_does(run: Path) -> None:
    task = RcprTask(read_faces(run / "faces"), config())
    values = torch.tensor([-1.0, 0.0, 0.0, 0.0, 1.0])[:, None]
    assert float(task._thresholds(values)) > 0


def test_the_run_aligns_as_its_exported_model_does_and_goes_behind_a_restorer(run: Path) -> None:
    faces = read_faces(run / "faces")
    image, box = faces.image(0), tight_box(faces.points_px[0])
    model = AlignmentModel.load(run / "model")
    (exported,), (direct,) = model(image, [box]), coupled(run / "run")(image, [box])
    assert model.scheme == IBUG68
    assert exported.uncertainty_px is None
    assert exported.visibility is not None
    assert ((exported.visibility >= 0) & (exported.visibility <= 1)).all()
    np.testing.assert_allclose(exported.points_px, direct.points_px, atol=0.5)

    def grey(image_rgb: NDArray[np.uint8], _: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.full_like(image_rgb, 128)

    (other,) = coupled(run / "run", grey)(image, [box])
    assert np.abs(other.points_px - direct.points_px).max() > 0.1


def test_what_it_cannot_do_is_one_clear_line(run: Path, tmp_path: Path) -> None:
    faces = read_faces(run / "faces")
    with pytest.raises(ValueError, match="rcpr trains on one set of faces"):
        RcprTask(faces, config(), [faces])
    with pytest.raises(ValueError, match="has no checkpoint; leave --resume out"):
        RcprTask(faces, config()).fit(tmp_path, resume=True)
