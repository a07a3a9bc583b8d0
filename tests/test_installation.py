"""Messages name the package as it is installed."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from unveil import installation


class Distribution:
    """Stands in for the installed distribution."""

    def __init__(self, record: dict[str, object] | None) -> None:
        self.record = record

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.record is None else json.dumps(self.record)


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (None, "pip install 'unveil[train]'"),
        ({"url": "file:///src/unveil", "dir_info": {}}, "pip install '/src/unveil[train]'"),
        ({"url": "file:///src/unveil", "dir_info": {"editable": True}}, "pip install -e '/src/unveil[train]'"),
        ({"url": "file:///a%20b/unveil-1-py3-none-any.whl"}, "pip install '/a b/unveil-1-py3-none-any.whl[train]'"),
        ({"url": "https://host/unveil.whl"}, "pip install 'unveil[train] @ https://host/unveil.whl'"),
    ],
)
def test_the_command_names_what_was_installed(
    record: dict[str, object] | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "distribution", lambda _: Distribution(record))
    assert installation.install_command("train") == command


def test_the_checkout_is_a_dot_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(installation, "distribution", lambda _: Distribution({"url": tmp_path.as_uri()}))
    assert installation.install_command("train") == "pip install '.[train]'"

    def missing(_: str) -> Distribution:
        raise PackageNotFoundError

    monkeypatch.setattr(installation, "distribution", missing)
    assert installation.install_command() == "pip install '.'"
