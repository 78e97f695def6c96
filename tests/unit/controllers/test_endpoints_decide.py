"""Who stands behind a Service, as slices and as subsets."""

from __future__ import annotations

from typing import Any

from holdfast.controllers.endpoints import decide
from holdfast.kinds.kind import Obj


def service(**spec: Any) -> Obj:
    ports = [{"name": "web", "protocol": "TCP", "port": 80, "targetPort": "http"}]
    labels = {"app": "x", "service.kubernetes.io/headless": "stale"}
    metadata = {"name": "nginx", "namespace": "ns", "uid": "s", "labels": labels}
    return {"metadata": metadata, "spec": {"clusterIP": "None", "selector": {"app": "x"}, "ports": ports, **spec}}


def pod(name: str, *, ready: bool = True, going: bool = False, port: int = 8080, ip: str = "10.0.0.1", **spec: Any) -> Obj:
    metadata: Obj = {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": name}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    container = {"name": "c", "ports": [{"name": "http", "containerPort": port}]}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}, {"ip": "fd00::1"}], "conditions": conditions}
    return {"metadata": metadata, "spec": {"nodeName": "n", "containers": [container], **spec}, "status": status}


def conditions(piece: Obj) -> list[tuple[bool, bool, bool]]:
    return [tuple(e["conditions"][k] for k in ("ready", "serving", "terminating")) for e in piece["endpoints"]]


def test_an_entry_names_its_pod_and_its_hostname_only_in_its_own_service() -> None:
    [piece] = decide.slices(
        service(), [pod("web-0", hostname="web-0", subdomain="nginx"), pod("web-1", hostname="web-1", subdomain="other")]
    )
    first, second = piece["endpoints"]
    assert first == {
        "addresses": ["10.0.0.1"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "hostname": "web-0",
        "nodeName": "n",
        "targetRef": {"kind": "Pod", "namespace": "ns", "name": "web-0", "uid": "web-0"},
    }
    assert "hostname" not in second
    assert piece["ports"] == [{"name": "web", "protocol": "TCP", "port": 8080}]


def test_who_goes_is_told_as_going_and_leaves_the_subsets() -> None:
    pods = [pod("a", going=True), pod("b", ready=False, ip="10.0.0.2"), pod("c", ip="10.0.0.3")]
    [piece] = decide.slices(service(), pods)
    assert conditions(piece) == [(False, True, True), (False, False, False), (True, True, False)]
    [subset] = decide.subsets(service(), pods)
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.3"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.2"]


def test_r49_not_ready_addresses_may_be_published() -> None:
    pods = [pod("a", going=True), pod("b", ready=False, ip="10.0.0.2")]
    published = service(publishNotReadyAddresses=True)
    [piece] = decide.slices(published, pods)
    assert [ready for ready, _, _ in conditions(piece)] == [True, True]
    [subset] = decide.subsets(published, pods)
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1", "10.0.0.2"]


def test_a_named_port_under_two_numbers_makes_two_groups() -> None:
    pods = [pod("a", port=1), pod("b", port=2, ip="10.0.0.2"), pod("c", port=1, ip="10.0.0.3")]
    pieces = {
        piece["ports"][0]["port"]: [e["targetRef"]["name"] for e in piece["endpoints"]] for piece in decide.slices(service(), pods)
    }
    assert pieces == {1: ["a", "c"], 2: ["b"]}
    assert [s["ports"][0]["port"] for s in decide.subsets(service(), pods)] == [1, 2]


def test_who_lacks_the_named_port_is_no_endpoint_of_a_service_with_an_address() -> None:
    stranger = pod("a")
    stranger["spec"]["containers"][0]["ports"] = []
    assert decide.slices(service(clusterIP="10.96.0.7"), [stranger]) == [{"endpoints": [], "ports": []}]
    assert decide.subsets(service(clusterIP="10.96.0.7"), [stranger]) == []


def test_a_slice_holds_a_hundred() -> None:
    pieces = decide.slices(service(), [pod(f"p{n:03}", ip=f"10.0.1.{n % 250}") for n in range(250)])
    assert [len(piece["endpoints"]) for piece in pieces] == [100, 100, 50]


def test_labels_say_whose_a_slice_is() -> None:
    assert decide.labels_for(service()) == {
        "app": "x",
        "kubernetes.io/service-name": "nginx",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    assert "service.kubernetes.io/headless" not in decide.labels_for(service(clusterIP="10.96.0.7"))


def test_finished_pods_and_services_kept_by_others_are_left_out() -> None:
    done = pod("a")
    done["status"]["phase"] = "Failed"
    assert not decide.is_endpoint(done)
    assert decide.selects(service(selector=None)) is None
    assert decide.selects(service(type="ExternalName")) is None
