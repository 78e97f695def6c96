"""CSIDriver, CSINode, CSIStorageCapacity and VolumeAttachment: what storage drivers say of themselves, and what they are asked."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, CREATED_AT, NAME, at, joined
from holdfast.kinds.definitions.csi import check_attached
from holdfast.kinds.definitions.overlay import STORAGE
from holdfast.kinds.definitions.rules import IMMUTABLE, immutable
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import CSIDRIVERS, CSINODES, CSISTORAGECAPACITIES, VOLUMEATTACHMENTS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, invalid

UNSET = "<unset>"


def _prepare_driver(new: Obj, old: Obj | None) -> None:
    """A driver's generation begins with its first change."""
    if old is not None and new["spec"] != old["spec"]:
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _check_driver(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is None:
        return []
    found = []
    if new["spec"]["attachRequired"] != old["spec"]["attachRequired"]:
        # Upstream's own spelling of the path.
        found.append(invalid("spec.attachedRequired", new["spec"]["attachRequired"], IMMUTABLE))
    return found + immutable(new["spec"], old["spec"], "spec", ("volumeLifecycleModes",))


def _audiences(obj: Obj, _now: float) -> str:
    requests = obj["spec"].get("tokenRequests")
    return UNSET if requests is None else ",".join(request.get("audience") or "" for request in requests)


DRIVER = Kind(
    resource=CSIDRIVERS,
    schema=schema_of(STORAGE + "CSIDriver"),
    singular="csidriver",
    storage="csidrivers",
    prepare=(_prepare_driver,),
    checks=(_check_driver,),
    columns=(
        NAME,
        Column("AttachRequired", at("spec", "attachRequired"), type="boolean", description="Whether volumes are attached first."),
        Column("PodInfoOnMount", at("spec", "podInfoOnMount"), type="boolean", description="Whether it is told about the pod."),
        Column("StorageCapacity", at("spec", "storageCapacity"), type="boolean", description="Whether its capacity is considered."),
        Column("TokenRequests", _audiences, description="Audiences of the tokens it is given."),
        Column("RequiresRepublish", at("spec", "requiresRepublish"), type="boolean", description="Whether mounts are renewed."),
        Column(
            "Modes", lambda obj, _now: joined(obj["spec"].get("volumeLifecycleModes") or (), UNSET), description="Volumes it makes."
        ),
        AGE,
    ),
    has_status=False,
    has_generation=False,
    unconditional_update=False,
    acted_on=False,
)


def _check_node(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """What a driver has told of a node stays, but how many volumes it can take."""
    if old is None:
        return []
    before = {driver["name"]: driver | {"allocatable": None} for driver in old["spec"].get("drivers") or []}
    return [
        invalid("spec.drivers", driver, IMMUTABLE)
        for driver in new["spec"].get("drivers") or []
        if before.get(driver.get("name"), driver | {"allocatable": None}) != driver | {"allocatable": None}
    ]


NODE = Kind(
    resource=CSINODES,
    schema=schema_of(STORAGE + "CSINode"),
    singular="csinode",
    storage="csinodes",
    checks=(_check_node,),
    columns=(
        NAME,
        Column("Drivers", lambda obj, _now: len(obj["spec"].get("drivers") or []), type="integer", description="How many it has."),
        AGE,
    ),
    has_status=False,
    has_generation=False,
    unconditional_update=False,
    acted_on=False,
)


def _check_capacity(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    return [] if old is None else immutable(new, old, "", ("nodeTopology", "storageClassName"))


CAPACITY = Kind(
    resource=CSISTORAGECAPACITIES,
    schema=schema_of(STORAGE + "CSIStorageCapacity"),
    singular="csistoragecapacity",
    storage="csistoragecapacities",
    checks=(_check_capacity,),
    columns=(NAME, CREATED_AT),
    has_status=False,
    has_generation=False,
    unconditional_update=False,
    acted_on=False,
)


def _prepare_attachment(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"attached": False}


def _check_attachment(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    return [] if old is None else immutable(new, old, "", ("spec",))


def _check_status(new: Obj, _old: Obj | None, _path: str) -> list[FieldError]:
    return check_attached(new.get("status") or {}, "status")


ATTACHMENT = Kind(
    resource=VOLUMEATTACHMENTS,
    schema=schema_of(STORAGE + "VolumeAttachment"),
    singular="volumeattachment",
    storage="volumeattachments",
    prepare=(_prepare_attachment,),
    checks=(_check_attachment,),
    status_checks=(_check_status,),
    subresources={"status": STATUS},
    columns=(
        NAME,
        Column("Attacher", at("spec", "attacher"), format="name", description="The driver that attaches."),
        Column("PV", at("spec", "source", "persistentVolumeName", default=""), description="The volume."),
        Column("Node", at("spec", "nodeName"), description="The node it is attached to."),
        Column("Attached", at("status", "attached", default=False), type="boolean", description="Whether it is done."),
        AGE,
    ),
    has_generation=False,
    unconditional_update=False,
    acted_on=False,
)
