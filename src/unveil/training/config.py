"""What a training run is told: frozen, typed and total. The same types are the command line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from unveil.data.augment import Augmentation
from unveil.data.occlusion import OcclusionConfig
from unveil.data.restoration_pairs import Holes
from unveil.training.gan_losses import PixelLoss
from unveil.training.losses import ShapeLoss
from unveil.training.network_configs import Drda, Drn, Frozen, GanIa, Hourglass, Light, Paper, Pfld, Plain

Count: TypeAlias = Annotated[int, Field(ge=1)]


def _several(given: object) -> object:
    """Runs that were written when there was one share have it as a number."""
    return (given,) if isinstance(given, float) else given


class Schedule(Frozen):
    """Adam's steps: a warm-up, a plateau, and a fall to nothing over the last `decay` steps. `batch` is a process's."""

    steps: Count = 5600
    batch: Count = 16
    rate: float = 8e-4
    backbone_rate: float = 0.5
    """The start from ImageNet moves slower by this factor."""
    warmup: int = 300
    decay: int = 1600
    shrink: float = 1.0
    """What the rate is multiplied with after every `shrink_every` steps."""
    shrink_every: Count = 3000
    weight_decay: float = 1e-2
    clip: float = 5.0
    ema: float = 0.998
    seed: int = 1

    def group(self, parameters: Iterable[Any], pace: float = 1.0, *, decays: bool = True) -> dict[str, object]:
        """Weights as the optimiser takes them: `pace` of the rate, and with decay or without."""
        decay = self.weight_decay if decays else 0.0
        return {"params": list(parameters), "lr": self.rate * pace, "weight_decay": decay}


RESTORATION_OCCLUSION = OcclusionConfig.of_kinds(
    **{"mask": 3.0, "template": 2.0, "sprite": 3.0, "polygon": 2.0, "sunglasses": 1.0},
    occluded_fraction=0.9,
    second_fraction=0.0,
    coverage=(0.1, 0.5),
)
"""One face in ten stays bare: a restorer must leave those alone."""


class Run(Frozen):
    """What the loop has to know of any run."""

    schedule: Schedule = Schedule()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Count = 2
    validate_every: Count = 500
    checkpoint_every: Count = 250
    picture_every: Count = 500


class Alignment(Run):
    """One run that trains a landmark model."""

    model: Annotated[Light | Paper | Plain | Hourglass, Field(discriminator="network")] = Light()
    augmentation: Augmentation = Augmentation()
    occlusion: OcclusionConfig = OcclusionConfig()
    shape_loss: ShapeLoss = "wing"
    visibility_weight: float = 4.0
    spread_weight: float = 0.5
    boundary_weight: float = 10.0
    """Of the boundary maps, where the network draws them."""
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of training faces, chosen by the hash of their names, that only validates."""
    clusters: Count = 24
    balance: Annotated[float, Field(ge=0, le=1)] = 0.5
    more_share: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(_several)] = (0.4,)
    """The share of drawn faces that are of --more, where that is given; of several, one share each."""
    memory_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The memory of the whole moves slower by this factor: at full rate its thousand inputs, which move together, fill
    it within a hundred steps, and it is then the same for every face."""
    start: Path | None = None
    """Weights to start from, a .safetensors file; what does not fit, as the points of another scheme, starts fresh."""


class Judges(Frozen):
    """The two discriminators, and what they weigh in the generator's loss (equation 4)."""

    patch: int = 128
    """Side of the patch that the local one sees."""
    judge_width: float = 1.0
    joint: bool = False
    """One logit of both, as Iizuka et al. have it."""
    whole_weight: float = 4e-4
    """λ1; the paper gives neither."""
    patch_weight: float = 4e-4
    """λ2."""


class Restoring(Run):
    """One run that trains a network to restore covered faces.

    The phases are the paper's: the generator alone for `generator_steps` (T_G), the discriminators alone for
    `discriminator_steps` (T_D), then both until the schedule ends.
    """

    model: Annotated[GanIa | Drda, Field(discriminator="network")] = GanIa()
    schedule: Schedule = Schedule(
        steps=200_000, batch=16, rate=2e-4, warmup=500, decay=50_000, weight_decay=0.0, clip=1.0, ema=0.999
    )
    generator_steps: Annotated[int, Field(ge=0)] = 90_000
    discriminator_steps: Annotated[int, Field(ge=0)] = 10_000
    coarse_steps: Annotated[int, Field(ge=0)] = 0
    """The first of `generator_steps` see faces of half the side, at a quarter of the work."""
    judges: Judges = Judges()
    pixel_loss: PixelLoss = "l2"
    hole_weight: Annotated[float, Field(gt=0)] = 1.0
    """How often a covered pixel counts in L_r."""
    structure_weight: Annotated[float, Field(ge=0)] = 0.0
    """What the differences between neighbours weigh in L_r (ours)."""
    mask_weight: float = 0.02
    start: Path | None = None
    """Weights to start from, a .safetensors file; what does not fit starts fresh."""
    holes: Holes = Holes()
    occlusion: OcclusionConfig = RESTORATION_OCCLUSION
    """Kinds that need pictures do not occur without a library."""
    held_out_faces: Count = 500
    """Faces, chosen by their names and the seed, that never enter training."""
    validated_faces: Count = 60
    """How many of those a validation looks at, always the same ones under the same occluders."""


class PoseGuided(Run):
    """One run that trains PFLD: the error weighs more where the pose is wrong and where a face is of a rare kind."""

    model: Pfld = Pfld()
    schedule: Schedule = Schedule(steps=20_000, batch=32, rate=1e-3, decay=8000, weight_decay=1e-6, ema=0.998)
    augmentation: Augmentation = Augmentation()
    occlusion: OcclusionConfig = OcclusionConfig()
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of training faces, chosen by the hash of their names, that only validates."""
    start: Path | None = None
    """Weights to start from, a .safetensors file; what does not fit starts fresh."""


class Cascaded(Run):
    """One run that trains DRN, or SDM in closed form: every stage on what SIFT sees where the last one left off.

    The schedule is that of each stage.
    """

    model: Drn = Drn()
    schedule: Schedule = Schedule(steps=3000, batch=64, rate=3e-4, warmup=100, decay=1500, weight_decay=1e-2, ema=0.99)
    augmentation: Augmentation = Augmentation(rotation=10.0)
    occlusion: OcclusionConfig = OcclusionConfig()
    views: Count = 6
    """Of each face, made once before the first stage."""
    closed_form: bool = False
    """Solve each stage at once, as SDM does; only without hidden layers."""
    ridge: Annotated[float, Field(gt=0)] = 20.0
    """How strongly the closed form is pulled to no movement."""
    restorer: Path | None = None
    """A trained restorer, its run or a folder of seven: every stage then sees faces that it has restored."""
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of training faces, chosen by the hash of their names, that only validates."""


AnyRun: TypeAlias = Alignment | Restoring | PoseGuided | Cascaded
