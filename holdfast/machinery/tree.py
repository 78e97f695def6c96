"""A copy of a JSON tree: ``copy.deepcopy`` minds cycles and classes, of which there are none, and takes five times as long."""

from __future__ import annotations

from typing import Any


def copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: copied(item) if type(item) is dict or type(item) is list else item for name, item in value.items()}
    if type(value) is list:
        return [copied(item) if type(item) is dict or type(item) is list else item for item in value]
    return value
