"""Exported models: a folder with `model.onnx` and `config.json`, read and checked."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from unveil.inference.onnx_session import ModelError as ModelError
from unveil.inference.onnx_session import OnnxSession as OnnxSession
from unveil.inference.onnx_session import Provider as Provider

Output: TypeAlias = Literal["points_unit", "visibility", "uncertainty_unit"]
OUTPUTS: tuple[Output, ...] = ("points_unit", "visibility", "uncertainty_unit")
RestorerOutput: TypeAlias = Literal["restored", "mask"]
RESTORER_OUTPUTS: tuple[RestorerOutput, ...] = ("restored", "mask")
DetectorOutput: TypeAlias = Literal["scores", "distances", "points"]
DETECTOR_OUTPUTS: tuple[DetectorOutput, ...] = ("scores", "distances", "points")


class ModelConfig(BaseModel):
    """The `config.json` of a landmark model: its scheme, and the crop that it was trained on.

    Args:
        format: Version of the file format.
        name: Name of the model.
        scheme: Name of the landmark scheme.
        own_scheme: A custom scheme, with the keys of a scheme file; None for a built-in scheme.
        input_size: Side of the crop in pixels.
        margin: Side of the crop in diagonals of the tight landmark box.
        annotation_offset: Horizontal offset of the training annotations from the points they mark, positive to the
            right, in diagonals of the tight landmark box.
        outputs: Outputs of the network; at least `points_unit`.
        sha256: SHA-256 of each file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    name: str
    scheme: str
    own_scheme: dict[str, Any] | None = None
    input_size: int = Field(gt=0)
    margin: float = Field(gt=0)
    annotation_offset: float = 0.0
    outputs: tuple[Output, ...] = OUTPUTS
    sha256: dict[str, str]

    @field_validator("outputs")
    @classmethod
    def _with_points(cls, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        if "points_unit" not in outputs:
            raise ValueError("points_unit is not among them; export the model again")
        return outputs


class RestorerConfig(BaseModel):
    """The `config.json` of a restorer: the crop that it was trained on.

    Args:
        format: Version of the file format.
        kind: Always `restorer`.
        name: Name of the restorer.
        input_size: Side of the crop in pixels.
        margin: Side of the crop in diagonals of the tight landmark box.
        guided: Whether the input has a fourth channel with the landmarks, drawn by `unveil.schemes.landmark_map`.
        component: The face component that it restores; None for the whole face.
        outputs: Outputs of the network.
        sha256: SHA-256 of each file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    kind: Literal["restorer"]
    name: str
    input_size: int = Field(gt=0)
    margin: float = Field(gt=0)
    guided: bool = False
    component: str | None = None
    outputs: tuple[RestorerOutput, ...] = RESTORER_OUTPUTS
    sha256: dict[str, str]


class DetectorConfig(BaseModel):
    """The `config.json` of a face detector.

    Args:
        format: Version of the file format.
        kind: Always `detector`.
        name: Name of the detector.
        outputs: Outputs of the network.
        sha256: SHA-256 of each file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    kind: Literal["detector"]
    name: str
    outputs: tuple[DetectorOutput, ...] = DETECTOR_OUTPUTS
    sha256: dict[str, str]


Config = TypeVar("Config", ModelConfig, RestorerConfig, DetectorConfig)
KINDS: dict[str | None, tuple[type[BaseModel], str, str]] = {
    None: (ModelConfig, "landmark model", "--model"),
    "restorer": (RestorerConfig, "restorer", "--restorer"),
    "detector": (DetectorConfig, "detector", "--detector-model"),
    "cascade": (BaseModel, "cascade, which needs SIFT between its stages", "unveil.baselines.coupled.coupled"),
}
"""`kind` in `config.json` to its config, what it is called, and the option that takes it."""


def shipped_models() -> dict[str, Path]:
    """Return the folders of the landmark models in the package, by name."""
    return {name: folder for name, folder in _shipped().items() if _kind(folder / "config.json") is None}


def shipped_restorers() -> dict[str, Path]:
    """Return the folders of the restorers in the package, by name."""
    return {name: folder for name, folder in _shipped().items() if _kind(folder / "config.json") == "restorer"}


def shipped_detectors() -> dict[str, Path]:
    """Return the folders of the face detectors in the package, by name."""
    return {name: folder for name, folder in _shipped().items() if _kind(folder / "config.json") == "detector"}


def _shipped() -> dict[str, Path]:
    folder = Path(__file__).parents[1] / "weights"
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/config.json"))}


def _kind(config: Path) -> str | None:
    try:
        content = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return None  # `read_config` reports the error
    return content.get("kind") if isinstance(content, dict) else None


def model_folder(name_or_path: str | Path, shipped: Mapping[str, Path], kind: str = "model") -> Path:
    """Return the folder of a model.

    Args:
        name_or_path: Name of a shipped model, or a folder.
        shipped: Folders of the shipped models, by name.
        kind: What the error message calls it.

    Returns:
        The folder.

    Raises:
        ModelError: It is neither. The message has the nearest name.
    """
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{kind} {str(path)!r} is a file; give its folder, with model.onnx and config.json")
    nearest = get_close_matches(str(name_or_path), shipped, 1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there is {', '.join(shipped) or 'none in this package'}"
    raise ModelError(f"unknown {kind} {str(name_or_path)!r}: {hint} (or give a folder with model.onnx and config.json)")


def read_config(folder: Path, config_type: type[Config]) -> Config:
    """Read the `config.json` of a model.

    Args:
        folder: Folder of the model.
        config_type: `ModelConfig`, `RestorerConfig` or `DetectorConfig`.

    Returns:
        The config.

    Raises:
        ModelError: The file is missing or wrong, or belongs to the other kind of model.
    """
    path = folder / "config.json"
    kind = _kind(path)
    if path.is_file() and kind in KINDS and KINDS[kind][0] is not config_type:
        raise ModelError(f"{folder}: a {KINDS[kind][1]}; name it in {KINDS[kind][2]}")
    try:
        return config_type.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; a model is a folder with model.onnx and config.json") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}") from error


def open_session(
    folder: Path,
    config: ModelConfig | RestorerConfig | DetectorConfig,
    outputs: Sequence[str],
    threads: int,
    provider: Provider,
) -> OnnxSession:
    """Load the network of a model.

    Args:
        folder: Folder of the model.
        config: Its config.
        outputs: Outputs that the network must have.
        threads: Number of threads of the network.
        provider: Execution provider.

    Returns:
        The session.

    Raises:
        ModelError: The file differs from the config's SHA-256, lacks an output, or cannot be loaded.
    """
    path = folder / "model.onnx"
    session = OnnxSession(_read_checked(path, config.sha256), path, threads, provider)
    missing = {"images", *outputs} - session.names
    if missing:
        raise ModelError(f"{path}: has no input or output named {', '.join(sorted(missing))}; export the model again")
    return session


def _read_checked(path: Path, sha256: Mapping[str, str]) -> bytes:
    """Return the file's bytes after comparing their SHA-256 with the config."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; a model is a folder with model.onnx and config.json") from error
    expected, actual = sha256.get(path.name), hashlib.sha256(content).hexdigest()
    if expected is None:
        raise ModelError(f"{path}: config.json gives no SHA-256 for it; export the model again")
    if expected != actual:
        raise ModelError(
            f"{path}: SHA-256 {actual[:12]}..., but config.json says {expected[:12]}...; copy the model again"
        )
    return content
