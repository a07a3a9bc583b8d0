"""How this package is installed, for messages that say what to install."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install_command(extra: str = "") -> str:
    """Return the pip command that installs this package again, with an extra.

    A package index may have another package of this name, so the name alone appears only if it came from an index.

    Args:
        extra: An extra of pyproject.toml, for example `train`.

    Returns:
        The command: with a folder or wheel if the package was installed from one, otherwise with its name.
    """
    option, target = _origin()
    suffix = f"[{extra}]" if extra else ""
    if "://" in target:
        return f"pip install 'unveil{suffix} @ {target}'"
    return f"pip install {option}'{target}{suffix}'"


def _origin() -> tuple[str, str]:
    """Return pip's option and what it installs."""
    try:
        record = distribution("unveil").read_text("direct_url.json")
    except PackageNotFoundError:  # run from a checkout
        return "", "."
    if record is None:
        return "", "unveil"
    origin = json.loads(record)
    if not origin["url"].startswith("file:"):
        return "", origin["url"]
    path = Path(url2pathname(urlsplit(origin["url"]).path))
    option = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return option, "." if path == Path.cwd() else str(path)
