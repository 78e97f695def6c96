"""Pictures that are behind the server's: nothing is lost, taken or let go because of them (R-17, R-18, R-20, R-21)."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.controllers.provisioner import Provisioner
from holdfast.controllers.volumes.controller import VolumeBinder
from holdfast.controllers.volumes.protection import CLAIM_FINALIZER, ClaimProtection
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from holdfast.machinery.errors import ApiError
from holdfast.node.simulated.machine import Machine
from holdfast.node.simulated.parts import SimulatedEngine

STAMP = "2026-01-01T00:00:00Z"


class Server:
    """As much of a client as these need: objects by kind and name, and what was asked for. ``broken``: kinds that answer 500."""

    def __init__(self, *objects: Obj) -> None:
        self.objects = {(o["kind"], o["metadata"]["name"]): o for o in objects}
        self.broken: set[str] = set()
        self.written: list[tuple[str, str, str, Any]] = []

    async def get(self, resource: Resource, name: str, _namespace: str = "") -> Obj:
        if resource.kind in self.broken:
            raise ApiError(500, "InternalError", "broken")
        if (resource.kind, name) not in self.objects:
            raise ApiError(404, "NotFound", name)
        return self.objects[resource.kind, name]

    async def list(self, resource: Resource, _namespace: str = "", **_more: Any) -> Obj:
        if resource.kind in self.broken:
            raise ApiError(500, "InternalError", "broken")
        return {"items": [o for (kind, _), o in self.objects.items() if kind == resource.kind], "metadata": {"resourceVersion": "1"}}

    async def patch(self, resource: Resource, name: str, _namespace: str, patch: Any, *, subresource: str = "", **_more: Any) -> Obj:
        self.written.append((resource.kind, name, subresource, patch))
        return self.objects[resource.kind, name]

    async def delete(self, resource: Resource, name: str, _namespace: str = "", **options: Any) -> Obj:
        self.written.append((resource.kind, name, "delete", options))
        return {}


def claim(name: str = "data", uid: str = "u1", **more: Any) -> Obj:
    metadata = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "5", **more.pop("metadata", {})}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "pvc-u1"}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec, "status": {"phase": "Bound"}, **more}


def volume(uid: str = "u1", phase: str = "Bound", policy: str = "Delete") -> Obj:
    metadata = {"name": "pvc-u1", "uid": "v", "resourceVersion": "7", "annotations": {"pv.kubernetes.io/provisioned-by": "e"}}
    metadata["finalizers"] = ["external-provisioner.volume.kubernetes.io/finalizer"]  # type: ignore[assignment]
    here = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]}]}]
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "claimRef": {"namespace": "ns", "name": "data", "uid": uid},
        "persistentVolumeReclaimPolicy": policy,
        "csi": {"driver": "e", "volumeHandle": "pvc-u1"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": here}},
    }
    return {"kind": "PersistentVolume", "metadata": metadata, "spec": spec, "status": {"phase": phase}}


def pod(name: str = "p", node: str = "n", **status: Any) -> Obj:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    metadata = {"name": name, "namespace": "ns", "uid": name}
    return {"kind": "Pod", "metadata": metadata, "spec": {"volumes": volumes, "nodeName": node}, "status": status}


def pictured(server: Server, *objects: Obj) -> InformerSet:
    """Informers that see these objects and nothing else."""
    informers = InformerSet(server)  # type: ignore[arg-type]
    for resource in (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS):
        for obj in objects:
            if obj["kind"] == resource.kind:
                key = "/".join(filter(None, (obj["metadata"].get("namespace"), obj["metadata"]["name"])))
                informers[resource]._objects[key] = obj
    return informers


def binder(server: Server, *seen: Obj) -> VolumeBinder:
    informers = pictured(server, *seen)
    return VolumeBinder(server, informers, EventRecorder(server, "c"), time.time)  # type: ignore[arg-type]


async def test_r17_a_claim_that_is_not_seen_yet_is_asked_for() -> None:
    server = Server(claim(), volume())
    await binder(server, volume())._sync_volume("pvc-u1")
    assert server.written == [], "it is Bound, and stays so"


async def test_r17_a_claim_seen_under_its_former_uid_is_asked_for() -> None:
    server = Server(claim(), volume())
    await binder(server, volume(), claim(uid="before"))._sync_volume("pvc-u1")
    assert server.written == []


async def test_r18_a_server_that_does_not_answer_means_nothing() -> None:
    server = Server(claim(), volume())
    server.broken.add("PersistentVolumeClaim")
    with pytest.raises(ApiError):
        await binder(server, volume())._sync_volume("pvc-u1")
    assert server.written == []


async def test_r18_a_claim_is_lost_only_when_the_server_says_so() -> None:
    complete = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
    one = claim(metadata=complete)
    server = Server(one, volume())
    await binder(server, one)._sync_claim("ns/data")
    assert not any("Lost" in str(patch) for *_, patch in server.written)
    server = Server(one)
    await binder(server, one)._sync_claim("ns/data")
    ((kind, name, part, patch),) = server.written
    assert (kind, name, part, patch["status"]["phase"]) == ("PersistentVolumeClaim", "data", "status", "Lost")
    assert patch["metadata"] == {"uid": "u1", "resourceVersion": "5"}


async def test_a_volume_of_a_claim_that_is_gone_is_released() -> None:
    server = Server(volume())
    await binder(server, volume(), claim())._sync_volume("pvc-u1")
    assert server.written == [], "the picture still shows it: its deletion will be heard of"
    await binder(server, volume())._sync_volume("pvc-u1")
    ((*_, patch),) = server.written
    assert patch["status"]["phase"] == "Released"


async def test_r13_a_free_volume_is_not_taken_for_a_claim_that_has_gone_on_since() -> None:
    """Found by the lab: a claim that had just been given to a provisioner got a second volume from the binder's older picture."""
    free = volume(uid="", phase="Available")
    del free["spec"]["claimRef"]
    one = claim()
    del one["spec"]["volumeName"]
    gone_on = copy.deepcopy(one)
    gone_on["metadata"] |= {"resourceVersion": "6", "annotations": {"volume.kubernetes.io/selected-node": "n"}}
    server = Server(gone_on, free)
    await binder(server, one, free)._bind(one, free)
    assert server.written == []
    server = Server(one, free)
    await binder(server, one, free)._bind(one, free)
    assert server.written[0][3]["spec"]["claimRef"]["uid"] == "u1"


