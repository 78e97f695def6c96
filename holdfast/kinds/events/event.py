"""Event, in core/v1 and events.k8s.io/v1: two served forms of the same stored objects (the core form)."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.columns import at
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.rules import qualified, required_fields
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import EVENTS, EVENTS_V1
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, invalid, required
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


def _first(obj: Obj, now: float) -> str:
    return age(obj.get("firstTimestamp") or obj.get("eventTime"), now)


def _seen(obj: Obj, now: float) -> str:
    series = (obj.get("series") or {}).get("lastObservedTime")
    last = series or obj.get("lastTimestamp")
    return age(last, now) if last else _first(obj, now)


def _count(obj: Obj, _now: float) -> int:
    series = obj.get("series")
    return int((series.get("count") if series else obj.get("count")) or 1)


def _object(obj: Obj, _now: float) -> str:
    involved = obj.get("involvedObject") or {}
    kind, name = str(involved.get("kind") or "").lower(), involved.get("name")
    return f"{kind}/{name}" if name else kind


def _source(obj: Obj, _now: float) -> str:
    source = obj.get("source") or {}
    parts = [source.get("component") or obj.get("reportingComponent"), source.get("host") or obj.get("reportingInstance")]
    return ", ".join(str(part) for part in parts if part)


def _check(new: Obj, _old: Obj | None, _path: str) -> list[FieldError]:
    involved = (new.get("involvedObject") or {}).get("namespace") or ""
    namespace = new["metadata"].get("namespace") or ""
    # Events about cluster-scoped objects live in "default" and name no namespace.
    if involved == namespace or (not involved and namespace == "default"):
        return []
    return [invalid("involvedObject.namespace", involved, "does not match event.namespace")]


def _check_new(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """The newer form is for writers that say who, what and when: older events pass unchanged."""
    if old is not None:
        return []
    found: list[FieldError] = []
    if not new.get("eventTime"):
        found.append(required("eventTime"))
    controller = new.get("reportingController") or ""
    found += qualified("reportingController", controller) if controller else [required("reportingController")]
    found += required_fields(new, "", ("reportingInstance", "action", "reason"))
    if new.get("type") not in ("Normal", "Warning"):
        found.append(invalid("type", new.get("type") or "", "has invalid value: " + str(new.get("type") or "")))
    if len(new.get("note") or "") > 1024:
        found.append(invalid("note", "", "can have at most 1024 characters"))
    return found


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
    Column("First Seen", _first, priority=1, description="When first."),
    Column("Count", _count, priority=1, description="How often."),
    Column("Name", at("metadata", "name", default=""), format="name", priority=1, description="Name of the object."),
)


def _involved(field: str) -> Any:
    return lambda obj: str(((obj.get("involvedObject") or obj.get("regarding") or {}).get(field)) or "")


_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _reporter(obj: Obj) -> str:
    return str(obj.get("reportingComponent") or obj.get("reportingController") or "")


_PLAIN = {"reason": lambda o: str(o.get("reason") or ""), "type": lambda o: str(o.get("type") or "")}
_SELECTABLE = {
    **{f"involvedObject.{field}": _involved(field) for field in _INVOLVED},
    **_PLAIN,
    "reportingComponent": _reporter,
    "source": lambda o: str(((o.get("source") or o.get("deprecatedSource") or {}).get("component")) or _reporter(o)),
}
_SELECTABLE_NEW = {**{f"regarding.{field}": _involved(field) for field in _INVOLVED}, **_PLAIN, "reportingController": _reporter}


KIND = Kind(
    resource=EVENTS,
    schema=schema_of(CORE + "Event"),
    singular="event",
    short_names=("ev",),
    storage="events",
    read_by="view",
    changed_by="edit",
    checks=(_check,),
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
    checks=(_check_new,),
    columns=tuple(Column(c.name, _core(c.cell), c.type, c.format, c.priority, c.description) for c in _COLUMNS),
    selectable=_SELECTABLE_NEW,
    has_status=False,
    has_generation=False,
    create_on_update=True,
    event_ttl_seconds=TTL_SECONDS,
)
