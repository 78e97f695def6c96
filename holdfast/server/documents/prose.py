"""Descriptions of kinds and fields, as ``kubectl explain`` shows them.

They are upstream's words and no part of this program: they are read from the distribution ``kubernetes-validate`` where
that is installed (``holdfast[explain]``). Without it ``explain`` shows fields and types.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from holdfast.kinds.schemas import LEVEL


def definitions() -> Mapping[str, Any]:
    """Upstream's definitions by name, for their descriptions; none when they are not installed. Not kept: they are large."""
    found = importlib.util.find_spec("kubernetes_validate")
    for place in (found.submodule_search_locations or []) if found else []:
        path = Path(place) / "kubernetes-json-schema" / f"v{LEVEL}.0-local" / "_definitions.json"
        if path.exists():
            loaded: dict[str, Any] = orjson.loads(path.read_bytes())["$defs"]
            return loaded
    return {}
