"""MkDocs hooks: add the pages that are generated from the source, and correct the links between all pages."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from unveil.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "unveil"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")

# Pages that are copies of files outside `docs/`: the page's path in the site, and the file's path in the repository.
COPIES = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"model-cards/{card.parent.name}.md": card.relative_to(ROOT).as_posix()
        for card in sorted(PACKAGE.glob("weights/*/README.md"))
    },
}
PAGE_OF = {source: f"docs/{page}" for page, source in COPIES.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the API reference, the command-line reference, the model cards and the copies."""
    pages = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in COPIES.items()}
    pages |= {"reference/cli.md": command_reference(), "model-cards/index.md": card_index(), **api_pages()}
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite links so that they lead to pages of the site; links to other files of the repository become text."""
    path = page.file.src_uri
    source = COPIES.get(path, f"docs/{path}")
    return LINK.sub(_link_on(Path("docs", path).parent, Path(source).parent), markdown)


def _link_on(page_folder: Path, source_folder: Path) -> Callable[[re.Match[str]], str]:
    """Return the replacement for a link that is written relative to `source_folder`."""

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
    import tyro

    parts = ["# Command line", "", "Generated from the parsers: `unveil COMMAND --help` prints the same.", ""]
    for name, summary in COMMANDS.items():
        module = import_module(f"unveil.cli.{name.replace('-', '_')}")
        text = tyro.extras.get_parser(module.Options, prog=f"unveil {name}").format_help()
        parts += [f"## {name}", "", f"{summary[0].upper()}{summary[1:]}.", "", "```text", text, "```", ""]
    return "\n".join(parts)


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
