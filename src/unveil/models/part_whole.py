"""Part-to-whole half of GlomFace (PHM): landmarks exchange features inside ever larger parts.

Source: Zhu et al. 2022, section 3.2. B faces, L landmarks, D features, P parts, M landmarks of the largest, S places of
a patch. A mixer lets the landmarks of each part of one level exchange features. The paper's non-local blocks and our
attention are two lists of mixers.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.layers import PartLinear, mlp, zeroed
from unveil.schemes.hierarchy import Hierarchy, Level, Part

MASKED = -1e4  # added to an attention score; a finite number survives averaging of weights and half precision


class PartWholeEncoder(nn.Module):
    """Mix level by level from the smallest parts to the whole, with one residual from the input to the output.

    Args:
        mixers: One module for each level, lowest first; each maps (B, L, D) to (B, L, D).
    """

    def __init__(self, mixers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.mixers = nn.ModuleList(mixers)

    def forward(self, patches: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Return the landmarks' features after mixing.

        Args:
            patches: Features of each landmark's patch.
        """
        mixed = patches
        for mixer in self.mixers:
            mixed = mixer(mixed)
        return patches + mixed


class PartAttention(nn.Module):
    """A transformer block in which a landmark attends to the landmarks of its own part only.

    Args:
        level: The level whose parts limit the attention.
        dim: Features of a token.
        heads: Attention heads.
        expansion: Hidden features of the MLP in multiples of `dim`; 0 for a block without MLP.
    """

    attn_bias: Tensor

    def __init__(self, level: Level, dim: int, heads: int = 4, expansion: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), *mlp(dim, expansion * dim, dim)) if expansion else None
        self.register_buffer("attn_bias", _part_attn_bias(level), persistent=False)

    def forward(self, tokens: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Return the tokens after attention and MLP.

        Args:
            tokens: The landmarks' tokens.
        """
        landmarks, dim = tokens.shape[1:]
        x: Tensor = tokens.flatten(0, 1)  # two axes: ONNX then has one operation for a matrix product with its bias
        qkv = self.qkv(self.norm(x)).reshape(-1, landmarks, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind()  # (B, heads, L, D / heads) each
        scores = query @ key.transpose(-1, -2) * (dim // self.heads) ** -0.5 + self.attn_bias  # (B, heads, L, L)
        attended = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(-1, dim)  # (B L, D)
        x = x + self.proj(attended)
        if self.mlp is not None:
            x = x + self.mlp(x)
        return x.reshape(-1, landmarks, dim)


def _part_attn_bias(level: Level) -> Float[Tensor, "L L"]:
    """Return the bias of attention scores: zero between landmarks of one part, a large negative number elsewhere."""
    part = torch.tensor(level.part_indices())
    return torch.where(part[:, None] == part[None], 0.0, MASKED)


def attention_mixers(hierarchy: Hierarchy, dim: int) -> list[nn.Module]:
    """Return one attention block per level, lowest first; the upper two, with the largest parts, have an MLP.

    Args:
        hierarchy: The landmark hierarchy.
        dim: Features of a token.
    """
    upper = hierarchy.levels[-2:]
    return [PartAttention(level, dim, expansion=2 if level in upper else 0) for level in hierarchy.levels]


def second_pass(hierarchy: Hierarchy, dim: int) -> nn.Sequential:
    """Return a second pass from the smallest parts to the whole; fresh weights leave the tokens as they are.

    Args:
        hierarchy: The landmark hierarchy.
        dim: Features of a token.
    """
    blocks = [PartAttention(level, dim, expansion=4) for level in hierarchy.levels]
    for block in blocks:
        assert block.mlp is not None
        zeroed(block.proj)
        zeroed(block.mlp[-1])
    return nn.Sequential(*blocks)


class PartNonLocal(nn.Module):
    """A separate non-local block for each part of a level: softmax(X1 X2ᵀ) X3 over the places of its patches.

    A landmark's features are those of its patch's S places in a row, `channels` each. The blocks of a level are
    computed as one product: parts are padded to the largest, and the padding is masked. A block has no residual, so the
    value and output weights start with the variance of the input; otherwise five levels fade to a constant.

    Args:
        level: The level of the parts.
        places: Places of a patch, S.
        channels: Features of a place, C.

    Source: Zhu et al. 2022, figure 5.
    """

    padded: Tensor
    padding_mask: Tensor
    slots: Tensor

    def __init__(self, level: Level, places: int, channels: int) -> None:
        super().__init__()
        parts, size = len(level.parts), level.max_part_size
        padded = [[*part.points, *part.points[:1] * (size - len(part.points))] for part in level.parts]
        padding = [[i >= len(part.points) for i in range(size) for _ in range(places)] for part in level.parts]
        self.register_buffer("padded", torch.tensor(padded), persistent=False)
        self.register_buffer("padding_mask", torch.tensor(padding)[:, None, None] * MASKED, persistent=False)
        self.register_buffer("slots", torch.tensor(level.padded_slots()), persistent=False)
        self.qkv = PartLinear(parts, channels, 3 * channels)
        self.proj = PartLinear(parts, channels, channels)
        limit = math.sqrt(3 / channels)
        for weight in (self.qkv.weight[..., 2 * channels :], self.proj.weight):
            nn.init.uniform_(weight, -limit, limit)
        self.places, self.channels = places, channels

    def forward(self, patches: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Return the landmarks' features after the exchange, without a residual.

        Args:
            patches: Features of each landmark's patch, D = S C.
        """
        (parts, size), dim = self.padded.shape, self.places * self.channels
        own = patches[:, self.padded].transpose(0, 1).reshape(parts, -1, self.channels)  # (P, B M S, C)
        x1, x2, x3 = self.qkv(own).reshape(parts, -1, size * self.places, 3 * self.channels).chunk(3, dim=-1)
        weights = (x1 @ x2.transpose(-1, -2) + self.padding_mask).softmax(dim=-1)  # (P, B, M S, M S)
        mixed = self.proj((weights @ x3).reshape(parts, -1, self.channels)).reshape(parts, -1, size, dim)
        in_order: Tensor = mixed.transpose(0, 1).reshape(-1, parts * size, dim)[:, self.slots]
        return in_order


def non_local_mixers(hierarchy: Hierarchy, places: int, channels: int, *, patch_level: bool = False) -> list[nn.Module]:
    """Return the paper's mixers, lowest level first.

    Args:
        hierarchy: The landmark hierarchy; each of its levels gets one mixer.
        places: Places of a patch.
        channels: Features of a place.
        patch_level: Whether another level below, in which each patch exchanges features with itself alone, comes first.
    """
    patches = Level("patches", tuple(Part(f"patch {i}", (i,)) for i in range(hierarchy.points)))
    levels = (patches, *hierarchy.levels) if patch_level else hierarchy.levels
    return [PartNonLocal(level, places, channels) for level in levels]
