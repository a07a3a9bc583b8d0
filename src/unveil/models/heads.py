"""From parts to landmarks: the output of the whole-to-part half. B faces, L landmarks, P parts, M of the largest."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.layers import PartLinear, mlp, zeroed
from unveil.models.patches import sample_patches, square_grid
from unveil.models.whole_part import Relations
from unveil.schemes.hierarchy import Hierarchy

OFFSET_SCALE_UNIT = 0.1  # landmark offset, in unit coordinates, per unit of a layer's output
# Natural logarithm of a fresh network's expected distance: about the error of the mean shape. From a value far off, all
# landmarks push their shared layers in one direction, which saturates the memory of the whole face for good.
INITIAL_LOG_SCALE = -1.5
GRID_SIDE, GRID_SPACING_UNIT = 5, 0.06  # samples of the visibility head around a landmark
DROPOUT = 0.3  # share of its inputs and hidden features that training drops


class LandmarkHead(nn.Module):
    """Offset, visibility and uncertainty of each landmark, from its token and its smallest part's features.

    Args:
        hierarchy: The landmark hierarchy.
        dim: Features of a token.
        part_dim: Features of a smallest part.
        read_tokens: Whether the head also reads the landmark's own token; without it every offset comes from the
            whole-to-part half alone, as in the paper.
        ellipse: Whether it also predicts an ellipse of uncertainty for each landmark.
    """

    part_indices: Tensor

    def __init__(
        self, hierarchy: Hierarchy, dim: int, part_dim: int, *, read_tokens: bool = True, ellipse: bool = False
    ) -> None:
        super().__init__()
        self.ellipse = mlp(dim + part_dim, dim, 3) if ellipse else None
        if self.ellipse is not None:
            zeroed(self.ellipse[-1])
        self.register_buffer("part_indices", torch.tensor(hierarchy.levels[0].part_indices()), persistent=False)
        self.read_tokens = read_tokens
        count = len(self.part_indices)
        # Without tokens the landmarks of a part have the same input, so each landmark has an output layer of its own.
        self.mlp = mlp(dim + part_dim, dim, 4) if read_tokens else mlp(part_dim, dim)
        self.output = None if read_tokens else PartLinear(count, dim, 4)
        zeroed(self.mlp[-1] if self.output is None else self.output)  # the first prediction is the mean shape

    def forward(
        self, tokens: Float[Tensor, "B L D"], parts: Float[Tensor, "P B Q"]
    ) -> tuple[Float[Tensor, "B L 2"], Float[Tensor, "B L"], Float[Tensor, "B L"]]:
        """Return offsets in unit coordinates, visibility logits and log scales.

        Args:
            tokens: The landmarks' tokens after mixing.
            parts: Features of the smallest parts.
        """
        context = parts.index_select(0, self.part_indices)  # (L, B, Q)
        if self.output is None:
            inputs = torch.cat([tokens, context.transpose(0, 1)], dim=-1)
            outputs = self.mlp(inputs.flatten(0, 1)).reshape(*tokens.shape[:2], 4)
        else:
            outputs = self.output(torch.relu(self.mlp(context))).transpose(0, 1)
        return OFFSET_SCALE_UNIT * outputs[..., :2], outputs[..., 2], outputs[..., 3] + INITIAL_LOG_SCALE

    def ellipses(self, tokens: Float[Tensor, "B L D"], parts: Float[Tensor, "P B Q"]) -> Float[Tensor, "B L 3"] | None:
        """Return each landmark's ellipse of uncertainty, None for a head without ellipses.

        Args:
            tokens: The landmarks' tokens after mixing.
            parts: Features of the smallest parts.

        Returns:
            The Cholesky factor of the scale matrix in unit coordinates: the logarithm of its first diagonal element,
            the element below it relative to the first, and the logarithm of the second diagonal element.

        Source: the parametrisation of LUVLi (Kumar et al. 2020).
        """
        if self.ellipse is None:
            return None
        context = parts.index_select(0, self.part_indices).transpose(0, 1)
        outputs: Tensor = self.ellipse(torch.cat([tokens, context], dim=-1).flatten(0, 1))
        return outputs.reshape(*tokens.shape[:2], 3) + outputs.new_tensor([INITIAL_LOG_SCALE, 0.0, INITIAL_LOG_SCALE])


class VisibilityHead(nn.Module):
    """Visibility of each landmark from a wide neighbourhood of the feature map (ours).

    A token covers the landmark's own edge; the surroundings show whether hair, a hand or a mask lies on it. The head
    reads the token, the smallest part's features and a grid of samples around the final landmark. It can be trained
    alone, with the landmarks frozen.

    Args:
        hierarchy: The landmark hierarchy.
        token_dim: Features of a token.
        part_dim: Features of a smallest part.
        channels: Channels of the feature map.
        dim: Hidden features.
    """

    part_indices: Tensor
    grid: Tensor

    def __init__(
        self,
        hierarchy: Hierarchy,
        token_dim: int,
        part_dim: int,
        channels: int,
        dim: int,
    ) -> None:
        super().__init__()
        self.register_buffer("part_indices", torch.tensor(hierarchy.levels[0].part_indices()), persistent=False)
        self.register_buffer("grid", square_grid(GRID_SIDE, GRID_SPACING_UNIT), persistent=False)
        inputs, landmarks = token_dim + part_dim + GRID_SIDE**2 * channels, len(self.part_indices)
        self.norm = nn.BatchNorm1d(inputs)
        self.dropout = nn.Dropout(DROPOUT)
        self.fc1 = nn.Linear(inputs, dim)
        self.landmark_embed = nn.Parameter(torch.zeros(landmarks, dim))
        self.fc2 = nn.Linear(dim, dim)
        self.fc3 = nn.Linear(dim, 1)
        self.landmark_bias = nn.Parameter(torch.zeros(landmarks))

    def forward(
        self,
        tokens: Float[Tensor, "B L D"],
        parts: Float[Tensor, "P B Q"],
        features: Float[Tensor, "B C H W"],
        points_unit: Float[Tensor, "B L 2"],
    ) -> Float[Tensor, "B L"]:
        """Return visibility logits.

        Args:
            tokens: The landmarks' tokens after mixing.
            parts: Features of the smallest parts.
            features: The shared feature map.
            points_unit: The landmarks.
        """
        context = parts.index_select(0, self.part_indices).transpose(0, 1)  # (B, L, Q)
        nearby = sample_patches(features, points_unit, self.grid).flatten(2)  # (B, L, K C)
        inputs = self.norm(torch.cat([tokens, context, nearby], dim=-1).flatten(0, 1))
        hidden = self.fc1(self.dropout(inputs)).reshape(*tokens.shape[:2], -1) + self.landmark_embed
        hidden = self.fc2(self.dropout(torch.relu(hidden)).flatten(0, 1))
        logits: Tensor = self.fc3(torch.relu(hidden)).reshape(tokens.shape[:2]) + self.landmark_bias
        return logits


class LocalShapeHead(nn.Module):
    """The paper's output: each smallest part's local shape, linear in (the part, its siblings | its parent).

    Args:
        hierarchy: The landmark hierarchy.
        part_dim: Features of a smallest part, Q.
        parent_dim: Features of a part of the level above, R.

    Source: Zhu et al. 2022, section 3.3.
    """

    slots: Tensor

    def __init__(self, hierarchy: Hierarchy, part_dim: int, parent_dim: int) -> None:
        super().__init__()
        smallest = hierarchy.levels[0]
        parts, self.max_part_size = len(smallest.parts), smallest.max_part_size
        self.register_buffer("slots", torch.tensor(smallest.padded_slots()), persistent=False)
        self.relations = Relations(hierarchy, 0, range(parts))
        inputs = self.relations.slots * part_dim + parent_dim
        self.fc = zeroed(PartLinear(parts, inputs, 2 * self.max_part_size))  # the first prediction is the mean shape

    def forward(self, parts: Float[Tensor, "P B Q"], parents: Float[Tensor, "O B R"]) -> Float[Tensor, "B L 2"]:
        """Return offsets in unit coordinates.

        Args:
            parts: Features of the smallest parts.
            parents: Features of the parts of the level above.
        """
        outputs = self.fc(self.relations(parts, parents)).reshape(parts.shape[0], -1, self.max_part_size, 2)
        padded = outputs.transpose(0, 1).flatten(1, 2)  # (B, P M, 2)
        offsets: Tensor = OFFSET_SCALE_UNIT * padded[:, self.slots]
        return offsets
