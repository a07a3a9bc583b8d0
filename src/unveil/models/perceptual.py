"""Features of EfficientNet-Lite0, trained on ImageNet, to compare images by. B images, H and W their sides."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.backbones import STAGES, EfficientNetLite


class PerceptualFeatures(nn.Module):
    """The maps of the network's first four stages, at strides 2 to 16, with frozen weights of the installed package."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite(stages=STAGES[:4])
        self.network.load_imagenet()
        self.requires_grad_(False).eval()

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the maps, the finest first.

        Args:
            images: RGB in [0, 1].
        """
        maps: list[Tensor] = self.network(images)
        return maps

    def pooled(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 160"]:
        """Return the spatial means of all maps: a description of each image for the Fréchet distance.

        Args:
            images: RGB in [0, 1].
        """
        return torch.cat([maps.mean(dim=(2, 3)) for maps in self(images)], dim=1)
