"""Part-to-whole half of GlomFace (PHM): patches exchange evidence inside ever larger parts.

Zhu et al. 2022, section 3.2. B faces, L landmarks, D features. A mixer lets the landmarks of each part of one level
exchange evidence; how is its own business, so the paper's non-local blocks and our attention are two lists of mixers.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
    owner = torch.tensor([i for _, i in sorted((p, i) for i, part in enumerate(level.parts) for p in part.points)])
    # Not -inf: a finite number survives averaging of weights and half precision without turning into NaN.
    return torch.where(owner[:, None] == owner[None], 0.0, -1e4)


def attention_mixers(hierarchy: Hierarchy, dim: int) -> list[nn.Module]:
    """One attention block a level, lowest first; the upper two, where there is most to weigh, also think."""
    upper = hierarchy.levels[-2:]
    return [PartAttention(level, dim, expansion=2 if level in upper else 0) for level in hierarchy.levels]
