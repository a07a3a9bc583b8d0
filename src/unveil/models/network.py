"""What all networks share: frozen configs, the record in weights files, landmark predictions, parameter groups.

B faces, L landmarks, T steps, K contours, H and W pixels of a map.
"""

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from typing_extensions import override

from unveil.schemes.scheme import Scheme
from unveil.schemes.scheme_file import scheme_record


class FrozenConfig(BaseModel):
    """Settings that do not change after construction and forbid unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The record of a network in its weights file, from which the network is built again.

    Args:
        network: Name of the network in `unveil.registry`.
        scheme: Name of the landmark scheme.
        input_size: Side of the crop, pixels.
        margin: Side of the crop in diagonals of the tight landmark box (of a component's box for a component).
        sizes: Fields of the network's config, without `network` and `input_size`.
        own_scheme: Description of a scheme that is not built in, with the keys of a scheme file.
        component: The face component that a restorer restores; None for the whole face.
        annotation_offset: Horizontal offset of the annotations to the right, in diagonals of the tight box.
    """

    network: str
    scheme: str
    input_size: int
    margin: float
    sizes: Mapping[str, Any]
    own_scheme: Mapping[str, Any] | None = None
    component: str | None = None
    annotation_offset: float = 0.0

    def to_json(self) -> str:
        """Return the record as JSON; absent fields are left out."""
        fields = {"network": self.network, "scheme": self.scheme, "input_size": self.input_size, "margin": self.margin}
        own = {} if self.own_scheme is None else {"own_scheme": dict(self.own_scheme)}
        part = {} if self.component is None else {"component": self.component}
        offset = {"annotation_offset": self.annotation_offset} if self.annotation_offset else {}
        return json.dumps(fields | {"sizes": dict(self.sizes)} | own | part | offset)


class NetworkConfig(FrozenConfig):
    """Base of the config beside each network."""

    network: str
    """Name of the network in `unveil.registry`."""
    input_size: int
    """Side of the crop, pixels."""

    @abstractmethod
    def build(self, scheme: Scheme) -> "Network":
        """Return the network with fresh weights.

        Args:
            scheme: The landmark scheme.

        Raises:
            ValueError: The sizes do not fit the scheme.
        """

    @property
    def sizes(self) -> dict[str, Any]:
        """The fields that are the network's own."""
        return self.model_dump(exclude={"network", "input_size"})

    def spec(self, scheme: Scheme, *, annotation_offset: float = 0.0) -> NetworkSpec:
        """Return the record of this network.

        Args:
            scheme: The landmark scheme.
            annotation_offset: Horizontal offset of the annotations to the right, in diagonals of the tight box.
        """
        own = scheme_record(scheme)
        return NetworkSpec(
            self.network, scheme.name, self.input_size, 1.0, self.sizes, own, annotation_offset=annotation_offset
        )


class ParamGroup(NamedTuple):
    """Parameters that train alike.

    Args:
        params: The parameters.
        lr_scale: Factor of their learning rate.
        weight_decay: Whether weight decay applies.
    """

    params: list[nn.Parameter]
    lr_scale: float = 1.0
    weight_decay: bool = True


def group_parameters(network: nn.Module, lr_scales: Iterable[tuple[nn.Module, float]] = ()) -> list[ParamGroup]:
    """Group a network's parameters by learning rate and weight decay.

    Args:
        network: The network.
        lr_scales: Submodules with the learning-rate factor of their parameters; it is 1 elsewhere.

    Returns:
        One group for each combination that occurs. Parameters with one axis (gains, most biases) have no weight decay.
    """
    scales = {id(parameter): scale for module, scale in lr_scales for parameter in module.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        key = (scales.get(id(parameter), 1.0), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return [ParamGroup(params, scale, decay) for (scale, decay), params in groups.items()]


class Prediction(NamedTuple):
    """Output of a landmark network. A field is None for a network that does not predict it.

    Args:
        shapes_unit: The shape after each step, in unit coordinates of the crop.
        visibility_logit: Logit of the probability that a landmark is visible.
        log_scale: Natural logarithm of the expected distance between prediction and ground truth, in unit coordinates.
        boundary_logits: The maps of the K contours after each step.
        ellipses: The landmarks' ellipses of uncertainty after each step, see `LandmarkHead.ellipses`.
    """

    shapes_unit: Float[Tensor, "B T L 2"]
    visibility_logit: Float[Tensor, "B L"] | None = None
    log_scale: Float[Tensor, "B L"] | None = None
    boundary_logits: Float[Tensor, "B T K H W"] | None = None
    ellipses: Float[Tensor, "B T L 3"] | None = None

    @property
    def points_unit(self) -> Float[Tensor, "B L 2"]:
        """The shape after the last step."""
        return self.shapes_unit[:, -1]


class Network(nn.Module):
    """Base of all networks."""

    def set_mean_shape(self, mean_shape: Float[Tensor, "L 2"]) -> None:
        """Set the shape that a network of landmarks starts from.

        Args:
            mean_shape: The shape in unit coordinates.
        """
        self.get_buffer("mean_shape").copy_(mean_shape)

    def param_groups(self, *, backbone_lr_scale: float = 1.0, memory_lr_scale: float = 1.0) -> list[ParamGroup]:
        """Return the parameters in groups that train alike; by default all in one group.

        Args:
            backbone_lr_scale: Factor of the learning rate of a backbone that starts from trained weights.
            memory_lr_scale: Factor of the learning rate of the layers that read all landmarks at once.
        """
        del backbone_lr_scale, memory_lr_scale
        return [ParamGroup(list(self.parameters()))]


class LandmarkNetwork(Network):
    """Base of the networks that predict landmarks from one crop.

    Buffers: `mean_shape` (L, 2) in unit coordinates, zero until `set_mean_shape`; `calibration` (3,), gain and offset
    of the visibility logit and gain of the scale, fitted on the validation split after training.

    Args:
        scheme: The landmark scheme.
    """

    mean_shape: Tensor
    calibration: Tensor
    outputs: int = 3
    """1 for landmarks alone, 2 with visibility, 3 with visibility and uncertainty."""

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self.register_buffer("mean_shape", torch.zeros(scheme.points, 2))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0, 1.0]))

    def landmarks(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L 2"]:
        """Return the landmarks alone, in unit coordinates.

        Args:
            images: RGB in [0, 1].
        """
        prediction: Prediction = self(images)
        return prediction.points_unit

    def set_calibration(self, visibility: tuple[float, float], scale: float) -> None:
        """Set the calibration of the auxiliary outputs.

        Args:
            visibility: Gain and offset of the visibility logit.
            scale: Factor of the predicted distance.
        """
        self.calibration.copy_(torch.tensor([*visibility, scale]))

    def visibility_module(self) -> str:
        """Return the name of the submodule that predicts visibility and can train alone.

        Raises:
            ValueError: The network has none.
        """
        raise ValueError("--visibility-only: the network has no visibility head; add --visibility-dim 96")

    def load_imagenet(self) -> None:
        """Load ImageNet weights into the backbone.

        Raises:
            ValueError: The network has no backbone with ImageNet weights.
        """
        raise ValueError(f"{type(self).__name__} has no ImageNet weights; pass --no-imagenet")

    @override
    def param_groups(self, *, backbone_lr_scale: float = 1.0, memory_lr_scale: float = 1.0) -> list[ParamGroup]:
        return group_parameters(self)
