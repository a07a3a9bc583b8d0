"""Whole-to-part half of GlomFace (WHM): a memory of the whole face is decoded into its parts, level by level.

Source: Zhu et al. 2022, section 3.3. B faces, L landmarks, D features of a landmark, W of the memory, P parts of a
level, O parts of the level above, Q, R and S features of a part.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.layers import PartLinear
from unveil.schemes.hierarchy import Hierarchy


class WholePartDecoder(nn.Module):
    """The tree of small MLPs from the whole to its smallest parts.

    A part's children are computed from the part with its siblings (coupling) and its parent (constraint):
    y_q = MLP((y_m, y_r) | y_o) for q in m, r beside m, and o above them. In a hierarchy of one level the whole is the
    only part. Nothing is above the whole, unless the features that it was computed from are passed as `evidence`.

    Args:
        hierarchy: The landmark hierarchy.
        memory_dim: Features of the whole.
        part_dims: Features of a part at each level below the whole, highest level first.
        mlp_dims: Hidden features of the MLPs of those levels; `part_dims` if None.
        evidence_dim: Features of the evidence above the whole; 0 for none.

    Source: equations 4 and 5.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        memory_dim: int,
        part_dims: Sequence[int],
        *,
        mlp_dims: Sequence[int] | None = None,
        evidence_dim: int = 0,
    ) -> None:
        super().__init__()
        top = len(hierarchy.levels) - 1
        dims = dict(zip(range(top, -1, -1), (memory_dim, *part_dims), strict=True)) | {top + 1: evidence_dim}
        hidden = dict(zip(range(top - 1, -1, -1), part_dims if mlp_dims is None else mlp_dims, strict=True))
        self.levels = nn.ModuleList(
            DecoderLevel(hierarchy, level, dims[level + 1], dims[level + 2], hidden[level], dims[level])
            for level in range(top - 1, -1, -1)
        )
        self.smallest_dim, self.parent_dim = dims[0], dims[1]

    def forward(
        self, memory: Float[Tensor, "B W"], evidence: Float[Tensor, "B E"] | None = None
    ) -> tuple[Float[Tensor, "P B Q"], Float[Tensor, "O B R"]]:
        """Return the smallest parts, and the parts of the level above them.

        Args:
            memory: Features of the whole.
            evidence: Features above the whole, if `evidence_dim` is not 0.
        """
        above, parts = memory[None, :, :0] if evidence is None else evidence[None], memory[None]
        for level in self.levels:
            above, parts = parts, level(parts, above)
        return parts, above


class Relations(nn.Module):
    """Gather the input of each child: its part with the part's siblings, given the part above, (y_m, y_r | y_o).

    Args:
        hierarchy: The landmark hierarchy.
        level: The level of the parts.
        part_of_child: The part that each child belongs to.
    """

    related: Tensor
    parents: Tensor

    def __init__(self, hierarchy: Hierarchy, level: int, part_of_child: Sequence[int]) -> None:
        super().__init__()
        is_top = level + 1 == len(hierarchy.levels)
        families = [(part, *(() if is_top else hierarchy.siblings(level, part))) for part in part_of_child]
        padding = len(hierarchy.levels[level].parts)  # index of the zero part, for a sibling that does not exist
        self.slots = max(map(len, families))
        related = [[*family, *[padding] * (self.slots - len(family))] for family in families]
        parents = [0 if is_top else hierarchy.parent(level, part) for part in part_of_child]
        self.register_buffer("related", torch.tensor(related), persistent=False)
        self.register_buffer("parents", torch.tensor(parents), persistent=False)

    def forward(self, parts: Float[Tensor, "P B Q"], above: Float[Tensor, "O B R"]) -> Float[Tensor, "C B I"]:
        """Return the input of each child.

        Args:
            parts: Features of the parts.
            above: Features of the parts one level above.
        """
        padded = F.pad(parts, (0, 0, 0, 0, 0, 1))  # (P + 1, B, Q)
        related = padded.index_select(0, self.related.flatten())
        coupled = related.reshape(*self.related.shape, -1, parts.shape[2])  # (C, slots, B, Q)
        constraint = above.index_select(0, self.parents)
        return torch.cat([coupled.transpose(1, 2).flatten(2), constraint], dim=-1)


class DecoderLevel(nn.Module):
    """One level of the tree: its parts from the P parts of the level above, and from the O parts above those.

    Args:
        hierarchy: The landmark hierarchy.
        level: The level that is computed, counted from the smallest parts.
        part_dim: Features of a part of the level above, Q.
        parent_dim: Features of a part two levels above, R.
        hidden_dim: Hidden features of the MLP.
        out_dim: Features of a part of this level, S.
    """

    def __init__(
        self, hierarchy: Hierarchy, level: int, part_dim: int, parent_dim: int, hidden_dim: int, out_dim: int
    ) -> None:
        super().__init__()
        count = len(hierarchy.levels[level].parts)
        self.relations = Relations(hierarchy, level + 1, [hierarchy.parent(level, i) for i in range(count)])
        self.fc1 = PartLinear(count, self.relations.slots * part_dim + parent_dim, hidden_dim, relu=True)
        self.fc2 = PartLinear(count, hidden_dim, out_dim, relu=True)

    def forward(self, parts: Float[Tensor, "P B Q"], above: Float[Tensor, "O B R"]) -> Float[Tensor, "C B S"]:
        """Return the features of this level's parts.

        Args:
            parts: Features of the parts of the level above.
            above: Features of the parts two levels above.
        """
        return torch.relu(self.fc2(torch.relu(self.fc1(self.relations(parts, above)))))


class GRUMemory(nn.Module):
    """The recurrent memory of the light network: a GRU over a short projection of every landmark's token.

    The input is normalised for the reason that `backbones.memory_init` gives.

    Args:
        landmarks: Number of landmarks.
        dim: Features of a token.
        token_dim: Features of a token's projection.
        memory_dim: Features of the memory.
    """

    def __init__(self, landmarks: int, dim: int, token_dim: int, memory_dim: int) -> None:
        super().__init__()
        self.token_proj = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, token_dim))
        self.input_proj = nn.Sequential(nn.Linear(landmarks * token_dim, memory_dim), nn.LayerNorm(memory_dim))
        self.cell = nn.GRUCell(memory_dim, memory_dim)

    def forward(self, tokens: Float[Tensor, "B L D"], memory: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        """Return the updated memory.

        Args:
            tokens: The landmarks' tokens.
            memory: The memory of the step before.
        """
        projected = torch.relu(self.token_proj(tokens.flatten(0, 1)))  # two axes: one operation of ONNX
        inputs = self.input_proj(projected.reshape(-1, tokens.shape[1] * projected.shape[1]))
        updated: Tensor = self.cell(torch.relu(inputs), memory)
        return updated


class RNNMemory(nn.Module):
    """The paper's recurrent memory of the whole face: h = tanh(FC[features of all landmarks, h]).

    Args:
        features: Features of all landmarks together, L D.
        memory_dim: Features of the memory.

    Source: Zhu et al. 2022, section 3.3.
    """

    def __init__(self, features: int, memory_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features + memory_dim, memory_dim)

    def forward(self, tokens: Float[Tensor, "B L D"], memory: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        """Return the updated memory.

        Args:
            tokens: The landmarks' features.
            memory: The memory of the step before.
        """
        return torch.tanh(self.fc(torch.cat([tokens.flatten(1), memory], dim=-1)))
