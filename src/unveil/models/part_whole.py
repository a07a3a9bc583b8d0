"""Part-to-whole half of GlomFace (PHM): patches exchange evidence inside ever larger parts.

Zhu et al. 2022, section 3.2. B faces, L landmarks, D features, P parts. A mixer lets the landmarks of each part of
one level exchange evidence; how is its own business, so the paper's non-local blocks and our attention are two lists
of mixers.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.layers import PartLinear, mlp
from unveil.schemes.hierarchy import Hierarchy, Level, Part


class PartWhole(nn.Module):
    """Mixes level by level from the smallest parts to the whole, with one residual from the patches to the result."""

    def __init__(self, mixers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.mixers = nn.ModuleList(mixers)

    def forward(self, patches: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        mixed = patches
        for mixer in self.mixers:
            mixed = mixer(mixed)
        return patches + mixed


class PartAttention(nn.Module):
    """A transformer block in which a landmark attends to its own part only; attention alone without `expansion`."""

    def __init__(self, level: Level, dim: int, heads: int = 4, expansion: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.merge = nn.Linear(dim, dim)
        self.think = nn.Sequential(nn.LayerNorm(dim), *mlp(dim, expansion * dim, dim)) if expansion else None
        self.register_buffer("same_part", same_part(level), persistent=False)

    def forward(self, tokens: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        landmarks, dim = tokens.shape[1:]
        rows = tokens.flatten(0, 1)  # two axes: a matrix product with its bias is then one operation of ONNX
        triple = self.query_key_value(self.norm(rows)).reshape(-1, landmarks, 3, self.heads, dim // self.heads)
        query, key, value = triple.permute(2, 0, 3, 1, 4).unbind()  # (B, heads, L, D / heads) each
        scores = query @ key.transpose(-1, -2) * (dim // self.heads) ** -0.5 + self.get_buffer("same_part")
        heard = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(-1, dim)
        flat: Tensor = rows + self.merge(heard)
        if self.think is not None:
            flat = flat + self.think(flat)
        return flat.reshape(-1, landmarks, dim)


def same_part(level: Level) -> Float[Tensor, "L L"]:
    """Zero where two landmarks share a part, a large negative number elsewhere: added to attention's scores."""
    owner = torch.tensor(level.owners())
    # Not -inf: a finite number survives averaging of weights and half precision without turning into NaN.
    return torch.where(owner[:, None] == owner[None], 0.0, -1e4)


def attention_mixers(hierarchy: Hierarchy, dim: int) -> list[nn.Module]:
    """One attention block a level, lowest first; the upper two, where there is most to weigh, also think."""
    upper = hierarchy.levels[-2:]
    return [PartAttention(level, dim, expansion=2 if level in upper else 0) for level in hierarchy.levels]


class PartNonLocal(nn.Module):
    """A non-local block (figure 5) of its own for each part of a level: softmax(X1 X2ᵀ) X3 over its patches' places.

    A landmark's features are those of its patch's places one after the other, `channels` each. A level's blocks are all
    one product: parts are filled up to the largest, and nobody listens to what fills them. A block has no residual, so
    values and merging start at the spread of what comes in; else five levels would fade to a constant.
    """

    def __init__(self, level: Level, places: int, channels: int) -> None:
        super().__init__()
        parts, widest = len(level.parts), level.widest
        filled = [[*part.points, *part.points[:1] * (widest - len(part.points))] for part in level.parts]
        filling = [[i >= len(part.points) for i in range(widest) for _ in range(places)] for part in level.parts]
        self.register_buffer("filled", torch.tensor(filled), persistent=False)
        self.register_buffer("silence", torch.tensor(filling)[:, None, None] * -1e4, persistent=False)  # (P, 1, 1, M S)
        self.register_buffer("found", torch.tensor(level.slots()), persistent=False)
        self.embed = PartLinear(parts, channels, 3 * channels)
        self.merge = PartLinear(parts, channels, channels)
        reach = math.sqrt(3 / channels)
        for weight in (self.embed.weight[..., 2 * channels :], self.merge.weight):
            nn.init.uniform_(weight, -reach, reach)
        self.places, self.channels = places, channels

    def forward(self, patches: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        filled: Tensor = self.get_buffer("filled")
        (parts, widest), dim = filled.shape, self.places * self.channels
        own = patches[:, filled].transpose(0, 1).reshape(parts, -1, self.channels)  # (P, B M S, C)
        x1, x2, x3 = self.embed(own).reshape(parts, -1, widest * self.places, 3 * self.channels).chunk(3, dim=-1)
        weights = (x1 @ x2.transpose(-1, -2) + self.get_buffer("silence")).softmax(dim=-1)  # (P, B, M S, M S)
        mixed = self.merge((weights @ x3).reshape(parts, -1, self.channels)).reshape(parts, -1, widest, dim)
        in_order: Tensor = mixed.transpose(0, 1).reshape(-1, parts * widest, dim)[:, self.get_buffer("found")]
        return in_order


def non_local_mixers(hierarchy: Hierarchy, places: int, channels: int) -> list[nn.Module]:
    """The paper's five levels: each patch by itself, then the levels of the scheme up to the whole."""
    patches = Level("patches", tuple(Part(f"patch {i}", (i,)) for i in range(hierarchy.points)))
    return [PartNonLocal(level, places, channels) for level in (patches, *hierarchy.levels)]
