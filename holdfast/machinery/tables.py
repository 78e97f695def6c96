"""Tables: what ``kubectl get`` prints, made by the server (meta.k8s.io/v1 Table)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from holdfast.lib.clock import parse_rfc3339

META = "meta.k8s.io/v1"


class Column(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def description(self) -> str: ...
    @property
    def cell(self) -> Callable[[dict[str, Any], float], Any]: ...


def human_duration(seconds: float) -> str:
    """A span as kubectl words it: ``5s``, ``2m3s``, ``10m``, ``3h5m``, ``2d``, ``1y20d``."""
    seconds = int(seconds)
    if seconds < 0:
        return "0s" if seconds >= -1 else "<invalid>"
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = seconds // 3600
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    return f"{years}y{days % 365}d" if years < 8 and days % 365 else f"{years}y"


def age(timestamp: str | None, now: float) -> str:
    """The time since an RFC 3339 stamp; ``<unknown>`` without one."""
    return human_duration(now - parse_rfc3339(timestamp)) if timestamp else "<unknown>"


def head(columns: Sequence[Column]) -> list[dict[str, Any]]:
    return [{"name": c.name, "type": c.type, "format": c.format, "description": c.description, "priority": c.priority} for c in columns]


def partial(obj: dict[str, Any], api_version: str = META) -> dict[str, Any]:
    """PartialObjectMetadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}


def render(
    columns: Sequence[Column],
    items: Sequence[dict[str, Any]],
    *,
    now: float,
    include: str = "Metadata",
    list_meta: dict[str, Any],
    api_version: str = META,
) -> dict[str, Any]:
    """A Table; ``include`` (None, Metadata, Object) says what each row carries of its object."""
    rows = []
    for item in items:
        carried = {"None": None, "Object": item}.get(include, partial(item, api_version) if include == "Metadata" else None)
        rows.append({"cells": [c.cell(item, now) for c in columns], "object": carried})
    return {"kind": "Table", "apiVersion": api_version, "metadata": list_meta, "columnDefinitions": head(columns), "rows": rows}
