"""The user of one world who works with claims and volumes, and what he may ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import EVENTS, NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from holdfast.lab.faults import Faults
from holdfast.lab.world import World, run_world
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError, UnknownOutcomeError

SPACE = "default"
BUILTIN = "builtin.holdfast.io"
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
PLURALS = {"pvc": PERSISTENTVOLUMECLAIMS, "pv": PERSISTENTVOLUMES, "sc": STORAGECLASSES, "pod": PODS, "node": NODES}


def modes(short: str) -> list[str]:
    names = {"RWO": "ReadWriteOnce", "ROX": "ReadOnlyMany", "RWX": "ReadWriteMany", "RWOP": "ReadWriteOncePod"}
    return [names[part] for part in short.split(",")]


def pinned(node: str) -> Obj:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]
    return {"required": {"nodeSelectorTerms": terms}}


class Storage:
    """Steps are repeated while the server is away; waits are of virtual time."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ask(self, work: Callable[[Any], Coroutine[Any, Any, Obj]]) -> Obj:
        for _ in range(400):
            try:
                return await work(await self.world.up())
            except UnknownOutcomeError:
                await asyncio.sleep(0.1)
            except ApiError as error:
                if error.code not in (409, 500, 503) or error.reason == "AlreadyExists":
                    raise
                await asyncio.sleep(0.1)
        raise AssertionError("the server never answers")

    # What there is

    async def claim(self, name: str, size: str = "1Gi", access: str = "RWO", **spec: Any) -> Obj:
        full = {"accessModes": modes(access), "resources": {"requests": {"storage": size}}, **spec}
        obj = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": full}
        return await self.ask(lambda client: client.create(PERSISTENTVOLUMECLAIMS, obj, SPACE))

    async def volume(self, name: str, size: str = "1Gi", access: str = "RWO", *, node: str = "", **spec: Any) -> Obj:
        full: Obj = {"capacity": {"storage": size}, "accessModes": modes(access), **spec}
        if not {"csi", "local", "rbd", "nfs"} & set(full):
            full["hostPath"] = {"path": f"/srv/{name}"}
        if node:
            full["nodeAffinity"] = pinned(node)
        obj = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": full}
        return await self.ask(lambda client: client.create(PERSISTENTVOLUMES, obj))

    async def sort(self, name: str, provisioner: str = BUILTIN, *, default: bool = False, waits: bool = False, **more: Any) -> Obj:
        metadata = {"name": name, "annotations": DEFAULT if default else {}}
        mode = "WaitForFirstConsumer" if waits else "Immediate"
        obj = {"metadata": metadata, "provisioner": provisioner, "volumeBindingMode": mode, **more}
        return await self.ask(lambda client: client.create(STORAGECLASSES, obj))

    async def pod(self, name: str, *claims: str, **spec: Any) -> Obj:
        volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
        mounts = [{"name": c, "mountPath": f"/{c}"} for c in claims]
        container = {"name": "c", "image": "i", "volumeMounts": mounts}
        full = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1, **spec}
        obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": full}
        return await self.ask(lambda client: client.create(PODS, obj, SPACE))

    async def get(self, kind: str, name: str) -> Obj | None:
        async def work(client: Any) -> Obj:
            resource: Resource = PLURALS[kind]
            try:
                found: Obj = await client.get(resource, name, SPACE if resource.namespaced else "")
            except ApiError as error:
                if error.code != 404:
                    raise
                return {}
            return found

        return await self.ask(work) or None

    async def there(self, kind: str, name: str) -> Obj:
        found = await self.get(kind, name)
        assert found is not None, f"{kind}/{name} is not there"
        return found

    async def list(self, kind: str) -> list[Obj]:
        items: list[Obj] = (await self.ask(lambda client: client.list(PLURALS[kind])))["items"]
        return items

    async def patch(self, kind: str, name: str, patch: Obj) -> Obj:
        resource = PLURALS[kind]
        return await self.ask(lambda client: client.patch(resource, name, SPACE if resource.namespaced else "", patch))

    async def delete(self, kind: str, name: str, **options: Any) -> None:
        resource = PLURALS[kind]
        try:
            await self.ask(lambda client: client.delete(resource, name, SPACE if resource.namespaced else "", **options))
        except ApiError as error:
            if error.code != 404:
                raise

    async def phase(self, kind: str, name: str) -> str:
        found = await self.get(kind, name)
        return str((found or {}).get("status", {}).get("phase") or "")

    async def told(self, name: str, reason: str) -> set[str]:
        return {event["message"] for event in await self._events(name, reason)}

    async def times(self, name: str, reason: str) -> int:
        """How often it was told."""
        return sum(event.get("count") or 1 for event in await self._events(name, reason))

    async def _events(self, name: str, reason: str) -> list[Obj]:
        events = (await self.ask(lambda client: client.list(EVENTS)))["items"]
        return [e for e in events if e["involvedObject"]["name"] == name and e["reason"] == reason]

    # Waiting

    async def until(self, what: Callable[[], Coroutine[Any, Any, Any]], why: str = "", seconds: float = 900) -> None:
        """``seconds`` of virtual time."""
        end = self.world.loop.time() + seconds
        while not await what():
            assert self.world.loop.time() < end, f"never true: {why}"
            await asyncio.sleep(0.2)

    async def bound(self, name: str, volume: str = "") -> str:
        """The name of the volume that a claim is bound to, once it is; both say so."""
        await self.until(lambda: self._is(("pvc", name, "Bound")), f"{name} is Bound")
        found = str((await self.there("pvc", name))["spec"]["volumeName"])
        assert not volume or found == volume, f"{name} is bound to {found}"
        await self.until(lambda: self._is(("pv", found, "Bound")), f"{found} is Bound")
        return found

    async def becomes(self, kind: str, name: str, phase: str) -> Obj:
        await self.until(lambda: self._is((kind, name, phase)), f"{kind}/{name} is {phase}")
        return await self.there(kind, name)

    async def _is(self, wanted: tuple[str, str, str]) -> bool:
        return await self.phase(*wanted[:2]) == wanted[2]

    async def running(self, name: str) -> str:
        """Its node, once it runs."""
        await self.becomes("pod", name, "Running")
        return str((await self.there("pod", name))["spec"]["nodeName"])

    async def gone(self, kind: str, name: str) -> None:
        async def absent() -> bool:
            return await self.get(kind, name) is None

        await self.until(absent, f"{kind}/{name} is gone")

    async def says(self, name: str, reason: str, message: str) -> None:
        async def said() -> bool:
            return message in await self.told(name, reason)

        await self.until(said, f"{name}: {reason} {message}", 60)

    async def cannot(self, name: str, why: str) -> None:
        """A pod stays Pending for that reason."""

        async def refused() -> bool:
            condition = meta.condition(await self.there("pod", name), "PodScheduled") or {}
            return condition.get("message") == why

        await self.until(refused, f"{name}: {why}", 60)
        await self.says(name, "FailedScheduling", why)

    async def calm(self, seconds: float = 30) -> None:
        """Time in which nothing is asked for."""
        await asyncio.sleep(seconds)


def tell(story: Callable[[Storage], Coroutine[Any, Any, None]], faults: Faults | None = None, *, seed: int = 7) -> World:
    """The story in a world of two nodes, node-0 and node-1, whose judge has nothing to say in the end."""
    worlds = []

    async def whole(world: World) -> None:
        worlds.append(world)
        await story(Storage(world))
        assert not world.failures, world.failures
        assert not world.judge.violations, world.judge.violations

    run_world(seed, whole, faults)
    return worlds[0]
