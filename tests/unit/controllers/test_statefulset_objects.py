"""Pods and claims of an ordinal: names, labels, volumes, ownership; and what counts as a state."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.statefulset import objects
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339

STAMP = "2026-01-01T00:00:00Z"
THEN = parse_rfc3339(STAMP)


def make_set(**spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    full = {"replicas": 2, "serviceName": "peers", "selector": {"matchLabels": {"app": "db"}}, "template": template, **spec}
    metadata = {"name": "web", "namespace": "ns", "uid": "set-uid", "generation": 1}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": full, "status": {}}


def named(name: str) -> Obj:
    return {"metadata": {"name": name, "namespace": "ns"}}


def pod_in(phase: str, ready: str = "False", **metadata: Any) -> Obj:
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": STAMP}]
    return {"metadata": {"name": "web-0", **metadata}, "status": {"phase": phase, "conditions": conditions}}


@pytest.mark.parametrize(
    ("name", "ordinal", "member"),
    [
        ("web-0", 0, True),
        ("web-10", 10, True),
        ("web-1-0", 0, False),
        ("web", -1, False),
        ("web-", -1, False),
        ("web-x", -1, False),
        ("other-3", 3, False),
        ("web-01", 1, False),
        ("web--1", 1, False),
        ("web-2147483647", 2147483647, True),
        ("web-2147483648", -1, False),
    ],
)
def test_a_member_bears_the_name_of_its_ordinal(name: str, ordinal: int, member: bool) -> None:
    assert objects.ordinal(named(name)) == ordinal
    assert objects.is_member(make_set(), named(name)) is member


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True), st.integers(0, 10**6))
def test_what_is_named_is_recognised(name: str, number: int) -> None:
    owner = make_set()
    owner["metadata"]["name"] = name
    pod = named(objects.pod_name(owner, number))
    assert objects.is_member(owner, pod)
    assert objects.ordinal(pod) == number


def test_the_pod_of_an_ordinal() -> None:
    template = {
        "metadata": {"labels": {"app": "db"}, "annotations": {"note": "x"}, "finalizers": ["example.com/hold"]},
        "spec": {"containers": [{"name": "c", "image": "i"}], "hostname": "overruled"},
    }
    before = copy.deepcopy(template)
    pod = objects.build_pod(make_set(), template, "web-abc", 3)
    assert template == before
    assert pod["metadata"] == {
        "name": "web-3",
        "generateName": "web-",
        "namespace": "ns",
        "labels": {
            "app": "db",
            "statefulset.kubernetes.io/pod-name": "web-3",
            "apps.kubernetes.io/pod-index": "3",
            "controller-revision-hash": "web-abc",
        },
        "annotations": {"note": "x"},
        "finalizers": ["example.com/hold"],
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "name": "web",
                "uid": "set-uid",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert pod["spec"] == {"containers": [{"name": "c", "image": "i"}], "hostname": "web-3", "subdomain": "peers"}


@pytest.mark.parametrize("service", ["", None])
def test_without_a_service_there_is_no_subdomain(service: str | None) -> None:
    owner = make_set(serviceName=service)
    assert "subdomain" not in objects.build_pod(owner, owner["spec"]["template"], "r", 0)["spec"]


def test_a_claim_template_takes_the_place_of_a_volume_of_its_name() -> None:
    owner = make_set(volumeClaimTemplates=[{"metadata": {"name": "www"}, "spec": {}}])
    template = {"spec": {"containers": [], "volumes": [{"name": "www", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]}}
    pod = objects.build_pod(owner, template, "r", 1)
    claimed = {"name": "www", "persistentVolumeClaim": {"claimName": "www-web-1"}}
    assert pod["spec"]["volumes"] == [claimed, {"name": "tmp", "emptyDir": {}}]


def test_claims_carry_the_selector_over_their_own_labels() -> None:
    templates: list[Obj] = [
        {
            "metadata": {"name": "a", "labels": {"app": "mine", "tier": "x"}, "annotations": {"n": "1"}},
            "spec": {"modes": ["RWO"]},
        },
        {"metadata": {"name": "b"}, "spec": {}},
    ]
    first, second = objects.build_claims(make_set(volumeClaimTemplates=templates), 7)
    assert first["metadata"] == {
        "name": "a-web-7",
        "namespace": "ns",
        "labels": {"app": "db", "tier": "x"},
        "annotations": {"n": "1"},
    }
    assert first["spec"] == {"modes": ["RWO"]}
    assert second["metadata"] == {"name": "b-web-7", "namespace": "ns", "labels": {"app": "db"}}
    first["spec"]["modes"].append("changed")
    assert templates[0]["spec"] == {"modes": ["RWO"]}


def test_identity_labels_are_restored_and_no_others() -> None:
    owner = make_set()
    pod = objects.build_pod(owner, owner["spec"]["template"], "r", 4)
    assert objects.repaired(pod) is None
    pod["metadata"]["labels"]["extra"] = "kept"
    assert objects.repaired(pod) is None
    del pod["metadata"]["labels"][objects.POD_INDEX]
    pod["metadata"]["labels"][objects.POD_NAME] = "another"
    assert objects.repaired(pod) == {"metadata": {"labels": {objects.POD_NAME: "web-4", objects.POD_INDEX: "4"}}}


@pytest.mark.parametrize(
    ("pod", "created", "ready"),
    [
        (None, False, None),
        ({"metadata": {"name": "web-0"}}, False, False),
        (pod_in("Pending", "True"), True, False),
        (pod_in("Running"), True, False),
        (pod_in("Running", "True"), True, True),
        (pod_in("Succeeded", "True"), True, False),
    ],
)
def test_created_and_ready(pod: Obj | None, created: bool, ready: bool | None) -> None:
    assert objects.is_created(pod) is created
    assert ready is None or (pod is not None and objects.is_ready(pod) is ready)


@pytest.mark.parametrize(("seconds", "age", "available"), [(0, 0, True), (10, 9.9, False), (10, 10, True), (10, 60, True)])
def test_available_is_ready_for_long_enough(seconds: int, age: float, available: bool) -> None:
    owner = make_set(minReadySeconds=seconds)
    pod = pod_in("Running", "True")
    assert objects.is_available(owner, pod, THEN + age) is available
    assert objects.is_healthy(owner, pod, THEN + age) is available
    assert not objects.is_available(owner, pod_in("Running", "False"), THEN + age)
    assert not objects.is_healthy(owner, pod_in("Running", "True", deletionTimestamp=STAMP), THEN + age)


def test_ordinals_start_anywhere_and_replicas_default_to_one() -> None:
    assert objects.first_ordinal(make_set()) == 0
    assert objects.first_ordinal(make_set(ordinals={"start": 5})) == 5
    owner = make_set()
    del owner["spec"]["replicas"]
    assert objects.replicas(owner) == 1
