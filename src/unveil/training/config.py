"""Settings of training runs: frozen, typed and complete. The same types are the command line."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field
from typing_extensions import override

from unveil.data.augment import AugmentConfig
from unveil.data.occlusion import OcclusionConfig
from unveil.models.glomface import GlomFaceConfig, GlomFaceLightConfig
from unveil.models.network import FrozenConfig, NetworkConfig, ParamGroup
from unveil.training.losses import ShapeLoss

Count: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
OpenShare: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
Weight: TypeAlias = Annotated[float, Field(ge=0)]


class ScheduleConfig(FrozenConfig):
    """Length of a run, and the learning rate over it: a warm-up, a plateau, and a linear decay to zero.

    Warm-up and decay are shares of `steps`, so that a shorter run has the same shape.
    """

    steps: Count = 5600
    """Length in steps."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Length in passes over the training faces; replaces --steps."""
    batch: Count = 16
    """Faces of a step, for each process."""
    lr: Annotated[float, Field(gt=0)] = 8e-4
    """Learning rate of AdamW on the plateau."""
    backbone_lr_scale: Weight = 0.5
    """Factor of the learning rate of a backbone that starts from trained weights."""
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises."""
    decay: Share = 0.3
    """Share of the steps, at the end, in which the learning rate falls to zero."""
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Length of the warm-up in steps; replaces --warmup."""
    decay_steps: Annotated[int, Field(ge=0)] | None = None
    """Length of the decay in steps; replaces --decay."""
    lr_gamma: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the learning rate after every --lr-gamma-every steps."""
    lr_gamma_every: Count = 3000
    """Steps between two multiplications by --lr-gamma."""
    weight_decay: Weight = 1e-2
    """Weight decay of AdamW, on parameters with more than one axis."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 5.0
    """Limit of the gradient's norm."""
    ema: Share = 0.998
    """Decay of the exponential moving average of the weights."""
    seed: int = 1
    """Seed of all random numbers."""

    def lr_factor(self, step: int) -> float:
        """Return the factor of the learning rate at a step.

        Args:
            step: The step, counted from 0.
        """
        warmup = round(self.warmup * self.steps) if self.warmup_steps is None else self.warmup_steps
        decay = round(self.decay * self.steps) if self.decay_steps is None else self.decay_steps
        rise = min(1.0, (step + 1) / max(1, warmup))
        fall = min(1.0, max(0.0, (self.steps - step) / max(1, decay)))
        return rise * fall * float(self.lr_gamma ** (step // self.lr_gamma_every))

    def for_faces(self, faces: int, processes: int = 1) -> "ScheduleConfig":
        """Return the schedule with `epochs` converted to steps.

        Args:
            faces: Number of training faces.
            processes: Number of processes.
        """
        if self.epochs is None:
            return self
        steps = max(1, math.ceil(self.epochs * faces / (self.batch * processes)))
        return self.model_copy(update={"steps": steps, "epochs": None})

    def optimiser_group(self, group: ParamGroup) -> dict[str, object]:
        """Return a network's parameter group as the optimiser takes it.

        Args:
            group: The group.
        """
        decay = self.weight_decay if group.weight_decay else 0.0
        return {"params": list(group.params), "lr": self.lr * group.lr_scale, "weight_decay": decay}


class TrainConfig(FrozenConfig):
    """Base of the settings of every run: those of the training loop."""

    model: NetworkConfig
    """Sizes of the network."""
    schedule: ScheduleConfig = ScheduleConfig()
    occlusion: OcclusionConfig = OcclusionConfig()
    val_share: OpenShare = 0.05
    """Share of the faces, chosen by the hash of their names, that only validates."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` uses bfloat16 where the hardware computes it fast."""
    threads: Count = 2
    """Threads of the network on a CPU."""
    validate_every: Count = 500
    """Steps between two validations."""
    checkpoint_every: Count = 250
    """Steps between two checkpoints."""
    image_every: Count = 500
    """Steps between two sample images in TensorBoard."""
    compact_checkpoint: bool = False
    """Store the optimiser's moments as bfloat16 and the averaged weights as a bfloat16 difference in checkpoint.pt."""
    tracker: tuple[Literal["wandb", "mlflow", "comet_ml", "aim", "clearml"], ...] = ()
    """Experiment trackers to log to beside TensorBoard; each needs its own package."""


class FaceTrainConfig(TrainConfig):
    """Base of the settings of runs on views of annotated faces."""

    augment: AugmentConfig = AugmentConfig()

    @property
    def views_per_face(self) -> int:
        """How often one pass sees each face."""
        return 1


class FixedViewTrainConfig(FaceTrainConfig):
    """Base of the settings of runs whose views are made once."""

    views: Count
    """Views of each face, made once before the first stage."""

    @property
    @override
    def views_per_face(self) -> int:
        return self.views


class ViewTrainConfig(FaceTrainConfig):
    """Base of the settings of runs whose every batch has new views."""

    init_from: Path | None = None
    """Weights to start from, a .safetensors file; tensors that do not fit start fresh."""
    restorer: Path | None = None
    """A trained restorer, its run or a folder of seven: the network then trains on faces that it has restored."""


def _as_tuple(value: object) -> object:
    """Accept one number, as in the settings of version 0.1.0."""
    return (value,) if isinstance(value, float) else value


class LandmarkTrainConfig(ViewTrainConfig):
    """One run that trains a landmark network."""

    model: Annotated[GlomFaceLightConfig | GlomFaceConfig, Field(discriminator="network")] = GlomFaceLightConfig()
    imagenet: bool = True
    """Start the backbone from ImageNet weights; else from random ones."""
    shape_loss: ShapeLoss = "wing"
    """wing, l2 (the paper's equation 3), nme (point distance over the face's normaliser), nll (likelihood), or ellipse
    (likelihood with a direction)."""
    visibility_weight: Weight = 4.0
    """Weight of the visibility loss."""
    uncertainty_weight: Weight = 0.5
    """Weight of the uncertainty loss."""
    clusters: Count = 24
    """Clusters of shapes for balanced sampling."""
    balance: Share = 0.5
    """0 draws every face with the same probability, 1 every cluster."""
    clusters_per_batch: Count | None = None
    """Draw so many clusters uniformly for each batch, and each face from one of them; replaces --balance."""
    more_share: Annotated[tuple[OpenShare, ...], BeforeValidator(_as_tuple)] = (0.4,)
    """Share of the drawn faces for each set of --more."""
    memory_lr_scale: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Factor of the learning rate of the layers that read all landmarks at once. At the full rate their thousand
    correlated inputs saturate the memory within a hundred steps, and it is then the same for every face."""
    visibility_only: bool = False
    """Train the visibility head alone (`--visibility-dim`); landmarks and uncertainty stay as they are."""
    occluded_weight: Weight = 1.0
    """Weight of an occluded landmark against a visible one in the calibration of visibility; above 1, more landmarks
    count as occluded."""
    unlabelled_weight: Weight = 1.0
    """Weight of the visible landmarks of faces without occlusion labels, in the visibility loss."""


_SCHEDULE = {
    "rate": "lr",
    "backbone_rate": "backbone_lr_scale",
    "shrink": "lr_gamma",
    "shrink_every": "lr_gamma_every",
    "clip": "max_grad_norm",
}
_TOP = {
    "augmentation": "augment",
    "spread_weight": "uncertainty_weight",
    "held_out_share": "val_share",
    "memory_rate": "memory_lr_scale",
    "start": "init_from",
    "picture_every": "image_every",
}


def migrate_config(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an earlier version's `config.json` with the names of this version.

    Settings that are current stay as they are.

    Args:
        content: The parsed file, which has `model`.
    """
    from unveil.models.checkpoints import convert_sizes  # here, since checkpoints import every network

    content = {_TOP.get(name, name): value for name, value in content.items()}
    model = dict(content["model"])
    network = model["network"]
    if "size" in model:
        model["input_size"] = model.pop("size")
    if "imagenet" in model:
        content["imagenet"] = model.pop("imagenet")
    content["model"] = convert_sizes(network, model)
    schedule = {_SCHEDULE.get(name, name): value for name, value in content.get("schedule", {}).items()}
    for name in ("warmup", "decay"):  # integers were steps
        if isinstance(schedule.get(name), int) and f"{name}_steps" not in schedule:
            schedule[f"{name}_steps"] = schedule.pop(name)
    content["schedule"] = schedule
    if "augment" in content and network not in ("gan-ia", "drda"):
        content["augment"] = {("warp" if name == "bend" else name): v for name, v in content["augment"].items()}
        occlude = content["augment"].pop("occlude", None)
        occlusion = dict(content.get("occlusion", {}))
        if "held_out" in occlusion:
            occlusion["exclude_templates"] = occlusion.pop("held_out")
        content["occlusion"] = occlusion | ({} if occlude is None else {"occluded_fraction": occlude})
    if network != "hourglass":
        content.pop("boundary_weight", None)
    if network in ("pfld", "drn", "gan-ia", "drda"):
        content.pop("imagenet", None)
    return content
