"""A generator and its two judges as one model whose parts take turns. B faces, S pixels of a side, P of a patch's."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.discriminators import Discriminators, Verdict, cut_patches, patch_corners
from unveil.models.generator import Restoration

GENERATOR, DISCRIMINATORS = "generator", "discriminators"


class Judged(NamedTuple):
    """What the generator made and what the judges say of it and of photographs; None where nobody asked."""

    found: Restoration | None
    real: Verdict | None
    restored: Verdict | None


class Adversaries(nn.Module):
    """One forward for every turn: several processes exchange gradients only of what is called through it.

    The judges see the clean face with the hole filled by the generator, so that they judge the filling. A face without
    an occluder is judged as the generator makes it, all of it.
    """

    def __init__(self, generator: nn.Module, discriminators: Discriminators) -> None:
        super().__init__()
        self.generator, self.discriminators = generator, discriminators

    def forward(self, batch: dict[str, Tensor], turn: str, judged: bool) -> Judged:
        """The generator's turn, `judged` or not, or the judges', who take `restored` of the batch if it is there."""
        if turn == DISCRIMINATORS:
            with torch.no_grad():
                restored = batch["restored"] if "restored" in batch else self.generator(batch["occluded"]).restored
            return Judged(None, *self.judge_both(batch, restored))
        found: Restoration = self.generator(batch["occluded"])
        return Judged(found, None, self.judge(*self.filled(batch, found.restored)) if judged else None)

    def judge_both(self, batch: dict[str, Tensor], restored: Float[Tensor, "B 3 S S"]) -> tuple[Verdict, Verdict]:
        """Photographs, a random area of each for the local judge, and restored faces."""
        clean = batch["clean"]
        patches = cut_patches(clean, batch["corners"], self.discriminators.patch)
        filled, filled_patches = self.filled(batch, restored)
        verdict = self.judge(torch.cat([clean, filled]), torch.cat([patches, filled_patches]))
        (real_whole, whole), (real_patch, patch) = (logits.chunk(2) for logits in verdict)
        return Verdict(real_whole, real_patch), Verdict(whole, patch)

    def filled(
        self, batch: dict[str, Tensor], restored: Float[Tensor, "B 3 S S"]
    ) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 3 P P"]]:
        """The clean faces with their holes filled, and the patches round the holes."""
        mask, patch = batch["mask"], self.discriminators.patch
        hole = torch.where(mask.amax(dim=(1, 2, 3), keepdim=True) > 0, mask, 1.0)
        filled = batch["clean"] + hole * (restored - batch["clean"])
        return filled, cut_patches(filled, patch_corners(mask, patch), patch)

    def judge(self, images: Float[Tensor, "B 3 S S"], patches: Float[Tensor, "B 3 P P"]) -> Verdict:
        verdict: Verdict = self.discriminators(images, patches)
        return verdict
