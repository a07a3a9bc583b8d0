"""Whole-to-part half of GlomFace (WHM): a memory of the whole face is parsed into its parts, level by level.

Zhu et al. 2022, section 3.3. B faces, L landmarks, D features of a landmark, W of the whole, P parts of a level.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.layers import PartLinear
from unveil.schemes.hierarchy import Hierarchy


class Disentangle(nn.Module):
    """The tree of small MLPs from the whole to its smallest parts.

    A part's children come from the part with its siblings (coupling) and its parent (constraint): equations 4 and 5,
    y_q = MLP((y_m, y_r) | y_o) for q in m, r beside m, and o above them. A face of one level is its own only part.
    Nothing is above the whole, unless the evidence that it was made from is handed down beside it.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        whole: int,
        widths: Sequence[int],
        *,
        hidden: Sequence[int] | None = None,
        evidence: int = 0,
    ) -> None:
        """`widths` are the features of a part at each level below the whole, highest first; `hidden` their MLPs'."""
        super().__init__()
        top = len(hierarchy.levels) - 1
        size = dict(zip(range(top, -1, -1), (whole, *widths), strict=True)) | {top + 1: evidence}
        inside = dict(zip(range(top - 1, -1, -1), widths if hidden is None else hidden, strict=True))
        self.levels = nn.ModuleList(
            ParseLevel(hierarchy, level, size[level + 1], size[level + 2], inside[level], size[level])
            for level in range(top - 1, -1, -1)
        )
        self.smallest, self.above_smallest = size[0], size[1]

    def forward(
        self, whole: Float[Tensor, "B W"], evidence: Float[Tensor, "B E"] | None = None
    ) -> tuple[Float[Tensor, "P B Q"], Float[Tensor, "O B R"]]:
        """The smallest parts, and the parts above them."""
        above, parts = whole[None, :, :0] if evidence is None else evidence[None], whole[None]
        for parse in self.levels:
            above, parts = parts, parse(parts, above)
        return parts, above


class Relations(nn.Module):
    """What a child is made from: its part with the part's siblings, given the part above, (y_m, y_r | y_o)."""

    def __init__(self, hierarchy: Hierarchy, level: int, owners: Sequence[int]) -> None:
        """`owners` are the children's parts, which lie in `level`."""
        super().__init__()
        is_top = level + 1 == len(hierarchy.levels)
        related = [(owner, *(() if is_top else hierarchy.siblings(level, owner))) for owner in owners]
        nobody = len(hierarchy.levels[level].parts)  # the place of a sibling that a part does not have
        self.slots = max(map(len, related))
        relation = [[*indices, *[nobody] * (self.slots - len(indices))] for indices in related]
        parents = [0 if is_top else hierarchy.parent(level, owner) for owner in owners]
        self.register_buffer("relation", torch.tensor(relation), persistent=False)
        self.register_buffer("parents", torch.tensor(parents), persistent=False)

    def forward(self, parts: Float[Tensor, "P B Q"], above: Float[Tensor, "O B R"]) -> Float[Tensor, "C B I"]:
        relation: Tensor = self.get_buffer("relation")
        known = F.pad(parts, (0, 0, 0, 0, 0, 1))  # nobody is zero
        related = known.index_select(0, relation.flatten())
        coupled = related.reshape(*relation.shape, -1, parts.shape[2])  # (C, slots, B, Q)
        constraint = above.index_select(0, self.get_buffer("parents"))
        return torch.cat([coupled.transpose(1, 2).flatten(2), constraint], dim=-1)


class ParseLevel(nn.Module):
    """The parts of one level from the parts above them (P of them), and from those that are above these (O of them)."""

    def __init__(
        self, hierarchy: Hierarchy, level: int, part_width: int, parent_width: int, hidden: int, width: int
    ) -> None:
        super().__init__()
        count = len(hierarchy.levels[level].parts)
        self.relations = Relations(hierarchy, level + 1, [hierarchy.parent(level, i) for i in range(count)])
        self.widen = PartLinear(count, self.relations.slots * part_width + parent_width, hidden, relu=True)
        self.decide = PartLinear(count, hidden, width, relu=True)

    def forward(self, parts: Float[Tensor, "P B Q"], above: Float[Tensor, "O B R"]) -> Float[Tensor, "C B S"]:
        return torch.relu(self.decide(torch.relu(self.widen(self.relations(parts, above)))))


class Recall(nn.Module):
    """The recurrent memory of a light model: every landmark's short note goes into a gated memory of the whole face.

    What goes in is normed, for the reason that `features.context` gives.
    """

    def __init__(self, landmarks: int, dim: int, note: int, whole: int) -> None:
        super().__init__()
        self.note = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, note))
        self.digest = nn.Sequential(nn.Linear(landmarks * note, whole), nn.LayerNorm(whole))
        self.cell = nn.GRUCell(whole, whole)

    def forward(self, tokens: Float[Tensor, "B L D"], memory: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        notes = torch.relu(self.note(tokens.flatten(0, 1)))  # two axes: one operation of ONNX
        digested = self.digest(notes.reshape(-1, tokens.shape[1] * notes.shape[1]))
        recalled: Tensor = self.cell(torch.relu(digested), memory)
        return recalled


class Memory(nn.Module):
    """The paper's recurrent memory of the whole: h = tanh(FC[every landmark's features, h])."""

    def __init__(self, features: int, whole: int) -> None:
        super().__init__()
        self.remember = nn.Linear(features + whole, whole)

    def forward(self, tokens: Float[Tensor, "B L D"], memory: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        return torch.tanh(self.remember(torch.cat([tokens.flatten(1), memory], dim=-1)))
