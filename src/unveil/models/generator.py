"""GAN-IA's generator: an occluded face in, the restored face and the occlusion mask out.

B faces, I input channels, C channels of a map, S pixels of a side. The completion network of Iizuka et al. 2017 with
the skip connections and the self-attention of GAN-IA (section 3.3). The mask output, the landmark map as an input
(after Yang et al. 2019), the mirrored features and the refinement stage are ours.
"""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from unveil.models.conv_norm import NormedConv, NormedDeconv
from unveil.models.layers import SelfAttention, zeroed
from unveil.models.network import Network, NetworkConfig, NetworkSpec
from unveil.schemes.hierarchy import Part
from unveil.schemes.ibug68 import COMPONENT_MARGIN, COMPONENTS
from unveil.schemes.scheme import Scheme

ComponentName = Literal["jaw", "left brow", "right brow", "nose", "left eye", "right eye", "mouth"]

FULL_MASK_LOGIT = 30.0  # the mask of a network that replaces every pixel


class GeneratorOutput(NamedTuple):
    """Output of a restoring network.

    Args:
        restored: The restored faces, RGB in [0, 1].
        mask_logits: Logit of the probability that a pixel is occluded.
    """

    restored: Float[Tensor, "B 3 H W"]
    mask_logits: Float[Tensor, "B 1 H W"]

    @property
    def mask(self) -> Float[Tensor, "B 1 H W"]:
        """The probability of each pixel of being occluded."""
        return torch.sigmoid(self.mask_logits)

    def composite(self, images: Float[Tensor, "B I H W"]) -> Float[Tensor, "B 3 H W"]:
        """Return mask·restored + (1 - mask)·input.

        Args:
            images: The network's input; its first three channels are RGB in [0, 1].
        """
        rgb = images[:, :3]
        return rgb + self.mask * (self.restored - rgb)


def as_generator_output(output: GeneratorOutput | Tensor) -> GeneratorOutput:
    """Return the output of any restoring network as a `GeneratorOutput`.

    Args:
        output: The output. An image alone, (B, 3, H, W), gets the mask 1 everywhere.
    """
    if isinstance(output, Tensor):
        return GeneratorOutput(output, torch.full_like(output[:, :1], FULL_MASK_LOGIT))
    return output


class RestorerNetworkConfig(NetworkConfig):
    """Base of the configs of restoring networks: the crop of the whole face or of one component."""

    component: ComponentName | None = None
    """Restore this component alone; None restores the whole face."""
    margin: float = 1.15
    """The crop's side in diagonals of the landmark box; a component always uses 1.4."""

    @property
    @override
    def sizes(self) -> dict[str, Any]:
        return self.model_dump(exclude=set(RestorerNetworkConfig.model_fields))

    @property
    def part(self) -> Part | None:
        """The component's landmarks; None for the whole face."""
        return next((part for part in COMPONENTS if part.name == self.component), None)

    @override
    def spec(self, scheme: Scheme, *, annotation_offset: float = 0.0) -> NetworkSpec:
        margin = self.margin if self.component is None else COMPONENT_MARGIN
        return NetworkSpec(self.network, scheme.name, self.input_size, margin, self.sizes, component=self.component)


class GeneratorConfig(RestorerNetworkConfig):
    """Sizes of a `Generator`."""

    network: Literal["gan-ia"] = "gan-ia"
    input_size: int = 256
    widths: tuple[int, ...] = (64, 128, 256)
    """Channels at each scale, from the full resolution down; each scale has half the side of the one before."""
    dilations: tuple[int, ...] = (2, 4, 8, 16)
    """Dilation of each convolution of the bottleneck."""
    head_channels: int = 32
    """Channels before the output convolution."""
    attention: bool = True
    """Self-attention at the bottleneck (and in the discriminators)."""
    position_size: int = 0
    """Side of a learned map that is added at the bottleneck; 0 for none, as in the paper."""
    guided: bool = False
    """Take the landmark map of `unveil.schemes.landmark_map` as a fourth input channel."""
    mirror: bool = False
    """Concatenate the mirrored bottleneck features, so that the visible half of a face helps the covered half."""
    refine_channels: int = 0
    """Channels of a second stage at twice the side (256 px on a first stage of 128 px); 0 for none, as in the paper."""
    refine_blocks: int = 3
    """Residual blocks of the second stage."""

    @override
    def build(self, scheme: Scheme) -> "Generator":
        return Generator(self)  # the same for every scheme

    def scaled(self, width: float) -> "GeneratorConfig":
        """Return the same sizes with other numbers of channels, in multiples of eight.

        Args:
            width: Factor of all numbers of channels.
        """

        def channels(count: int) -> int:
            return max(8, round(width * count / 8) * 8)

        return self.model_copy(
            update={
                "widths": tuple(channels(count) for count in self.widths),
                "head_channels": channels(self.head_channels),
                "refine_channels": channels(self.refine_channels) if self.refine_channels else 0,
            }
        )


