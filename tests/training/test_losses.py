"""Losses against values worked out by hand."""

import math

import pytest
import torch

from unveil.training.losses import shape_loss, uncertainty_loss, wing
from unveil.training.validation import calibrate_scale, calibrate_visibility


def test_wing_is_a_logarithm_below_its_width_and_a_line_above() -> None:
    error = torch.tensor([0.0, 2.0, -2.0, 20.0])
    constant = 10 - 10 * math.log(6)
    expected = torch.tensor([0.0, 10 * math.log(2), 10 * math.log(2), 20 - constant])
    torch.testing.assert_close(wing(error), expected)


def test_wing_has_no_jump_at_its_width() -> None:
    below, above = wing(torch.tensor([10 - 1e-4, 10 + 1e-4]))
    assert abs(float(below - above)) < 1e-3


def test_steps_are_summed() -> None:
    target, ocular, scale = torch.zeros(2, 5, 2), torch.ones(2), torch.zeros(2, 5)
    one = torch.full((2, 1, 5, 2), 3.0)
    assert float(shape_loss(one, target, "l2", ocular, scale)) == pytest.approx(5 * 18)  # equation 3: over landmarks
    assert float(shape_loss(one.expand(2, 3, 5, 2), target, "l2", ocular, scale)) == pytest.approx(3 * 5 * 18)


def test_nme_loss_is_the_mean_distance_over_the_eyes_distance() -> None:
    shapes = torch.zeros(1, 1, 4, 2)
    shapes[..., 0] = 3.0
    shapes[..., 1] = 4.0
    found = shape_loss(shapes, torch.zeros(1, 4, 2), "nme", torch.tensor([50.0]), torch.zeros(1, 4))
    assert float(found) == pytest.approx(0.1, abs=1e-4)


def test_the_likelihood_is_best_where_the_scale_is_the_error_and_its_gradient_falls_with_the_scale() -> None:
    target, ocular = torch.zeros(1, 1, 2), torch.ones(1)

    def loss(error: torch.Tensor, scale: float) -> torch.Tensor:
        return shape_loss(error, target, "nll", ocular, torch.full((1, 1), math.log(scale)))

    error = torch.full((1, 1, 1, 2), 3.0, requires_grad=True)
    assert min((1.0, 2.0, 3.0, 4.0, 6.0), key=lambda scale: float(loss(error.detach(), scale))) == 3.0
    near, far = (torch.autograd.grad(loss(error, scale), error)[0].sum() for scale in (1.0, 4.0))
    assert float(near / far) == pytest.approx(4.0)


def test_an_error_along_the_ellipse_costs_less_than_one_across_it() -> None:
    target, lengths = torch.zeros(1, 1, 2), torch.ones(1)
    diagonal = torch.tensor([[[[0.0, 1.0, -2.0]]]])  # y follows x: long along the diagonal, narrow across it
    along, across = (torch.tensor([[[[3.0, y]]]]) for y in (3.0, -3.0))
    losses = [float(shape_loss(error, target, "ellipse", lengths, ellipses=diagonal)) for error in (along, across)]
    assert losses[0] < losses[1] / 5
    with pytest.raises(ValueError, match="--ellipse"):
        shape_loss(along, target, "ellipse", lengths)


def test_the_best_scale_is_the_mean_error() -> None:
    error = torch.rand(1, 1000)
    losses = [float(uncertainty_loss(torch.full((1, 1000), math.log(s)), error)) for s in (0.3, 0.5, 0.8)]
    assert losses[1] == min(losses)


def test_calibration_finds_the_gain_and_offset_that_made_the_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, generator=generator)
    visible = torch.rand(20_000, generator=generator) < torch.sigmoid(0.5 * logits + 0.8)
    gain, offset = calibrate_visibility(logits, visible)
    assert gain == pytest.approx(0.5, abs=0.03)
    assert offset == pytest.approx(0.8, abs=0.06)


def test_the_calibrated_scale_has_the_mean_error() -> None:
    scale, error = torch.rand(100), torch.rand(100)
    assert float((scale * calibrate_scale(scale, error)).mean()) == pytest.approx(float(error.mean()))
