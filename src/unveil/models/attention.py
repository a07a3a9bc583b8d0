"""Self-attention between the places of a feature map (Zhang et al. 2019; GAN-IA, equation 2 and figure 4).

B faces, C channels, H and W the map's sides, N = H·W places.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

Wrap: TypeAlias = Callable[[nn.Module], nn.Module]
"""What is done to each layer on making it: nothing, or spectral normalisation."""


def unchanged(layer: nn.Module) -> nn.Module:
    return layer


class SelfAttention(nn.Module):
    """y = gamma·o + x, where place j of o is the mean of h over all places i, weighted by softmax_i(f(x_i)·g(x_j)).

    Gamma starts at 0, so that a fresh block passes its input through and learns the near before the far.
    """

    def __init__(self, channels: int, wrap: Wrap = unchanged) -> None:
        super().__init__()
        narrow = max(1, channels // 8)
        self.f = wrap(nn.Conv2d(channels, narrow, 1))
        self.g = wrap(nn.Conv2d(channels, narrow, 1))
        self.h = wrap(nn.Conv2d(channels, channels, 1))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        f, g, h = (layer(x).flatten(2) for layer in (self.f, self.g, self.h))  # (B, C/8, N) twice, (B, C, N)
        weights = torch.softmax(g.transpose(1, 2) @ f, dim=-1)  # (B, N, N): row j says where place j looks
        o = (h @ weights.transpose(1, 2)).reshape(x.shape)
        y: Tensor = self.gamma * o + x
        return y
