"""Faces that every test may use."""

from pathlib import Path

import pytest

from unveil.data.synthetic import write_drawn_faces


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn faces with .pts."""
    folder = tmp_path_factory.mktemp("drawn")
    write_drawn_faces(folder, 12)
    return folder
