"""The losses of training to restore. B faces, H and W pixels of the sides."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unveil.models.discriminators import DiscriminatorOutput

PixelLoss: TypeAlias = Literal["l2", "l1"]
AdversarialLossName: TypeAlias = Literal["log", "hinge"]
SCALES = (1, 2, 4)  # pixels that are averaged before neighbours are compared
COLOUR_CELL = 8  # pixels that are averaged before colours are compared


class AdversarialLoss(NamedTuple):
    """The losses of both discriminators (equation 3).

    Args:
        global_loss: L_d1, of the global discriminator.
        local_loss: L_d2, of the local discriminator.
    """

    global_loss: Float[Tensor, ""]
    local_loss: Float[Tensor, ""]


def reconstruction_loss(
    restored: Float[Tensor, "B 3 H W"],
    clean: Float[Tensor, "B 3 H W"],
    mask: Float[Tensor, "B 1 H W"],
    hole_weight: float = 1.0,
    kind: PixelLoss = "l2",
) -> Float[Tensor, ""]:
    """Return L_r: the weighted mean error of RGB.

    Args:
        restored: Prediction in [0, 1].
        clean: Ground truth in [0, 1].
        mask: 1 where a pixel is occluded, else 0.
        hole_weight: Weight of an occluded pixel; 1 in the paper.
        kind: `l2` is the squared error, `l1` the absolute one (ours), whose gradient does not vanish near the target.

    Source: GAN-IA, equation 4.
    """
    weight = (1 + (hole_weight - 1) * mask).expand_as(restored)
    difference = restored - clean
    return (weight * (difference.square() if kind == "l2" else difference.abs())).sum() / weight.sum()


def structure_loss(
    restored: Float[Tensor, "B 3 H W"],
    clean: Float[Tensor, "B 3 H W"],
    mask: Float[Tensor, "B 1 H W"],
    hole_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Return the mean squared error of the differences between neighbours, summed over three scales (ours).

    Blending uses a face's gradients and the photograph's colours. Squared error alone is dominated by colour: a missing
    mouth costs less than a wrong shade of skin.

    Args:
        restored: Prediction, RGB in [0, 1].
        clean: Ground truth, RGB in [0, 1].
        mask: 1 where a pixel is occluded, else 0.
        hole_weight: Weight of an occluded pixel.
    """
    total = restored.new_zeros(())
    for size in SCALES:
        difference, hole = (F.avg_pool2d(maps, size) if size > 1 else maps for maps in (restored - clean, mask))
        weight = 1 + (hole_weight - 1) * hole
        for axis in (2, 3):
            pair_weight = weight.narrow(axis, 1, weight.shape[axis] - 1)
            squared = difference.diff(dim=axis).square().mean(dim=1, keepdim=True)
            total = total + (pair_weight * squared).sum() / pair_weight.sum()
    return total


def colour_loss(
    restored: Float[Tensor, "B 3 H W"], clean: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, ""]:
    """Return the mean squared error inside the hole of the means of 8 x 8 pixels (ours).

    It keeps light and colour right and leaves the texture to the other terms: what the adversarial terms sharpen costs
    nothing here.

    Args:
        restored: Prediction, RGB in [0, 1].
        clean: Ground truth, RGB in [0, 1].
        mask: 1 where a pixel is occluded, else 0.
    """
    difference = F.avg_pool2d(mask * (restored - clean), COLOUR_CELL)
    hole = F.avg_pool2d(mask, COLOUR_CELL).expand_as(difference)
    return difference.square().sum() / hole.square().sum().clamp(min=1)


def mask_loss(logits: Float[Tensor, "B 1 H W"], mask: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """Return the cross-entropy of the predicted mask plus one minus its soft Dice overlap over the batch (ours).

    Cross-entropy alone misses small occluders, since nearly all pixels of a batch are free.

    Args:
        logits: Logits of the probability that a pixel is occluded.
        mask: 1 where a pixel is occluded, else 0.
    """
    predicted = torch.sigmoid(logits)
    overlap = (2 * (predicted * mask).sum() + 1) / (predicted.sum() + mask.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + 1 - overlap


def feature_distance(restored: Sequence[Tensor], real: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Return the mean over maps of the absolute difference relative to the real maps' mean magnitude.

    Args:
        restored: Maps of the restored faces; gradients reach these alone.
        real: Maps of the clean faces: ImageNet features (Johnson et al. 2016) or those of the discriminators
            (Salimans et al. 2016).
    """
    distances = [
        (prediction - target.detach()).abs().mean() / target.detach().abs().mean().clamp(min=1e-6)
        for prediction, target in zip(restored, real, strict=True)
    ]
    return torch.stack(distances).mean()


def statistics_distance(restored: Sequence[Tensor], real: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Return the mean over maps of the relative difference of each channel's mean and standard deviation.

    It compares textures, wherever their details lie.

    Args:
        restored: ImageNet features of the restored faces; gradients reach these alone.
        real: Those of the clean faces.

    Source: Huang and Belongie 2017, equation 13.
    """
    statistics = [
        [value for values in maps for value in (values.mean(dim=(2, 3)), (values.var(dim=(2, 3)) + 1e-6).sqrt())]
        for maps in (restored, real)
    ]
    return feature_distance(*statistics)


def discriminator_loss(
    real: DiscriminatorOutput, restored: DiscriminatorOutput, kind: AdversarialLossName = "log"
) -> AdversarialLoss:
    """Return the loss of each discriminator.

    Args:
        real: Output for clean faces x.
        restored: Output for restored faces G(z).
        kind: `log` is -log D(x) - log(1 - D(G(z))) (equation 3), `hinge` max(0, 1 - D(x)) + max(0, 1 + D(G(z))).
    """

    def loss(positive: Tensor, negative: Tensor) -> Tensor:
        if kind == "hinge":
            return F.relu(1 - positive).mean() + F.relu(1 + negative).mean()
        return F.softplus(-positive).mean() + F.softplus(negative).mean()

    return AdversarialLoss(
        loss(real.global_logits, restored.global_logits), loss(real.local_logits, restored.local_logits)
    )


def generator_loss(restored: DiscriminatorOutput, kind: AdversarialLossName = "log") -> AdversarialLoss:
    """Return the adversarial loss of the generator, for each discriminator.

    Args:
        restored: Output of the discriminators for restored faces G(z).
        kind: `log` is -log D(G(z)), whose gradient does not vanish as that of equation 3 does; `hinge` is -D(G(z)).
    """
    losses = (
        -logits.mean() if kind == "hinge" else F.softplus(-logits).mean()
        for logits in (restored.global_logits, restored.local_logits)
    )
    return AdversarialLoss(*losses)


def gradient_penalty(
    output: DiscriminatorOutput, images: Float[Tensor, "B 3 H W"], patches: Float[Tensor, "B 3 P P"]
) -> Float[Tensor, ""]:
    """Return R1: the mean over faces of half the squared norm of the logits' gradient at real images and patches.

    Args:
        output: Output of the discriminators for them.
        images: Real images, which require gradients.
        patches: Real patches, which require gradients.

    Source: Mescheder et al. 2018, equation 9.
    """
    logits = output.global_logits.sum() + output.local_logits.sum()
    gradients = torch.autograd.grad(logits, (images, patches), create_graph=True)
    return sum((gradient.square().sum(dim=(1, 2, 3)).mean() for gradient in gradients), logits.new_zeros(())) / 2
