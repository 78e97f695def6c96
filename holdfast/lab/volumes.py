"""Claims and volumes in the lab: a story, and what rest is for them. What may never happen to them is the judge's (P-2 to P-4)."""

from __future__ import annotations

from functools import partial
from typing import Any

from holdfast.kinds.core import growth
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from holdfast.lab.judge import CLAIM, VOLUME, Judge
from holdfast.lab.stage import Stage, a_set
from holdfast.lab.world import World
from holdfast.machinery import meta
from holdfast.volumes.builtin import BuiltinEngine

NAMESPACE = "default"
GIB = 2**30
_STATIC = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "by-hand"}


def a_claim(name: str, sort: str) -> Obj:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": sort}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def a_class(name: str, policy: str) -> Obj:
    full = {"provisioner": BuiltinEngine.name, "reclaimPolicy": policy, "volumeBindingMode": "Immediate"}
    return {"metadata": {"name": name}, "allowVolumeExpansion": True, **full}


def a_volume(name: str) -> Obj:
    return {"metadata": {"name": name}, "spec": {**_STATIC, "hostPath": {"path": f"/srv/{name}"}}}


def unlike(world: World) -> str:
    """What is not as it should be; "" when all is."""
    judge = world.judge
    claims = {meta.uid(claim): claim for claim in judge.objects(CLAIM)}
    for claim in claims.values():
        if meta.is_terminating(claim):
            return f"claim {meta.name(claim)} is being deleted"
        if claim["spec"].get("storageClassName") in ("kept", "made", "by-hand"):
            phase = (claim.get("status") or {}).get("phase")
            if phase != "Bound":
                return f"claim {meta.name(claim)} is {phase}"
    for volume in judge.objects(VOLUME):
        owner = (volume["spec"].get("claimRef") or {}).get("uid")
        wanted = "Available" if not owner else "Bound" if owner in claims else "Released"
        phase = (volume.get("status") or {}).get("phase")
        if meta.is_terminating(volume) or phase != wanted:
            return f"volume {meta.name(volume)} is {phase}, and not {wanted}"
        if wanted == "Released" and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            return f"volume {meta.name(volume)} is still there"
    return ""


