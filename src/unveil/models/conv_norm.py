"""Convolutions with batch norm, which export folds into the convolutions. B faces, C and D channels, H and W pixels.

For networks that are trained from scratch. `ScaledConv` is for pretrained backbones, whose statistics are fixed.
"""

from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

Activation = Literal["relu", "none"]


class NormedConv(nn.Module):
    """A convolution with padding to the input's size at stride 1, then batch norm and an activation.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        kernel: Side of the kernel, pixels; odd.
        stride: Stride of the convolution.
        dilation: Distance between two taps, pixels.
        groups: Groups of channels that are filtered separately.
        activation: `relu` or `none`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding, dilation=dilation, groups=groups, bias=False
        )
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)
        self.activation = activation

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        """Return the filtered map.

        Args:
            x: The map.
        """
        y: Tensor = self.norm(self.conv(x))
        return F.relu(y) if self.activation == "relu" else y

    def fold(self) -> None:
        """Multiply the batch norm into the convolution, in place."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class NormedDeconv(nn.Module):
    """A 4x4 transposed convolution that doubles the size, then batch norm and ReLU.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False)
        # Each output pixel is a sum over 2x2 of the 4x4 taps.
        nn.init.normal_(self.conv.weight, std=(2 / (4 * channels_in)) ** 0.5)
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        """Return the map of twice the size.

        Args:
            x: The map.
        """
        return F.relu(self.norm(self.conv(x)))

    def fold(self) -> None:
        """Multiply the batch norm into the convolution, in place."""
        if isinstance(self.norm, nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(cast(nn.Conv2d, self.conv), self.norm, transpose=True)
            self.conv, self.norm = cast(nn.ConvTranspose2d, fused), nn.Identity()


def fold_norms(network: nn.Module) -> nn.Module:
    """Return a network whose batch norms are multiplied into the convolutions before them, in place, for export.

    Args:
        network: The network to change, in evaluation mode.

    Raises:
        ValueError: The network is in training mode, where the statistics are not final.
    """
    if network.training:
        raise ValueError(f"{type(network).__name__} is in training mode; call eval() before its norms are folded")
    with torch.no_grad():
        for module in list(network.modules()):
            if isinstance(module, NormedConv | NormedDeconv):
                module.fold()
    return network
