"""Part-to-whole half of GlomFace (PHM): patches exchange evidence inside ever larger parts.

Paper 000, section 3.2. B faces, L landmarks, D features. A mixer lets the landmarks of each part of one level exchange
evidence; how is the mixer's business, so the paper's non-local blocks and our attention are two lists of mixers.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.face.hierarchy import Hierarchy, Level
from unveil.models.layers import mlp


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
    """A transformer block in which a landmark attends to its own part only."""

    def __init__(self, level: Level, dim: int, heads: int = 4, expansion: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.merge = nn.Linear(dim, dim)
        self.think_norm = nn.LayerNorm(dim)
        self.think = mlp(dim, expansion * dim, dim)
        self.register_buffer("same_part", same_part(level), persistent=False)

    def forward(self, tokens: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        query, key, value = (
            t.reshape(*t.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, L, D / heads)
            for t in self.query_key_value(self.norm(tokens)).chunk(3, dim=-1)
        )
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=self.get_buffer("same_part"))
        tokens = tokens + self.merge(heard.transpose(1, 2).flatten(2))
        thought: Tensor = self.think(self.think_norm(tokens))
        return tokens + thought


def same_part(level: Level) -> Float[Tensor, "L L"]:
    """Zero where two landmarks share a part, a large negative number elsewhere: added to attention's scores."""
    owner = torch.tensor([i for _, i in sorted((p, i) for i, part in enumerate(level.parts) for p in part.points)])
    # Not -inf: a finite number survives averaging of weights and half precision without turning into NaN.
    return torch.where(owner[:, None] == owner[None], 0.0, -1e4)


def attention_mixers(hierarchy: Hierarchy, dim: int) -> list[nn.Module]:
    """One attention block a level, lowest first."""
    return [PartAttention(level, dim) for level in hierarchy.levels]
