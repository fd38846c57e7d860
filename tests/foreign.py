"""Finds where our code touches what other libraries keep to themselves, by reading it.

    touches()                                 # {("train/trainer.py", "_save"): 131, ...}
    mentions("train/trainer.py", "_save")     # True

A private name has one leading underscore. Found are:

- imports of private modules and names;
- private attributes of anything but `self` and `cls`, unless our own code defines that name
  somewhere; private keyword arguments, and names given to `getattr` and its like, the same;
- in a class with foreign bases, what a base has under the same name: overridden, used, or met by
  chance.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "aspd_cli"
APART = PACKAGE / "vllm" / "connector.py"
"""Runs inside vLLM, and only inside releases that it names itself: nothing here can import it."""

_DOCUMENTED = frozenset({"_exit"})
"""Names of Python's own library that look private and are documented: `os._exit`."""

Found = tuple[int, str]
"""Line and name."""


def touches() -> dict[tuple[str, str], int]:
    """(file below the package, private foreign name) -> the first line that touches it."""
    own = {name for tree in _trees().values() for name in defined(tree)}
    found: dict[tuple[str, str], int] = {}
    for file, tree in _trees().items():
        for line, name in sorted([*private(tree, own), *_inherited(file, tree)]):
            found.setdefault((file, name), line)
    return found


def mentions(file: str, name: str) -> bool:
    """Whether code of a file, comments and docstrings aside, holds a name or a string with it."""
    return any(
        name == word or (is_text and name in word) for word, is_text in _words(_trees()[file])
    )


@cache
def _trees() -> dict[str, ast.Module]:
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != APART
    }


def defined(tree: ast.AST) -> Iterator[str]:
    """Names that code defines: functions, classes, variables, attributes of self, parameters."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name


def private(tree: ast.AST, own: set[str]) -> Iterator[Found]:
    """Touches that the text alone shows. `own`: names that our code defines."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from _imported(node, [alias.name for alias in aliases])
            case ast.ImportFrom(module=module, names=aliases):
                yield from _imported(node, [f"{module}.{alias.name}" for alias in aliases])
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if _is_private(name) and name not in own:
                yield node.lineno, name
            case ast.keyword(arg=str(name)) if _is_private(name) and name not in own:
                yield node.lineno, name
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if _is_private(name) and name not in own:
                yield node.lineno, name


def _imported(node: ast.Import | ast.ImportFrom, paths: Iterable[str]) -> Iterator[Found]:
    for path in paths:
        parts = path.split(".")
        if parts[0] != PACKAGE.name:
            yield from ((node.lineno, part) for part in parts if _is_private(part))


def _is_private(name: str) -> bool:
    is_one = name.startswith("_") and not name.startswith("__") and name != "_"
    return is_one and name not in _DOCUMENTED


def _inherited(file: str, tree: ast.Module) -> Iterator[Found]:
    """What classes override or use of their foreign bases."""
    foreign = set(_foreign_names(tree))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and foreign & {_root(base) for base in node.bases}:
            module = f"{PACKAGE.name}.{file.removesuffix('.py').replace('/', '.')}"
            yield from held(node, private_names(getattr(import_module(module), node.name)))


def _foreign_names(tree: ast.Module) -> Iterator[str]:
    """Names that a module imports from libraries that are neither ours nor Python's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                home = node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
                if home.split(".")[0] not in {*sys.stdlib_module_names, PACKAGE.name}:
                    yield (alias.asname or alias.name).split(".")[0]


def _root(base: ast.expr) -> str:
    """`nn` of `nn.Module`, `Sampler` of `Sampler[int]`."""
    while isinstance(base, ast.Attribute | ast.Subscript):
        base = base.value
    return base.id if isinstance(base, ast.Name) else ""


def held(node: ast.ClassDef, names: set[str]) -> Iterator[Found]:
    """Which of some names a class defines, or uses by `self`, `cls` or `super()`."""
    for child in ast.walk(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name in names:
                yield child.lineno, name
            case ast.Attribute(attr=name) if name in names:
                yield child.lineno, name


def private_names(cls: type) -> set[str]:
    """Private names of a class's foreign bases: members, and what their code has on self."""
    names: set[str] = set()
    for base in cls.__mro__:
        home = base.__module__.split(".")[0]
        if home in {*sys.stdlib_module_names, PACKAGE.name}:
            continue
        names |= {name for name in vars(base) if _is_private(name)}
        try:
            names |= set(re.findall(r"\bself\.(_[a-zA-Z]\w*)", inspect.getsource(base)))
        except (OSError, TypeError):  # written in another language
            continue
    return names


def _words(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """(word, whether it is a string) of all code."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documentation:
                yield text, True
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                yield name, False
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name, False
            case ast.alias(name=path):
                yield from ((part, False) for part in path.split("."))
