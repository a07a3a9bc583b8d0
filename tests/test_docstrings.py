"""Every public function, class, parameter and field of the package is documented."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docstring_parser import DocstringStyle, parse

PACKAGE = Path(__file__).parents[1] / "src" / "unveil"

# The commands are documented by their help texts; these modules of `cli` have functions that the commands share.
SHARED = ("__init__.py", "images.py", "outputs.py", "progress.py")

Function = ast.FunctionDef | ast.AsyncFunctionDef
RECORD_BASES = ("BaseModel", "ResponseModel", "NamedTuple", "TypedDict")
INHERITED_FIELDS = ("network", "input_size")  # documented in the base of the networks' configs


@dataclass(frozen=True)
class Documented:
    """A public function or class: where it is, what its docstring must name, and what it names."""

    where: str
    parameters: tuple[str, ...]
    described: tuple[str, ...]
    returns: bool
    described_return: bool

    def problems(self) -> Iterator[str]:
        """Yield one line for each thing that is missing or superfluous."""
        for name in self.parameters:
            if name not in self.described:
                yield f"{self.where}: no description of {name!r} in Args"
        for name in self.described:
            if name not in self.parameters:
                yield f"{self.where}: Args describes {name!r}, which is no parameter"
        if self.returns and not self.described_return:
            yield f"{self.where}: no Returns"


def public_items(path: Path) -> Iterator[Documented]:
    """Yield the public functions, classes and methods of a module."""
    where = path.relative_to(PACKAGE).as_posix()
    yield from items_of(ast.parse(path.read_text(encoding="utf-8")), where)


def items_of(tree: ast.Module | ast.ClassDef, where: str) -> Iterator[Documented]:
    """Yield the public items in a module or class."""
    for node in tree.body:
        if isinstance(node, Function) and (not node.name.startswith("_") or node.name == "__call__"):
            yield function_item(node, f"{where}:{node.name}", method=isinstance(tree, ast.ClassDef))
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield class_item(node, f"{where}:{node.name}")
            yield from items_of(node, f"{where}:{node.name}")


def function_item(node: Function, where: str, *, method: bool) -> Documented:
    """Return what a function's docstring must name."""
    decorators = {ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list}
    inherited = decorators & {"override", "typing.override"}
    is_property = any(name.endswith("property") or name.endswith((".setter", "overload")) for name in decorators)
    text = ast.get_docstring(node) or ""
    parameters = () if is_property or inherited else parameters_of(node, method and "staticmethod" not in decorators)
    nothing = node.returns is None or ast.unparse(node.returns) in ("None", "Never", "NoReturn")
    returns = not (nothing or is_property or inherited)
    return Documented(where, parameters, described_in(text, parameters), returns, has_return(text))


def class_item(node: ast.ClassDef, where: str) -> Documented:
    """Return what a class docstring must name: the arguments of its constructor or its fields."""
    text = ast.get_docstring(node) or ""
    decorators = {ast.unparse(decorator).split("(")[0].split(".")[-1] for decorator in node.decorator_list}
    bases = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
    constructor = next((item for item in node.body if isinstance(item, Function) and item.name == "__init__"), None)
    if constructor is not None:
        parameters = parameters_of(constructor, bound=True)
    elif any(base.endswith("Config") for base in bases):
        parameters = fields_of(node, settings=True)
    elif "dataclass" in decorators or bases & set(RECORD_BASES):
        parameters = fields_of(node)
    else:
        parameters = ()
    return Documented(where, parameters, described_in(text, parameters), False, True)


def parameters_of(node: Function, bound: bool) -> tuple[str, ...]:
    """Return a function's parameters without `self` or `cls`."""
    given = node.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)][1 if bound else 0 :]
    names += [argument.arg for argument in (given.vararg, *given.kwonlyargs, given.kwarg) if argument]
    return tuple(name for name in names if not name.startswith("_"))


def fields_of(node: ast.ClassDef, *, settings: bool = False) -> tuple[str, ...]:
    """Return the public fields of a record without a description of their own: a docstring below, or `Field`'s."""
    names = []
    for item, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if item.target.id.startswith("_") or "ClassVar" in ast.unparse(item.annotation):
            continue
        if settings and (item.target.id in INHERITED_FIELDS or "Config" in ast.unparse(item.annotation)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            continue
        if isinstance(item.value, ast.Call) and any(each.arg == "description" for each in item.value.keywords):
            continue
        names.append(item.target.id)
    return tuple(names)


def described_in(text: str, parameters: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that the `Args:` or `Attributes:` section of a docstring describes."""
    parsed = parse(text, style=DocstringStyle.GOOGLE)
    names = [name.strip().lstrip("*") for entry in parsed.params for name in entry.arg_name.split(",")]
    attributes = [entry.arg_name for entry in parsed.params if entry.args[0] == "attribute"]
    return tuple(name for name in names if name not in attributes or name in parameters)


def has_return(text: str) -> bool:
    """Tell whether a docstring describes the result: in a section, or by a summary that begins with the verb."""
    parsed = parse(text, style=DocstringStyle.GOOGLE)
    return parsed.returns is not None or text.startswith(("Return", "Yield", "Tell whether", "Check whether"))


def modules() -> list[Path]:
    """Return the modules that must comply."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "cli" or path.name in SHARED)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_public_parameter_is_documented(path: Path) -> None:
    assert [problem for item in public_items(path) for problem in item.problems()] == []


def test_missing_and_superfluous_parameters_are_found() -> None:
    code = '''
def f(a: int, *, b: int = 0) -> int:
    """Add.

    Args:
        a: One summand.
        c: Nothing.
    """

class Record(NamedTuple):
    """A record."""
    x: int
    y: int
    """Described here."""
'''
    problems = [problem for item in items_of(ast.parse(code), "m") for problem in item.problems()]
    assert problems == [
        "m:f: no description of 'b' in Args",
        "m:f: Args describes 'c', which is no parameter",
        "m:f: no Returns",
        "m:Record: no description of 'x' in Args",
    ]
