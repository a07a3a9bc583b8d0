"""Settings of a run that trains a network to restore occluded faces."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeAlias

from pydantic import Field

from unveil.data.occlusion import OcclusionConfig
from unveil.data.restoration_pairs import PairAugmentConfig
from unveil.models.generator import GENERATORS, GeneratorConfig, RestorerNetworkConfig
from unveil.models.network import FrozenConfig
from unveil.training.config import Count, OpenShare, ScheduleConfig, Share, TrainConfig, Weight
from unveil.training.gan_losses import AdversarialLossName, PixelLoss

Steps: TypeAlias = Annotated[int, Field(ge=0)]


class RestorationTrainConfig(TrainConfig):
    """Settings of every run that trains a restoring network: network, data and the loss on pixels."""

    model: RestorerNetworkConfig
    pixel_loss: PixelLoss = "l2"
    """Distance of pixels in L_r: l2 is squared, l1 absolute."""
    hole_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of an occluded pixel in L_r; a visible pixel has 1."""
    init_from: Path | None = None
    """Weights to start from, a .safetensors file; tensors that do not fit start fresh."""
    occlusion: OcclusionConfig = OcclusionConfig.of_kinds(
        mask=3.0,
        template=2.0,
        sprite=3.0,
        polygon=2.0,
        sunglasses=1.0,
        occluded_fraction=0.9,
        second_fraction=0.0,
        coverage=(0.1, 0.5),
    )
    """One face in ten stays bare, so that a restorer learns to leave those unchanged. Kinds that need pictures do not
    occur without a library."""
    augment: PairAugmentConfig = PairAugmentConfig()
    more_share: tuple[OpenShare, ...] = ()
    """Share of the drawn faces of each set of --more; empty draws every face equally often."""
    min_visible: Share = 0.0
    """Use only faces with at least this fraction of landmarks that `glomface-light` predicts as visible; 0 uses all."""
    val_share: OpenShare = 0.08
    """Share of the faces, chosen by the hash of their names, that only validates."""
    val_faces: Count = 60
    """Number of those that a validation uses: the same faces under the same occluders each time."""


class DiscriminatorConfig(FrozenConfig):
    """The two discriminators, and the weights of their terms in the generator's loss (equation 4)."""

    patch: int = 128
    """Side of the local discriminator's patch in pixels."""
    discriminator_width: float = 1.0
    """Factor of the paper's channels."""
    joint: bool = False
    """Compute one logit from both discriminators, as Iizuka et al. do."""
    global_weight: Weight = 4e-4
    """λ1; the paper does not give its value."""
    local_weight: Weight = 4e-4
    """λ2; the paper does not give its value."""
    adversarial_loss: AdversarialLossName = "log"
    """log: equation 3, non-saturating; hinge: Lim and Ye 2017."""
    feature_weight: Weight = 0.0
    """Weight of the distance between the discriminators' features of restored and real faces (feature matching)."""
    spectral: bool = True
    """Spectral normalisation of every layer (ours)."""
    r1_weight: Weight = 0.0
    """Weight of the squared gradient of the logits at real faces (Mescheder et al. 2018)."""
    r1_every: Count = 16
    """Apply R1 at every n-th step, with n times the weight."""
    discriminator_lr_scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the discriminators' learning rate."""


