"""What becomes of a claim, and of a volume, next. Pure; texts are upstream's, as ``kubectl describe`` shows them."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from holdfast.controllers.volumes.matching import choose, mismatch, mode_of, refers
from holdfast.kinds.core.claims import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    LEGACY_CLASS,
    PROVISIONED_BY,
    PROVISIONERS,
    SELECTED_NODE,
    class_of,
    newest_default,
)
from holdfast.kinds.kind import Obj
from holdfast.kinds.storage.storageclass import DEFAULTS, WAITS
from holdfast.machinery import meta, selectors

IN_TREE = "kubernetes.io/"


@dataclass(frozen=True)
class Said:
    """An event: type, reason, message."""

    type: str
    reason: str
    message: str


# Claims


@dataclass(frozen=True)
class Seen:
    """What the binder sees around a claim."""

    volumes: Mapping[str, Obj] = field(default_factory=dict)
    """Those that it could be bound to, and the one that it names."""
    classes: Mapping[str, Obj] = field(default_factory=dict)
    nodes: Mapping[str, Obj] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    """Pods without a node that use it."""
    local: Collection[str] = ()
    """Provisioners whose volumes lie on the disk of one node."""
    served: Collection[str] = ()
    """Provisioners that are there although their name says they belong to Kubernetes itself."""


@dataclass(frozen=True)
class Bind:
    volume: Obj


@dataclass(frozen=True)
class GiveClass:
    """A claim that names no class gets the default one, now that there is one."""

    name: str


@dataclass(frozen=True)
class Provision:
    """``node``: where the volume is to lie; "" leaves that to the provisioner."""

    provisioner: str
    node: str


@dataclass(frozen=True)
class Unselect:
    """The node that was chosen is no more: another will be."""

    node: str


@dataclass(frozen=True)
class Wait:
    said: Said | None = None


@dataclass(frozen=True)
class Lose:
    said: Said


Step = Bind | GiveClass | Provision | Unselect | Wait | Lose


def of_claim(claim: Obj, seen: Seen) -> Step:
    if BIND_COMPLETED in meta.annotations_of(claim):
        return _bound(claim, seen)
    if meta.is_terminating(claim):
        return Wait()
    if claim["spec"].get("volumeName"):
        return _named(claim, seen)
    found = seen.classes.get(class_of(claim))
    delayed = found is not None and found.get("volumeBindingMode") == WAITS
    volume = choose(claim, seen.volumes.values(), reserved_only=delayed or _is_made(claim, seen))
    if volume is not None:
        return Bind(volume)
    if claim["spec"].get("storageClassName") is None and LEGACY_CLASS not in meta.annotations_of(claim):
        default = newest_default(seen.classes.values(), DEFAULTS)
        if default:
            return GiveClass(default)
    if delayed and SELECTED_NODE not in meta.annotations_of(claim):
        return Wait(_first_consumer(seen.waiting))
    return _provision(claim, found, seen)


def _is_made(claim: Obj, seen: Seen) -> bool:
    """A volume is on its way to it, made by somebody who is there: with another one it would have two."""
    return meta.annotations_of(claim).get(PROVISIONERS[0], "") in (*seen.local, *seen.served)


def _bound(claim: Obj, seen: Seen) -> Step:
    """A claim that was bound once is so to that volume for life (P-3); one that only bears the volume's name is another."""
    name = claim["spec"].get("volumeName")
    if not name:
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return Lose(Said("Warning", "ClaimLost", text))
    volume = seen.volumes.get(name)
    if volume is None or not volume["spec"].get("claimRef"):
        return Lose(Said("Warning", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"))
    if refers(volume, claim):
        return Bind(volume)
    return Lose(Said("Warning", "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly"))


def _named(claim: Obj, seen: Seen) -> Step:
    name = claim["spec"]["volumeName"]
    volume = seen.volumes.get(name)
    if volume is None:
        return Wait()
    if not volume["spec"].get("claimRef"):
        why = mismatch(volume, claim)
        return Wait(Said("Warning", "VolumeMismatch", f'Cannot bind to requested volume "{name}": {why}')) if why else Bind(volume)
    if refers(volume, claim):
        return Wait() if meta.is_terminating(volume) else Bind(volume)
    return Wait(Said("Warning", "FailedBinding", f'volume "{name}" already bound to a different claim.'))


def _first_consumer(waiting: tuple[str, ...]) -> Said:
    if not waiting:
        return Said("Normal", WAITS, "waiting for first consumer to be created before binding")
    who = f"pod {waiting[0]}" if len(waiting) == 1 else f"pods {','.join(waiting)}"
    return Said("Normal", "WaitForPodScheduled", f"waiting for {who} to be scheduled")


def _provision(claim: Obj, found: Obj | None, seen: Seen) -> Step:
    name = class_of(claim)
    if not name:
        text = "no persistent volumes available for this claim and no storage class is set"
        return Wait(Said("Normal", "FailedBinding", text))
    if found is None:
        return Wait(Said("Warning", "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found'))
    provisioner = found["provisioner"]
    if provisioner.startswith(IN_TREE) and provisioner not in seen.served:
        return Wait(Said("Warning", "ProvisioningFailed", f"no volume plugin matched name: {provisioner}"))
    chosen = meta.annotations_of(claim).get(SELECTED_NODE, "")
    delayed = found.get("volumeBindingMode") == WAITS
    if chosen and chosen not in seen.nodes and (delayed or provisioner in seen.local):
        return Unselect(chosen)
    if not chosen and not delayed and provisioner in seen.local:
        chosen = _some_node(claim, found, seen)
        if not chosen:
            return Wait(Said("Warning", "ProvisioningFailed", f'no node is ready on which storage class "{name}" can make a volume'))
    return Provision(provisioner, chosen)


def _some_node(claim: Obj, found: Obj, seen: Seen) -> str:
    """For a volume that binds at once and lies on one node: any of those that are allowed, and always the same."""
    ready = sorted(meta.name(n) for n in seen.nodes.values() if meta.condition_true(n, "Ready") and allows(found, n))
    return ready[zlib.crc32(meta.uid(claim).encode()) % len(ready)] if ready else ""


def allows(found: Obj, node: Obj) -> bool:
    """Whether a StorageClass makes volumes for a node (allowedTopologies)."""
    terms = [
        {"matchExpressions": [{"operator": "In", **expression} for expression in term.get("matchLabelExpressions") or []]}
        for term in found.get("allowedTopologies") or []
    ]
    return not terms or selectors.matches_terms(terms, meta.labels_of(node))


def event_of(step: Provision) -> Said:
    text = (
        f"Waiting for a volume to be created either by the external provisioner '{step.provisioner}' or manually by the system"
        " administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    )
    return Said("Normal", "ExternalProvisioning", text)


# Volumes


@dataclass(frozen=True)
class Phase:
    """The phase it has, with the message of a failure, and what is said of it (of the claim: ``of_claim``)."""

    phase: str
    message: str = ""
    said: Said | None = None


@dataclass(frozen=True)
class Unbind:
    """It was meant for a claim that has another. ``whole``: the binder had chosen it; else its reservation by name stays."""

    whole: bool


@dataclass(frozen=True)
class Finish:
    """Its claim has yet to be told; ``of_claim`` and ``said`` are for a pair that cannot be."""

    said: Said | None = None
    of_claim: Said | None = None


VolumeStep = Phase | Unbind | Finish


def of_volume(volume: Obj, claim: Obj | None, served: Collection[str] = ()) -> VolumeStep:
    """``claim``: the one its claimRef names, by a live read where that matters."""
    reference = volume["spec"].get("claimRef")
    if not reference or not reference.get("uid"):
        return Phase("Available")
    if claim is None or meta.uid(claim) != reference["uid"]:
        return _released(volume, served)
    bound_to = claim["spec"].get("volumeName")
    if bound_to == meta.name(volume):
        return Phase("Bound")
    if not bound_to:
        return _unfinished(volume, claim)
    if PROVISIONED_BY in meta.annotations_of(volume) and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
        return _released(volume, served)
    return Unbind(BOUND_BY_CONTROLLER in meta.annotations_of(volume))


def _unfinished(volume: Obj, claim: Obj) -> Finish:
    if mode_of(volume) == mode_of(claim):
        return Finish()
    why = "due to incompatible volumeMode."
    return Finish(
        Said(
            "Warning", "VolumeMismatch", f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{meta.name(claim)}" {why}'
        ),
        Said(
            "Warning", "VolumeMismatch", f'Cannot bind PersistentVolume "{meta.name(volume)}" to requested PersistentVolumeClaim {why}'
        ),
    )


def _released(volume: Obj, served: Collection[str]) -> Phase:
    """Released; Failed when nobody is there who could do what its policy says. A failure of whoever can is his to report."""
    policy = volume["spec"].get("persistentVolumeReclaimPolicy")
    present = (volume.get("status") or {}).get("phase")
    if policy == "Recycle":
        text = "No recycler plugin found for the volume!"
        return Phase("Failed", text, Said("Warning", "VolumeFailedRecycle", text))
    if policy == "Delete" and (why := _undeletable(volume, served)):
        return Phase("Failed", why, Said("Warning", "VolumeFailedDelete", why))
    if policy == "Delete" and present == "Failed":
        return Phase("Failed", str((volume.get("status") or {}).get("message") or ""))
    return Phase("Released")


def _undeletable(volume: Obj, served: Collection[str]) -> str:
    by = meta.annotations_of(volume).get(PROVISIONED_BY, "")
    if by and (not by.startswith(IN_TREE) or by in served):
        return ""
    if by:
        return f"no volume plugin matched name: {by}"
    if volume["spec"].get("csi"):
        return ""
    return f'error getting deleter volume plugin for volume "{meta.name(volume)}": no deletable volume plugin matched'
