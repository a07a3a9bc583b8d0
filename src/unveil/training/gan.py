"""Training GAN-IA's generator: the three phases of section 3.3 and the losses of its equations 3 and 4."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from unveil.data.datasets.samples import Faces
from unveil.models.discriminators import Discriminators
from unveil.models.generator import Generator, GeneratorOutput
from unveil.models.perceptual import PerceptualFeatures
from unveil.training.adversarial import DISCRIMINATORS, GENERATOR, REFINER, AdversarialModel, AdversarialOutput
from unveil.training.gan_config import GanTrainConfig
from unveil.training.gan_losses import (
    colour_loss,
    discriminator_loss,
    feature_distance,
    generator_loss,
    gradient_penalty,
    mask_loss,
    reconstruction_loss,
    statistics_distance,
    structure_loss,
)
from unveil.training.restoration import RestorationTask, TrainingPairs
from unveil.training.task import Batch, Losses, Updater

DISCRIMINATOR_BETAS = (0.5, 0.99)  # less momentum than the generator's 0.9


class GanTask(RestorationTask[GanTrainConfig]):
    """Train the generator with its discriminators.

    Args:
        faces: Bare faces with landmarks of scheme ibug68.
        config: The settings; the task's own `config` lacks the occluders that are not available.
        more: More sets of such faces; `config.more_share` is the share of the drawn faces for each.

    Raises:
        ValueError: The patch is larger than the face, or the faces do not fit as for `RestorationTask`.

    Example:
        >>> task = GanTask(read_faces(Path("packs/faces.npz")), GAN_PRESETS["gan-ia-light"])
        >>> result = task.fit(Path("runs/gan-ia-light"))
    """

    ema_module = GENERATOR
    partial_updates = True

    def __init__(self, faces: Faces, config: GanTrainConfig, more: Sequence[Faces] = ()) -> None:
        size, patch = config.model.input_size, config.discriminator.patch
        if patch > size:
            raise ValueError(f"--patch {patch}: larger than the face of --input-size {size}; give {size} or less")
        super().__init__(faces, config, more)
        settings, network = config.discriminator, cast(Generator, self.network)
        discriminators = Discriminators(
            config.model.input_size,
            settings.patch,
            width=settings.discriminator_width,
            attention=config.model.attention,
            spectral=settings.spectral,
            joint=settings.joint,
        )
        self.model = AdversarialModel(network, discriminators)
        self.perceptual = PerceptualFeatures() if config.perceptual_weight or config.style_weight else None

    def phases(self, step: int) -> tuple[str, ...]:
        """Return the modules that train at a step, one after the other.

        First the generator alone, then the discriminators alone, then both: the discriminators use the faces that the
        generator restored at the same step.

        Args:
            step: The step, counted from 0.

        Source: GAN-IA, section 3.3.
        """
        config = self.config
        frozen = config.freeze_first_stage and step >= config.coarse_steps
        generator = REFINER if frozen else GENERATOR
        if step < config.generator_steps:
            return (generator,)
        if step < config.generator_steps + config.discriminator_steps:
            return (DISCRIMINATORS,)
        return (generator, DISCRIMINATORS)

    @override
    def parameter_groups(self) -> list[dict[str, object]]:
        schedule, model = self.config.schedule, cast(AdversarialModel, self.model)
        scale = self.config.discriminator.discriminator_lr_scale
        discriminators = (group._replace(lr_scale=scale) for group in model.discriminators.param_groups())
        return [
            *(schedule.optimiser_group(group) for group in model.generator.param_groups()),
            *({**schedule.optimiser_group(group), "betas": DISCRIMINATOR_BETAS} for group in discriminators),
        ]

    @override
    def pairs(self, batch: int) -> TrainingPairs:
        """Return the random pairs, with corners of real patches; those of the coarse steps have half the side."""
        config = self.config
        coarse = min(config.coarse_steps, config.generator_steps) * batch
        return TrainingPairs(self.faces, config, self.sampler, config.discriminator.patch, coarse)

    @override
    def step(self, update: Updater, batch: Batch, step: int) -> Losses:
        """Update the modules of the step's phases, one after the other; the first one's loss is logged."""
        losses: Losses = {}
        for phase in self.phases(step):
            found = update(lambda model, phase=phase: self.phase_losses(model, batch, phase, step), phase)  # type: ignore[misc]
            losses = found | losses
        return losses

    def phase_losses(self, model: nn.Module, batch: Batch, phase: str, step: int) -> Losses:
        """Return the phase's `loss` and the terms to log.

        Args:
            model: The adversarial model, or what accelerate wraps it in.
            batch: A prepared batch. The generator's phase adds `restored`.
            phase: One of `phases(step)`.
            step: The step, counted from 0.
        """
        settings = self.config.discriminator
        if phase == DISCRIMINATORS:
            r1 = settings.r1_weight > 0 and step % settings.r1_every == 0
            result: AdversarialOutput = model(batch, phase, r1=r1)
            assert result.real is not None
            assert result.restored is not None
            terms = discriminator_loss(result.real, result.restored, settings.adversarial_loss)
            loss = terms.global_loss + terms.local_loss
            if result.real_inputs is not None:
                loss = loss + settings.r1_every * settings.r1_weight * gradient_penalty(
                    result.real, *result.real_inputs
                )
            return {"loss": loss, "d_global": terms.global_loss, "d_local": terms.local_loss}
        adversarial = len(self.phases(step)) > 1
        result = model(batch, GENERATOR, adversarial=adversarial, match=settings.feature_weight > 0)
        assert result.output is not None
        loss, logged = self._supervised(result.output, batch)
        if adversarial:
            assert result.restored is not None
            batch["restored"] = result.output.restored.detach()
            fool = generator_loss(result.restored, settings.adversarial_loss)
            fooling = settings.global_weight * fool.global_loss + settings.local_weight * fool.local_loss
            loss = loss + fooling
            logged |= {"g_global": fool.global_loss, "g_local": fool.local_loss}
            if result.real is not None:
                logged["features"] = feature_distance(result.restored.features, result.real.features)
                loss = loss + settings.feature_weight * logged["features"]
        return {"loss": loss, **logged}

    def _supervised(self, output: GeneratorOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        config, clean, mask = self.config, batch["clean"], batch["mask"]
        restored, weight = output.restored, config.hole_weight
        reconstruction = reconstruction_loss(restored, clean, mask, weight, config.pixel_loss)
        if config.structure_weight:
            reconstruction = reconstruction + config.structure_weight * structure_loss(restored, clean, mask, weight)
        logged = {"restored": reconstruction, "mask": mask_loss(output.mask_logits, mask)}
        loss = reconstruction + config.mask_weight * logged["mask"]
        if config.colour_weight:
            logged["colour"] = colour_loss(restored, clean, mask)
            loss = loss + config.colour_weight * logged["colour"]
        if self.perceptual is not None:
            filled = clean + mask * (restored - clean)
            network = self.perceptual.to(clean.device)
            with torch.no_grad():
                target = network(clean)
            found = network(filled)
            logged["perceptual"] = feature_distance(found, target)
            loss = loss + config.perceptual_weight * logged["perceptual"]
            if config.style_weight:
                logged["style"] = statistics_distance(found, target)
                loss = loss + config.style_weight * logged["style"]
        return loss, logged
