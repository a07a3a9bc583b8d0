"""What a training run is told: frozen, typed and total. The same types are the command line."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from unveil.data.augment import Augmentation
from unveil.data.occlusion import KINDS, KINDS_OF_IBUG68
from unveil.face.schemes import IBUG68, Scheme
from unveil.training.losses import ShapeLoss
from unveil.training.networks import Frozen, Hourglass, Light, Paper, Plain


class Schedule(Frozen):
    """Adam's steps: a warm-up, a plateau, and a fall to nothing over the last `decay` steps. `batch` is a process's."""

    steps: int = 5600
    batch: int = 16
    rate: float = 8e-4
    backbone_rate: float = 0.5
    """The start from ImageNet moves slower by this factor."""
    warmup: int = 300
    decay: int = 1600
    shrink: float = 1.0
    """What the rate is multiplied with after every `shrink_every` steps."""
    shrink_every: Annotated[int, Field(ge=1)] = 3000
    weight_decay: float = 1e-2
    clip: float = 5.0
    ema: float = 0.998
    seed: int = 1


class Occlusion(Frozen):
    """Which occluders fall on training faces, by weight, and where pictures of them lie.

    Masks, templates and sunglasses are placed by the 68 points of ibug68 and never fall on faces of other schemes.
    """

    noise: float = 1.5
    polygon: float = 2.0
    mask: float = 4.0
    template: float = 0.0
    sunglasses: float = 1.0
    sprite: float = 0.0
    library: Path | None = None
    """Folder with `masks/` (templates and anchors.json) and folders of sprites."""
    held_out: tuple[str, ...] = ("surgical", "N95", "cloth")
    """Template names, or beginnings of them, that never enter training."""

    @property
    def weights(self) -> dict[str, float]:
        """The kinds that occur, and how often."""
        weights: dict[str, float] = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: weight for kind, weight in weights.items() if weight > 0}

    def on(self, scheme: Scheme) -> "Occlusion":
        """The same, without the kinds that cannot be placed on faces of the scheme."""
        return self if scheme == IBUG68 else self.model_copy(update=dict.fromkeys(KINDS_OF_IBUG68, 0.0))


class Alignment(Frozen):
    """One run that trains a landmark model."""

    model: Annotated[Light | Paper | Plain | Hourglass, Field(discriminator="network")] = Light()
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()
    occlusion: Occlusion = Occlusion()
    shape_loss: ShapeLoss = "wing"
    visibility_weight: float = 4.0
    spread_weight: float = 0.5
    boundary_weight: float = 10.0
    """Of the boundary maps, where the network draws them."""
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of training faces, chosen by the hash of their names, that only validates."""
    clusters: int = 24
    balance: Annotated[float, Field(ge=0, le=1)] = 0.5
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=1)] = 2
    validate_every: int = 500
    checkpoint_every: int = 250
    picture_every: int = 500
