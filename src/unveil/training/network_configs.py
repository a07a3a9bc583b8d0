"""The networks that a training run may name, and their sizes: the fields of each are what its constructor takes."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unveil.models.checkpoints import Blueprint
from unveil.schemes.components import COMPONENTS, MARGIN
from unveil.schemes.hierarchy import Part
from unveil.schemes.scheme import Scheme
from unveil.schemes.serialization import own_scheme

ComponentName = Literal["jaw", "left brow", "right brow", "nose", "left eye", "right eye", "mouth"]


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


class Pfld(Network):
    """Sizes of PFLD; see `unveil.baselines.pfld.Pfld`."""

    network: Literal["pfld"] = "pfld"
    size: Literal[112] = 112
    width: float = 1.0
    """Of all layers; the paper has 1 and 0.25."""
    imagenet: Literal[False] = False
    """There are no ImageNet weights for it."""


class Drn(Network):
    """Sizes of DRN and of SDM, which is a DRN without hidden layers; see `unveil.baselines.drn.Drn`."""

    network: Literal["drn"] = "drn"
    size: int = 128
    hidden: tuple[int, ...] = (1296, 784, 400)
    stages: Annotated[int, Field(ge=1)] = 3
    imagenet: Literal[False] = False
    """It has no CNN to start."""


class Restorer(Frozen):
    """What every restorer has: its name, the side of the crop that it sees, and how that is framed."""

    network: str
    size: int
    component: ComponentName | None = None
    """Restore this component alone; else the whole face."""
    margin: float = 1.15
    """The crop's side in diagonals of the landmark box; of a component it is 1.4."""

    def blueprint(self, scheme: Scheme) -> Blueprint:
        margin = self.margin if self.component is None else MARGIN
        return Blueprint(self.network, scheme.name, self.size, margin, self.sizes, component=self.component)

    @property
    def sizes(self) -> dict[str, Any]:
        """What the network's constructor takes."""
        return self.model_dump(exclude={"network", "size", "component", "margin"})

    @property
    def part(self) -> Part | None:
        """The component's landmarks; None for the whole face."""
        return next((part for part in COMPONENTS if part.name == self.component), None)


class GanIa(Restorer):
    """Sizes of the generator; see `unveil.models.generator.Generator`."""

    network: Literal["gan-ia"] = "gan-ia"
    size: int = 256
    widths: tuple[int, ...] = (64, 128, 256)
    dilations: tuple[int, ...] = (2, 4, 8, 16)
    last: int = 32
    """Channels before the picture."""
    attention: bool = True
    """Self-attention between places, in generator and judges."""
    places: int = 0
    """Side of a learned map of the face, laid under the generator's middle; 0 is none, as in the paper."""
    guided: bool = False
    """Show the generator the landmarks too, drawn as lines; the paper's is not told."""


class Drda(Restorer):
    """Sizes of the de-corrupt autoencoder; see `unveil.baselines.drda.DecorruptAutoencoder`."""

    network: Literal["drda"] = "drda"
    size: int = 64
    hidden: tuple[int, ...] = (1024, 256)
    """Narrowing to the code; then mirrored."""

    @property
    def sizes(self) -> dict[str, Any]:
        return {**super().sizes, "size": self.size}


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
    """Sizes of the regressor without a hierarchy; see `unveil.baselines.plain.PlainRegressor`."""

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
    """Sizes of the stacked hourglass; see `unveil.baselines.hourglass.StackedHourglass`."""

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
