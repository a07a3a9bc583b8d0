"""GAN-IA's generator: an occluded face in, the face without its occluder and the occluder's mask out.

B faces, I channels of the input, C of a map, S pixels of a side. The completion network of Iizuka et al. 2017 with the
skip concatenations and the self-attention of GAN-IA (section 3.3). Nobody tells it where the occluder is: it predicts
that too (ours). A guided one is told where the landmarks are (ours, after Yang et al. 2019).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.attention import SelfAttention
from unveil.models.conv_norm import NormedConv, NormedDeconv

SURE = 30.0  # logit of the mask of a network that replaces everything


class Restoration(NamedTuple):
    """What a generator says: the restored face in RGB, 0 to 1, and each pixel's logit of being covered."""

    restored: Float[Tensor, "B 3 S S"]
    mask_logits: Float[Tensor, "B 1 S S"]

    @property
    def mask(self) -> Float[Tensor, "B 1 S S"]:
        """Each pixel's probability of being covered."""
        return torch.sigmoid(self.mask_logits)

    def composed(self, images: Float[Tensor, "B I S S"]) -> Float[Tensor, "B 3 S S"]:
        """mask·restored + (1 - mask)·input: what is not covered stays what it was."""
        picture = images[:, :3]
        return picture + self.mask * (self.restored - picture)


def as_restoration(output: Restoration | Tensor) -> Restoration:
    """What a restoring network says; one that only gives a picture, (B, 3, S, S), replaces everything by it."""
    if isinstance(output, Tensor):
        return Restoration(output, torch.full_like(output[:, :1], SURE))
    return output


@dataclass(frozen=True, slots=True)
class GeneratorSizes:
    """How wide a generator is at each scale, from the full one down, each half of the one before."""

    widths: tuple[int, ...] = (64, 128, 256)
    dilations: tuple[int, ...] = (2, 4, 8, 16)
    last: int = 32
    """Channels before the picture."""
    attention: bool = True
    places: int = 0
    """Side of a learned map of the face, which is laid under the middle; 0 is none, as in the paper."""
    guided: bool = False
    """The landmarks, drawn by `unveil.schemes.landmark_map`, are the input's fourth channel."""

    def times(self, width: float) -> "GeneratorSizes":
        """The same with `width` times as many channels, in whole eights."""
        widths = tuple(max(8, round(width * channels / 8) * 8) for channels in self.widths)
        return replace(self, widths=widths, last=max(8, round(width * self.last / 8) * 8))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


SIZES: Mapping[str, GeneratorSizes] = MappingProxyType(
    {
        # The paper's, for 256 px (or 128).
        "gan-ia": GeneratorSizes(),
        # For 128 px: one scale more, so that the dilated middle is 16 px wide, where wide layers are cheap.
        "gan-ia-light": GeneratorSizes((16, 48, 96, 192), (2, 4, 8), 16, places=16, guided=True),
    }
)


class Encoder(nn.Module):
    """A 5x5 convolution, then a halving 3x3 and another at each smaller scale; every scale's map is kept."""

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


class Decoder(nn.Module):
    """At every scale the map from below is laid beside the encoder's of that scale (the skip concatenation)."""

    def __init__(self, widths: tuple[int, ...], last: int) -> None:
        super().__init__()
        self.meet = nn.Sequential(NormedConv(2 * widths[-1], widths[-1], 3), NormedConv(widths[-1], widths[-1], 3))
        self.grow = nn.ModuleList(NormedDeconv(below, above) for below, above in pairwise(widths[::-1]))
        self.join = nn.ModuleList(
            NormedConv(2 * above, last if scale == 0 else above, 3)
            for scale, above in reversed(list(enumerate(widths[:-1])))
        )

    def forward(self, x: Float[Tensor, "B C H W"], skips: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B D S S"]:
        *finer, coarsest = skips
        x = self.meet(torch.cat([x, coarsest], dim=1))
        for grow, join, skip in zip(self.grow, self.join, reversed(finer), strict=True):
            x = join(torch.cat([grow(x), skip], dim=1))
        return x


class Places(nn.Module):
    """Adds a learned map of the face, stretched to the size of what it is added to (ours).

    A face fills its crop alike each time, but convolutions learn where they are from the borders alone.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.zeros(1, channels, side, side))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        sides = x.shape[-2:]
        if sides == self.map.shape[-2:]:
            return x + self.map
        return x + F.interpolate(self.map, sides, mode="bilinear", align_corners=False)


class Generator(nn.Module):
    """Encoder, dilated middle, self-attention, decoder. Sides must divide by two as often as there are halvings.

    `places` is the side of a learned map that is added before the dilated layers, 0 for none; a `guided` one is told
    the landmarks. No layer pools. In phases that freeze the generator call `eval()`: its norms go on counting.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, ...] = (64, 128, 256),
        dilations: tuple[int, ...] = (2, 4, 8, 16),
        last: int = 32,
        attention: bool = True,
        places: int = 0,
        guided: bool = False,
    ) -> None:
        super().__init__()
        middle = widths[-1]
        self.guided, self.channels = guided, 3 + guided
        self.encoder = Encoder(self.channels, tuple(widths))
        self.before = NormedConv(middle, middle, 3)
        self.places = Places(middle, places) if places else nn.Identity()
        self.dilated = nn.Sequential(*(NormedConv(middle, middle, 3, dilation=rate) for rate in dilations))
        self.attention = SelfAttention(middle) if attention else nn.Identity()
        self.decoder = Decoder(tuple(widths), last)
        self.to_picture = nn.Conv2d(last, 4, 3, padding=1)

    def forward(self, images: Float[Tensor, "B I S S"]) -> Restoration:
        """RGB in [0, 1], channels first; then the guide, in [0, 1] too."""
        maps = self.encoder(images)
        middle = self.attention(self.dilated(self.places(self.before(maps[-1]))))
        picture = self.to_picture(self.decoder(middle, maps))
        return Restoration(torch.sigmoid(picture[:, :3]), picture[:, 3:])
