"""Self-attention over a feature map (Zhang et al. 2019; GAN-IA, equation 2 and figure 4).

B faces, C channels, H and W the map's sides, N = H·W positions.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

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

    Source: GAN-IA, equation 2.
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