class GanTrainConfig(RestorationTrainConfig):
    """One run that trains GAN-IA's generator.

    The phases are the paper's: the generator alone for `generator_steps` (T_G), the discriminators alone for
    `discriminator_steps` (T_D), then both until the schedule ends.
    """

    model: GeneratorConfig = GeneratorConfig()
    schedule: ScheduleConfig = ScheduleConfig(
        steps=200_000,
        batch=16,
        lr=2e-4,
        warmup_steps=500,
        decay_steps=50_000,
        weight_decay=0.0,
        max_grad_norm=1.0,
        ema=0.999,
    )
    generator_steps: Steps = 90_000
    """Steps of the generator alone, T_G."""
    discriminator_steps: Steps = 10_000
    """Steps of the discriminators alone, T_D."""
    coarse_steps: Steps = 0
    """The first of `generator_steps` that use half the side, at a quarter of the cost. A two-stage generator trains its
    first stage alone in them."""
    freeze_first_stage: bool = False
    """After `coarse_steps` train only the second stage of a two-stage generator."""
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    structure_weight: Weight = 0.0
    """Weight of the differences between neighbouring pixels in L_r (ours)."""
    perceptual_weight: Weight = 0.0
    """Weight of the distance between ImageNet features of restored and clean faces (Johnson et al. 2016)."""
    style_weight: Weight = 0.0
    """Weight of the distance between means and deviations of those features' channels (Huang and Belongie 2017)."""
    colour_weight: Weight = 0.0
    """Weight of the squared error inside the hole of the means of 8 x 8 pixels (ours)."""
    mask_weight: Weight = 0.02
    """Weight of the loss of the predicted mask (ours)."""


LIGHT_SCHEDULE = ScheduleConfig(
    steps=16_000,
    batch=8,
    lr=1e-3,
    warmup_steps=300,
    decay_steps=6000,
    weight_decay=0.0,
    max_grad_norm=1.0,
    ema=0.998,
)

GAN_PRESETS: Mapping[str, GanTrainConfig] = MappingProxyType(
    {
        # Sections 3.3 and 4.2; the numbers of steps are those of Iizuka et al. 2017, whose training the paper follows.
        "gan-ia": GanTrainConfig(),
        # For two cores: half of the generator's phase at 64 px, the hole weighs more than what is copied, and the
        # adversarial terms weigh four times as much as L_r (docs/decisions/0017).
        "gan-ia-light": GanTrainConfig(
            model=GENERATORS["gan-ia-light"],
            schedule=LIGHT_SCHEDULE,
            generator_steps=13_500,
            discriminator_steps=500,
            coarse_steps=8000,
            discriminator=DiscriminatorConfig(
                patch=64, discriminator_width=0.25, global_weight=1e-2, local_weight=1e-2
            ),
            hole_weight=6.0,
            structure_weight=3.0,
            mask_weight=0.2,
        ),
        # The first stage is fine-tuned at 96 px from the light weights, on bare faces of every set, then both stages
        # train at 192 px with the discriminators.
        "gan-ia-refined": GanTrainConfig(
            model=GENERATORS["gan-ia-refined"],
            schedule=LIGHT_SCHEDULE.model_copy(update={"lr": 5e-4, "decay_steps": 5000}),
            generator_steps=8500,
            discriminator_steps=300,
            coarse_steps=6000,
            discriminator=DiscriminatorConfig(
                patch=96,
                discriminator_width=0.25,
                adversarial_loss="hinge",
                global_weight=5e-3,
                local_weight=5e-3,
                feature_weight=0.05,
            ),
            pixel_loss="l1",
            hole_weight=6.0,
            structure_weight=3.0,
            perceptual_weight=0.05,
            mask_weight=0.2,
            occlusion=OcclusionConfig.of_kinds(
                mask=3.0,
                template=2.0,
                sprite=3.0,
                polygon=2.0,
                sunglasses=2.0,
                flat=1.0,
                scarf=1.0,
                hand=2.0,
                held=1.0,
                occluded_fraction=0.75,
                second_fraction=0.1,
                coverage=(0.05, 0.5),
            ),
            augment=PairAugmentConfig(
                rotation=10.0, colour=0.5, shade=0.25, blur=0.15, shadow=0.25, worn=0.25, motion=0.08
            ),
            min_visible=0.97,
        ),
    }
)
"""Generators: `unveil train NAME --data packs/faces.npz --library LIBRARY`.

gan-ia-light took seven hours on one core.
"""
