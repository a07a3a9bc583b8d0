"""GAN-IA's two discriminators: a global one of the whole face, a local one of the restored patch (section 3.3).

B faces, S pixels of a face's side, P of a patch's. 5x5 convolutions of stride 2 down to 4x4 (from 256 or 128 px),
self-attention at an eighth of the side, spectral normalisation; no pooling. Leaky ReLU and spectral normalisation are
ours.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from unveil.models.layers import SelfAttention, identity
from unveil.models.network import Network

CHANNELS = (64, 128, 256, 512, 512, 512)
FEATURES = 1024
ATTENTION_AFTER = 3  # convolutions: 32 px of 256, 16 px of 128


class DiscriminatorOutput(NamedTuple):
    """Output of both discriminators. A logit is that of a real photograph.

    Args:
        global_logits: Logits of the whole faces.
        local_logits: Logits of the patches; equal to `global_logits` if the discriminators are joint.
        features: The output of each convolution's activation, of the global and then of the local discriminator.
    """

    global_logits: Float[Tensor, "B"]
    local_logits: Float[Tensor, "B"]
    features: tuple[Float[Tensor, "B ..."], ...] = ()


class DiscriminatorTrunk(nn.Module):
    """Convolutions of stride 2 from `size` pixels down to 4 to 7 pixels, then a vector of features.

    Args:
        size: The input's side, pixels: 4 to 7 times a power of two, 16 to 511.
        width: Factor of the paper's channels.
        attention: Insert self-attention at an eighth of the side.
        spectral: Apply spectral normalisation to every layer.

    Raises:
        ValueError: `size` is not such a number.
    """

    def __init__(self, size: int, *, width: float = 1.0, attention: bool = True, spectral: bool = True) -> None:
        super().__init__()
        halvings = size.bit_length() - 3
        if not 1 < halvings <= len(CHANNELS) or size % 2**halvings:
            raise ValueError(f"a discriminator of {size} px: give 16 to 511 px that halve down to 4 to 7, such as 192")
        last = size >> halvings
        wrap = spectral_norm if spectral else identity
        widths = [max(8, round(width * channels)) for channels in CHANNELS[:halvings]]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip([3, *widths], widths, strict=False), start=1):
            layers += [wrap(nn.Conv2d(before, after, 5, stride=2, padding=2)), nn.LeakyReLU(0.2)]
            if attention and index == min(ATTENTION_AFTER, halvings - 1):
                layers.append(SelfAttention(after, wrap))
        self.features = max(16, round(width * FEATURES))
        layers += [nn.Flatten(), wrap(nn.Linear(last * last * widths[-1], self.features)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B D"], list[Float[Tensor, "B _ _ _"]]]:
        """Return the vector of features, and the map after each convolution's activation.

        Args:
            images: RGB in [0, 1].
        """
        x, maps = images * 2 - 1, []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU) and x.ndim == 4:
                maps.append(x)
        return x, maps


class Discriminators(Network):
    """The global and the local discriminator. By default each has its own logit (equation 4).

    With `joint` one logit is computed from both feature vectors (Iizuka et al. 2017). It is then returned as both
    logits, so the same loss applies, weighted by λ1 + λ2.

    Args:
        size: Side of a face, pixels.
        patch: Side of a patch, pixels.
        width: Factor of the paper's channels.
        attention: Insert self-attention.
        spectral: Apply spectral normalisation.
        joint: Compute one logit from both.

    Source: GAN-IA, section 3.3.
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
        wrap = spectral_norm if spectral else identity
        self.patch, self.joint = patch, joint
        self.global_trunk = DiscriminatorTrunk(size, width=width, attention=attention, spectral=spectral)
        self.local_trunk = DiscriminatorTrunk(patch, width=width, attention=attention, spectral=spectral)
        whole, part = self.global_trunk.features, self.local_trunk.features
        self.heads = nn.ModuleList(
            wrap(nn.Linear(features, 1)) for features in ((whole + part,) if joint else (whole, part))
        )

    def forward(self, images: Float[Tensor, "B 3 S S"], patches: Float[Tensor, "B 3 P P"]) -> DiscriminatorOutput:
        """Return the logits of faces and of their patches.

        Args:
            images: RGB in [0, 1].
            patches: A patch of each image, by `extract_patches`.
        """
        (whole, global_maps), (part, local_maps) = self.global_trunk(images), self.local_trunk(patches)
        maps = (*global_maps, *local_maps)
        if self.joint:
            logits = self.heads[0](torch.cat([whole, part], dim=1))[:, 0]
            return DiscriminatorOutput(logits, logits, maps)
        first, second = (head(vector)[:, 0] for head, vector in zip(self.heads, (whole, part), strict=True))
        return DiscriminatorOutput(first, second, maps)


def patch_corners(mask: Float[Tensor, "B 1 S S"], patch: int) -> Int[Tensor, "B 2"]:
    """Return top and left of the patch around each mask's centre of mass, inside the image.

    Args:
        mask: Masks in [0, 1]; the patch of an empty mask is in the middle.
        patch: Side of a patch, pixels.
    """
    size = mask.shape[-1]
    indices = torch.arange(size, device=mask.device, dtype=torch.float32)
    mass = mask[:, 0].float()
    total = mass.sum(dim=(1, 2))
    centre = torch.stack([(mass.sum(dim=2) * indices).sum(dim=1), (mass.sum(dim=1) * indices).sum(dim=1)], dim=1)
    centre = torch.where(total[:, None] > 0, centre / total.clamp(min=1e-6)[:, None], (size - 1) / 2)
    return (centre - (patch - 1) / 2).round().long().clamp(0, size - patch)


def random_corners(faces: int, size: int, patch: int, generator: torch.Generator) -> Int[Tensor, "B 2"]:
    """Return top and left of a random patch of each image.

    Args:
        faces: Number of images, B.
        size: Side of an image, pixels.
        patch: Side of a patch, pixels.
        generator: Source of randomness.

    Source: GAN-IA, section 3.3: "a random area for real samples".
    """
    return torch.randint(0, size - patch + 1, (faces, 2), generator=generator, device=generator.device)


def extract_patches(
    images: Float[Tensor, "B C S S"], corners: Int[Tensor, "B 2"], patch: int
) -> Float[Tensor, "B C P P"]:
    """Return the patch of each image; gradients flow back into the images.

    Args:
        images: The images.
        corners: Top and left of each patch, pixels.
        patch: Side of a patch, pixels.
    """
    span = torch.arange(patch, device=images.device)
    rows, columns = (corners.to(images.device)[:, :, None] + span).unbind(dim=1)  # (B, P) each
    faces = torch.arange(len(images), device=images.device)[:, None, None]
    return images[faces, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
