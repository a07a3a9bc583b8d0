"""The images of a batch."""

from pathlib import Path

import pytest
from tests.batch.batch_files import png


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write seven images of one colour to `photos` in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for index in range(7):
        (tmp_path / "photos" / f"{index}.png").write_bytes(png(index))
    return Path("photos")
