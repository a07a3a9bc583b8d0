"""GAN-IA's two judges: one looks at the whole face, one at the patch that was restored (section 3.3).

B faces, S pixels of a face's side, P of a patch's. 5x5 convolutions of stride 2 down to 4x4, self-attention at an
eighth of the side, spectral normalisation throughout; no pooling. Leaky ReLU and spectral normalisation are ours.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from unveil.models.attention import SelfAttention, unchanged

CHANNELS = (64, 128, 256, 512, 512, 512)
FEATURES = 1024
ATTENTION_AFTER = 3  # convolutions: 32 px of 256, 16 px of 128


class Verdict(NamedTuple):
    """Logits of being a real photograph. They are one and the same if the judges decide together."""

    whole: Float[Tensor, "B"]
    patch: Float[Tensor, "B"]


class Judge(nn.Module):
    """A picture of `size` pixels, a power of two from 16 up, to features."""

    def __init__(self, size: int, *, width: float = 1.0, attention: bool = True, spectral: bool = True) -> None:
        super().__init__()
        halvings = size.bit_length() - 3  # down to 4x4
        if size != 4 << halvings or not 1 < halvings <= len(CHANNELS):
            raise ValueError(f"a discriminator of {size} px: the side is a power of two from 16 to 256")
        wrap = spectral_norm if spectral else unchanged
        widths = [max(8, round(width * channels)) for channels in CHANNELS[:halvings]]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip([3, *widths], widths, strict=False), start=1):
            layers += [wrap(nn.Conv2d(before, after, 5, stride=2, padding=2)), nn.LeakyReLU(0.2)]
            if attention and index == min(ATTENTION_AFTER, halvings - 1):
                layers.append(SelfAttention(after, wrap))
        self.features = max(16, round(width * FEATURES))
        layers += [nn.Flatten(), wrap(nn.Linear(16 * widths[-1], self.features)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        features: Tensor = self.layers(images * 2 - 1)
        return features


class Discriminators(nn.Module):
    """Both judges. By default each has its logit, as L = L_r + λ1·L_d1 + λ2·L_d2 (equation 4) asks for.

    With `joint` their features are laid side by side and one logit is drawn from both (Iizuka et al. 2017); it then
    stands in both places of the verdict, so that the same loss applies and λ1 + λ2 weighs it.
    """

    def __init__(
        self,
        size: int = 256,
        patch: int = 128,
        *,
        width: float = 1.0,
        attention: bool = True,
        spectral: bool = True,
        joint: bool = False,
    ) -> None:
        super().__init__()
        wrap = spectral_norm if spectral else unchanged
        self.patch, self.joint = patch, joint
        self.see_whole = Judge(size, width=width, attention=attention, spectral=spectral)
        self.see_patch = Judge(patch, width=width, attention=attention, spectral=spectral)
        whole, part = self.see_whole.features, self.see_patch.features
        self.decide = nn.ModuleList(
            wrap(nn.Linear(features, 1)) for features in ((whole + part,) if joint else (whole, part))
        )

    def forward(self, images: Float[Tensor, "B 3 S S"], patches: Float[Tensor, "B 3 P P"]) -> Verdict:
        """RGB in [0, 1], channels first; `cut_patches` cuts the patches out of the same images."""
        seen = (self.see_whole(images), self.see_patch(patches))
        if self.joint:
            together = self.decide[0](torch.cat(seen, dim=1))[:, 0]
            return Verdict(together, together)
        whole, patch = (decide(features)[:, 0] for decide, features in zip(self.decide, seen, strict=True))
        return Verdict(whole, patch)


def patch_corners(mask: Float[Tensor, "B 1 S S"], patch: int) -> Int[Tensor, "B 2"]:
    """Top and left of the patch round each mask's centre of mass, inside the picture; the middle where it is empty."""
    size = mask.shape[-1]
    places = torch.arange(size, device=mask.device, dtype=torch.float32)
    mass = mask[:, 0].float()
    total = mass.sum(dim=(1, 2))
    centre = torch.stack([(mass.sum(dim=2) * places).sum(dim=1), (mass.sum(dim=1) * places).sum(dim=1)], dim=1)
    centre = torch.where(total[:, None] > 0, centre / total.clamp(min=1e-6)[:, None], (size - 1) / 2)
    return (centre - (patch - 1) / 2).round().long().clamp(0, size - patch)


def random_corners(faces: int, size: int, patch: int, generator: torch.Generator) -> Int[Tensor, "B 2"]:
    """Top and left of a patch anywhere in each picture, "a random area for real samples"."""
    return torch.randint(0, size - patch + 1, (faces, 2), generator=generator, device=generator.device)


def cut_patches(images: Float[Tensor, "B C S S"], corners: Int[Tensor, "B 2"], patch: int) -> Float[Tensor, "B C P P"]:
    """The patch of each picture, by whole pixels; gradients flow back into the pictures."""
    span = torch.arange(patch, device=images.device)
    rows, columns = (corners.to(images.device)[:, :, None] + span).unbind(dim=1)  # (B, P) each
    faces = torch.arange(len(images), device=images.device)[:, None, None]
    return images[faces, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
