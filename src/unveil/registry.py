"""All networks, presets and tasks by name: those of the core and of the baselines."""

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from rich.console import Console
from torch import nn

from unveil.baselines.cascade_training import CASCADE_PRESETS, CascadeTask, CascadeTrainConfig
from unveil.baselines.control_training import CONTROL_PRESETS, HourglassTask, HourglassTrainConfig, PlainTrainConfig
from unveil.baselines.drda import DRDA_PRESETS, DrdaTrainConfig
from unveil.baselines.networks import BASELINES
from unveil.baselines.pfld_training import PFLD_PRESETS, PfldTask, PfldTrainConfig
from unveil.baselines.rcpr_training import RCPR_PRESETS, RcprTask, RcprTrainConfig
from unveil.data.augment import Transform
from unveil.data.datasets.samples import Faces
from unveil.data.pack import read_faces
from unveil.models import checkpoints
from unveil.models.network import NetworkSpec
from unveil.schemes.scheme import Scheme
from unveil.training.config import LandmarkTrainConfig, TrainConfig, migrate_config
from unveil.training.detection import DETECTOR_PRESETS, DetectionTask, DetectorTrainConfig
from unveil.training.gan import GanTask
from unveil.training.gan_config import GAN_PRESETS, GanTrainConfig
from unveil.training.landmarks import LandmarkTask
from unveil.training.presets import LANDMARK_PRESETS
from unveil.training.restoration import RestorationTask
from unveil.training.state import CHECKPOINT
from unveil.training.task import FitResult, Task

NETWORKS: checkpoints.Networks = MappingProxyType({**checkpoints.NETWORKS, **BASELINES})
"""Every network, by the name that weights files carry."""

PRESETS: Mapping[str, TrainConfig] = MappingProxyType(
    {
        **LANDMARK_PRESETS,
        **CONTROL_PRESETS,
        **PFLD_PRESETS,
        **CASCADE_PRESETS,
        **RCPR_PRESETS,
        **GAN_PRESETS,
        **DRDA_PRESETS,
        **DETECTOR_PRESETS,
    }
)
"""Every named run: `unveil train NAME`."""

AnyTask: TypeAlias = Task | CascadeTask | RcprTask

TASKS: Mapping[type[TrainConfig], Callable[..., AnyTask]] = MappingProxyType(
    {
        LandmarkTrainConfig: LandmarkTask,
        PlainTrainConfig: LandmarkTask,
        HourglassTrainConfig: HourglassTask,
        PfldTrainConfig: PfldTask,
        CascadeTrainConfig: CascadeTask,
        RcprTrainConfig: RcprTask,
        GanTrainConfig: GanTask,
        DrdaTrainConfig: RestorationTask,
        DetectorTrainConfig: DetectionTask,
    }
)
"""Class of the settings to the class of the task."""


