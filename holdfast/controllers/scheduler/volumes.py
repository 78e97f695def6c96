"""Where a pod can go for its volumes' sake: where those that are bound can be used, and the others found or made. Pure.

Texts are upstream's (plugins VolumeBinding and VolumeRestrictions). Claims that wait for their first consumer are bound here: to a
volume that somebody has made for them and that can be used on the node, or by asking for one there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from holdfast.controllers.volumes.decide import allows
from holdfast.controllers.volumes.matching import asked_by, choose, is_bound, reaches, refers
from holdfast.kinds.core.claims import SELECTED_NODE, class_of, ephemeral, foreign
from holdfast.kinds.kind import Obj
from holdfast.kinds.storage.storageclass import NO_PROVISIONER, WAITS
from holdfast.machinery import meta

Disk = tuple[frozenset[str], str, str, bool]
"""A disk that a pod names itself: monitors, pool, image, whether it only reads."""

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
NO_MATCH = "node(s) didn't find available persistent volumes to bind"
ELSEWHERE = "node(s) had volume node affinity conflict"
GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
ONE_NODE = "node(s) can't use a ReadWriteOnce volume that is in use on another node"
NO_DISK = "node(s) had no available disk"
_SHARED = {"ReadOnlyMany", "ReadWriteMany"}


@dataclass
class Storage:
    """What the scheduler knows of a pod's claims."""

    bound: list[tuple[Obj, Obj | None]] = field(default_factory=list)
    """Claims with their volumes; None for one that is not there."""
    waiting: list[Obj] = field(default_factory=list)
    """Claims that are bound when their pod has a node, the smallest first."""
    volumes: list[Obj] = field(default_factory=list)
    """All that could be meant for ``waiting``."""
    classes: Mapping[str, Obj] = field(default_factory=dict)
    users: Mapping[str, set[str]] = field(default_factory=dict)
    """By name of a claim: nodes of the pods that use it."""


@dataclass
class Placing:
    """``reasons`` against a node; when there are none, the volume for each claim, and claims for which one is to be made."""

    reasons: list[str] = field(default_factory=list)
    static: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)


def refusal(pod: Obj, claims: Mapping[str, Obj | None], classes: Mapping[str, Obj]) -> str:
    """Why a pod can go nowhere at all yet, by name of its claims; "" when there is no such reason."""
    own = set(ephemeral(pod).values())
    for name, claim in claims.items():
        if claim is None:
            if name in own:
                return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
            return f'persistentvolumeclaim "{name}" not found'
        if (claim.get("status") or {}).get("phase") == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim["spec"].get("volumeName") or ""}"'
        if meta.is_terminating(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if name in own and (why := foreign(pod, claim)):
            return why
    if any(claim and not is_bound(claim) and not waits(claim, classes) for claim in claims.values()):
        return UNBOUND
    return ""


def are_given(claims: Iterable[Obj | None]) -> bool:
    """Whether every claim has its volume, if only by name yet: what is missing then is the binder's last step."""
    return all(claim is not None and claim["spec"].get("volumeName") for claim in claims)


def waits(claim: Obj, classes: Mapping[str, Obj]) -> bool:
    found = classes.get(class_of(claim))
    return found is not None and found.get("volumeBindingMode") == WAITS and not claim["spec"].get("volumeName")


def storage(
    claims: Iterable[Obj],
    volume: Callable[[str], Obj | None],
    candidates: Callable[[Obj], Iterable[Obj]],
    classes: Mapping[str, Obj],
    users: Mapping[str, set[str]],
) -> Storage:
    """``volume``: one by its name. ``candidates``: volumes that could be for a claim."""
    found = Storage(classes=classes, users=users)
    for claim in claims:
        if is_bound(claim):
            found.bound.append((claim, volume(claim["spec"]["volumeName"])))
        else:
            found.waiting.append(claim)
    found.waiting.sort(key=lambda claim: (asked_by(claim), meta.name(claim)))
    found.volumes = [*{meta.name(v): v for claim in found.waiting for v in candidates(claim)}.values()]
    return found


def place(node: Obj, seen: Storage) -> Placing:
    reasons = _restricted(node, seen)
    if reasons:
        return Placing(reasons)
    missing = any(volume is None for _, volume in seen.bound)
    apart = any(volume is not None and not reaches(volume, node) for _, volume in seen.bound)
    found = Placing([reason for reason, true in ((ELSEWHERE, apart), (GONE, missing)) if true])
    for claim in seen.waiting:
        if not _find(claim, node, seen, found):
            found.reasons.append(NO_MATCH)
            break
    return found


def _restricted(node: Obj, seen: Storage) -> list[str]:
    """Access modes: one pod, or (as far as is known here) one node."""
    claims = [claim for claim, _ in seen.bound] + seen.waiting
    if any(seen.users.get(meta.name(c)) for c in claims if "ReadWriteOncePod" in (c["spec"].get("accessModes") or [])):
        return [ONE_POD]
    for claim, volume in seen.bound:
        modes = set(((volume or claim)["spec"]).get("accessModes") or [])
        users = seen.users.get(meta.name(claim))
        if users and meta.name(node) not in users and not modes & _SHARED:
            return [ONE_NODE]
    return []


def _find(claim: Obj, node: Obj, seen: Storage, found: Placing) -> bool:
    """A claim that has been promised to a node is made there, and nowhere else."""
    selected = meta.annotations_of(claim).get(SELECTED_NODE)
    if selected and selected != meta.name(node):
        return False
    if not selected:
        volume = choose(claim, seen.volumes, node=node, taken=set(found.static.values()))
        if volume is not None:
            found.static[meta.name(claim)] = meta.name(volume)
            return True
        if any(refers(v, claim) and v["spec"]["claimRef"].get("uid") for v in seen.volumes):
            return False  # it has one already, elsewhere
    storage_class = seen.classes.get(class_of(claim))
    provisioner = (storage_class or {}).get("provisioner")
    if storage_class is None or not provisioner or provisioner == NO_PROVISIONER or not allows(storage_class, node):
        return False
    found.made.append(meta.name(claim))
    return True


# Disks that pods name themselves


def disks_of(pod: Obj) -> list[Disk]:
    return [
        (frozenset(source.get("monitors") or []), source.get("pool") or "rbd", source["image"], bool(source.get("readOnly")))
        for source in (volume.get("rbd") for volume in pod["spec"].get("volumes") or [])
        if source
    ]


def clash(wanted: Iterable[Disk], taken: Iterable[Disk]) -> bool:
    """The same image of the same cluster, unless all only read."""
    there = list(taken)
    return any(one[0] & other[0] and one[1:3] == other[1:3] and not (one[3] and other[3]) for one in wanted for other in there)
