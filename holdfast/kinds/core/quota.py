"""LimitRange, ResourceQuota and ComponentStatus: bounds of a namespace, and the oldest report on a cluster's health."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, CREATED_AT, NAME
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.quota import check_hard
from holdfast.kinds.definitions.rules import IMMUTABLE
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import COMPONENTSTATUSES, LIMITRANGES, RESOURCEQUOTAS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, invalid

LIMIT_RANGE = Kind(
    resource=LIMITRANGES,
    schema=schema_of(CORE + "LimitRange"),
    singular="limitrange",
    short_names=("limits",),
    storage="limitranges",
    read_by="view",
    columns=(NAME, CREATED_AT),
    has_status=False,
    has_generation=False,
    acted_on=False,
)


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {}


def _check_update(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    before = (old or {}).get("spec") or {}
    if old is None or sorted(before.get("scopes") or []) == sorted(new["spec"].get("scopes") or []):
        return []
    return [invalid("spec.scopes", new["spec"].get("scopes"), IMMUTABLE)]


def _check_status(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    status = new.get("status") or {}
    return check_hard(status.get("hard") or {}, "status.hard") + check_hard(status.get("used") or {}, "status.used")


def _used(obj: Obj, limits: bool) -> str:
    status = obj.get("status") or {}
    used = status.get("used") or {}
    return ", ".join(
        f"{name}: {used.get(name, '0')}/{hard}"
        for name, hard in sorted((status.get("hard") or {}).items())
        if name.startswith("limits.") is limits
    )


RESOURCE_QUOTA = Kind(
    resource=RESOURCEQUOTAS,
    schema=schema_of(CORE + "ResourceQuota"),
    singular="resourcequota",
    short_names=("quota",),
    storage="resourcequotas",
    read_by="view",
    prepare=(_prepare,),
    checks=(_check_update,),
    status_checks=(_check_status,),
    subresources={"status": STATUS},
    columns=(
        NAME,
        Column("Request", lambda obj, _now: _used(obj, False), description="What is used of what may be requested or made."),
        Column("Limit", lambda obj, _now: _used(obj, True), description="What is used of the limits."),
        AGE,
    ),
    has_generation=False,
    acted_on=False,
)


def _condition(obj: Obj, field: str) -> str:
    healthy = [c for c in obj.get("conditions") or [] if c.get("type") == "Healthy"]
    return str(healthy[0].get(field) or "") if healthy else ""


def _state(obj: Obj, _now: float) -> str:
    return {"True": "Healthy", "False": "Unhealthy"}.get(_condition(obj, "status"), "Unknown")


COMPONENT_STATUS = Kind(
    resource=COMPONENTSTATUSES,
    schema=schema_of(CORE + "ComponentStatus"),
    singular="componentstatus",
    short_names=("cs",),
    verbs=("get", "list"),
    storage="componentstatuses",
    columns=(
        NAME,
        Column("Status", _state, description="Healthy or not."),
        Column("Message", lambda obj, _now: _condition(obj, "message"), description="What it said."),
        Column("Error", lambda obj, _now: _condition(obj, "error"), description="What is wrong with it."),
    ),
    has_status=False,
    has_generation=False,
    deprecation="v1 ComponentStatus is deprecated in v1.19+",
)
