"""What the binder does next with a claim, and with a volume: in upstream's words, and never two claims on one volume."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.volumes import decide
from holdfast.controllers.volumes.decide import (
    Bind,
    Finish,
    GiveClass,
    Lose,
    Phase,
    Provision,
    Said,
    Seen,
    Unbind,
    Unselect,
    Wait,
    of_claim,
    of_volume,
)
from holdfast.controllers.volumes.matching import choose
from holdfast.kinds.core.claims import reference_to
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

STAMP = "2026-01-01T00:00:00Z"
DONE = {"pv.kubernetes.io/bind-completed": "yes"}
SELECTED = {"volume.kubernetes.io/selected-node": "n1"}


def claim(annotations: Any = None, name: str = "data", **spec: Any) -> Obj:
    full = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}, **spec}
    metadata = {"name": name, "namespace": "ns", "uid": f"{name}-uid", "resourceVersion": "1", "annotations": annotations or {}}
    return {"metadata": metadata, "spec": full}


def volume(annotations: Any = None, phase: str = "Available", dying: bool = False, **spec: Any) -> Obj:
    full = {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], **spec}
    metadata: Obj = {"name": "pv", "annotations": annotations or {}, **({"deletionTimestamp": STAMP} if dying else {})}
    return {"metadata": metadata, "spec": full, "status": {"phase": phase}}


def sort(name: str = "fast", *, waits: bool = False, default: bool = False, made: str = STAMP, provisioner: str = "x.example") -> Obj:
    mode = "WaitForFirstConsumer" if waits else "Immediate"
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    metadata = {"name": name, "annotations": annotations, "creationTimestamp": made}
    return {"metadata": metadata, "provisioner": provisioner, "volumeBindingMode": mode}


def node(name: str = "n1", ready: bool = True, **labels: str) -> Obj:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}}


def seen(*volumes: Obj, classes: tuple[Obj, ...] = (), nodes: tuple[Obj, ...] = (), **more: Any) -> Seen:
    by_name = [{meta.name(o): o for o in objects} for objects in (volumes, classes, nodes)]
    return Seen(*by_name, **more)


def mine(uid: str | None = "data-uid", name: str = "data") -> Obj:
    return {"namespace": "ns", "name": name, **({} if uid is None else {"uid": uid})}


NO_CLASS = Said("Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set")


@pytest.mark.parametrize(
    ("one", "around", "step"),
    [
        (claim(), seen(), Wait(NO_CLASS)),
        (claim(storageClassName=""), seen(classes=(sort(default=True),)), Wait(NO_CLASS)),
        (claim(), seen(classes=(sort(default=True),)), GiveClass("fast")),
        (claim(), seen(classes=(sort("a", default=True), sort("b", default=True))), GiveClass("a")),
        (claim(), seen(classes=(sort("a", default=True), sort("b", default=True, made="2026-02-01T00:00:00Z"))), GiveClass("b")),
        (claim({"volume.beta.kubernetes.io/storage-class": ""}), seen(classes=(sort(default=True),)), Wait(NO_CLASS)),
        (
            claim(storageClassName="none"),
            seen(),
            Wait(Said("Warning", "ProvisioningFailed", 'storageclass.storage.k8s.io "none" not found')),
        ),
        (claim(storageClassName="fast"), seen(classes=(sort(),)), Provision("x.example", "")),
        (claim(SELECTED, storageClassName="fast"), seen(classes=(sort(waits=True),), nodes=(node(),)), Provision("x.example", "n1")),
        (claim(SELECTED, storageClassName="fast"), seen(classes=(sort(waits=True),)), Unselect("n1")),
        (
            claim(storageClassName="fast"),
            seen(classes=(sort(waits=True),)),
            Wait(Said("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")),
        ),
        (
            claim(storageClassName="fast"),
            seen(classes=(sort(waits=True),), waiting=("a", "b")),
            Wait(Said("Normal", "WaitForPodScheduled", "waiting for pods a,b to be scheduled")),
        ),
        (
            claim(storageClassName="fast"),
            seen(classes=(sort(provisioner="kubernetes.io/no-provisioner"),)),
            Wait(Said("Warning", "ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner")),
        ),
        (
            claim(storageClassName="fast"),
            seen(classes=(sort(provisioner="kubernetes.io/rbd"),), served=("kubernetes.io/rbd",)),
            Provision("kubernetes.io/rbd", ""),
        ),
        # Volumes of one node's disk, bound at once: the node is chosen here.
        (
            claim(storageClassName="fast"),
            seen(classes=(sort(),), nodes=(node("n2"), node("n1", ready=False)), local=("x.example",)),
            Provision("x.example", "n2"),
        ),
        (
            claim(storageClassName="fast"),
            seen(classes=(sort(),), local=("x.example",)),
            Wait(Said("Warning", "ProvisioningFailed", 'no node is ready on which storage class "fast" can make a volume')),
        ),
    ],
)
def test_h2_h4_what_a_claim_without_a_volume_waits_for(one: Obj, around: Seen, step: decide.Step) -> None:
    before = copy.deepcopy(one)
    assert of_claim(one, around) == step
    assert one == before


def test_h4_a_class_that_waits_leaves_free_volumes_to_the_scheduler() -> None:
    free = volume(storageClassName="fast")
    delayed, at_once = (seen(free, classes=(sort(waits=w),)) for w in (True, False))
    assert of_claim(claim(storageClassName="fast"), at_once) == Bind(free)
    assert isinstance(of_claim(claim(storageClassName="fast"), delayed), Wait)
    kept = volume(storageClassName="fast", claimRef=mine(None))
    assert of_claim(claim(storageClassName="fast"), seen(kept, classes=(sort(waits=True),))) == Bind(kept)
    begun = volume(storageClassName="fast", claimRef=mine(), phase="Pending")
    assert of_claim(claim(storageClassName="fast"), seen(begun, classes=(sort(waits=True),))) == Bind(begun)


def test_r13_a_claim_for_which_a_volume_is_being_made_takes_no_other() -> None:
    """Found by the lab: a volume that became free just then, and the one that was made, were both for the claim."""
    asked = claim({"volume.kubernetes.io/storage-provisioner": "x.example"}, storageClassName="fast")
    free, known = volume(storageClassName="fast"), {"classes": (sort(),), "nodes": (node(),)}
    assert isinstance(of_claim(asked, seen(free, local=("x.example",), **known)), Provision)
    assert of_claim(asked, seen(free, **known)) == Bind(free), "nobody is known to make it: whoever comes first"
    kept = volume(storageClassName="fast", claimRef=mine(None))
    assert of_claim(asked, seen(kept, local=("x.example",), **known)) == Bind(kept)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"capacity": {"storage": "1Gi"}}, "requested PV is too small"),
        ({"storageClassName": "x"}, "storageClassName does not match"),
        ({"volumeAttributesClassName": "gold"}, "volumeAttributesClassName does not match"),
        ({"volumeMode": "Block"}, "incompatible volumeMode"),
        ({"accessModes": ["ReadOnlyMany"]}, "incompatible accessMode"),
        ({"dying": True}, 'the volume is marked for deletion "pv"'),
    ],
)
def test_h1_a_named_volume_that_does_not_suit(spec: Obj, why: str) -> None:
    step = of_claim(claim(volumeName="pv"), seen(volume(**spec)))
    assert step == Wait(Said("Warning", "VolumeMismatch", f'Cannot bind to requested volume "pv": {why}'))


def test_h1_a_named_volume_that_is_not_there_or_anothers() -> None:
    assert of_claim(claim(volumeName="pv"), seen()) == Wait()
    taken = of_claim(claim(volumeName="pv"), seen(volume(claimRef=mine("x", "other"))))
    assert taken == Wait(Said("Warning", "FailedBinding", 'volume "pv" already bound to a different claim.'))
    again = of_claim(claim(volumeName="pv"), seen(volume(claimRef=mine("of the one before"))))
    assert isinstance(again, Wait), "R-26: the same name is not the same claim"


@pytest.mark.parametrize(
    ("spec", "found", "step"),
    [
        ({"volumeName": "pv"}, volume(claimRef=mine()), Bind),
        ({"volumeName": "pv"}, volume(claimRef=mine(None)), Bind),
        ({"volumeName": "pv"}, volume(claimRef=mine("another", "other")), "ClaimMisbound"),
        ({"volumeName": "pv"}, volume(claimRef=mine("another")), "ClaimMisbound"),
        ({"volumeName": "pv"}, volume(), "ClaimLost"),  # one of that name, made anew
        ({"volumeName": "pv"}, None, "ClaimLost"),
        ({}, volume(), "ClaimLost"),
    ],
)
def test_h8_r16_a_claim_that_was_bound(spec: Obj, found: Obj | None, step: Any) -> None:
    got = of_claim(claim(DONE, **spec), seen(*([found] if found else [])))
    if step is Bind:
        assert isinstance(got, Bind)
    else:
        assert isinstance(got, Lose)
        assert got.said.reason == step


# Volumes


PROVISIONED = {"pv.kubernetes.io/provisioned-by": "x.example"}
BY_US = {"pv.kubernetes.io/bound-by-controller": "yes"}


@pytest.mark.parametrize(
    ("one", "holder", "step"),
    [
        (volume(), None, Phase("Available")),
        (volume(claimRef=mine(None)), claim(), Phase("Available")),
        (volume(claimRef=mine()), claim(volumeName="pv"), Phase("Bound")),
        (volume(claimRef=mine()), None, Phase("Released")),
        (volume(claimRef=mine("before")), claim(volumeName="pv"), Phase("Released")),
        (volume(claimRef=mine()), claim(), Finish()),
        (volume(BY_US, claimRef=mine()), claim(volumeName="another"), Unbind(whole=True)),
        (volume(claimRef=mine()), claim(volumeName="another"), Unbind(whole=False)),
        (volume(PROVISIONED, claimRef=mine(), persistentVolumeReclaimPolicy="Delete"), claim(volumeName="other"), Phase("Released")),
        (volume(PROVISIONED, claimRef=mine(), persistentVolumeReclaimPolicy="Delete"), None, Phase("Released")),
        (volume(claimRef=mine(), persistentVolumeReclaimPolicy="Delete", csi={"driver": "d"}), None, Phase("Released")),
        (volume(phase="Failed", claimRef=mine(), persistentVolumeReclaimPolicy="Retain"), None, Phase("Released")),
        (volume(PROVISIONED, "Failed", claimRef=mine(), persistentVolumeReclaimPolicy="Delete"), None, Phase("Failed")),
    ],
)
def test_h6_phases_of_a_volume(one: Obj, holder: Obj | None, step: decide.VolumeStep) -> None:
    assert of_volume(one, holder) == step


def test_h6_policies_that_nobody_can_carry_out() -> None:
    recycled = of_volume(volume(claimRef=mine(), persistentVolumeReclaimPolicy="Recycle"), None)
    text = "No recycler plugin found for the volume!"
    assert recycled == Phase("Failed", text, Said("Warning", "VolumeFailedRecycle", text))
    deleted = of_volume(volume(claimRef=mine(), persistentVolumeReclaimPolicy="Delete", hostPath={"path": "/x"}), None)
    text = 'error getting deleter volume plugin for volume "pv": no deletable volume plugin matched'
    assert deleted == Phase("Failed", text, Said("Warning", "VolumeFailedDelete", text))
    in_tree = volume({"pv.kubernetes.io/provisioned-by": "kubernetes.io/rbd"}, claimRef=mine(), persistentVolumeReclaimPolicy="Delete")
    assert of_volume(in_tree, None, ("kubernetes.io/rbd",)) == Phase("Released")
    assert isinstance(of_volume(in_tree, None), Phase)
    assert of_volume(in_tree, None) != Phase("Released")


def test_h3_a_pair_whose_modes_differ_is_told_so_from_both_sides() -> None:
    step = of_volume(volume(claimRef=mine(), volumeMode="Block"), claim())
    assert isinstance(step, Finish)
    assert step.said is not None
    assert step.of_claim is not None
    why = "due to incompatible volumeMode."
    assert step.said.message == f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "data" {why}'
    assert step.of_claim.message == f'Cannot bind PersistentVolume "pv" to requested PersistentVolumeClaim {why}'


# N claims, N volumes, pictures that are behind, writes that are refused when the object has changed since


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40),
)
def test_r13_never_two_claims_on_one_volume_whatever_is_seen(claims: int, volumes: int, turns: list[tuple[int, int]]) -> None:
    """Each turn a claim is looked at in a picture up to three states old, and its write is compare-and-swap."""
    wanted = [claim(name=f"c{i}", storageClassName="") for i in range(claims)]
    offered = []
    for number in range(volumes):
        one = volume()
        one["metadata"] |= {"name": f"pv{number}", "resourceVersion": "0"}
        offered.append(one)
    history = [{meta.name(v): v for v in offered}]
    everyone = [(i, 0) for i in range(claims)] * 3
    for who, behind in [*turns, *everyone]:
        one = wanted[who % claims]
        picture = history[max(len(history) - 1 - behind, 0)]
        found = choose(one, picture.values())
        if found is None:
            continue
        truth = history[-1]
        name = meta.name(found)
        if truth[name]["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            continue  # 409
        if (found["spec"].get("claimRef") or {}).get("uid") == meta.uid(one):
            continue
        taken = copy.deepcopy(found)
        taken["spec"]["claimRef"] = reference_to(one)
        taken["metadata"]["resourceVersion"] = str(len(history))
        history.append({**truth, name: taken})
        holders = [v["spec"]["claimRef"]["uid"] for v in history[-1].values() if v["spec"].get("claimRef")]
        assert len(holders) == len(set(holders)), "one volume for each claim: by the claim's own view of what it has begun"
    assert len([v for v in history[-1].values() if v["spec"].get("claimRef")]) == min(claims, volumes)
