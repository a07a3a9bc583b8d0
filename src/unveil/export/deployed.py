"""Networks as the ONNX file contains them: calibrated, without training outputs. B faces, L landmarks, S pixels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.baselines.pfld import Pfld
from unveil.inference.onnx_model import DETECTOR_OUTPUTS, OUTPUTS, RESTORER_OUTPUTS
from unveil.models.detector import FaceDetectorNetwork
from unveil.models.generator import Generator, GeneratorOutput
from unveil.models.network import LandmarkNetwork, Prediction


class DeployedLandmarks(nn.Module):
    """A landmark network with calibrated outputs, as the ONNX file contains it.

    Args:
        network: The trained network; of PFLD, without its auxiliary pose network.
    """

    def __init__(self, network: Pfld | LandmarkNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B L *two"], ...]:
        """Predict landmarks.

        Args:
            images: RGB crops in [0, 1].

        Returns:
            Landmarks in crop units (B, L, 2); as far as the network predicts them, probability of visibility (B, L)
            and expected error in crop units (B, L).
        """
        if isinstance(self.network, Pfld) or self.network.outputs == 1:
            return (self.network.landmarks(images),)
        prediction: Prediction = self.network(images)
        assert prediction.visibility_logit is not None
        gain, offset, scale = self.network.calibration
        visibility = torch.sigmoid(prediction.visibility_logit * gain + offset)
        if prediction.log_scale is None:
            return prediction.points_unit, visibility
        return prediction.points_unit, visibility, torch.exp(prediction.log_scale) * scale


class DeployedRestorer(nn.Module):
    """A generator as the ONNX file contains it.

    Args:
        generator: The trained generator.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Float[Tensor, "B C S S"]) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 1 S S"]]:
        """Restore faces.

        Args:
            images: RGB crops in [0, 1]; a guided generator takes one more channel, the landmark map.

        Returns:
            The restored faces, and for each pixel the probability that it is occluded.
        """
        output: GeneratorOutput = self.generator(images)
        return output.restored, output.mask


class DeployedDetector(nn.Module):
    """A face detector as the ONNX file contains it, for images of any size.

    Args:
        network: The trained network.
    """

    def __init__(self, network: FaceDetectorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N 4"], Float[Tensor, "B N 10"]]:
        """Predict all cells.

        Args:
            images: RGB images in [-1, 1]; H and W are multiples of 32.

        Returns:
            Scores in [0, 1], distances and points as in `unveil.models.detector.DetectorOutput`.
        """
        output = self.network(images)
        return torch.sigmoid(output.scores), output.distances, output.points


def deploy(network: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Wrap a network for export.

    Args:
        network: A landmark network or a generator.

    Returns:
        The module to export, in evaluation mode, and the names of its outputs.
    """
    if isinstance(network, Generator):
        return DeployedRestorer(network).eval(), RESTORER_OUTPUTS
    if isinstance(network, FaceDetectorNetwork):
        return DeployedDetector(network).eval(), DETECTOR_OUTPUTS
    assert isinstance(network, Pfld | LandmarkNetwork)
    return DeployedLandmarks(network).eval(), OUTPUTS[: 1 if isinstance(network, Pfld) else network.outputs]


def input_channels(network: nn.Module) -> int:
    """Return the number of input channels: 3, or 4 for a generator that is guided by a landmark map.

    Args:
        network: A landmark network or a generator.
    """
    return network.channels if isinstance(network, Generator) else 3


def is_deployable(network: nn.Module) -> bool:
    """Tell whether `align` or `restore` can run an exported network of this kind.

    Args:
        network: Any network.
    """
    return isinstance(network, Generator | Pfld | FaceDetectorNetwork | LandmarkNetwork)
