"""Build the documentation site: collect the pages in `build/docs`, generate the reference, and run the generator.

`make docs` calls it. The generator reads `mkdocs.yml`; a warning is an error.
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

import yaml

from unveil.cli import COMMANDS
from unveil.cli import main as unveil_command

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "unveil"
PAGES = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")

# One preset of each kind of training. Presets of the same kind have the same options.
PRESETS = {"train": ("glomface-light", "pfld", "drn")}

# Pages copied from files outside `docs/`: path in the site -> path in the repository.
COPIES = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"model-cards/{card.parent.name}.md": card.relative_to(ROOT).as_posix()
        for card in sorted(PACKAGE.glob("weights/*/README.md"))
    },
}
PAGE_OF = {source: f"docs/{page}" for page, source in COPIES.items()}


def main() -> int:
    """Build the site.

    Returns:
        The exit status: 0 if there was no warning.
    """
    os.environ["COLUMNS"] = "100"  # the width of the help texts
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path, content in generated_pages().items():
        (PAGES / path).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / path).write_text(content, encoding="utf-8")
    for page in sorted(PAGES.rglob("*.md")):
        path = page.relative_to(PAGES).as_posix()
        page.write_text(site_links(page.read_text(encoding="utf-8"), path), encoding="utf-8")
    problems = [*navigation_problems(PAGES)]
    print("".join(f"error: {problem}\n" for problem in problems), end="", file=sys.stderr)
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT, check=False)
    return built.returncode or bool(problems)


def generated_pages() -> dict[str, str]:
    """Return the pages that are not in `docs/`, by their path in the site."""
    copies = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in COPIES.items()}
    return {**copies, "model-cards/index.md": card_index(), "reference/cli.md": command_reference(), **api_pages()}


def site_links(markdown: str, path: str) -> str:
    """Rewrite the links of a page to paths in the site. Links to files that are not in the site become text.

    Args:
        markdown: The page, with links relative to its source file.
        path: The page's path in the site.
    """
    source_folder = Path(COPIES.get(path, f"docs/{path}")).parent
    return LINK.sub(_link_rewriter(source_folder, Path("docs", path).parent), markdown)


def _link_rewriter(source_folder: Path, page_folder: Path) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = normpath((source_folder / target).as_posix())
        path = PAGE_OF.get(path, path)
        if not path.startswith("docs/"):
            return text
        return f"{image}[{text}]({relpath(path, page_folder.as_posix())}{anchor or ''})"

    return replace


def command_reference() -> str:
    """Return the page with the help text of every command, as the parsers print it."""
    parts = ["# Command line", "", "Generated from the parsers: `unveil COMMAND --help` prints the same.", ""]
    for name, summary in COMMANDS.items():
        text = help_text(name)
        parts += [f"## {name}", "", f"{summary[0].upper()}{summary[1:]}.", "", "```text", text, "```", ""]
        for subcommand in subcommands(name, text):
            parts += [f"### {name} {subcommand}", "", "```text", help_text(name, subcommand), "```", ""]
    return "\n".join(parts)


def help_text(*command: str) -> str:
    """Return what a command prints for `--help`.

    Args:
        command: The command and its subcommand.
    """
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        unveil_command([*command, "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue()).rstrip()


def subcommands(name: str, text: str) -> list[str]:
    """Return the subcommands of a command.

    Args:
        name: The command.
        text: Its help text.
    """
    if name in PRESETS:
        return [*PRESETS[name]]
    found = re.search(r"\{([^}]*)\}", text) if "─ subcommands" in text else None
    return found[1].split(",") if found else []


def card_index() -> str:
    """Return the page that lists the model cards."""
    names = [Path(page).stem for page in COPIES if page.startswith("model-cards/")]
    return "\n".join(["# Model cards", "", *(f"- [{name}]({name}.md)" for name in names), ""])


def api_pages() -> dict[str, str]:
    """Return one page for each package, with the public members of its modules."""
    pages = {
        "unveil": ["unveil"],
        "types": ["unveil.types", "unveil.geometry"],
        "doctor": ["unveil.doctor"],
    }
    for package in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        modules = (path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(package.rglob("*.py")))
        pages[package.name] = [".".join(module.parts).removesuffix(".__init__") for module in modules]
    del pages["cli"]  # the command-line reference documents it
    return {
        f"reference/api/{name}.md": "\n\n".join([f"# {modules[0]}", *(f"::: {module}" for module in modules), ""])
        for name, modules in pages.items()
    }


def navigation_problems(pages: Path) -> Iterator[str]:
    """Yield a line for each missing page in the navigation of `mkdocs.yml`, and for each page that is not in it.

    Args:
        pages: The folder with the collected pages.
    """
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = {*_navigation_pages(navigation)}
    present = {page.relative_to(pages).as_posix() for page in pages.rglob("*.md")}
    yield from (f"mkdocs.yml: nav names {page}, which does not exist" for page in sorted(named - present))
    for page in sorted(present - named):
        if not page.startswith(("decisions/", "model-cards/")):  # their index pages list them
            yield f"mkdocs.yml: nav does not name {page}"


def _navigation_pages(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for value in entry.values() if isinstance(entry, dict) else entry:
            yield from _navigation_pages(value)


if __name__ == "__main__":
    sys.exit(main())