class _Hand:
    """The user of a story: short words for what he does."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._world = stage.world

    async def make(self, resource: Resource, *objects: Obj) -> None:
        for obj in objects:
            await self._stage.do(partial(self._create, resource, obj))

    async def _create(self, resource: Resource, obj: Obj) -> None:
        await self._world.user.create(resource, obj, NAMESPACE if resource.namespaced else "")

    async def change(self, resource: Resource, name: str, patch: Obj) -> None:
        where = NAMESPACE if resource.namespaced else ""
        await self._stage.do(lambda: self._world.user.patch(resource, name, where, patch))

    async def remove(self, resource: Resource, name: str) -> None:
        where = NAMESPACE if resource.namespaced else ""
        await self._stage.do(lambda: self._world.user.delete(resource, name, where))

    async def rest(self) -> None:
        await self._stage.until(lambda: unlike(self._world))


def _uid(judge: Judge, name: str) -> str:
    found = judge.object(f"{CLAIM}{NAMESPACE}/{name}")
    return meta.uid(found) if found is not None else ""


async def volumes(stage: Stage) -> None:
    """Made, found and grown; deleted from either end; released, given away again."""
    hand, judge = _Hand(stage), stage.judge
    await hand.make(STORAGECLASSES, a_class("made", "Delete"), a_class("kept", "Retain"))
    await hand.make(PERSISTENTVOLUMES, *(a_volume(f"disk-{number}") for number in range(3)))
    names: dict[str, Any] = {"one": "made", "two": "made", "three": "kept", "four": "by-hand", "five": "by-hand"}
    await hand.make(PERSISTENTVOLUMECLAIMS, *(a_claim(name, sort) for name, sort in names.items()))
    await hand.rest()
    first, third = (f"pvc-{_uid(judge, name)}" for name in ("one", "three"))
    await hand.change(PERSISTENTVOLUMECLAIMS, "two", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    await stage.until(lambda: "" if _waits_for_node(judge, "two") else "claim two does not grow")
    await hand.remove(PERSISTENTVOLUMES, first)
    await hand.remove(PERSISTENTVOLUMECLAIMS, "one")
    await hand.remove(PERSISTENTVOLUMECLAIMS, "three")
    await hand.remove(PERSISTENTVOLUMECLAIMS, "four")
    await hand.rest()
    if judge.object(f"{VOLUME}{first}") is not None or first in stage.world.disk.volumes:
        judge.says("P-4", f"volume {first} is left")
    if third not in stage.world.disk.volumes:
        judge.says("P-4", f"the data of {third} is gone")
    await hand.change(PERSISTENTVOLUMES, third, {"spec": {"claimRef": None}})
    again = a_claim("three", "kept")
    await hand.make(PERSISTENTVOLUMECLAIMS, {**again, "spec": {**again["spec"], "volumeName": third}})
    await hand.rest()


async def given_up(stage: Stage) -> None:
    """Claims that go again as soon as their volume is made, whoever may know of it by then."""
    hand, disk = _Hand(stage), stage.world.disk
    await hand.make(STORAGECLASSES, a_class("made", "Delete"))
    for name in ("one", "two"):
        await hand.make(PERSISTENTVOLUMECLAIMS, a_claim(name, "made"))
        handle = f"pvc-{_uid(stage.judge, name)}"
        await stage.until(lambda handle=handle: "" if handle in disk.volumes else f"{handle} is not made")  # type: ignore[misc]
        await hand.remove(PERSISTENTVOLUMECLAIMS, name)
        await hand.rest()


async def grows(stage: Stage) -> None:
    """A claim is raised while its member runs, then beyond all room, and lowered again; the member comes back on the larger volume."""
    hand, judge, name = _Hand(stage), stage.judge, "www-web-0"
    stage.world.disk.room = 4 * GIB
    await hand.make(STORAGECLASSES, {**a_class("grows", "Delete"), "volumeBindingMode": "WaitForFirstConsumer"})
    await stage.begin(_a_set_of("grows"))
    await stage.until(lambda: "" if _phase(judge, name) == "Bound" else f"claim {name} is not Bound")
    await hand.change(PERSISTENTVOLUMECLAIMS, name, _asking("2Gi"))
    await stage.until(lambda: _unlike_capacity(judge, name, "2Gi"))
    await hand.change(PERSISTENTVOLUMECLAIMS, name, _asking("100Gi"))
    await stage.until(lambda: "" if _is_refused(judge, name) else f"claim {name} is not refused")
    await hand.change(PERSISTENTVOLUMECLAIMS, name, _asking("3Gi"))
    await stage.until(lambda: _unlike_capacity(judge, name, "3Gi"))
    await stage.delete_pod(0)


def _asking(size: str) -> Obj:
    return {"spec": {"resources": {"requests": {"storage": size}}}}


def _a_set_of(sort: str) -> Obj:
    owner = a_set(2)
    owner["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = sort
    return owner


def _status(judge: Judge, name: str) -> Obj:
    found = judge.object(f"{CLAIM}{NAMESPACE}/{name}")
    return (found or {}).get("status") or {}


def _phase(judge: Judge, name: str) -> str:
    return str(_status(judge, name).get("phase") or "")


def _unlike_capacity(judge: Judge, name: str, wanted: str) -> str:
    has = (_status(judge, name).get("capacity") or {}).get("storage")
    return "" if has == wanted else f"claim {name} has {has}, and not {wanted}"


def _is_refused(judge: Judge, name: str) -> bool:
    return bool((_status(judge, name).get("allocatedResourceStatuses") or {}).get("storage") == growth.INFEASIBLE)


def _waits_for_node(judge: Judge, name: str) -> bool:
    found = judge.object(f"{CLAIM}{NAMESPACE}/{name}")
    return found is not None and meta.condition_true(found, "FileSystemResizePending")
