"""Small layers that several networks share. B faces, C channels, H and W pixels, N = H·W, P parts."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override


class ScaledConv(nn.Module):
    """A convolution with a learned gain and bias per filter: batch norm with its statistics folded in.

    Fine-tuning with frozen statistics learns the same gains without two more passes over every activation, which take a
    third of the time on a CPU. Training and inference compute the same.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        kernel: Side of the kernel, pixels; the padding keeps the size at stride 1.
        stride: Stride of the convolution.
        groups: Groups of channels that are filtered separately.
        relu: Whether a ReLU follows.
        gain: Initial gain.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        fan_in = channels_in // groups * kernel * kernel
        shape = (channels_out, channels_in // groups, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape) * math.sqrt((2.0 if relu else 1.0) / fan_in))
        self.scale = nn.Parameter(torch.full((channels_out,), gain))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.stride, self.padding, self.groups, self.relu = stride, kernel // 2, groups, relu

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        """Return the filtered map.

        Args:
            x: The map.
        """
        if self.groups > 1 and torch.is_autocast_enabled("cpu"):  # slow there in bfloat16 (docs/decisions/0004)
            with torch.autocast("cpu", enabled=False):
                return self._convolve(x.float()).to(x.dtype)
        return self._convolve(x)

    def fold(self) -> None:
        """Multiply the gain into the filters, in place."""
        with torch.no_grad():
            self.weight.mul_(self.scale.view(-1, 1, 1, 1))
            self.scale.fill_(1.0)

    def _convolve(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        weight = self.weight * self.scale.view(-1, 1, 1, 1)
        y = F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)
        return F.relu_(y) if self.relu else y


Layer = TypeVar("Layer", bound=nn.Module)


def zeroed(layer: Layer) -> Layer:
    """Return a layer with all parameters set to zero, so that what it adds is nothing at first.

    Args:
        layer: The layer, changed in place.
    """
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def mlp(*widths: int) -> nn.Sequential:
    """Return linear layers with a ReLU between two layers.

    Args:
        widths: Features of the input, of each hidden layer, and of the output.
    """
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(widths)):
        if index:
            layers.append(nn.ReLU())
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)


class PartLinear(nn.Module):
    """A separate linear layer for each part, computed as one batched product.

    Args:
        parts: Number of parts.
        inputs: Features of a part.
        outputs: Features of the result.
        relu: Whether a ReLU follows; the weights then start as in He et al. 2015.
    """

    def __init__(self, parts: int, inputs: int, outputs: int, *, relu: bool = False) -> None:
        super().__init__()
        limit = math.sqrt((6 if relu else 1) / inputs)
        self.weight = nn.Parameter(torch.empty(parts, inputs, outputs).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(parts, 1, outputs).uniform_(-limit, limit))
        if relu:
            nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "P B I"]) -> Float[Tensor, "P B O"]:
        """Return the features of each part.

        Args:
            x: One input for each part.
        """
        return torch.baddbmm(self.bias, x, self.weight)


class Norm(nn.BatchNorm2d):
    """Batch norm whose statistics can be frozen, so that the faces of a batch are independent in training too.

    Args:
        channels: Channels of the map.
        frozen: Keep the initial statistics.
    """

    def __init__(self, channels: int, *, frozen: bool = False) -> None:
        super().__init__(channels)
        self.frozen = frozen

    @override
    def train(self, mode: bool = True) -> "Norm":
        return super().train(mode and not self.frozen)


LayerWrapper: TypeAlias = Callable[[nn.Module], nn.Module]
"""A function applied to each layer when it is built: the identity, or spectral normalisation."""


def identity(layer: nn.Module) -> nn.Module:
    """Return the layer unchanged: the `LayerWrapper` of a network without spectral normalisation.

    Args:
        layer: Any layer.
    """
    return layer


class SelfAttention(nn.Module):
    """Compute y = gamma·o + x, where o_j is the mean of h(x_i) weighted by softmax_i(f(x_i)·g(x_j)).

    gamma starts at 0, so a new block returns its input.

    Args:
        channels: Channels of the map, C. f and g project to C / 8.
        wrap: Applied to each of the three 1x1 convolutions.

    Source: Zhang et al. 2019; GAN-IA, equation 2 and figure 4.
    """

    def __init__(self, channels: int, wrap: LayerWrapper = identity) -> None:
        super().__init__()
        narrow = max(1, channels // 8)
        self.f = wrap(nn.Conv2d(channels, narrow, 1))
        self.g = wrap(nn.Conv2d(channels, narrow, 1))
        self.h = wrap(nn.Conv2d(channels, channels, 1))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Return gamma·o + x.

        Args:
            x: The map.
        """
        f, g, h = (layer(x).flatten(2) for layer in (self.f, self.g, self.h))  # (B, C/8, N) twice, (B, C, N)
        weights = torch.softmax(g.transpose(1, 2) @ f, dim=-1)  # (B, N, N): row j holds the weights of position j
        o = (h @ weights.transpose(1, 2)).reshape(x.shape)
        y: Tensor = self.gamma * o + x
        return y
