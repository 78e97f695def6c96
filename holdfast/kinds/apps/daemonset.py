"""DaemonSet: a pod on every node that fits."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS, TEMPLATE, collisions, counts, fixed_selector, selector_cell
from holdfast.kinds.columns import AGE, NAME, NONE, at, containers
from holdfast.kinds.core import outdated
from holdfast.kinds.definitions.daemon_set import COUNTS, GENERATION
from holdfast.kinds.definitions.overlay import APPS
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import DAEMONSETS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import selectors


def _prepare(new: Obj, old: Obj | None) -> None:
    """The annotation counts templates, whatever the author says."""
    if old is None:
        new["status"] = dict.fromkeys(COUNTS, 0)
        generation = 1
    else:
        before = (old["metadata"].get("annotations") or {}).get(GENERATION) or "0"
        generation = (int(before) if before.isdecimal() and len(before) < 10 else 0) + (
            new["spec"].get("template") != old["spec"].get("template")
        )
    new["metadata"].setdefault("annotations", {})[GENERATION] = str(generation)


def _node_selector(obj: Obj, _now: float) -> str:
    wanted = obj["spec"]["template"]["spec"].get("nodeSelector") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(wanted.items())) or NONE


KIND = Kind(
    resource=DAEMONSETS,
    schema=schema_of(APPS + "DaemonSet"),
    singular="daemonset",
    short_names=("ds",),
    categories=("all",),
    storage="daemonsets",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(fixed_selector,),
    status_checks=(
        counts((*COUNTS, "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable")),
        collisions,
    ),
    subresources={"status": STATUS},
    warnings=(outdated.in_pods("spec", "template", "spec"),),
    columns=(
        NAME,
        Column("Desired", at("status", "desiredNumberScheduled", default=0), type="integer", description="Nodes that should run it."),
        Column("Current", at("status", "currentNumberScheduled", default=0), type="integer", description="Nodes that run it."),
        Column("Ready", at("status", "numberReady", default=0), type="integer", description="Nodes where it is ready."),
        Column(
            "Up-to-date",
            at("status", "updatedNumberScheduled", default=0),
            type="integer",
            description="Nodes with the newest template.",
        ),
        Column(
            "Available", at("status", "numberAvailable", default=0), type="integer", description="Nodes where it is ready for long."
        ),
        Column("Node Selector", _node_selector, description="Labels of the nodes it runs on."),
        AGE,
        *containers(TEMPLATE),
        selector_cell(selectors.from_object),
    ),
    acted_on=False,
)
