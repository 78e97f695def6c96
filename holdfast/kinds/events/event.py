"""Event, in core/v1 and events.k8s.io/v1: two served forms of the same stored objects (the core form)."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.columns import at
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import EVENTS, EVENTS_V1
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.tables import age

TTL_SECONDS = 3600
_NEW = "io.k8s.api.events.v1.Event"
# core name -> events.k8s.io name, where they differ
_RENAMED = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}


def _rename(obj: Obj, names: dict[str, str], api_version: str) -> Obj:
    out = {names.get(name, name): value for name, value in obj.items()}
    out["apiVersion"] = api_version
    return out


def to_core(obj: Obj) -> Obj:
    return _rename(obj, {new: old for old, new in _RENAMED.items()}, "v1")


def from_core(obj: Obj) -> Obj:
    return _rename(obj, _RENAMED, "events.k8s.io/v1")


def _seen(obj: Obj, now: float) -> str:
    series = obj.get("series") or {}
    last = (
        series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    )
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    count = int(series.get("count") or obj.get("count") or 1)
    if count > 1 and first:
        return f"{age(last, now)} (x{count} over {age(first, now)})"
    return age(last, now)


def _object(obj: Obj, _now: float) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _source(obj: Obj, _now: float) -> str:
    source = obj.get("source") or {}
    parts = [source.get("component") or obj.get("reportingComponent") or "", source.get("host") or ""]
    return ", ".join(part for part in parts if part)


def _core(cell: Any) -> Any:
    """The same cell for the newer form."""
    return lambda obj, now: cell(to_core(obj), now)


_COLUMNS = (
    Column("Last Seen", _seen, description="When it was seen last."),
    Column("Type", at("type", default=""), description="Normal or Warning."),
    Column("Reason", at("reason", default=""), description="A word for what happened."),
    Column("Object", _object, description="What it is about."),
    Column("Subobject", at("involvedObject", "fieldPath", default=""), priority=1, description="The part that it is about."),
    Column("Source", _source, priority=1, description="Who reported it."),
    Column("Message", lambda o, _n: str(o.get("message") or "").strip(), description="What happened."),
    Column("First Seen", lambda o, now: age(o.get("firstTimestamp") or o.get("eventTime"), now), priority=1, description="When first."),
    Column("Count", lambda o, _n: int(o.get("count") or 1), type="integer", priority=1, description="How often."),
    Column("Name", at("metadata", "name", default=""), priority=1, description="Name of the object."),
)


def _involved(field: str) -> Any:
    return lambda obj: str(((obj.get("involvedObject") or obj.get("regarding") or {}).get(field)) or "")


_SELECTABLE = {
    f"involvedObject.{f}": _involved(f) for f in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
}
_SELECTABLE |= {
    "reason": lambda o: str(o.get("reason") or ""),
    "reportingComponent": lambda o: str(o.get("reportingComponent") or o.get("reportingController") or ""),
    "source": lambda o: str(((o.get("source") or o.get("deprecatedSource") or {}).get("component")) or ""),
    "type": lambda o: str(o.get("type") or ""),
}


KIND = Kind(
    resource=EVENTS,
    schema=schema_of(CORE + "Event"),
    singular="event",
    short_names=("ev",),
    storage="events",
    columns=_COLUMNS,
    selectable=_SELECTABLE,
    has_status=False,
    has_generation=False,
    create_on_update=True,
    event_ttl_seconds=TTL_SECONDS,
)
NEW_KIND = Kind(
    resource=EVENTS_V1,
    schema=schema_of(_NEW),
    singular="event",
    short_names=("ev",),
    storage="events",
    to_storage=to_core,
    from_storage=from_core,
    columns=tuple(Column(c.name, _core(c.cell), c.type, c.format, c.priority, c.description) for c in _COLUMNS),
    selectable=_SELECTABLE,
    has_status=False,
    has_generation=False,
    create_on_update=True,
    event_ttl_seconds=TTL_SECONDS,
)
