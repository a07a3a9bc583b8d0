"""A trained model as it ships: a folder of `model.onnx` and `config.json`, run by onnxruntime.

B faces, L landmarks, S pixels of a crop's side.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from unveil.geometry import Crop
from unveil.schemes.scheme import Scheme
from unveil.schemes.serialization import carried_scheme
from unveil.types import Box, Image, Points

Provider: TypeAlias = Literal["cpu", "cuda"]
Output: TypeAlias = Literal["points_unit", "visibility", "uncertainty_unit"]
OUTPUTS: tuple[Output, ...] = ("points_unit", "visibility", "uncertainty_unit")
RestorerOutput: TypeAlias = Literal["restored", "mask"]
RESTORER_OUTPUTS: tuple[RestorerOutput, ...] = ("restored", "mask")
EXECUTION_PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CHUNK = 16  # faces a run: more of them only need more memory


class ModelError(ValueError):
    """A model that cannot be used; the message is one line that names it and the mend."""


class ModelConfig(BaseModel):
    """What `config.json` says: the scheme, and the crop that the model was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    name: str
    scheme: str
    own_scheme: dict[str, Any] | None = None
    """A scheme that is not built in, with the keys of a scheme file."""
    input_size: int = Field(gt=0)
    margin: float = Field(gt=0)
    """The crop's side is the diagonal of the tight landmark box times this."""
    annotation_offset: float = 0.0
    """How far right of what they mark the landmarks lie, as those of the training set do, in diagonals of that box."""
    outputs: tuple[Output, ...] = OUTPUTS
    """What the model says; points at least."""
    sha256: dict[str, str]

    @field_validator("outputs")
    @classmethod
    def _with_points(cls, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        if "points_unit" not in outputs:
            raise ValueError("points_unit is not among them; export the model again")
        return outputs


class RestorerConfig(BaseModel):
    """What `config.json` says of a restorer: the crop that it was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    kind: Literal["restorer"]
    name: str
    input_size: int = Field(gt=0)
    margin: float = Field(gt=0)
    """As a landmark model's."""
    guided: bool = False
    """Its input has a fourth channel: the landmarks, as `unveil.schemes.landmark_map` draws them."""
    outputs: tuple[RestorerOutput, ...] = RESTORER_OUTPUTS
    sha256: dict[str, str]


Config = TypeVar("Config", ModelConfig, RestorerConfig)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """One face's landmarks in pixels (L, 2), their visibility in [0, 1] (L,), their expected error in pixels (L,).

    The last two are NaN where the model does not say them.
    """

    points_px: Points
    visibility: NDArray[np.float32]
    uncertainty_px: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentModel:
    """Landmarks of boxes on a picture. Load one with `AlignmentModel.load`."""

    config: ModelConfig
    scheme: Scheme
    session: ort.InferenceSession

    @classmethod
    def load(cls, name_or_path: str | Path, threads: int = 1, provider: Provider = "cpu") -> Self:
        """A model that ships with the package, by name, or one of your own, by its folder. ModelError if unfit."""
        folder = model_folder(name_or_path, shipped_models())
        config = read_config(folder, ModelConfig)
        try:
            scheme = carried_scheme(config.scheme, config.own_scheme)
        except ValueError as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
        return cls(config, scheme, open_session(folder, config, config.outputs, threads, provider))

    def __call__(self, image_rgb: Image, boxes: Sequence[Box], flip_average: bool = False) -> list[Alignment]:
        """One alignment a tight landmark box; `flip_average` also asks about the mirrored face and takes the mean."""
        crops = [Crop.around(box, self.config.margin) for box in boxes]
        found: list[Alignment] = []
        for start in range(0, len(crops), CHUNK):
            found += self._align(image_rgb, crops[start : start + CHUNK], flip_average)
        return found

    def _align(self, image_rgb: Image, crops: Sequence[Crop], flip_average: bool) -> list[Alignment]:
        images = model_input(image_rgb, crops, self.config.input_size)
        points_unit, visibility, uncertainty_unit = self._run(images)
        if flip_average:
            order = list(self.scheme.flip_order)
            mirrored = self._run(np.ascontiguousarray(images[..., ::-1]))
            half = np.float32(0.5)
            # Crop units are half the crop's side; what lies right of its mark in the mirror lies left of it outside.
            right = np.array([4 * self.config.annotation_offset / self.config.margin, 0], np.float32)
            turned = mirrored[0][:, order] * np.array([-1, 1], np.float32) + right
            points_unit = half * (points_unit + turned)
            visibility = half * (visibility + mirrored[1][:, order])
            uncertainty_unit = half * (uncertainty_unit + mirrored[2][:, order])
        return [
            Alignment(crop.to_px(points), np.clip(seen, 0, 1), unsure * np.float32(crop.side / 2))
            for crop, points, seen, unsure in zip(crops, points_unit, visibility, uncertainty_unit, strict=True)
        ]

    def _run(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """B 3 S S in [0, 1] -> points in crop units B L 2, visibility B L, uncertainty in crop units B L.

        What the model does not say is NaN.
        """
        names = self.config.outputs
        said = dict(zip(names, self.session.run(list(names), {"images": images}), strict=True))
        unsaid = np.full((len(images), self.scheme.points), np.nan)
        return [np.asarray(said.get(name, unsaid), np.float32) for name in OUTPUTS]


def model_input(image_rgb: Image, crops: Sequence[Crop], size: int) -> NDArray[np.float32]:
    """What a model sees of a picture's crops: B 3 S S in [0, 1]."""
    stacked = np.stack([crop.extract(image_rgb, size) for crop in crops])  # B S S 3
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)


def shipped_models() -> dict[str, Path]:
    """The landmark models inside the package, by name."""
    return {name: folder for name, folder in _shipped().items() if not _is_restorer(folder / "config.json")}


def shipped_restorers() -> dict[str, Path]:
    """The restorers inside the package, by name."""
    return {name: folder for name, folder in _shipped().items() if _is_restorer(folder / "config.json")}


def _shipped() -> dict[str, Path]:
    folder = Path(__file__).parents[1] / "weights"
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/config.json"))}


def _is_restorer(config: Path) -> bool:
    try:
        content = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return False  # the reading that follows says what is wrong
    return isinstance(content, dict) and content.get("kind") == "restorer"


def model_folder(name_or_path: str | Path, shipped: Mapping[str, Path], kind: str = "model") -> Path:
    """Where a model lies; ModelError, with the nearest name, if it is neither a shipped one nor a folder."""
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{kind} {str(path)!r} is a file; give its folder, with model.onnx and config.json")
    near = get_close_matches(str(name_or_path), shipped, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(shipped) or 'none in this package'}"
    raise ModelError(f"unknown {kind} {str(name_or_path)!r}: {hint} (or give a folder with model.onnx and config.json)")


def read_config(folder: Path, config_type: type[Config]) -> Config:
    """What a folder says of its model. ModelError, in one line, if it says nothing, or is of the other kind."""
    path = folder / "config.json"
    restorer = _is_restorer(path)
    if path.is_file() and restorer != (config_type is RestorerConfig):
        raise ModelError(f"{folder}: {'a' if restorer else 'no'} restorer; name it in --restorer, models in --model")
    try:
        return config_type.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; a model is a folder with model.onnx and config.json") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}") from error


