"""Where manifests come from: files, directories, stdin."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from holdfast.cli import manifests
from holdfast.cli.errors import UserError

ONE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"


def names(path: Path) -> list[str]:
    return [obj["metadata"]["name"] for obj in manifests.load(path)]


def test_a_directory_is_its_files_in_order(tmp_path: Path) -> None:
    for file, name in (("b.yml", "two"), ("a.yaml", "one"), ("README.md", "none")):
        (tmp_path / file).write_text(ONE % name)
    (tmp_path / "c.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three"}}')
    assert names(tmp_path) == ["one", "two", "three"]


def test_a_directory_without_manifests_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.yaml, \.yml or \.json file"):
        manifests.load(tmp_path)


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((ONE % "said" + "---\n" + ONE % "more").encode())))
    assert names(Path("-")) == ["said", "more"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    with pytest.raises(UserError, match="-: not UTF-8 text"):
        manifests.load(Path("-"))
