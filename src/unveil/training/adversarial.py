"""The generator and its two discriminators as one model. B faces, S pixels of a side, P of a patch's."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.discriminators import DiscriminatorOutput, Discriminators, extract_patches, patch_corners
from unveil.models.generator import Generator, GeneratorOutput

# Names of the submodules that train in turn; the second stage can train without the first one.
GENERATOR, DISCRIMINATORS = "generator", "discriminators"
REFINER = f"{GENERATOR}.refiner"


class AdversarialOutput(NamedTuple):
    """Results of one phase of a step; None for those that the phase does not need.

    Args:
        output: Output of the generator.
        real: Output of the discriminators for clean faces.
        restored: Output of the discriminators for restored faces.
        real_inputs: The real images and patches, for the gradient penalty.
    """

    output: GeneratorOutput | None
    real: DiscriminatorOutput | None
    restored: DiscriminatorOutput | None
    real_inputs: tuple[Tensor, Tensor] | None = None


class AdversarialModel(nn.Module):
    """One forward for every phase, since several processes exchange gradients only of a wrapped model's forward.

    The global discriminator gets the generator's whole output. The local one gets the patch around the hole of the
    clean face, with the generator's output inside the hole; for a face without an occluder, in the whole patch.

    Args:
        generator: The generator.
        discriminators: The two discriminators.
    """

    def __init__(self, generator: Generator, discriminators: Discriminators) -> None:
        super().__init__()
        self.generator, self.discriminators = generator, discriminators

    def forward(
        self, batch: dict[str, Tensor], phase: str, *, adversarial: bool = True, match: bool = False, r1: bool = False
    ) -> AdversarialOutput:
        """Run one phase.

        Args:
            batch: `clean` and `occluded` (B, 3 or 4, S, S), `mask` (B, 1, S, S), `corners` (B, 2) of real patches; for
                the discriminators also `restored` (B, 3, S, S) if the generator's phase of this step computed it.
            phase: `GENERATOR` or `DISCRIMINATORS`.
            adversarial: In the generator's phase, also run the discriminators.
            match: In the generator's phase, also run them on the clean faces (feature matching).
            r1: In the discriminators' phase, return the real inputs for the gradient penalty.

        Returns:
            The results that the phase's losses need.
        """
        if phase == DISCRIMINATORS:
            with torch.no_grad():
                restored = batch["restored"] if "restored" in batch else self._generate(batch).restored
            return self._compare(batch, restored, r1)
        output = self._generate(batch)
        if not adversarial:
            return AdversarialOutput(output, None, None)
        patch, corners = self.discriminators.patch, patch_corners(batch["mask"], self.discriminators.patch)
        judged = self._discriminate(output.restored, self.restored_patches(batch, output.restored))
        real = None
        if match:
            with torch.no_grad():
                real = self._discriminate(batch["clean"], extract_patches(batch["clean"], corners, patch))
        return AdversarialOutput(output, real, judged)

    def _generate(self, batch: dict[str, Tensor]) -> GeneratorOutput:
        images = batch["occluded"]
        coarse = self.generator.refiner is not None and images.shape[-1] < self.generator.config.input_size
        output: GeneratorOutput = self.generator(images, coarse_only=coarse)
        return output

    def restored_patches(
        self, batch: dict[str, Tensor], restored: Float[Tensor, "B 3 S S"]
    ) -> Float[Tensor, "B 3 P P"]:
        """Return the patches around the holes of the clean faces, with the holes filled.

        Args:
            batch: `clean` and `mask`.
            restored: The generator's output, RGB in [0, 1].
        """
        mask, clean = batch["mask"], batch["clean"]
        hole = torch.where(mask.amax(dim=(1, 2, 3), keepdim=True) > 0, mask, 1.0)
        patch = self.discriminators.patch
        return extract_patches(clean + hole * (restored - clean), patch_corners(mask, patch), patch)

    def _compare(self, batch: dict[str, Tensor], restored: Float[Tensor, "B 3 S S"], r1: bool) -> AdversarialOutput:
        """Run the discriminators on real faces, with a random patch of each, and on restored ones."""
        clean = batch["clean"].requires_grad_(r1)
        patches = extract_patches(batch["clean"].detach(), batch["corners"], self.discriminators.patch)
        patches.requires_grad_(r1)
        both = self._discriminate(
            torch.cat([clean, restored]), torch.cat([patches, self.restored_patches(batch, restored)])
        )
        (real_global, restored_global), (real_local, restored_local) = (
            logits.chunk(2) for logits in (both.global_logits, both.local_logits)
        )
        real, fake = DiscriminatorOutput(real_global, real_local), DiscriminatorOutput(restored_global, restored_local)
        return AdversarialOutput(None, real, fake, (clean, patches) if r1 else None)

    def _discriminate(self, images: Float[Tensor, "B 3 S S"], patches: Float[Tensor, "B 3 P P"]) -> DiscriminatorOutput:
        output: DiscriminatorOutput = self.discriminators(images, patches)
        return output
