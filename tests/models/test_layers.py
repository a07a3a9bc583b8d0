"""The convolution that the CNNs are made of."""

import pytest
import torch
from torch.nn import functional as F

from unveil.models.layers import ScaledConv


@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_computes_in_float32_under_autocast(stride: int) -> None:
    conv = ScaledConv(8, 8, 5, stride=stride, groups=8, relu=True)
    images = torch.rand(2, 8, 12, 12)
    expected = conv(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(images)
        low = conv(images.bfloat16())
    torch.testing.assert_close(found, expected)
    assert low.dtype == torch.bfloat16  # as it came
    torch.testing.assert_close(low.float(), expected, atol=0.03, rtol=0.03)


def test_its_gain_and_bias_are_those_of_each_filter() -> None:
    conv = ScaledConv(3, 4, 1, gain=2.0)
    images = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(conv(images), F.conv2d(images, 2 * conv.weight, conv.bias))
