"""PFLD at both widths, and the weights of its error."""

import math

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from unveil.baselines.pfld import Pfld, PfldConfig, PfldPrediction
from unveil.baselines.pfld_loss import attribute_weights, pfld_loss
from unveil.models.conv_norm import fold_norms
from unveil.schemes.scheme import IBUG68


def network(width: float = 0.1) -> Pfld:
    torch.manual_seed(0)
    found = PfldConfig(width_mult=width).build(IBUG68)
    found.set_mean_shape(torch.rand(68, 2) - 0.5)
    return found


@pytest.mark.parametrize("faces", [1, 3])
def test_points_and_angles_come_out_and_every_weight_learns(faces: int) -> None:
    pfld = network()
    found: PfldPrediction = pfld(torch.rand(faces, 3, 112, 112))
    assert found.points_unit.shape == (faces, 68, 2)
    assert found.angles.shape == (faces, 3)
    pfld_loss(found, torch.rand(faces, 68, 2), torch.rand(faces, 3), torch.rand(faces)).backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in pfld.named_parameters() if weight.grad is None] == []


def test_one_face_is_aligned_alike_alone_and_without_the_pose_net() -> None:
    pfld = network().eval()
    images = torch.rand(3, 3, 112, 112)
    with torch.no_grad():
        together, alone = pfld(images).points_unit[1], pfld.landmarks(images[1:2])[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("width", "channels"), [(1.0, [64, 128, 128, 16]), (0.25, [16, 32, 32, 4])])
def test_the_blocks_are_the_papers(width: float, channels: list[int]) -> None:
    pfld = network(width).eval()
    rows = [pfld.shared, *pfld.fine]
    assert [len(row) for row in rows if isinstance(row, nn.Sequential)] == [5, 1, 6, 1]
    x, shapes = pfld.stem(torch.rand(1, 3, 112, 112)), []
    for row in rows:
        x = row(x)
        shapes.append(tuple(x.shape[1:]))
    sides = [28, 14, 14, 14]
    assert shapes == [(count, side, side) for count, side in zip(channels, sides, strict=True)]
    assert pfld.coarse(pfld.middle(x)).shape == (1, round(128 * width), 1, 1)


def test_the_whole_one_fits_in_five_megabytes() -> None:
    assert 2 * sum(weight.numel() for weight in network(1.0).parameters()) < 5e6


def test_saved_weights_load_and_folded_norms_give_the_same() -> None:
    pfld, other = network().eval(), network().eval()
    other.load_state_dict(load(save(pfld.state_dict())))
    images = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        expected = pfld.landmarks(images)
        torch.testing.assert_close(other.landmarks(images), expected, atol=0, rtol=0)
        fold_norms(other)
        torch.testing.assert_close(other.landmarks(images), expected, atol=1e-5, rtol=1e-4)


def test_a_perfect_pose_in_no_class_still_learns_and_a_wrong_one_weighs_more() -> None:
    points = torch.zeros(1, 2, 2)
    target = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])  # squared distance 25
    level, none = torch.zeros(1, 3), torch.zeros(1)
    assert float(pfld_loss(PfldPrediction(points, level), target, level, none)) == pytest.approx(25)
    turned = torch.tensor([[math.pi / 2, 0.0, math.pi]])  # 1 - cos: 1, 0, 2
    assert float(pfld_loss(PfldPrediction(points, turned), target, level, none)) == pytest.approx(4 * 25)
    rare = attribute_weights(torch.tensor([[True, False, True]]), torch.tensor([0.5, 0.1, 0.25]))
    assert rare.tolist() == pytest.approx([2 + 4])
    assert float(pfld_loss(PfldPrediction(points, level), target, level, rare)) == pytest.approx(7 * 25)
