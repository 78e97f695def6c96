"""The judge: looks at what is really there (store, processes, disks) at each step, and says which promise was broken.

It never asks the API. P-n are the promises of docs/guarantees.md. A user's word (a forced deletion, a node declared lost)
frees an identity early: such uids are ``vouched`` for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from holdfast.controllers.statefulset import objects
from holdfast.kinds.kind import Obj
from holdfast.lab.loop import SeededLoop
from holdfast.machinery import meta
from holdfast.node.runtimes.api import InstanceConfig
from holdfast.node.simulated.machine import Machine
from holdfast.store.api import Change, Record

MOMENT = 1.0
"""Seconds: a decision and its request take time, in which the world goes on."""
POD, CLAIM, VOLUME, SET, REVISION, NODE = (
    "/registry/pods/",
    "/registry/persistentvolumeclaims/",
    "/registry/persistentvolumes/",
    "/registry/statefulsets/",
    "/registry/controllerrevisions/",
    "/registry/nodes/",
)


@dataclass(frozen=True)
class Condition:
    """What a component's write rests on: the object's ``uid`` and ``revision`` as it knows them ("" = it names none)."""

    who: str
    key: str
    uid: str
    revision: str


UNDER: ContextVar[Condition | None] = ContextVar("UNDER", default=None)
"""The condition of the request that is being served."""


class Truth(Protocol):
    """The store, as the judge looks into it."""

    def live(self) -> Mapping[str, Record]: ...

    def below(self, prefix: str) -> list[Record]: ...


class Judge:
    """``truth``: what is in the store; ``machines``: by name. What it shows of objects is shared: never change it."""

    def __init__(self, loop: SeededLoop, truth: Truth, machines: Mapping[str, Machine]) -> None:
        self._loop = loop
        self._truth = truth
        self._shown: dict[int, Obj] = {}
        """Objects by the revision of their last write."""
        self._machines = machines
        self.violations: list[str] = []
        self.vouched: set[str] = set()
        self.created: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.writes = 0
        """Commits of what is no chore."""
        self.last_write = 0.0
        self._gone: dict[str, float] = {}
        """Uid of each removed object: when."""
        self._unready: dict[str, float] = {}
        """Uid of each pod that is not available: since when."""
        self._bound: dict[str, str] = {}
        """Claim uid: the volume it is bound to, for life."""
        self._revision = 0
        self.strict = False
        """Nobody sees late in this world: what rests on an old picture has no excuse."""
        self.in_vain: Counter[str] = Counter()
        """What was asked for though it was so already: pods made or removed twice."""
        self._owners: dict[str, str] = {}
        """Uid of each object that has a controller: the controller's uid."""
        self._spans: dict[str, list[tuple[float, range]]] = {}
        """Set uid: from when on which ordinals were wanted."""
        self._born: dict[str, float] = {}
        """Uid of each pod and claim: when it was made."""
        self._ready: dict[str, float] = {}
        """Uid of each pod that is Ready: since when."""
        self._current: dict[str, str] = {}
        """Set uid: its current revision."""
        self._condemned: dict[str, float] = {}
        """Uid of each pod whose deletion was asked for: when."""

    def says(self, promise: str, text: str) -> None:
        self.violations.append(f"{promise} at {self._loop.time():.3f} s: {text}")

    def is_ready(self, pod: Obj) -> bool:
        return meta.uid(pod) in self._ready

    # The store

    def objects(self, prefix: str) -> list[Obj]:
        return [self.decoded(record) for record in self._truth.below(prefix)]

    def object(self, key: str) -> Obj | None:
        record = self._truth.live().get(key)
        return self.decoded(record) if record else None

    def decoded(self, record: Record) -> Obj:
        found = self._shown.get(record.revision)
        if found is None:
            found = self._shown[record.revision] = orjson.loads(record.value)
            found["metadata"]["resourceVersion"] = str(record.revision)
        return found

    def committed(self, change: Change, previous: Record | None) -> None:
        now = self._loop.time()
        if self._revision and change.revision != self._revision + 1:
            self.says("P-10", f"revision {change.revision} after {self._revision}")
        self._revision = change.revision
        key = change.record.key
        if key.startswith(("/registry/leases/", "/registry/events/", "/registry/nodes/", "/registry/minions/")):
            return
        self.writes += 1
        self.last_write = now
        if change.type != "update":
            (self.created if change.type == "create" else self.deleted)[key] += 1
        obj = self.decoded(change.record)
        if previous is not None:
            self._overwrites(key, obj, previous)
        if change.type == "delete":
            self._gone[meta.uid(obj)] = now
        elif change.type == "create" and key.startswith((POD, CLAIM)):
            self._born[meta.uid(obj)] = now
        if key.startswith(POD):
            self._pod(change, obj, now)
        elif key.startswith((CLAIM, VOLUME)):
            self._binding(key, change, obj)
        elif key.startswith(SET) and change.type != "delete":
            self._counters(obj)
            self._wants(obj, now)

    def _overwrites(self, key: str, obj: Obj, previous: Record) -> None:
        """P-12: a write that names what it was decided about changes that and nothing newer; nobody takes another's property."""
        under = UNDER.get()
        if under is not None and under.key == key:
            if under.revision and under.revision != str(previous.revision):
                self.says("P-12", f"{under.who} knew {key} at revision {under.revision} and overwrites {previous.revision}")
            if under.uid and under.uid != meta.uid(obj):
                self.says("P-12", f"{under.who} meant {key} {under.uid} and changes {meta.uid(obj)}")
        owner = (meta.controller_of(obj) or {}).get("uid", "") if key.startswith((POD, REVISION)) else ""
        before = self._owners.get(meta.uid(obj), owner)
        if before and owner and before != owner:
            self.says("P-12", f"{key} passes from its controller {before} straight to {owner}")
        self._owners[meta.uid(obj)] = owner

    def _wants(self, owner: Obj, now: float) -> None:
        first = objects.first_ordinal(owner)
        wanted, spans = range(first, first + objects.replicas(owner)), self._spans.setdefault(meta.uid(owner), [])
        if not spans or spans[-1][1] != wanted:
            spans.append((now, wanted))

    def _always_wanted(self, owner: Obj, number: int, uid: str) -> bool:
        """Whether the set, all the time since the object was made, wanted that member."""
        born, spans = self._born.get(uid, 0.0), self._spans.get(meta.uid(owner), [])
        if not spans or spans[0][0] > born:
            return False  # it is older than the set
        ends = [*(begin for begin, _ in spans[1:]), float("inf")]
        return all(number in wanted for (_, wanted), end in zip(spans, ends, strict=True) if end > born)

    def _pod(self, change: Change, pod: Obj, now: float) -> None:
        uid = meta.uid(pod)
        well = change.type != "delete" and objects.is_ready(pod) and not meta.is_terminating(pod)
        if well:
            self._unready.pop(uid, None)
            self._ready.setdefault(uid, now)
        else:
            self._ready.pop(uid, None)
        if not well:  # one that never was well has no moment of grace
            self._unready.setdefault(uid, float("-inf") if change.type == "create" else now)

    def _binding(self, key: str, change: Change, obj: Obj) -> None:
        """P-3: a claim and a volume belong to each other by uid, for life."""
        if change.type == "delete":
            return
        if key.startswith(CLAIM):
            volume, uid = obj["spec"].get("volumeName"), meta.uid(obj)
            if volume and self._bound.setdefault(uid, volume) != volume:
                self.says("P-3", f"claim {meta.key(obj)} was bound to {self._bound[uid]} and is bound to {volume}")
            if (obj.get("status") or {}).get("phase") == "Bound":
                found = self.object(f"{VOLUME}{volume}")
                owner = ((found or {}).get("spec") or {}).get("claimRef") or {}
                if found is not None and owner.get("uid") != uid:
                    self.says(
                        "P-3", f"claim {meta.key(obj)} is Bound to {volume}, which belongs to {owner.get('name')} {owner.get('uid')}"
                    )
            return
        owner = (obj["spec"].get("claimRef") or {}).get("uid")
        for other in self.objects(VOLUME) if owner else ():
            if meta.name(other) != meta.name(obj) and (other["spec"].get("claimRef") or {}).get("uid") == owner:
                self.says("P-3", f"volumes {meta.name(obj)} and {meta.name(other)} are both for claim {owner}")

    def _counters(self, owner: Obj) -> None:
        """P-17, of any status whatever."""
        status = owner.get("status") or {}
        total = status.get("replicas", 0)
        for name in ("readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"):
            if not 0 <= status.get(name, 0) <= max(total, 0):
                self.says("P-17", f"status of {meta.key(owner)}: {name} {status.get(name)} of {total}")
        current = status.get("currentRevision") or ""
        before = self._current.get(meta.uid(owner)) or current
        if current != before and (owner["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
            self.says("P-17", f"{meta.key(owner)}: currentRevision goes from {before} to {current}, and OnDelete never completes")
        elif current != before and status.get("updatedReplicas", 0) != total:
            updated = f"{status.get('updatedReplicas', 0)} of {total} updated"
            self.says("P-17", f"{meta.key(owner)}: currentRevision goes from {before} to {current} with {updated}")
        self._current[meta.uid(owner)] = current

    # What components ask for

    def asked(self, who: str, verb: str, resource: str, namespace: str, name: str, body: Any) -> None:
        """Before a request is on its way. ``body``: of a creation the object, of a deletion ``uid`` and ``resourceVersion``."""
        if verb == "delete" and not body.get("uid"):
            self.says("P-12", f"{who} deletes {resource} {namespace}/{name} without its uid")
        if verb == "delete" and resource == "persistentvolumeclaims":
            self._loses_claim(who, namespace, name)
        if who == "statefulset-controller" and resource == "pods":
            if verb == "create":
                self._creates(body)
            elif verb == "delete":
                self._deletes(namespace, name, body)
        elif who == "statefulset-controller" and resource == "persistentvolumeclaims" and verb == "delete":
            self.says("P-4", f"the StatefulSet controller deletes claim {namespace}/{name}")
        elif who == "replicaset-controller" and resource == "pods" and verb == "delete" and not body.get("uid"):
            self.says("P-12", f"pod {name} is deleted without its uid")
        elif who == "generic-garbage-collector" and verb == "delete":
            self._collects(resource, namespace, name, body)

    def _loses_claim(self, who: str, namespace: str, name: str) -> None:
        """P-15: the claim of a member that its set has wanted all the time goes by nobody but the user."""
        claim = self.object(f"{CLAIM}{namespace}/{name}")
        for owner in self.objects(f"{SET}{namespace}/") if claim is not None else ():
            for template in owner["spec"].get("volumeClaimTemplates") or []:
                _, _, number = name.rpartition("-")
                named = number.isdigit() and name == objects.claim_name(owner, template, int(number))
                if named and claim and not meta.is_terminating(owner) and self._always_wanted(owner, int(number), meta.uid(claim)):
                    self.says("P-15", f"{who} deletes {name}, and {objects.pod_name(owner, int(number))} was wanted all the time")

    def _set_of(self, pod: Obj) -> Obj | None:
        owner = meta.controller_of(pod)
        found = self.object(f"{SET}{meta.namespace(pod)}/{owner['name']}") if owner else None
        return found if found is not None and owner and meta.uid(found) == owner["uid"] else None

    def _is_well(self, owner: Obj, number: int, patience: float) -> bool:
        pod = self.object(f"{POD}{meta.namespace(owner)}/{objects.pod_name(owner, number)}")
        now = self._loop.time()
        if pod is None:
            return False
        return now - self._unready.get(meta.uid(pod), now) <= patience

    def _creates(self, pod: Obj) -> None:
        """P-7: under OrderedReady a member begins when the one before it is well, by what is, not by what was heard."""
        owner = self._set_of(pod)
        if owner is None:
            reference = meta.controller_of(pod) or {}
            if reference.get("uid") not in self._gone:
                self.says("P-7", f"pod {meta.name(pod)} is created for a set that is not there")
            return
        self._alone(owner, pod)
        number, first = objects.ordinal(pod), objects.first_ordinal(owner)
        there = self.object(f"{POD}{meta.namespace(pod)}/{meta.name(pod)}")
        if there is not None and meta.is_controlled_by(there, owner):
            self.in_vain[f"create {meta.name(pod)}"] += 1
        if owner["spec"].get("podManagementPolicy") == "Parallel" or number <= first:
            return
        if not self._is_well(owner, number - 1, MOMENT):
            self.says("P-7", f"{meta.name(pod)} is created while {objects.pod_name(owner, number - 1)} is not Ready")

    def _alone(self, owner: Obj, pod: Obj) -> None:
        """P-7: under Recreate a member begins when none of another revision is there."""
        if not _recreates(owner):
            return
        for other in self.objects(f"{POD}{meta.namespace(owner)}/"):
            if meta.is_controlled_by(other, owner) and objects.revision_of(other) != objects.revision_of(pod):
                self.says("P-7", f"{meta.name(pod)} is created beside {meta.name(other)} of another revision")

    def _deletes(self, namespace: str, name: str, body: Any) -> None:
        pod = self.object(f"{POD}{namespace}/{name}")
        if pod is None or meta.uid(pod) != body.get("uid") or body["resourceVersion"] not in ("", pod["metadata"]["resourceVersion"]):
            return  # it will be refused
        if meta.is_terminating(pod):
            self.in_vain[f"delete {name}"] += 1
            return
        owner = self._set_of(pod)
        if owner is None or not objects.is_ready(pod):
            return
        if _recreates(owner):
            return  # all at once, if not for scaling down
        first, count = objects.first_ordinal(owner), objects.replicas(owner)
        number = objects.ordinal(pod)
        if number in range(first, first + count):
            self._takes(owner, pod, number)
        if owner["spec"].get("podManagementPolicy") == "Parallel":
            return
        if number in range(first, first + count):
            if number + 1 < first + count and not self._is_well(owner, number + 1, MOMENT):
                self.says("P-7", f"{name} is updated while {objects.pod_name(owner, number + 1)} is not Ready")
            return
        higher = [p for p in self.objects(f"{POD}{namespace}/") if self._set_of(p) and objects.ordinal(p) > number]
        if number >= first + count and [p for p in higher if meta.controller_of(p) == meta.controller_of(pod)]:
            self.says("P-7", f"{name} goes before {meta.name(higher[0])}")

    def _takes(self, owner: Obj, pod: Obj, number: int) -> None:
        """P-7: a Ready member that is wanted goes only for an update, and only while not too many others are away."""
        now, update = self._loop.time(), (owner.get("status") or {}).get("updateRevision")
        if objects.revision_of(pod) == update and self._always_wanted(owner, number, meta.uid(pod)):
            self.says("P-7", f"{meta.name(pod)} is deleted, Ready, wanted and of the newest revision")
        rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        if rolling.get("maxUnavailable") is None or not self.strict:
            return
        first, count = objects.first_ordinal(owner), objects.replicas(owner)
        patience = int(owner["spec"].get("minReadySeconds") or 0)
        self._condemned[meta.uid(pod)] = now
        away = []
        for name in (objects.pod_name(owner, n) for n in range(first, first + count)):
            uid = meta.uid(self.object(f"{POD}{meta.namespace(owner)}/{name}") or {"metadata": {"uid": ""}})
            going = now - self._condemned.get(uid, float("-inf")) < MOMENT
            lapsed = now - self._unready.get(uid, now) < MOMENT and uid in self._unready
            well = uid in self._ready and now - self._ready[uid] > patience - 2 * MOMENT  # the API knows whole seconds only
            if going or not (well or lapsed):
                away.append(name)
        if len(away) > objects.at_most(rolling["maxUnavailable"], count):
            self.says("P-7", f"{meta.name(pod)} is updated, and then {', '.join(away)} are unavailable at once")

    def _collects(self, resource: str, namespace: str, name: str, body: Any) -> None:
        """P-16: nothing goes whose owner lives."""
        found = self.object(f"/registry/{resource}/{namespace}/{name}" if namespace else f"/registry/{resource}/{name}")
        if (
            found is None
            or meta.uid(found) != (body["uid"] or meta.uid(found))
            or found["metadata"]["resourceVersion"] != (body["resourceVersion"] or found["metadata"]["resourceVersion"])
        ):
            return  # it will be refused
        owners = found["metadata"].get("ownerReferences") or []
        living = {meta.uid(self.decoded(record)): self.decoded(record) for record in self._truth.live().values()}
        alive = [living[r["uid"]] for r in owners if r["uid"] in living]
        if not owners or any("foregroundDeletion" not in (o["metadata"].get("finalizers") or []) for o in alive):
            owner = meta.name(alive[0]) if alive else "nobody"
            self.says("P-16", f"{resource} {namespace}/{name} is collected; its owner: {owner}")

    # Machines and disks

    def started(self, machine: Machine, config: InstanceConfig) -> None:
        who, now = f"{config.namespace}/{config.pod_name}", self._loop.time()
        record = self.object(f"{POD}{who}")
        live = meta.uid(record) if record else ""
        if live != config.pod_uid and config.pod_uid not in self.vouched and now - self._gone.get(config.pod_uid, -1e9) > MOMENT:
            self.says("P-1", f"{who} {config.pod_uid} starts on {machine.name}, but {live or 'nothing'} is the one of that name")
        for other in self._machines.values():
            for running in other.living():
                if running.pod_uid == config.pod_uid and other is not machine:
                    self.says("P-1", f"{who} {config.pod_uid} runs on {machine.name} and {other.name}")
                if running.pod_uid in (config.pod_uid, *self.vouched):
                    continue
                if (running.namespace, running.pod_name) == (config.namespace, config.pod_name):
                    self.says("P-1", f"{who} runs twice: {running.pod_uid} on {other.name}, {config.pod_uid} on {machine.name}")
                if set(self._handles(other, running)) & set(self._handles(machine, config)):
                    self.says("P-2", f"{who} and {running.pod_name} write to one volume at the same time")

    @staticmethod
    def _handles(machine: Machine, config: InstanceConfig) -> list[str]:
        return [machine.staged[mount.source] for mount in config.mounts if mount.source in machine.staged]

    def erased(self, handle: str) -> None:
        """P-4: data goes when its claim is gone for good and nothing runs on it."""
        for claim in self.objects(CLAIM):
            if handle == f"pvc-{meta.uid(claim)}":
                self.says("P-4", f"the data of {meta.key(claim)} is removed while the claim exists")
        volume = self.object(f"{VOLUME}{handle}")
        if volume is not None and volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
            self.says("P-4", f"the data of {handle} is removed against its policy")
        for machine in self._machines.values():
            for config in machine.living():
                if handle in self._handles(machine, config):
                    self.says("P-4", f"the data of {handle} is removed under {config.pod_name}")


def _recreates(owner: Obj) -> bool:
    return bool((owner["spec"].get("updateStrategy") or {}).get("type") == "Recreate")
