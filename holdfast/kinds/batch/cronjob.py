"""CronJob: makes Jobs by the clock."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, NAME, NONE, at, containers, label_selector
from holdfast.kinds.core import outdated
from holdfast.kinds.definitions.overlay import BATCH
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import CRONJOBS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import meta
from holdfast.machinery.fielderror import FieldError, invalid
from holdfast.machinery.tables import age

LONGEST_NAME = 52
"""A Job's name is this and eleven characters for the time."""


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {}


def _check_name(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is not None or len(meta.name(new)) <= LONGEST_NAME:
        return []
    return [invalid("metadata.name", meta.name(new), f"must be no more than {LONGEST_NAME} characters")]


def _last(obj: Obj, now: float) -> str:
    last = (obj.get("status") or {}).get("lastScheduleTime")
    return age(last, now) if last else NONE


def _suspended(obj: Obj, _now: float) -> str:
    return "True" if obj["spec"].get("suspend") else "False"


def _selector(obj: Obj, _now: float) -> str:
    return label_selector((obj["spec"]["jobTemplate"].get("spec") or {}).get("selector"))


KIND = Kind(
    resource=CRONJOBS,
    schema=schema_of(BATCH + "CronJob"),
    singular="cronjob",
    short_names=("cj",),
    categories=("all",),
    storage="cronjobs",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(_check_name,),
    subresources={"status": STATUS},
    warnings=(outdated.in_pods("spec", "jobTemplate", "spec", "template", "spec"),),
    columns=(
        NAME,
        Column("Schedule", at("spec", "schedule", default=""), description="When it makes Jobs."),
        Column("Timezone", at("spec", "timeZone"), description="The zone of its times."),
        Column("Suspend", _suspended, type="boolean", description="Whether it rests."),
        Column("Active", lambda o, _n: len((o.get("status") or {}).get("active") or []), type="integer", description="Jobs that run."),
        Column("Last Schedule", _last, description="Time since it last made a Job."),
        AGE,
        *containers(("spec", "jobTemplate", "spec", "template", "spec")),
        Column("Selector", _selector, priority=1, description="Labels of its pods."),
    ),
    acted_on=False,
)
