"""The rules of the house that can be counted: modules of a size to read, that say what they are for, and stand on a map."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "holdfast").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAPS = sorted((ROOT / "holdfast").glob("*/README.md"))


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def faults(path: Path) -> Iterator[str]:
    text = path.read_text()
    tree, where = ast.parse(text), path.relative_to(ROOT)
    if (lines := text.count("\n")) > 500:
        yield f"{where} has {lines} lines"
    if text.strip() and not ast.get_docstring(tree):
        yield f"{where} does not say what it is for"
    yield from (f"{where}: {name} has {lines} lines" for name, lines in functions(tree) if lines > 60)


def test_every_module_is_of_a_size_to_read_and_says_what_it_is_for() -> None:
    assert [fault for path in (*MODULES, *TESTS) for fault in faults(path)] == []


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.parent.name)
def test_every_part_of_a_floor_is_on_its_map(path: Path) -> None:
    text = path.read_text()
    parts = [part for part in path.parent.iterdir() if part.suffix in ("", ".py") and not part.name.startswith("__")]
    assert [part.name for part in parts if not re.search(rf"\b{part.stem}\b", text)] == []


def test_every_floor_has_a_map() -> None:
    floors = {path.parent.name for path in MODULES if path.parent.parent == ROOT / "holdfast"}
    assert floors == {path.parent.name for path in MAPS}
