"""Whole-to-part half of GlomFace (WHM): a memory of the whole face is parsed into its parts, level by level.

Zhu et al. 2022, section 3.3. B faces, L landmarks, D features of a landmark, W of the whole, P parts of a level.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.face.hierarchy import Hierarchy


class Disentangle(nn.Module):
    """The tree of small MLPs from the whole to its smallest parts.

    A part's children come from the part with its siblings (coupling) and its parent (constraint): equations 4 and 5,
    y_q = MLP((y_m, y_r) | y_o) for q in m, r beside m, and o above them. A face of one level is its own only part.
    """

    def __init__(self, hierarchy: Hierarchy, whole: int, widths: Sequence[int]) -> None:
        """`widths` are the features of a part at each level below the whole, highest first."""
        super().__init__()
        top = len(hierarchy.levels) - 1
        size = dict(zip(range(top, -1, -1), (whole, *widths), strict=True))
        self.levels = nn.ModuleList(
            ParseLevel(hierarchy, level, size[level + 1], size.get(level + 2, 0), size[level])
            for level in range(top - 1, -1, -1)
        )

    def forward(self, whole: Float[Tensor, "B W"]) -> Float[Tensor, "P B Q"]:
        above, parts = whole[None, :, :0], whole[None]
        for parse in self.levels:
            above, parts = parts, parse(parts, above)
        return parts


class ParseLevel(nn.Module):
    """The parts of one level from the parts above them (P of them), and from those that are above these (O of them)."""

    def __init__(self, hierarchy: Hierarchy, level: int, part: int, parent: int, width: int) -> None:
        super().__init__()
        count, top = len(hierarchy.levels[level].parts), len(hierarchy.levels) - 1
        owners = [hierarchy.parent(level, i) for i in range(count)]
        is_top = level + 1 == top
        related = [(owner, *(() if is_top else hierarchy.siblings(level + 1, owner))) for owner in owners]
        nobody = len(hierarchy.levels[level + 1].parts)  # the place of a sibling that a part does not have
        slots = max(map(len, related))
        relation = [[*indices, *[nobody] * (slots - len(indices))] for indices in related]
        parents = [0 if is_top else hierarchy.parent(level + 1, owner) for owner in owners]
        self.register_buffer("relation", torch.tensor(relation), persistent=False)
        self.register_buffer("parents", torch.tensor(parents), persistent=False)
        self.widen = PartLinear(count, slots * part + parent, width)
        self.decide = PartLinear(count, width, width)

    def forward(self, parts: Float[Tensor, "P B Q"], above: Float[Tensor, "O B R"]) -> Float[Tensor, "C B S"]:
        relation: Tensor = self.get_buffer("relation")
        known = torch.cat([parts, torch.zeros_like(parts[:1])])
        coupled = torch.cat([known[relation[:, slot]] for slot in range(relation.shape[1])], dim=-1)
        relations = torch.cat([coupled, above[self.get_buffer("parents")]], dim=-1)
        return torch.relu(self.decide(torch.relu(self.widen(relations))))


class PartLinear(nn.Module):
    """A linear layer for each part, all in one product."""

    def __init__(self, parts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        reach = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(parts, inputs, outputs).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(parts, 1, outputs).uniform_(-reach, reach))

    def forward(self, x: Float[Tensor, "P B I"]) -> Float[Tensor, "P B O"]:
        return torch.baddbmm(self.bias, x, self.weight)


class Recall(nn.Module):
    """The recurrent memory of a light model: every landmark's short note goes into a gated memory of the whole face."""

    def __init__(self, landmarks: int, dim: int, note: int, whole: int) -> None:
        super().__init__()
        self.note = nn.Linear(dim, note)
        self.digest = nn.Linear(landmarks * note, whole)
        self.cell = nn.GRUCell(whole, whole)

    def forward(self, tokens: Float[Tensor, "B L D"], memory: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        notes = torch.relu(self.note(tokens)).flatten(1)
        recalled: Tensor = self.cell(torch.relu(self.digest(notes)), memory)
        return recalled
