"""An exported cascade: DRN or SDM as one ONNX file for each stage, with OpenCV's SIFT between them. Needs no torch.

N faces, L landmarks, T stages.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unveil.baselines.shape_indexed import Features, Shapes, Stage
from unveil.inference.onnx_session import ModelError, OnnxSession
from unveil.types import Points

KIND = "cascade"


class CascadeConfig(BaseModel):
    """The `config.json` of an exported cascade.

    Args:
        format: Version of the file format.
        kind: Always `cascade`.
        name: Name of the cascade.
        scheme: Name of the landmark scheme.
        input_size: Side of the crop in pixels.
        margin: Side of the crop in diagonals of the tight landmark box.
        mean_shape: The shape that the first stage starts from, (L, 2) in crop units.
        stages: T; the files are `stage-1.onnx` to `stage-T.onnx`.
        sha256: SHA-256 of each file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    kind: Literal["cascade"]
    name: str
    scheme: str
    input_size: Annotated[int, Field(gt=0)]
    margin: Annotated[float, Field(gt=0)]
    mean_shape: tuple[tuple[float, float], ...]
    stages: Annotated[int, Field(ge=1)]
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """The stages of DRN or SDM, and what they get.

    Args:
        start: The shape that the first stage starts from, (L, 2) in unit coordinates.
        stages: The stages.
        input_size: Side of the crop in pixels.
        margin: Side of the crop in diagonals of the tight landmark box.
    """

    start: Points
    stages: tuple[Stage, ...]
    input_size: int
    margin: float


def is_cascade(folder: Path) -> bool:
    """Check whether a folder holds an exported cascade.

    Args:
        folder: Any folder.
    """
    try:
        content = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def load_cascade(folder: Path, threads: int = 1) -> Cascade:
    """Return an exported cascade.

    Args:
        folder: A folder that `unveil export` wrote.
        threads: Threads of onnxruntime.

    Raises:
        ModelError: A file is missing, damaged or of another kind.
    """
    path = folder / "config.json"
    try:
        config = CascadeConfig.model_validate_json(path.read_bytes())
        files = [folder / f"stage-{number}.onnx" for number in range(1, config.stages + 1)]
        contents = {file: file.read_bytes() for file in files}
    except OSError as error:
        raise ModelError(f"{error.filename}: {error.strerror}; export the cascade again") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for file, content in contents.items():
        if hashlib.sha256(content).hexdigest() != config.sha256.get(file.name):
            raise ModelError(f"{file}: another SHA-256 than in config.json; copy the cascade again")
    stages = tuple(partial(_offsets, OnnxSession(contents[file], file, threads, "cpu")) for file in files)
    return Cascade(np.array(config.mean_shape, np.float32), stages, config.input_size, config.margin)


def _offsets(session: OnnxSession, features: Features) -> Shapes:
    found: NDArray[np.float32] = np.asarray(session.run(("offsets",), {"features": features})[0], np.float32)
    return found
