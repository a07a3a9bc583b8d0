"""The networks that a training run may name, and their sizes: the fields of each are what its constructor takes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from unveil.face.carried import own_scheme
from unveil.face.schemes import Scheme
from unveil.models.weights import Blueprint


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(Frozen):
    """What every network has: its name, the side of the crop that it sees, and whether ImageNet weights start it."""

    network: str
    size: int
    imagenet: bool

    def blueprint(self, scheme: Scheme) -> Blueprint:
        sizes = self.model_dump(exclude={"network", "size", "imagenet"})
        return Blueprint(self.network, scheme.name, self.size, 1.0, sizes, own_scheme(scheme))


class Light(Network):
    """Sizes of the light GlomFace; see `unveil.models.glomface.GlomFaceLight`."""

    network: Literal["glomface-light"] = "glomface-light"
    size: int = 160
    dim: int = 128
    whole: int = 256
    part_widths: tuple[int, ...] = (128, 96, 64)
    spacings_unit: tuple[float, ...] = (0.10, 0.07, 0.045)
    channels: int = 64
    width: float = 1.0
    imagenet: bool = True
    """Start from ImageNet weights; else from random ones."""
    levels: Annotated[int, Field(ge=2)] | None = None
    """Keep this many levels of the hierarchy, from the whole down, with the landmarks as the last."""
    phm: bool = True
    """Landmarks exchange evidence within parts."""
    whm: bool = True
    """The whole is parsed into parts; else landmarks hear the whole itself."""
    memory: bool = True
    """A step remembers those before it."""


class Paper(Network):
    """Sizes of the paper's GlomFace; see `unveil.models.glomface.GlomFace`."""

    network: Literal["glomface"] = "glomface"
    size: int = 224
    iterations: Annotated[int, Field(ge=1)] = 4
    patch: int = 40
    """Samples along a patch's side."""
    spacing_unit: float = 2 / 224
    """Between two samples: a pixel of a 224 px face."""
    patch_widths: tuple[int, int, int] = (32, 64, 128)
    whole: int = 1024
    hidden_widths: tuple[int, ...] = (1024, 512, 128)
    part_widths: tuple[int, ...] = (1024, 256, 64)
    coordinates: bool = False
    """CoordConv layers, as in GlomFace*."""
    frozen_norm: bool = False
    """Batch norm with the statistics that it starts with."""
    imagenet: Literal[False] = False
    """There are no ImageNet weights for its CNN."""


class Plain(Network):
    """Sizes of the regressor without a hierarchy; see `unveil.models.plain.PlainRegressor`."""

    network: Literal["plain"] = "plain"
    size: int = 160
    dim: int = 128
    whole: int = 256
    spacings_unit: tuple[float, ...] = (0.10, 0.07, 0.045)
    channels: int = 64
    width: float = 1.0
    imagenet: bool = True
    """Start from ImageNet weights; else from random ones."""


class Hourglass(Network):
    """Sizes of the stacked hourglass; see `unveil.models.hourglass.StackedHourglass`."""

    network: Literal["hourglass"] = "hourglass"
    size: int = 160
    stacks: Annotated[int, Field(ge=1)] = 2
    depth: Annotated[int, Field(ge=0)] = 3
    channels: int = 64
    width: float = 1.0
    boundaries: bool = False
    """Draw the scheme's contours too, and let the next stack see them."""
    imagenet: bool = True
    """Start from ImageNet weights; else from random ones."""
