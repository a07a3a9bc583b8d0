"""Training the face detector on drawn faces: assignment, losses and a run from start to export."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from unveil.data.pack import read_faces
from unveil.data.synthetic import write_drawn_faces
from unveil.export.onnx_export import export_model
from unveil.inference.cells import decode_cells
from unveil.inference.detector import FaceDetector
from unveil.models.detector import DetectorNetworkConfig, DetectorOutput, cell_centres, decode
from unveil.registry import build_task, load_network
from unveil.schemes.scheme import IBUG68
from unveil.training.config import ScheduleConfig
from unveil.training.detection import DetectionTask, DetectorTrainConfig, assign, detection_loss

TINY = DetectorNetworkConfig(input_size=64, widths=(4, 4, 8, 8, 8), depths=(1, 1, 1), neck=8)


def perfect_output(boxes: torch.Tensor, size: int) -> DetectorOutput:
    """The output of a network that predicts the first box in every cell."""
    centres, strides = cell_centres(size, size)
    reach = torch.cat([centres - boxes[0, :2], boxes[0, 2:] - centres], dim=1) / strides[:, None]
    distances = reach.clamp(min=1e-3).log()[None]
    points = (boxes[0, :2] - centres)[:, None].expand(-1, 5, -1) / (4 * strides[:, None, None])
    return DetectorOutput(torch.zeros(1, len(centres)), distances, points.flatten(1)[None])


def batch_of(boxes: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
    count = len(boxes)
    return {
        "images": torch.zeros(1, 3, size, size),
        "boxes": boxes[None],
        "points": boxes[None, :, None, :2].expand(1, count, 5, 2),
        "ignored": torch.zeros(1, 1, 4),
        "faces": torch.tensor([count]),
        "ignored_count": torch.tensor([0]),
    }


def test_cells_and_boxes_are_pixels_of_the_image() -> None:
    centres, strides = cell_centres(64, 96)
    assert len(centres) == 8 * 12 + 4 * 6 + 2 * 3
    assert centres[0].tolist() == [3.5, 3.5]
    assert strides[-1] == 32
    boxes = torch.tensor([[10.0, 12.0, 40.0, 44.0]])
    centres, strides = cell_centres(64, 64)
    _, decoded, _ = decode(perfect_output(boxes, 64), centres, strides)
    inside = ((centres > boxes[0, :2] + 1) & (centres < boxes[0, 2:] - 1)).all(dim=1)
    assert torch.allclose(decoded[0, inside], boxes.expand(int(inside.sum()), 4), atol=1e-3)


def test_a_face_gets_the_cells_near_its_centre_and_a_cell_one_face() -> None:
    faces = torch.tensor([[8.0, 8.0, 40.0, 40.0], [60.0, 60.0, 100.0, 100.0]])
    centres, strides = cell_centres(128, 128)
    boxes = torch.cat([centres - 16, centres + 16], dim=1)
    cells, owners = assign(torch.full((len(centres),), 0.5), boxes, centres, strides, faces)
    assert set(owners.tolist()) == {0, 1}
    assert len(set(cells.tolist())) == len(cells)
    middle = (faces[:, :2] + faces[:, 2:]) / 2
    assert ((centres[cells] - middle[owners]).abs().amax(dim=1) <= 2 * strides[cells] + 1).all()


def test_the_loss_falls_with_a_better_box_and_ignored_regions_teach_nothing() -> None:
    boxes = torch.tensor([[10.0, 12.0, 44.0, 44.0]])
    good = detection_loss(perfect_output(boxes, 64), batch_of(boxes, 64))
    bad = detection_loss(perfect_output(boxes + torch.tensor([0, 0, 15.0, 15.0]), 64), batch_of(boxes, 64))
    assert good["box"] < 0.05 < bad["box"]
    assert good["loss"] < bad["loss"]
    empty = batch_of(torch.zeros(0, 4), 64)
    confident = perfect_output(boxes, 64)._replace(scores=torch.full((1, 84), 4.0))
    learned = detection_loss(confident, empty)["loss"]
    ignored = empty | {"ignored": torch.tensor([[[-1.0, -1.0, 64.0, 64.0]]]), "ignored_count": torch.tensor([1])}
    assert detection_loss(confident, ignored)["loss"] < 1e-6 < learned


@pytest.fixture
def config(tmp_path: Path) -> DetectorTrainConfig:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for index in range(12):
        cv2.imwrite(str(scenes / f"{index}.png"), np.full((80, 80, 3), 20 * index, np.uint8))
    schedule = ScheduleConfig(steps=3, batch=2)
    return DetectorTrainConfig(
        model=TINY,
        schedule=schedule,
        scenes=scenes,
        val_scenes=3,
        val_share=0.4,
        threads=1,
        validate_every=3,
        image_every=3,
        checkpoint_every=3,
    )


def test_a_run_is_trained_exported_and_used(tmp_path: Path, config: DetectorTrainConfig) -> None:
    write_drawn_faces(tmp_path / "faces", 10)
    task = build_task(read_faces(tmp_path / "faces"), config)
    assert isinstance(task, DetectionTask)
    result = task.fit(tmp_path / "run")
    assert {"recall", "false_positives", "box_error", "score"} <= set(result.best)
    network, spec = load_network(tmp_path / "run/last.safetensors")
    assert spec.network == "detector"
    assert network is not None
    export_model(tmp_path / "run/last.safetensors", tmp_path / "detector", "mine")
    for shape in ((40, 100, 3), (64, 64, 3), (33, 31, 3)):  # any size, also no multiple of 32
        assert isinstance(FaceDetector(tmp_path / "detector", 0.9)(np.zeros(shape, np.uint8)), list)


def test_a_detector_without_negatives_is_refused(tmp_path: Path, config: DetectorTrainConfig) -> None:
    write_drawn_faces(tmp_path / "faces", 10)
    with pytest.raises(ValueError, match="name their folder with --scenes"):
        DetectionTask(read_faces(tmp_path / "faces"), config.model_copy(update={"scenes": None}))


def test_numpy_and_torch_decode_the_same_boxes() -> None:
    """The order of cells and the decoding are written twice, in torch for training and in numpy for inference."""
    torch.manual_seed(0)
    network = TINY.build(IBUG68).eval()
    image = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        output = network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    centres, strides = cell_centres(96, 64)
    scores, boxes, _ = decode(output, centres, strides)
    found = decode_cells(scores[0].numpy(), output.distances[0].numpy(), output.points[0].numpy(), 64, 0.0)
    assert len(found) == len(centres)
    best = int(scores[0].argmax())
    assert found.boxes[0] == pytest.approx(boxes[0, best].tolist(), abs=1e-3)
