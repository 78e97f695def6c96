"""What CSI drivers and their sidecars write down: drivers, nodes, attachments, capacities, attribute classes."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, CREATED_AT, NAME, at
from holdfast.kinds.definitions.csi import driver_name
from holdfast.kinds.definitions.plain import STORAGE
from holdfast.kinds.definitions.rules import immutable
from holdfast.kinds.kind import Column, Kind, Obj, Resource
from holdfast.kinds.resources import CSIDRIVERS, CSINODES, CSISTORAGECAPACITIES, VOLUMEATTACHMENTS, VOLUMEATTRIBUTESCLASSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, invalid


def _fixed(*path: str, fields: tuple[str, ...]) -> Any:
    """A check that some fields never change."""

    def check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
        if old is None:
            return []
        for part in path:
            new, old = new.get(part) or {}, old.get(part) or {}
        return immutable(new, old, ".".join(path), fields)

    return check


def _known_drivers(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """A driver that a node has keeps what it said of itself."""
    if old is None:
        return []
    before = {driver.get("name"): driver for driver in old["spec"].get("drivers") or []}
    return [
        invalid(f"spec.drivers[{at}]", driver, "field is immutable")
        for at, driver in enumerate(new["spec"].get("drivers") or [])
        if driver != before.get(driver.get("name"), driver)
    ]


def _detached(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"attached": False}


def _audiences(obj: Obj, _now: float) -> str:
    return ",".join(request.get("audience", "") for request in obj["spec"].get("tokenRequests") or []) or "<unset>"


def _flag(name: str, field: str) -> Column:
    return Column(name, lambda obj, _now: bool(obj["spec"].get(field)), type="boolean", description=f"The driver's {field}.")


def _kind(resource: Resource, columns: tuple[Column, ...], **more: Any) -> Kind:
    given = {"has_status": False, "has_generation": False, "acted_on": False} | more
    singular = resource.kind.lower()
    return Kind(
        resource=resource,
        schema=schema_of(STORAGE + resource.kind),
        singular=singular,
        storage=resource.plural,
        columns=columns,
        **given,
    )


KINDS = (
    _kind(
        CSIDRIVERS,
        (
            NAME,
            _flag("AttachRequired", "attachRequired"),
            _flag("PodInfoOnMount", "podInfoOnMount"),
            _flag("StorageCapacity", "storageCapacity"),
            Column("TokenRequests", _audiences, description="For whom it is given tokens of pods."),
            _flag("RequiresRepublish", "requiresRepublish"),
            Column(
                "Modes",
                lambda obj, _now: ",".join(obj["spec"].get("volumeLifecycleModes") or []),
                description="Lives its volumes may have.",
            ),
            AGE,
        ),
        name_check=lambda name, path: driver_name(path, name),
        checks=(_fixed("spec", fields=("attachRequired", "volumeLifecycleModes")),),
    ),
    _kind(
        CSINODES,
        (
            NAME,
            Column(
                "Drivers", lambda o, _n: len(o["spec"].get("drivers") or []), type="integer", description="How many drivers it has."
            ),
            AGE,
        ),
        checks=(_known_drivers,),
    ),
    _kind(
        CSISTORAGECAPACITIES,
        (NAME, CREATED_AT),
        checks=(_fixed(fields=("nodeTopology", "storageClassName")),),
    ),
    _kind(
        VOLUMEATTACHMENTS,
        (
            NAME,
            Column("Attacher", at("spec", "attacher", default=""), format="name", description="The driver."),
            Column("PV", at("spec", "source", "persistentVolumeName", default=""), description="What is attached."),
            Column("Node", at("spec", "nodeName", default=""), description="To which node."),
            Column("Attached", at("status", "attached", default=False), type="boolean", description="Whether it is."),
            AGE,
        ),
        prepare=(_detached,),
        checks=(_fixed(fields=("spec",)),),
        has_status=True,
        subresources={"status": STATUS},
    ),
    _kind(
        VOLUMEATTRIBUTESCLASSES,
        (NAME, Column("DriverName", at("driverName", default=""), description="Whose volumes it is for."), AGE),
        checks=(_fixed(fields=("driverName", "parameters")),),
        short_names=("vac",),
    ),
)
