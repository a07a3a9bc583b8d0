"""The one pass over the face that every refinement step shares: EfficientNet-Lite0, merged top-down to stride 4.

B faces, C channels, H and W pixels. Blocks 0-10 of Tan & Le 2019 (the "lite" edition: no squeeze-excitation, ReLU),
then a feature pyramid (Lin et al. 2017) whose finest map is what the landmarks sample.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.layers import ScaledConv

# repeats, channels, kernel, stride of the first block; every block but the very first expands its channels sixfold
STAGES = ((1, 16, 3, 1), (2, 24, 3, 2), (2, 40, 5, 2), (3, 80, 3, 2), (3, 112, 5, 1))
EXPANSION = 6


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow again."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = ScaledConv(channels_in, wide, 1, relu=True) if expansion > 1 else None
        self.depthwise = ScaledConv(wide, wide, kernel, stride=stride, groups=wide, relu=True)
        self.project = ScaledConv(wide, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        wide = x if self.expand is None else self.expand(x)
        narrow: Tensor = self.project(self.depthwise(wide))
        return x + narrow if self.residual else narrow


class LiteFeatures(nn.Module):
    """RGB in [0, 1] to a map at stride 4, and the coarse map at stride 16 that sees the whole face."""

    def __init__(self, channels: int = 64, width: float = 1.0) -> None:
        super().__init__()
        widths = [max(8, round(width * stage[1] / 8) * 8) for stage in STAGES]
        last = max(8, round(32 * width / 8) * 8)
        self.stem = ScaledConv(3, last, 3, stride=2, relu=True)
        stages = []
        for index, (repeats, _, kernel, stride) in enumerate(STAGES):
            blocks = []
            for repeat in range(repeats):
                first = repeat == 0
                expansion = 1 if index == 0 else EXPANSION
                blocks.append(InvertedResidual(last, widths[index], kernel, stride if first else 1, expansion))
                last = widths[index]
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        # ImageNet's linear bottlenecks have a spread of about 7, which a tenth brings to one.
        self.lateral4 = ScaledConv(widths[1], channels, 1, gain=0.1)
        self.lateral8 = ScaledConv(widths[2], channels, 1, gain=0.1)
        self.lateral16 = ScaledConv(widths[4], channels, 1, gain=0.1)
        self.smooth = nn.Sequential(
            ScaledConv(channels, channels, 3, groups=channels), ScaledConv(channels, channels, 1, relu=True)
        )
        self.channels = channels

    def forward(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B C H4 W4"], Float[Tensor, "B C H16 W16"]]:
        x = self.stem(images * 2 - 1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        coarse = self.lateral16(maps[4])
        middle = self.lateral8(maps[2]) + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        fine = self.lateral4(maps[1]) + F.interpolate(middle, scale_factor=2.0, mode="nearest")
        smooth: Tensor = self.smooth(fine)
        return smooth, coarse


def context(channels: int, whole: int) -> nn.Module:
    """The coarse map (B, C, H, W) to what a memory of the whole face (B, W) starts from.

    Normed, or the CNN learns to fill the memory: full, it is the same for every face, and no gradient comes back.
    """
    pooled = nn.AdaptiveAvgPool2d(4), nn.Flatten()
    return nn.Sequential(*pooled, nn.LayerNorm(16 * channels), nn.Linear(16 * channels, whole), nn.Tanh())
