"""docs/api.md is generated: it must know every kind that is served and every test that names a behaviour."""

from __future__ import annotations

import re
from pathlib import Path

from holdfast.kinds.builtin import BUILTIN

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text()


def test_it_lists_every_kind() -> None:
    listed = re.findall(r"^\| (\w+) \| ([\w./]+) \|", TEXT, re.MULTILINE)
    assert sorted(listed[1:]) == sorted((kind.resource.kind, kind.resource.api_version) for kind in BUILTIN)


def test_it_knows_every_behaviour_that_has_a_test() -> None:
    found = [
        match
        for path in (ROOT / "tests" / "conformance").rglob("test_*.py")
        for match in re.findall(r"def test_api_(\d+)_", path.read_text())
    ]
    shown = re.findall(r"^\| API-(\d+) \| [^|]*\w[^|]* \| passes \|$", TEXT, re.MULTILINE)
    assert set(found) <= set(shown), "run make api-docs"
