"""Manifests from files: YAML or JSON, several documents a file, each fault with its file and line.

Tabs are the commonest fault in hand-written YAML and the parser's own words for them help nobody, so
they are named first. What comes out are plain objects; ``cli.up`` sends them to the server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from holdfast.cli.errors import UserError


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: dates stay strings."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _tab_line(text: str) -> int:
    """Number of the first line whose indentation holds a tab; 0 when there is none."""
    for number, line in enumerate(text.splitlines(), 1):
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return number
    return 0


def _line(mark: Any) -> int:
    return int(mark.line) + 1 if mark else 0


def load(path: Path) -> list[dict[str, Any]]:
    """All objects of a file, of ``-`` (stdin) or of a directory's files as kubectl takes them, Lists unfolded.

    Raises UserError naming file, line and remedy.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json"))
        if not files:
            raise UserError(f"{path}: no .yaml, .yml or .json file in this directory")
        return [obj for file in files for obj in load(file)]
    try:
        text = sys.stdin.buffer.read().decode() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from error
    tab = _tab_line(text)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{path}: line {_line(event.start_mark)}: aliases (*name) are not accepted in manifests")
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark)
        if tab:
            raise UserError(f"{path}: line {tab}: a tab in the indentation; YAML wants spaces there") from error
        raise UserError(f"{path}: line {line}: {error.problem or error}") from error
    objects: list[dict[str, Any]] = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or "kind" not in document or "apiVersion" not in document:
            raise UserError(f"{path}: each document needs apiVersion and kind at its top level")
        objects += document["items"] if document["kind"] == "List" else [document]
    return objects