def open_session(
    folder: Path, config: ModelConfig | RestorerConfig, outputs: Sequence[str], threads: int, provider: Provider
) -> ort.InferenceSession:
    """A folder's network, ready to run. ModelError, in one line, if it is not what the config says or has no such
    outputs."""
    path = folder / "model.onnx"
    session = _session(_checked(path, config.sha256), path, threads, provider)
    missing = {"images", *outputs} - _names(session.get_inputs()) - _names(session.get_outputs())
    if missing:
        raise ModelError(f"{path}: has no input or output named {', '.join(sorted(missing))}; export the model again")
    return session


def _checked(path: Path, sha256: Mapping[str, str]) -> bytes:
    """The file's bytes, once their SHA-256 is the one in the config."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; a model is a folder with model.onnx and config.json") from error
    expected, found = sha256.get(path.name), hashlib.sha256(content).hexdigest()
    if expected is None:
        raise ModelError(f"{path}: config.json gives no SHA-256 for it; export the model again")
    if expected != found:
        raise ModelError(
            f"{path}: SHA-256 {found[:12]}..., but config.json says {expected[:12]}...; copy the model again"
        )
    return content


def _session(weights: bytes, path: Path, threads: int, provider: Provider) -> ort.InferenceSession:
    wanted = EXECUTION_PROVIDERS[provider]
    if wanted not in ort.get_available_providers():
        raise ModelError(
            f"provider {provider!r} is not in this onnxruntime; install onnxruntime-gpu or use --provider cpu"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(weights, options, providers=[wanted])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: onnxruntime cannot load it ({reason}); export the model again") from error
    if session.get_providers()[0] != wanted:
        raise ModelError(f"provider {provider!r} does not start here; check the CUDA driver or use --provider cpu")
    return session


def _names(arguments: Sequence[Any]) -> set[str]:
    return {argument.name for argument in arguments}
