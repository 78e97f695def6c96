"""Where a pod can go for its volumes' sake, and upstream's words for why not (H3, H9, R-10, P-2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.scheduler.decide import Accounts, Cluster, decide
from holdfast.controllers.scheduler.volumes import ELSEWHERE, GONE, NO_DISK, NO_MATCH, ONE_NODE, ONE_POD, place, refusal, storage
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

HOST = "kubernetes.io/hostname"
SELECTED = {"volume.kubernetes.io/selected-node": "n1"}


def node(name: str = "n1", **labels: str) -> Obj:
    return {"metadata": {"name": name, "labels": {HOST: name, **labels}}, "spec": {}, "status": {"allocatable": {"pods": "99"}}}


def claim(name: str = "data", *, bound: str = "", size: str = "1Gi", access: str = "ReadWriteOnce", **more: Any) -> Obj:
    metadata = {"name": name, "namespace": "ns", "uid": f"{name}-uid", **more.pop("metadata", {})}
    spec = {"accessModes": [access], "resources": {"requests": {"storage": size}}, "storageClassName": "local", **more}
    if bound:
        spec["volumeName"] = bound
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Bound" if bound else "Pending"}}


def volume(name: str = "pv", on: str = "", size: str = "1Gi", access: str = "ReadWriteOnce", **spec: Any) -> Obj:
    full: Obj = {"capacity": {"storage": size}, "accessModes": [access], "storageClassName": "local", **spec}
    if on:
        here = {"matchExpressions": [{"key": HOST, "operator": "In", "values": [on]}]}
        full["nodeAffinity"] = {"required": {"nodeSelectorTerms": [here]}}
    return {"metadata": {"name": name}, "spec": full, "status": {"phase": "Available"}}


def sort(name: str = "local", *, waits: bool = True, provisioner: str = "kubernetes.io/no-provisioner", **more: Any) -> Obj:
    mode = "WaitForFirstConsumer" if waits else "Immediate"
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode, **more}


def pod(*claims: str, name: str = "p", on: str = "", **spec: Any) -> Obj:
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    found: Obj = {"containers": [{"name": "c"}], "volumes": volumes, **spec}
    if on:
        found["nodeName"] = on
    return {"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": found}


def choice(one: Obj, claims: list[Obj], volumes: list[Obj], *nodes: Obj, found: Obj | None = None, pods: tuple[Obj, ...] = ()) -> Any:
    accounts, by_name = Accounts(pods), {meta.name(v): v for v in volumes}
    classes = {meta.name(found or sort()): found or sort()}
    users = {meta.name(c): accounts.users(f"ns/{meta.name(c)}") for c in claims}
    seen = storage(claims, by_name.get, lambda _claim: volumes, classes, users)
    return decide(one, Cluster(list(nodes), accounts, seen))


# Before any node is looked at


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (None, 'persistentvolumeclaim "data" not found'),
        (claim(metadata={"deletionTimestamp": "t"}), 'persistentvolumeclaim "data" is being deleted'),
        (claim(bound="pv"), ""),
        (claim(storageClassName="now"), "pod has unbound immediate PersistentVolumeClaims"),
        (claim(storageClassName=""), "pod has unbound immediate PersistentVolumeClaims"),
        (claim(volumeName="pv"), "pod has unbound immediate PersistentVolumeClaims"),
    ],
)
def test_h4_what_holds_a_pod_everywhere(one: Obj | None, why: str) -> None:
    assert refusal(pod("data"), {"data": one}, {"local": sort(), "now": sort("now", waits=False)}) == why


def test_h8_a_lost_claim_holds_its_pod() -> None:
    lost = claim(bound="pv")
    lost["status"]["phase"] = "Lost"
    assert refusal(pod("data"), {"data": lost}, {}) == 'persistentvolumeclaim "data" bound to non-existent persistentvolume "pv"'


def test_h17_ephemeral_claims_must_be_the_pods_own() -> None:
    one = pod(volumes=[{"name": "tmp", "ephemeral": {"volumeClaimTemplate": {}}}])
    waiting = 'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-tmp"'
    assert refusal(one, {"p-tmp": None}, {}) == waiting
    owner = {"kind": "Pod", "name": "p", "uid": "p", "controller": True}
    own = claim("p-tmp", bound="pv", metadata={"ownerReferences": [owner]})
    assert refusal(one, {"p-tmp": own}, {}) == ""
    for strange in ({}, {"ownerReferences": [{**owner, "uid": "another"}]}, {"ownerReferences": [{**owner, "controller": False}]}):
        found = claim("p-tmp", bound="pv", metadata=strange)
        assert refusal(one, {"p-tmp": found}, {}) == "PVC ns/p-tmp was not created for pod ns/p (pod is not owner)"


# Nodes


def test_h9_a_bound_volume_decides() -> None:
    bound = claim(bound="pv")
    got = choice(pod("data"), [bound], [volume(on="n2")], node("n1"), node("n2"))
    assert got.node == "n2"
    assert choice(pod("data"), [bound], [volume(on="n2")], node("n1")).message == f"0/1 nodes are available: 1 {ELSEWHERE}."
    assert choice(pod("data"), [bound], [], node("n1")).message == f"0/1 nodes are available: 1 {GONE}."


def test_h9_a_free_volume_on_the_node_is_taken_the_smallest_first() -> None:
    volumes = [volume("far", on="n2"), volume("large", on="n1", size="5Gi"), volume("fits", on="n1", size="2Gi")]
    got = choice(pod("data", "more"), [claim(), claim("more", size="2Gi")], volumes, node("n1"), node("n2"))
    assert (got.node, got.volumes.static, got.volumes.made) == ("n1", {"data": "fits", "more": "large"}, [])
    full = choice(pod("data", "more"), [claim(), claim("more", size="9Gi")], volumes, node("n1"), node("n2"))
    assert full.message == f"0/2 nodes are available: 2 {NO_MATCH}."


def test_h5_otherwise_one_is_made_where_the_class_allows() -> None:
    found = sort(provisioner="x.example", allowedTopologies=[{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}])
    got = choice(pod("data"), [claim()], [], node("n1"), node("n2", zone="a"), found=found)
    assert (got.node, got.volumes.static, got.volumes.made) == ("n2", {}, ["data"])
    assert choice(pod("data"), [claim()], [], node("n1"), found=found).message == f"0/1 nodes are available: 1 {NO_MATCH}."
    there = choice(pod("data"), [claim()], [volume(on="n1")], node("n1"), found=found)
    assert there.volumes.static == {"data": "pv"}, "what is there comes first"


def test_h4_a_claim_that_was_promised_to_a_node_stays_with_it() -> None:
    promised = claim(metadata={"annotations": SELECTED})
    found = sort(provisioner="x.example")
    assert choice(pod("data"), [promised], [], node("n0"), node("n1"), found=found).node == "n1"
    assert choice(pod("data"), [promised], [], node("n0"), found=found).message == f"0/1 nodes are available: 1 {NO_MATCH}."
    begun = volume(on="n2", claimRef={"namespace": "ns", "name": "data", "uid": "data-uid"})
    assert choice(pod("data"), [claim()], [begun], node("n1"), node("n2"), found=found).node == "n2", "half bound is bound"


# Who else uses it


def test_h3_r10_one_pod_for_readwriteoncepod() -> None:
    one = claim(bound="pv", access="ReadWriteOncePod")
    there = volume(access="ReadWriteOncePod")
    user = pod("data", name="first", on="n1")
    got = choice(pod("data"), [one], [there], node("n1"), node("n2"), pods=(user,))
    assert got.message == f"0/2 nodes are available: 2 {ONE_POD}."
    assert choice(pod("data"), [one], [there], node("n1"), pods=(pod("other", on="n1"),)).node == "n1"


def test_h18_r10_one_node_for_readwriteonce() -> None:
    one, user = claim(bound="pv"), pod("data", name="first", on="n1")
    assert choice(pod("data"), [one], [volume()], node("n2"), node("n1"), pods=(user,)).node == "n1"
    got = choice(pod("data"), [one], [volume()], node("n2"), pods=(user,))
    assert got.message == f"0/1 nodes are available: 1 {ONE_NODE}."
    shared = volume(access="ReadWriteMany")
    assert choice(pod("data"), [claim(bound="pv", access="ReadWriteMany")], [shared], node("n2"), pods=(user,)).node == "n2"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["n1", "n2"])), max_size=8))
def test_users_of_claims_are_counted(placed: list[tuple[str, str]]) -> None:
    pods = [pod(c, name=f"p{i}", on=n) for i, (c, n) in enumerate(placed)]
    accounts = Accounts(pods)
    for name in "ab":
        assert accounts.users(f"ns/{name}") == {n for c, n in placed if c == name}
    for one in pods:
        accounts.remove(one)
    assert accounts.users("ns/a") == accounts.users("ns/b") == set()


@pytest.mark.parametrize(
    ("mine", "theirs", "free"),
    [
        ({}, {}, False),
        ({"readOnly": True}, {}, False),
        ({"readOnly": True}, {"readOnly": True}, True),
        ({"image": "other"}, {}, True),
        ({"pool": "other"}, {}, True),
        ({"monitors": ["z"]}, {}, True),
        ({"monitors": ["b", "z"]}, {}, False),
    ],
)
def test_p2_images_that_pods_name_themselves(mine: Obj, theirs: Obj, free: bool) -> None:
    base = {"monitors": ["a", "b"], "image": "i"}
    one, other = ([{"name": "v", "rbd": {**base, **more}}] for more in (mine, theirs))
    got = choice(pod(volumes=one), [], [], node("n1"), pods=(pod(name="other", on="n1", volumes=other),))
    assert got.message == ("" if free else f"0/1 nodes are available: 1 {NO_DISK}.")


@given(st.lists(st.integers(1, 6), max_size=5), st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["n1", "n2"])), max_size=6))
def test_h9_each_claim_of_a_pod_gets_a_volume_of_its_own_on_one_node(asked: list[int], offered: list[tuple[int, str]]) -> None:
    claims = [claim(f"c{i}", size=f"{size}Gi") for i, size in enumerate(asked)]
    volumes = [volume(f"pv{i}", on=where, size=f"{size}Gi") for i, (size, where) in enumerate(offered)]
    seen = storage(claims, lambda _name: None, lambda _claim: volumes, {"local": sort()}, {})
    for where in ("n1", "n2"):
        got = place(node(where), seen)
        here = sorted(size for size, on in offered if on == where)
        possible = all(
            have >= want for have, want in zip(sorted(here, reverse=True), sorted(asked, reverse=True), strict=False)
        ) and len(here) >= len(asked)
        assert (not got.reasons) is possible
        if possible:
            assert len(set(got.static.values())) == len(asked)
            for number, size in enumerate(asked):
                chosen = next(v for v in volumes if meta.name(v) == got.static[f"c{number}"])
                assert int(chosen["spec"]["capacity"]["storage"].removesuffix("Gi")) >= size
                assert chosen["spec"]["nodeAffinity"]
