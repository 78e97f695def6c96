"""Cells that many kinds print alike: name, age, joined lists, selectors, images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from holdfast.kinds.kind import Column, Obj
from holdfast.machinery import selectors
from holdfast.machinery.tables import age

NONE = "<none>"


def at(*path: str, default: Any = NONE) -> Callable[[Obj, float], Any]:
    """The value at a path; ``default`` when absent or empty."""

    def cell(obj: Obj, _now: float) -> Any:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value in (None, "") else value

    return cell


def _age(obj: Obj, now: float) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def joined(values: Iterable[str], default: str = NONE) -> str:
    return ",".join(values) or default


def label_selector(selector: Obj | None) -> str:
    return NONE if not selector else str(selectors.from_object(selector)) or NONE


NAME = Column("Name", at("metadata", "name", default=""), format="name", description="Name of the object.")
AGE = Column("Age", _age, description="Time since the object was created.")
SCALE = (
    Column("Name", NAME.cell, description=NAME.description),
    Column("Desired", at("spec", "replicas", default=0), type="integer", description="Replicas wanted."),
    Column("Available", at("status", "replicas", default=0), type="integer", description="Replicas there are."),
    AGE,
)
"""What a scale subresource prints, whichever kind has it."""
CREATED_AT = Column("Created At", at("metadata", "creationTimestamp", default=""), type="date", description="When it was created.")


def containers(spec_path: tuple[str, ...]) -> tuple[Column, Column]:
    """The wide columns Containers and Images of a pod template."""

    def each(field: str) -> Callable[[Obj, float], str]:
        def cell(obj: Obj, _now: float) -> str:
            spec: Any = obj
            for part in spec_path:
                spec = spec.get(part) or {}
            return ",".join(c.get(field, "") for c in spec.get("containers") or [])

        return cell

    return (
        Column("Containers", each("name"), priority=1, description="Names of the containers."),
        Column("Images", each("image"), priority=1, description="Their images."),
    )