async def test_h10_what_the_binder_says_of_a_claim_never_hides_what_the_resizer_said() -> None:
    """Found by the lab: from a picture of a claim that was not Bound yet, its new volume's capacity was written over the old one."""
    one = claim(metadata={"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, status={"phase": "Pending"})
    server = Server(one, volume())
    await binder(server, one, volume())._bind(one, volume())
    ((*_, part, patch),) = server.written
    assert (part, patch["status"]["capacity"]) == ("status", {"storage": "1Gi"})
    assert patch["metadata"]["resourceVersion"] == "5", "refused when the claim has changed since"
    server = Server(claim(), volume())
    await binder(server)._bound_status(claim(status={"phase": "Bound"}), volume())
    assert all("capacity" not in patch["status"] for *_, patch in server.written)


# Data


def provisioner(server: Server) -> tuple[Provisioner, Machine]:
    machine = Machine("n", None)  # type: ignore[arg-type]
    machine.disk.create("pvc-u1", 1)
    made = Provisioner(server, SimulatedEngine("e", machine), "n", EventRecorder(server, "e"), time.time)  # type: ignore[arg-type]
    return made, machine


@pytest.mark.parametrize(
    ("server", "erased"),
    [
        (Server(volume(phase="Released")), True),
        (Server(volume(phase="Failed")), True),
        (Server(volume(phase="Released"), claim(uid="another")), True),
        (Server(volume(phase="Released"), claim()), False),  # R-20: a phase written by somebody whose picture was old
        (Server(volume()), False),
        (Server(volume(phase="Released", policy="Retain")), False),
        (Server(volume(phase="Released", uid="")), False),
        (Server(), False),
    ],
)
async def test_r20_data_goes_only_with_a_claim_that_is_gone_by_a_live_read(server: Server, erased: bool) -> None:
    made, machine = provisioner(server)
    await made._sync_volume("pvc-u1")
    assert ("pvc-u1" not in machine.disk.volumes) is erased


@pytest.mark.parametrize(
    ("server", "used", "erased"),
    [
        (Server(), False, True),
        (Server(claim(uid="another")), False, True),
        (Server(claim()), False, False),
        (Server(volume(phase="Released", policy="Retain")), False, False),
        (Server(), True, False),
    ],
)
async def test_what_was_made_and_never_told_of_goes_when_nobody_can_know_of_it(server: Server, used: bool, erased: bool) -> None:
    """Found by the lab: the claim went before its volume's record was written. What was mounted once may hold data."""
    made, machine = provisioner(server)
    machine.unused |= set() if used else {"pvc-u1"}
    await made._leftovers._sync("pvc-u1")
    assert ("pvc-u1" not in machine.disk.volumes) is erased


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "PersistentVolume"])
async def test_nothing_goes_that_cannot_be_asked_about(kind: str) -> None:
    server = Server()
    server.broken.add(kind)
    made, machine = provisioner(server)
    machine.unused.add("pvc-u1")
    with pytest.raises(ApiError):
        await made._leftovers._sync("pvc-u1")
    assert "pvc-u1" in machine.disk.volumes


async def test_r18_no_data_goes_while_claims_cannot_be_asked_for() -> None:
    server = Server(volume(phase="Released"))
    server.broken.add("PersistentVolumeClaim")
    made, machine = provisioner(server)
    with pytest.raises(ApiError):
        await made._sync_volume("pvc-u1")
    assert "pvc-u1" in machine.disk.volumes


# Finalizers


def going() -> Obj:
    return claim(metadata={"deletionTimestamp": STAMP, "finalizers": [CLAIM_FINALIZER]})


def of_pod(name: str, uid: str = "p") -> Obj:
    owned = going()
    owned["metadata"] |= {"name": name, "ownerReferences": [{"kind": "Pod", "name": "p", "uid": uid, "controller": True}]}
    return owned


def with_scratch(**more: Any) -> Obj:
    one = pod(**more)
    one["spec"]["volumes"] = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}]
    return one


@pytest.mark.parametrize(
    ("one", "user", "freed"),
    [
        (going(), None, True),
        (going(), pod(), False),  # R-21: it is not in the picture, but it is there
        (going(), pod(node=""), True),
        (going(), pod(phase="Succeeded"), False),
        (of_pod("p-scratch"), with_scratch(), False),
        (of_pod("p-scratch"), with_scratch(phase="Succeeded"), True),
        (of_pod("p-scratch", uid="another"), with_scratch(), True),
    ],
)
async def test_r21_a_claim_is_let_go_only_after_the_server_was_asked_for_its_pods(one: Obj, user: Obj | None, freed: bool) -> None:
    before = copy.deepcopy(one)
    server = Server(one, *([user] if user else []))
    protection = ClaimProtection(server, pictured(server, one))  # type: ignore[arg-type]
    await protection._sync(f"ns/{one['metadata']['name']}")
    assert bool(server.written) is freed
    assert one == before
