"""Whole-to-part half of GlomFace (WHM): a memory of the whole face is parsed into its parts, level by level.

Paper 000, section 3.3. B faces, L landmarks, D features of a landmark, W of the whole, P of a part.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.face.hierarchy import Hierarchy
from unveil.models.layers import mlp


class Disentangle(nn.Module):
    """The tree of small MLPs from the whole to its smallest parts.

    A part's children come from the part with its siblings (coupling) and its parent (constraint): equations 4 and 5,
    y_q = MLP((y_m, y_r) | y_o) for q in m, r beside m, and o above them.
    """

    def __init__(self, hierarchy: Hierarchy, whole: int, widths: Sequence[int]) -> None:
        """`widths` are the features of a part at each level below the whole, highest first."""
        super().__init__()
        top = len(hierarchy.levels) - 1
        size = {top: whole} | {top - 1 - i: width for i, width in enumerate(widths)}
        self.sources: list[list[tuple[int, tuple[int, ...], int | None]]] = []
        levels = []
        for level in range(top - 1, -1, -1):
            sources, parsers = [], []
            for part in range(len(hierarchy.levels[level].parts)):
                owner = hierarchy.parent(level, part)
                coupled = hierarchy.siblings(level + 1, owner) if level + 1 < top else ()
                above = hierarchy.parent(level + 1, owner) if level + 1 < top else None
                width = size[level + 1] * (1 + len(coupled)) + (0 if above is None else size[level + 2])
                sources.append((owner, coupled, above))
                parsers.append(mlp(width, size[level], size[level]))
            self.sources.append(sources)
            levels.append(nn.ModuleList(parsers))
        self.levels = nn.ModuleList(levels)

    def forward(self, whole: Float[Tensor, "B W"]) -> list[Float[Tensor, "B P"]]:
        above: list[Tensor] = []
        parts = [whole]
        for sources, parsers in zip(self.sources, self.levels, strict=True):
            assert isinstance(parsers, nn.ModuleList)
            children = []
            for (owner, coupled, parent), parse in zip(sources, parsers, strict=True):
                relation = [parts[owner], *(parts[i] for i in coupled)]
                constraint = [] if parent is None else [above[parent]]
                children.append(torch.relu(parse(torch.cat(relation + constraint, dim=-1))))
            above, parts = parts, children
        return parts


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
