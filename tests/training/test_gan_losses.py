"""The losses of training to restore."""

import numpy as np
import pytest
import torch

from unveil.models.discriminators import (
    Discriminators,
)
from unveil.training.gan_losses import (
    colour_loss,
    discriminator_loss,
    generator_loss,
    mask_loss,
    reconstruction_loss,
    statistics_distance,
    structure_loss,
)


def test_occluded_pixels_can_weigh_more() -> None:
    restored, clean = torch.zeros(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
    restored[..., 0] = 1.0
    mask = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    assert float(reconstruction_loss(restored, clean, mask)) == pytest.approx(0.5)
    assert float(reconstruction_loss(restored, clean, mask, hole_weight=3.0)) == pytest.approx(0.75)


def test_structure_is_what_lies_beside_what_and_not_its_colour() -> None:
    clean = torch.rand(2, 3, 16, 16) * 0.5
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:12, 4:12] = 1
    assert structure_loss(clean + 0.3, clean, mask).item() == pytest.approx(0, abs=1e-9)
    inside, outside = clean.clone(), clean.clone()
    inside[:, :, 6:10, 6:10] += 0.2
    outside[:, :, :2, 6:10] += 0.2
    assert structure_loss(inside, clean, mask, 6.0) > 2 * structure_loss(outside, clean, mask, 6.0) > 0


def test_colour_is_the_mean_of_a_cell_and_not_its_texture() -> None:
    clean = torch.full((2, 3, 16, 16), 0.5)
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., 8:] = 1
    checkered = clean + 0.2 * (torch.arange(16)[:, None] + torch.arange(16)[None]).fmod(2).mul(2).sub(1)
    assert colour_loss(checkered, clean, mask).item() == pytest.approx(0, abs=1e-9)
    assert colour_loss(clean + 0.2, clean, mask).item() == pytest.approx(0.04, rel=1e-3)
    visible = clean.clone()
    visible[..., :8] += 0.2
    assert colour_loss(visible, clean, mask).item() == pytest.approx(0, abs=1e-9)


def test_statistics_of_features_do_not_depend_on_the_place_of_a_detail() -> None:
    maps = [torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)]
    moved = [values.roll((1, 2), dims=(2, 3)) for values in maps]
    assert statistics_distance(moved, maps).item() == pytest.approx(0, abs=1e-5)
    assert statistics_distance([0.5 * values for values in maps], maps) > 0.3


def test_a_mask_that_is_right_costs_nothing() -> None:
    mask = (torch.rand(2, 1, 8, 8) < 0.4).float()
    assert float(mask_loss(40 * (mask - 0.5), mask)) < 1e-6
    assert float(mask_loss(-40 * (mask - 0.5), mask)) > 1


def test_discriminators_and_generator_pull_in_opposite_directions() -> None:
    network = Discriminators(32, 16, width=1 / 16)
    output = network(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 16, 16))
    sure, doubting = (
        output._replace(global_logits=torch.full((1,), x), local_logits=torch.full((1,), x)) for x in (9.0, 0.0)
    )
    assert (
        float(generator_loss(sure).global_loss)
        < float(generator_loss(doubting).global_loss)
        == pytest.approx(np.log(2))
    )
    assert float(discriminator_loss(doubting, doubting).global_loss) == pytest.approx(2 * np.log(2))
    assert float(discriminator_loss(doubting, sure).local_loss) > 9
