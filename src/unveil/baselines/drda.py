"""DRDA's de-corrupt autoencoder, the baseline that GAN-IA replaces: fully connected, trained on squared error alone.

B faces, S pixels of a side. Zhang et al. 2016, "Occlusion-free face alignment: deep regression networks coupled with
de-corrupt autoencoders": one network a component; one of the whole face works the same.
"""

from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.layers import mlp


class DecorruptAutoencoder(nn.Module):
    """An occluded picture in, the picture without its occluder out; `hidden` narrows to the code, then mirrors.

    It knows no mask and has no skips: every pixel passes through the code, which is what blurs (ours: ReLU between
    layers, so that no layer needs to be trained before the others).
    """

    def __init__(self, *, size: int = 32, hidden: tuple[int, ...] = (1024, 256)) -> None:
        super().__init__()
        pixels = 3 * size * size
        self.size = size
        self.code = mlp(pixels, *hidden)
        self.picture = mlp(hidden[-1], *hidden[-2::-1], pixels)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
        """RGB in [0, 1], channels first."""
        code = self.code(images.flatten(1) * 2 - 1).relu()
        restored: Tensor = self.picture(code).sigmoid()
        return restored.reshape(images.shape)
