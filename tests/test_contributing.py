"""The folders import each other as the page for contributors says, and in no other direction."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (\[.*\)) \| .* \| (.*) \|$", re.MULTILINE)

ROWS = {
    name: allowed
    for names, allowed in ROW.findall((ROOT / ".github/CONTRIBUTING.md").read_text("utf-8"))
    for name in re.findall(r"\[([\w.]+)\]", names)
}
"""Folder or file of the package -> what the page lets it import."""
FOLDERS = {path.parent.name for path in (ROOT / "aspd_cli").glob("*/__init__.py")}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def test_the_page_lists_every_folder() -> None:
    assert {name for name in ROWS if not name.endswith(".py")} == FOLDERS


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_folder_imports_what_the_page_lets_it_import(name: str) -> None:
    place = ROOT / "aspd_cli" / name
    files = [place] if place.is_file() else list(place.rglob("*.py"))
    assert files
    used = {
        module.split(".")[1]
        for path in files
        for module in imported(path)
        if module.startswith("aspd_cli.")
    }
    allowed = FOLDERS if ROWS[name] == "everything" else set(re.findall(r"\w+", ROWS[name]))
    assert used & FOLDERS <= allowed | {name}
