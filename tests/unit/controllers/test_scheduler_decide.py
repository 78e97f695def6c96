"""Which node a pod fits, and upstream's words for why none does."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.scheduler.decide import Accounts, Cluster, decide, requests
from holdfast.controllers.scheduler.volumes import Storage
from holdfast.kinds.kind import Obj

SELECTOR = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
TAINT = "node(s) had untolerated taint(s)"


def node(name: str = "n1", cpu: str = "4", memory: str = "8Gi", pods: str = "10", labels: Any = None, **spec: Any) -> Obj:
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": {"allocatable": allocatable}}


def container(cpu: str = "", memory: str = "", ports: list[Obj] | None = None, **more: Any) -> Obj:
    wanted = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    return {"name": "c", "resources": {"requests": wanted}, "ports": ports or [], **more}


def pod(cpu: str = "", memory: str = "", ports: list[Obj] | None = None, **spec: Any) -> Obj:
    return {"metadata": {"name": "p"}, "spec": {"containers": [container(cpu, memory, ports)], **spec}}


def on(name: str, other: Obj) -> Obj:
    return {**other, "spec": {**other["spec"], "nodeName": name}}


def refusal(wanted: Obj, *nodes: Obj, pods: list[Obj] | None = None, **more: Any) -> str:
    choice = decide(wanted, Cluster(list(nodes), Accounts(pods or []), **more))
    assert bool(choice.node) is not bool(choice.message)
    return choice.message


def test_no_nodes_at_all() -> None:
    assert refusal(pod()) == "no nodes available to schedule pods"


def test_the_emptiest_node_is_taken_and_ties_go_by_name() -> None:
    nodes = [node("b"), node("a"), node("c")]
    assert decide(pod(), Cluster(nodes, Accounts())).node == "a"
    assert decide(pod(), Cluster(nodes, Accounts([on("a", pod("1")), on("b", pod(memory="1Gi"))]))).node == "c"


# Resources


@pytest.mark.parametrize(
    ("cpu", "memory", "message"),
    [
        ("1500m", "1Gi", ""),
        ("1501m", "1Gi", "0/1 nodes are available: 1 Insufficient cpu."),
        ("1", "7Gi", ""),
        ("1", "7169Mi", "0/1 nodes are available: 1 Insufficient memory."),
        ("9", "9Gi", "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."),
    ],
)
def test_requests_fit_into_what_is_left(cpu: str, memory: str, message: str) -> None:
    assert refusal(pod(cpu, memory), node(), pods=[on("n1", pod("2500m", "1Gi"))]) == message


def test_a_resource_the_node_does_not_have() -> None:
    wanted = pod()
    wanted["spec"]["containers"][0]["resources"]["requests"] = {"example.com/gpu": "1"}
    assert refusal(wanted, node()) == "0/1 nodes are available: 1 Insufficient example.com/gpu."


def test_a_pod_that_asks_for_nothing_fits_a_full_node_but_not_one_too_many() -> None:
    taken = [on("n1", pod("4", "8Gi"))]
    assert refusal(pod(), node(), pods=taken) == ""
    assert refusal(pod(), node(pods="1"), pods=taken) == "0/1 nodes are available: 1 Too many pods."


def test_reasons_are_counted_and_sorted_as_text() -> None:
    nodes = [node(f"n{i}", cpu="1") for i in range(2)] + [node(f"u{i}", unschedulable=True) for i in range(10)]
    text = "0/12 nodes are available: 10 node(s) were unschedulable, 2 Insufficient cpu."
    assert refusal(pod("2"), *nodes) == text


@pytest.mark.parametrize(
    ("init", "cpu", "wanted"),
    [
        ([], ["1", "500m"], "1500m"),
        ([("3", False)], ["1"], "3"),
        ([("1", False)], ["2"], "2"),
        ([("1", True)], ["1"], "2"),
        ([("1", True), ("2", False)], ["1"], "3"),
        ([("2", False), ("1", True)], ["1"], "2"),
        ([("1", True), ("1", True), ("5", False)], ["1"], "7"),
    ],
)
def test_init_containers_and_sidecars(init: list[tuple[str, bool]], cpu: list[str], wanted: str) -> None:
    """Each init container runs alone, but beside the sidecars that were started before it."""
    starting = [container(c, restartPolicy="Always" if sidecar else None) for c, sidecar in init]
    found = requests({"spec": {"initContainers": starting, "containers": [container(c) for c in cpu]}})
    assert found["cpu"] == Fraction(wanted.removesuffix("m")) / (1000 if wanted.endswith("m") else 1)


def test_requests_of_the_whole_pod_and_its_overhead() -> None:
    spec = {"containers": [container("1", "1Gi")], "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "250m"}}
    assert requests({"spec": spec}) == {"cpu": Fraction("3.25"), "memory": Fraction(2**30)}


@given(st.lists(st.integers(1, 3000), max_size=12), st.integers(1, 4000))
def test_a_node_is_never_overcommitted(sizes: list[int], capacity: int) -> None:
    nodes = [node("a", cpu=f"{capacity}m"), node("b", cpu="1")]
    placed: list[Obj] = []
    for size in sizes:
        chosen = decide(pod(f"{size}m"), Cluster(nodes, Accounts(placed))).node
        if chosen:
            placed.append(on(chosen, pod(f"{size}m")))
        else:
            for name, limit in (("a", capacity), ("b", 1000)):
                used = sum(requests(p)["cpu"] for p in placed if p["spec"]["nodeName"] == name) * 1000
                assert used + size > limit, "refused although it fits"
    for name, limit in (("a", capacity), ("b", 1000)):
        assert sum(requests(p)["cpu"] for p in placed if p["spec"]["nodeName"] == name) * 1000 <= limit


# Taints


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        (None, False),
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "k", "operator": "Equal", "value": "v"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taints_and_tolerations(toleration: Obj | None, fits: bool) -> None:
    tainted = node(taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    message = refusal(pod(tolerations=[toleration] if toleration else []), tainted)
    assert message == ("" if fits else f"0/1 nodes are available: 1 {TAINT}.")


@pytest.mark.parametrize(("effect", "fits"), [("NoSchedule", False), ("NoExecute", False), ("PreferNoSchedule", True)])
def test_only_hard_taints_keep_pods_away(effect: str, fits: bool) -> None:
    assert (refusal(pod(), node(taints=[{"key": "k", "effect": effect}])) == "") is fits


def test_a_cordoned_node() -> None:
    assert refusal(pod(), node(unschedulable=True)) == "0/1 nodes are available: 1 node(s) were unschedulable."
    tolerant = pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}])
    assert refusal(tolerant, node(unschedulable=True)) == ""


# Selectors and affinity


def affine(*terms: Obj) -> Obj:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return pod(affinity={"nodeAffinity": required})


def expression(key: str, operator: str, *values: str) -> Obj:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def named(name: str) -> Obj:
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (pod(nodeSelector={"disk": "ssd"}), True),
        (pod(nodeSelector={"disk": "hdd"}), False),
        (pod(nodeSelector={"disk": "ssd", "zone": "a"}), False),
        (affine(expression("disk", "In", "ssd", "nvme")), True),
        (affine(expression("disk", "NotIn", "ssd")), False),
        (affine(expression("zone", "NotIn", "a")), True),
        (affine(expression("disk", "Exists")), True),
        (affine(expression("disk", "DoesNotExist")), False),
        (affine(expression("cores", "Gt", "4")), True),
        (affine(expression("cores", "Lt", "8")), False),
        (affine(expression("zone", "Exists"), expression("disk", "Exists")), True),
        (affine({}), False),
        (affine(named("n1")), True),
        (affine(named("n2")), False),
        (affine({**expression("disk", "Exists"), **named("n2")}), False),
        (pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}), True),
    ],
)
def test_selectors_and_affinity(wanted: Obj, fits: bool) -> None:
    message = refusal(wanted, node(labels={"disk": "ssd", "cores": "8"}))
    assert message == ("" if fits else f"0/1 nodes are available: 1 {SELECTOR}.")


# Host ports


def port(number: int, protocol: str = "TCP", address: str = "") -> Obj:
    return {"containerPort": number, "hostPort": number, "protocol": protocol, "hostIP": address}


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (port(80), False),
        (port(81), True),
        (port(80, "UDP"), True),
        (port(80, "TCP", "192.0.2.1"), False),
        (port(443, "TCP", "192.0.2.1"), False),
        (port(443, "TCP", "192.0.2.2"), True),
        (port(443), False),
        ({"containerPort": 80}, True),
    ],
)
def test_host_ports(wanted: Obj, fits: bool) -> None:
    taken = on("n1", pod(ports=[port(80), port(443, "TCP", "192.0.2.1")]))
    message = refusal(pod(ports=[wanted]), node(), pods=[taken])
    assert message == ("" if fits else f"0/1 nodes are available: 1 {PORTS}.")


def test_ports_of_sidecars_count_and_those_of_other_nodes_do_not() -> None:
    sidecar = pod(initContainers=[container(ports=[port(80)], restartPolicy="Always")])
    assert PORTS in refusal(pod(ports=[port(80)]), node(), pods=[on("n1", sidecar)])
    assert refusal(pod(ports=[port(80)]), node(), pods=[on("n2", sidecar)]) == ""


# Volumes


def test_a_pod_follows_its_volume_to_the_node() -> None:
    terms = [expression("kubernetes.io/hostname", "In", "n2")]
    claim: Obj = {"metadata": {"name": "data"}, "spec": {}}
    volumes = Storage(bound=[(claim, {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}})])
    first, second = (node(n, labels={"kubernetes.io/hostname": n}) for n in ("n1", "n2"))
    assert decide(pod(), Cluster([first, second], Accounts([on("n2", pod("3"))]), volumes)).node == "n2"
    text = "node(s) had volume node affinity conflict"
    assert refusal(pod(), first, storage=volumes) == f"0/1 nodes are available: 1 {text}."
    assert refusal(pod("9"), first, storage=volumes) == "0/1 nodes are available: 1 Insufficient cpu.", "upstream asks that first"


def test_each_node_gives_the_first_reason_it_has() -> None:
    nodes = [
        node("a", unschedulable=True, taints=[{"key": "k", "effect": "NoSchedule"}]),
        node("b", taints=[{"key": "k", "effect": "NoSchedule"}]),
        node("c"),
        node("d", labels={"disk": "ssd"}, cpu="1"),
    ]
    text = f"0/4 nodes are available: 1 Insufficient cpu, 1 {SELECTOR}, 1 {TAINT}, 1 node(s) were unschedulable."
    assert refusal(pod("2", nodeSelector={"disk": "ssd"}), *nodes) == text
