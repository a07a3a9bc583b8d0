"""From parts to landmarks: the last step of the whole-to-part half. B faces, L landmarks, P parts, M of the largest."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.layers import PartLinear, mlp
from unveil.models.whole_part import Relations
from unveil.schemes.hierarchy import Hierarchy

REACH_UNIT = 0.1  # what a layer's output of one moves a landmark by
# ln of a fresh network's spread: about the mean shape's own error. From far off, all landmarks pull what they share the
# same way, and fill the memory of the whole for good.
FIRST_SPREAD = -1.5


class LandmarkHead(nn.Module):
    """Offset, visibility and spread of each landmark from its own evidence and from its smallest part's reasoning."""

    def __init__(self, hierarchy: Hierarchy, dim: int, part_width: int) -> None:
        super().__init__()
        self.register_buffer("owners", torch.tensor(hierarchy.levels[0].owners()), persistent=False)
        self.decide = mlp(dim + part_width, dim, 4)
        last = self.decide[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # the first guess is the mean shape
        nn.init.zeros_(last.bias)

    def forward(
        self, tokens: Float[Tensor, "B L D"], parts: Float[Tensor, "P B Q"]
    ) -> tuple[Float[Tensor, "B L 2"], Float[Tensor, "B L"], Float[Tensor, "B L"]]:
        context = parts.index_select(0, self.get_buffer("owners")).transpose(0, 1)
        decided = self.decide(torch.cat([tokens, context], dim=-1).flatten(0, 1)).reshape(*tokens.shape[:2], 4)
        return REACH_UNIT * decided[..., :2], decided[..., 2], decided[..., 3] + FIRST_SPREAD


class LocalShapes(nn.Module):
    """The paper's end: each smallest part's local shape, linear in (the part, its siblings | its parent)."""

    def __init__(self, hierarchy: Hierarchy, part_width: int, above_width: int) -> None:
        super().__init__()
        smallest = hierarchy.levels[0]
        parts, self.widest = len(smallest.parts), smallest.widest
        self.register_buffer("found", torch.tensor(smallest.slots()), persistent=False)
        self.relations = Relations(hierarchy, 0, range(parts))
        self.decide = PartLinear(parts, self.relations.slots * part_width + above_width, 2 * self.widest)
        nn.init.zeros_(self.decide.weight)  # the first guess is the mean shape
        nn.init.zeros_(self.decide.bias)

    def forward(self, parts: Float[Tensor, "P B Q"], above: Float[Tensor, "O B R"]) -> Float[Tensor, "B L 2"]:
        decided = self.decide(self.relations(parts, above)).reshape(parts.shape[0], -1, self.widest, 2)
        shapes = decided.transpose(0, 1).flatten(1, 2)  # (B, P M, 2)
        moved: Tensor = REACH_UNIT * shapes[:, self.get_buffer("found")]
        return moved
