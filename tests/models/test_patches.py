"""Sampling between pixels, against values worked out by hand."""

import pytest
import torch

from unveil.models.patches import sample, sample_patches, square_grid


def ramp(height: int, width: int) -> torch.Tensor:
    """Two channels: each pixel's x and y."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32), indexing="ij"
    )
    return torch.stack([x, y])[None]


def to_unit(points_px: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return (2 * points_px + 1) / torch.tensor([width, height]) - 1


@pytest.mark.parametrize("point", [(0.0, 0.0), (3.25, 4.5), (6.0, 2.75), (7.0, 5.0)])
def test_a_ramp_is_read_exactly_between_pixels(point: tuple[float, float]) -> None:
    points_px = torch.tensor([[point]])
    read = sample(ramp(6, 8), to_unit(points_px, 6, 8))
    torch.testing.assert_close(read, points_px, atol=1e-5, rtol=0)


def test_outside_the_map_is_zero() -> None:
    assert sample(ramp(6, 8) + 1, torch.tensor([[[1.5, 0.0], [0.0, -2.0]]])).abs().sum() == 0


def test_a_grid_is_centred_and_runs_row_by_row() -> None:
    grid = square_grid(3, 0.5)
    torch.testing.assert_close(grid[4], torch.zeros(2))
    torch.testing.assert_close(grid[0], torch.tensor([-0.5, -0.5]))
    torch.testing.assert_close(grid[1], torch.tensor([0.0, -0.5]))


def test_patches_lie_round_their_landmarks() -> None:
    points_px = torch.tensor([[[3.0, 2.0], [4.5, 3.25]]])
    step = 2 / 8  # one pixel of a map 8 pixels wide
    samples = sample_patches(ramp(8, 8), to_unit(points_px, 8, 8), square_grid(3, step))
    assert samples.shape == (1, 2, 9, 2)
    torch.testing.assert_close(samples[0, :, 4], points_px[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(samples[0, 1, 0], torch.tensor([3.5, 2.25]), atol=1e-5, rtol=0)
    torch.testing.assert_close(samples[0, 0, 8], torch.tensor([4.0, 3.0]), atol=1e-5, rtol=0)


def test_positions_learn_through_the_sampling() -> None:
    points_unit = torch.zeros(1, 1, 2, requires_grad=True)
    sample(ramp(8, 8), points_unit).sum().backward()  # type: ignore[no-untyped-call]
    assert points_unit.grad is not None
    torch.testing.assert_close(points_unit.grad, torch.full((1, 1, 2), 4.0))  # 8 pixels over 2 units
