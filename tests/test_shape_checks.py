"""Shapes in annotations are checked in tests, in every module that has them."""

from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "unveil"


def test_every_annotated_module_is_checked(pytestconfig: pytest.Config) -> None:
    checked = tuple(pytestconfig.getoption("--jaxtyping-packages").split(",")[:-1])
    annotated = [path for path in PACKAGE.rglob("*.py") if "from jaxtyping" in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in annotated]
    assert [name for name in names if not f"{name}.".startswith(tuple(f"{prefix}." for prefix in checked))] == []