def preset(name: str) -> TrainConfig:
    """Return a preset.

    Args:
        name: Its name.

    Raises:
        ValueError: There is none of that name; the message has the nearest one.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}"
        raise ValueError(f"unknown preset {name!r}: {hint}")
    return PRESETS[name]


def build_network(spec: NetworkSpec) -> nn.Module:
    """Return any network with fresh weights; see `unveil.models.checkpoints.build`.

    Args:
        spec: The record of the network.
    """
    return checkpoints.build(spec, NETWORKS)


def load_network(path: Path) -> tuple[nn.Module, NetworkSpec]:
    """Load any network; see `unveil.models.checkpoints.load_network`.

    Args:
        path: A `.safetensors` file that training or export wrote.

    Returns:
        The network in evaluation mode, and its record.
    """
    return checkpoints.load_network(path, NETWORKS)


def read_config(path: Path) -> TrainConfig:
    """Read the settings of a run; those of earlier versions are converted.

    Args:
        path: The run's `config.json`.

    Returns:
        The settings.

    Raises:
        ValueError: The file is missing or not the settings of a run. The message names the field.
    """
    try:
        content = json.loads(path.read_bytes())
        network = content["model"]["network"]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; name the config.json of a run") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the settings of a run; name the config.json of a run") from error
    kinds = {config.model.network: type(config) for config in PRESETS.values()}
    if network not in kinds:
        raise ValueError(f"{path}: unknown network {network!r}; there are {', '.join(kinds)}")
    try:
        return kinds[network].model_validate(migrate_config(content), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def build_task(
    faces: Faces, config: TrainConfig, more: Sequence[Faces] = (), *, transform: Transform | None = None
) -> AnyTask:
    """Return the task of a run.

    Args:
        faces: The faces to train on and to validate on.
        config: The settings.
        more: Sets of faces that only train.
        transform: A user's own augmentation of landmark networks.

    Raises:
        ValueError: The faces, or the number of sets, do not fit the settings.
    """
    hook: dict[str, Any] = {} if transform is None else {"transform": transform}
    if getattr(config, "restorer", None) is not None:
        hook["networks"] = NETWORKS
    return TASKS[type(config)](faces, config, more, **hook)


def override(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Return settings with some of them changed.

    Args:
        config: The settings.
        settings: New values by the names of the command line, with underscores, at any depth of the settings.

    Raises:
        ValueError: There is no setting of that name, or a value is out of range.
    """
    content, left = config.model_dump(), dict(settings)

    def change(fields: dict[str, Any], model: BaseModel) -> None:
        for name, value in fields.items():
            nested = getattr(model, name)
            if isinstance(nested, BaseModel) and name not in left:
                change(value, nested)
            elif name in left:
                new = left.pop(name)
                fields[name] = new.model_dump() if isinstance(new, BaseModel) else new

    change(content, config)
    if left:
        raise ValueError(f"unknown setting {next(iter(left))!r} of {config.model.network!r}; `unveil train --help`")
    try:
        return type(config).model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][-1]} {first['input']}: {first['msg']}") from error


def train(
    config: str | Path | TrainConfig,
    data: str | Path | Faces,
    out: str | Path,
    *,
    more: Sequence[str | Path | Faces] = (),
    scheme: Scheme | None = None,
    transform: Transform | None = None,
    resume: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> FitResult:
    """Train a network: the Python form of `unveil train`.

    Args:
        config: Name of a preset, path of a run's `config.json`, or settings. With `resume`, the run's own settings
            replace a name or a path.
        data: A pack that `unveil prepare` wrote, a folder of images with .pts files, or faces.
        out: The run's folder.
        more: Sets of faces that only train.
        scheme: Scheme of a folder that is not annotated in ibug68.
        transform: A user's own augmentation, applied last to every training example of a landmark network.
        resume: Continue from the run's checkpoint.
        console: Where to print; stderr by default.
        settings: Settings to change, by the names of the command line, for example `steps=2000`.

    Returns:
        The last step, the metrics of the best validation, and whether the run was interrupted.

    Raises:
        ValueError: A setting, the data or the checkpoint do not fit; the folder holds a run and `resume` is false, or
            holds none and it is true.

    Example:
        >>> import unveil
        >>> result = unveil.train("glomface-light", "faces", "runs/light", steps=2, batch=4, val_share=0.2)
        >>> result.step
        2
    """
    out = Path(out)
    if resume and not (out / "config.json").is_file():
        raise ValueError(f"{out}: no run to resume; leave resume out")
    if isinstance(config, TrainConfig):
        chosen = config
    elif resume:
        chosen = read_config(out / "config.json")
    elif isinstance(config, Path) or config.endswith(".json"):
        chosen = read_config(Path(config))
    else:
        chosen = preset(config)
    chosen = override(chosen, settings) if settings else chosen
    if not resume and any(out.rglob(CHECKPOINT)):
        raise ValueError(f"{out}: holds a run; give resume=True to continue it, or name another folder")

    def faces(given: str | Path | Faces) -> Faces:
        return read_faces(Path(given), scheme) if isinstance(given, str | Path) else given

    task = build_task(faces(data), chosen, [faces(one) for one in more], transform=transform)
    return task.fit(out, resume=resume, console=console)