_LIGHT = GeneratorConfig(
    input_size=128, widths=(16, 48, 96, 192), dilations=(2, 4, 8), head_channels=16, position_size=16, guided=True
)
GENERATORS: Mapping[str, GeneratorConfig] = MappingProxyType(
    {
        # The paper's, for 256 px (or 128).
        "gan-ia": GeneratorConfig(),
        # For 128 px: one more scale, so that the bottleneck has a side of 16, where wide layers are cheap.
        "gan-ia-light": _LIGHT,
        # For 192 px, about the resolution of the training photographs: the light one at 96 px, then a second stage.
        "gan-ia-refined": _LIGHT.model_copy(update={"input_size": 192, "mirror": True, "refine_channels": 48}),
    }
)
"""Named sizes."""


class _Encoder(nn.Module):
    """A 5x5 convolution at full resolution, then two 3x3 convolutions at each smaller scale. Returns all maps."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = NormedConv(channels, widths[0], 5)
        self.scales = nn.ModuleList(
            nn.Sequential(NormedConv(before, after, 3, stride=2), NormedConv(after, after, 3))
            for before, after in pairwise(widths)
        )

    def forward(self, images: Float[Tensor, "B I S S"]) -> list[Float[Tensor, "B _ _ _"]]:
        maps = [self.stem(images * 2 - 1)]
        for scale in self.scales:
            maps.append(scale(maps[-1]))
        return maps


class _Decoder(nn.Module):
    """Upsample, and at every scale concatenate the encoder's map of that scale (the skip connections)."""

    def __init__(self, widths: tuple[int, ...], head_channels: int) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(
            NormedConv(2 * widths[-1], widths[-1], 3), NormedConv(widths[-1], widths[-1], 3)
        )
        self.upsample = nn.ModuleList(NormedDeconv(below, above) for below, above in pairwise(widths[::-1]))
        self.fuse = nn.ModuleList(
            NormedConv(2 * above, head_channels if scale == 0 else above, 3)
            for scale, above in reversed(list(enumerate(widths[:-1])))
        )

    def forward(self, x: Float[Tensor, "B C H W"], skips: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B D S S"]:
        *finer, coarsest = skips
        x = self.bottleneck(torch.cat([x, coarsest], dim=1))
        for upsample, fuse, skip in zip(self.upsample, self.fuse, reversed(finer), strict=True):
            x = fuse(torch.cat([upsample(x), skip], dim=1))
        return x


class PositionEmbedding(nn.Module):
    """Add a learned map, resized to the input's size (ours).

    A face has the same place in every crop, but convolutions learn their position from the borders alone.

    Args:
        channels: Channels of the map.
        side: Side of the learned map.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.zeros(1, channels, side, side))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Return the input plus the learned map.

        Args:
            x: The map.
        """
        sides = x.shape[-2:]
        if sides == self.map.shape[-2:]:
            return x + self.map
        return x + F.interpolate(self.map, sides, mode="bilinear", align_corners=False)


class _MirrorFusion(nn.Module):
    """Add a convolution of the mirrored map (ours); it starts at zero, so a new block returns its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        mixed: Tensor = x + self.conv(x.flip(-1))
        return mixed


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first one dilated, with a shortcut."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = NormedConv(channels, channels, 3, dilation=dilation)
        self.second = NormedConv(channels, channels, 3, activation="none")

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return F.relu(x + self.second(self.first(x)))


class _Refiner(nn.Module):
    """The second stage: correct the upsampled first stage by a residual at twice its side (ours).

    All convolutions run at the first stage's resolution, on 2x2 blocks of pixels as channels. The last one starts at
    zero, so a new refiner returns the upsampled first stage.
    """

    def __init__(self, image_channels: int, feature_channels: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.stem = NormedConv(4 * image_channels + feature_channels + 4, channels, 3)
        self.blocks = nn.Sequential(*(_ResidualBlock(channels, 2**index) for index in range(blocks)))
        self.head = zeroed(nn.Conv2d(channels, 16, 3, padding=1))

    def forward(
        self,
        images: Float[Tensor, "B I S S"],
        features: Float[Tensor, "B C H H"],
        coarse: Float[Tensor, "B 4 H H"],
    ) -> Float[Tensor, "B 4 S S"]:
        """Return the logits of RGB and mask at the full side; `coarse` are those of the first stage, H = S / 2."""
        pixels = F.pixel_unshuffle(images * 2 - 1, 2)  # (B, 4 I, H, H)
        x = self.stem(torch.cat([pixels, features, torch.tanh(coarse / 4)], dim=1))
        residual = F.pixel_shuffle(self.head(self.blocks(x)), 2)  # (B, 4, S, S)
        return F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False) + residual


class Generator(Network):
    """Encoder, dilated bottleneck, self-attention, decoder; then, if configured, a second stage at twice the side.

    The side of the (first stage's) input must be divisible by 2 ** (scales - 1). No layer pools.

    Args:
        config: The sizes.

    Example:
        >>> network = Generator(GENERATORS["gan-ia-light"]).eval()
        >>> network(torch.rand(1, 4, 128, 128)).restored.shape
        torch.Size([1, 3, 128, 128])

    Source: GAN-IA, section 3.3 and figure 3.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        widths, middle = config.widths, config.widths[-1]
        self.config, self.guided, self.channels = config, config.guided, 3 + config.guided
        self.encoder = _Encoder(self.channels, widths)
        self.pre_bottleneck = NormedConv(middle, middle, 3)
        self.position = PositionEmbedding(middle, config.position_size) if config.position_size else nn.Identity()
        self.dilated = nn.Sequential(*(NormedConv(middle, middle, 3, dilation=rate) for rate in config.dilations))
        self.mirror = _MirrorFusion(middle) if config.mirror else nn.Identity()
        self.attention = SelfAttention(middle) if config.attention else nn.Identity()
        self.decoder = _Decoder(widths, config.head_channels)
        self.head = nn.Conv2d(config.head_channels, 4, 3, padding=1)
        self.refiner: _Refiner | None = None
        if config.refine_channels:
            self.refiner = _Refiner(self.channels, config.head_channels, config.refine_channels, config.refine_blocks)

    def forward(self, images: Float[Tensor, "B I S S"], coarse_only: bool = False) -> GeneratorOutput:
        """Restore the faces.

        Args:
            images: RGB in [0, 1], then the landmark map in [0, 1] if the network is guided.
            coarse_only: Run the first stage alone on `images` as they are (training of the first stage).

        Returns:
            The restored faces and the mask's logits at the side of `images`.
        """
        if self.refiner is None or coarse_only:
            return _output(self.first_stage(images)[1])
        features, coarse = self.first_stage(F.avg_pool2d(images, 2))
        return _output(self.refiner(images, features, coarse))

    def first_stage(
        self, images: Float[Tensor, "B I S S"]
    ) -> tuple[Float[Tensor, "B C S S"], Float[Tensor, "B 4 S S"]]:
        """Return the decoder's features and the logits of RGB and mask.

        Args:
            images: The input of the network, at the side of the first stage.
        """
        maps = self.encoder(images)
        x = self.dilated(self.position(self.pre_bottleneck(maps[-1])))
        features = self.decoder(self.attention(self.mirror(x)), maps)  # (B, C, S, S)
        return features, self.head(features)


def _output(logits: Float[Tensor, "B 4 S S"]) -> GeneratorOutput:
    return GeneratorOutput(torch.sigmoid(logits[:, :3]), logits[:, 3:])
