"""DRDA's de-corrupt autoencoder, the baseline that GAN-IA replaces: fully connected, trained on squared error alone.

B faces, S pixels of a side. Zhang et al. 2016, "Occlusion-free face alignment: deep regression networks coupled with
de-corrupt autoencoders": one network for each component; one of the whole face works the same way.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from unveil.models.generator import RestorerNetworkConfig
from unveil.models.layers import mlp
from unveil.models.network import Network
from unveil.schemes.scheme import Scheme
from unveil.training.config import ScheduleConfig
from unveil.training.gan_config import RestorationTrainConfig


class DrdaConfig(RestorerNetworkConfig):
    """Sizes of a `DecorruptAutoencoder`."""

    network: Literal["drda"] = "drda"
    input_size: int = 64
    hidden: tuple[int, ...] = (1024, 256)
    """Widths down to the code; the decoder mirrors them."""

    @override
    def build(self, scheme: Scheme) -> "DecorruptAutoencoder":
        return DecorruptAutoencoder(size=self.input_size, hidden=self.hidden)  # the same for every scheme


class DrdaTrainConfig(RestorationTrainConfig):
    """One run that trains a de-corrupt autoencoder, on squared error alone as its paper does."""

    model: DrdaConfig = DrdaConfig()


class DecorruptAutoencoder(Network):
    """A fully connected autoencoder from an occluded image to the restored one, without a mask.

    It has no skip connections, so every pixel passes through the code, which blurs. ReLU between the layers is ours: no
    layer needs pretraining.

    Args:
        size: The image's side, S, pixels.
        hidden: Widths down to the code; the decoder mirrors them.

    Example:
        >>> DecorruptAutoencoder(size=32)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(self, *, size: int = 32, hidden: tuple[int, ...] = (1024, 256)) -> None:
        super().__init__()
        pixels = 3 * size * size
        self.encoder = mlp(pixels, *hidden)
        self.decoder = mlp(hidden[-1], *hidden[-2::-1], pixels)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
        """Return the restored images.

        Args:
            images: RGB in [0, 1].
        """
        code = self.encoder(images.flatten(1) * 2 - 1).relu()  # (B, hidden[-1])
        restored: Tensor = self.decoder(code).sigmoid()
        return restored.reshape(images.shape)


DRDA_PRESETS: Mapping[str, DrdaTrainConfig] = MappingProxyType(
    {
        "drda": DrdaTrainConfig(
            schedule=ScheduleConfig(
                steps=20_000, batch=32, lr=5e-4, decay_steps=8000, weight_decay=0.0, max_grad_norm=1.0
            )
        )
    }
)
"""`unveil train drda --data packs/faces.npz --library LIBRARY`: 700 steps of 32 take five minutes for each component on
a core with AVX2 and reach a PSNR of 16 to 21 dB."""
