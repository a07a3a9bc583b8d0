"""The documents keep up with the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def tree_of_the_readme() -> set[str]:
    """The paths below `src/unveil` that the README's file tree names."""
    tree = (ROOT / "README.md").read_text().split("```\nsrc/unveil/\n")[1].split("```")[0]
    found: set[str] = set()
    folders: list[str] = []
    for indent, name in re.findall(r"^( +)(\S+)", tree, re.M):
        folders = [*folders[: len(indent) // 2 - 1], name.rstrip("/")]
        found.add("/".join(["src/unveil", *folders]))
    return found


def test_the_readme_names_every_module() -> None:
    modules = (path for path in (ROOT / "src/unveil").rglob("*.py") if path.name != "__init__.py")
    missing = {path.relative_to(ROOT).as_posix() for path in modules} - tree_of_the_readme()
    assert missing == set()


def test_the_readme_names_no_module_that_is_gone() -> None:
    assert [path for path in tree_of_the_readme() if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []
