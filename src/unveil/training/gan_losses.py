"""What training to restore minimises, and PFLD's weighted error. B faces, S pixels, L landmarks, C classes."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from unveil.baselines.pfld import PfldPrediction
from unveil.models.discriminators import Verdict
from unveil.models.generator import Restoration

PixelLoss: TypeAlias = Literal["l2", "l1"]
SCALES = (1, 2, 4)  # pixels that one is averaged from before neighbours are compared


class RestorationLoss(NamedTuple):
    """The generator's loss and its terms."""

    loss: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    mask: Float[Tensor, ""]


class AdversarialLoss(NamedTuple):
    """L_d1 of the whole face and L_d2 of the patch (equation 3)."""

    whole: Float[Tensor, ""]
    patch: Float[Tensor, ""]

    def weighted(self, whole: float, patch: float) -> Float[Tensor, ""]:
        """λ1·L_d1 + λ2·L_d2."""
        return whole * self.whole + patch * self.patch


def reconstruction_loss(
    restored: Float[Tensor, "B 3 S S"],
    clean: Float[Tensor, "B 3 S S"],
    mask: Float[Tensor, "B 1 S S"],
    hole_weight: float = 1.0,
    kind: PixelLoss = "l2",
) -> Float[Tensor, ""]:
    """L_r: mean squared error, in [0, 1] RGB, with covered pixels counted `hole_weight` times (1 is the paper's).

    "l1" is the mean absolute error (ours), whose gradient does not fade as the picture comes near.
    """
    weight = (1 + (hole_weight - 1) * mask).expand_as(restored)
    difference = restored - clean
    return (weight * (difference.square() if kind == "l2" else difference.abs())).sum() / weight.sum()


def structure_loss(
    restored: Float[Tensor, "B 3 S S"],
    clean: Float[Tensor, "B 3 S S"],
    mask: Float[Tensor, "B 1 S S"],
    hole_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Mean squared error of the differences between neighbours, at three scales, summed (ours).

    Blending takes a face's gradients and the photograph's colours. Squared error alone is nearly all colour: a mouth
    that is missing costs it less than a shade of skin.
    """
    total = restored.new_zeros(())
    for size in SCALES:
        difference, hole = (F.avg_pool2d(maps, size) if size > 1 else maps for maps in (restored - clean, mask))
        weight = 1 + (hole_weight - 1) * hole
        for axis in (2, 3):
            least = weight.narrow(axis, 1, weight.shape[axis] - 1)
            steps = difference.diff(dim=axis).square().mean(dim=1, keepdim=True)
            total = total + (least * steps).sum() / least.sum()
    return total


def mask_loss(logits: Float[Tensor, "B 1 S S"], mask: Float[Tensor, "B 1 S S"]) -> Float[Tensor, ""]:
    """Cross-entropy of the predicted mask and one minus its soft Dice overlap with the truth over the batch (ours).

    Cross-entropy alone lets small occluders go: nearly all pixels of a batch are free.
    """
    predicted = torch.sigmoid(logits)
    overlap = (2 * (predicted * mask).sum() + 1) / (predicted.sum() + mask.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + 1 - overlap


def restoration_loss(
    found: Restoration,
    clean: Float[Tensor, "B 3 S S"],
    mask: Float[Tensor, "B 1 S S"],
    *,
    hole_weight: float,
    mask_weight: float,
    structure_weight: float = 0.0,
    kind: PixelLoss = "l2",
) -> RestorationLoss:
    """L_r, to which structure counts, and the mask's term: all of the first phase, part of the third."""
    reconstruction = reconstruction_loss(found.restored, clean, mask, hole_weight, kind)
    if structure_weight:
        reconstruction += structure_weight * structure_loss(found.restored, clean, mask, hole_weight)
    covered = mask_loss(found.mask_logits, mask)
    return RestorationLoss(reconstruction + mask_weight * covered, reconstruction, covered)


def discriminator_loss(real: Verdict, restored: Verdict) -> AdversarialLoss:
    """What the judges minimise: -log D(x) - log(1 - D(G(z))), each for itself."""
    whole, patch = (F.softplus(-yes).mean() + F.softplus(no).mean() for yes, no in zip(real, restored, strict=True))
    return AdversarialLoss(whole, patch)


def generator_loss(restored: Verdict) -> AdversarialLoss:
    """What the generator minimises: -log D(G(z)), which unlike log(1 - D(G(z))) still teaches when it is found out."""
    whole, patch = (F.softplus(-logits).mean() for logits in restored)
    return AdversarialLoss(whole, patch)


def attribute_weights(attributes: Bool[Tensor, "B C"], shares: Float[Tensor, "C"]) -> Float[Tensor, "B"]:
    """ω of PFLD: the sum of 1 / share over a face's classes, the rarer the heavier; 0 where it has none.

    `shares` are those of the training set, so that a face weighs the same in every batch.
    """
    return (attributes.float() / shares.clamp(min=1e-3)).sum(dim=1)


def pfld_loss(
    prediction: PfldPrediction,
    points_unit: Float[Tensor, "B L 2"],
    angles: Float[Tensor, "B 3"],
    weights: Float[Tensor, "B"],
) -> Float[Tensor, ""]:
    """(1 + ω)·(1 + Σ_k(1 - cos θ_k))·‖d‖², the mean over faces of the sum over landmarks (Guo et al. 2019, eq. 2).

    θ_k are the errors of yaw, pitch and roll in radians. The ones are ours: without them a face whose pose is perfect,
    or one in no class, would teach nothing.
    """
    pose = (1 - torch.cos(prediction.angles - angles)).sum(dim=1)
    distance = (prediction.points_unit - points_unit).square().sum(dim=(1, 2))
    return ((1 + weights) * (1 + pose) * distance).mean()
