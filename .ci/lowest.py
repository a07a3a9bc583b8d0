"""Print a constraint `name==version` for each base dependency, with the lowest version in pyproject.toml."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for dependency in project["dependencies"]:
    match = re.match(r"([\w.-]+)(?:\[[^\]]*\])?>=([\w.]+)", dependency)
    if match is None:
        raise SystemExit(f"pyproject.toml: {dependency!r} has no lowest version; add >=")
    print(f"{match[1]}=={match[2]}")
