"""Tables as a real API server printed them: the columns of every kind, and the rows of recorded or equal objects.

The objects of tables.json were made beforehand, so nothing is replayed over HTTP: the recorded pods, and objects that say
what the recorded rows say, are given to the renderer.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from holdfast.kinds import resources
from holdfast.kinds.autoscaling.conversion import to_v1
from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.columns import SCALE
from holdfast.kinds.kind import Kind, Resource
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery.tables import head, render
from tests.conformance.api.golden import Record, records

KINDS = builtin_table()
NOW = parse_rfc3339("2026-07-01T00:00:00Z")
SERVED_LATER = {"apiextensions.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io", "apiregistration.k8s.io"}
SERVED_LATER |= {"flowcontrol.apiserver.k8s.io"}
_AGO = re.compile(r"\d+s( ago)?")
BY_ID: dict[str, Record] = {record["id"]: record for record in records("tables")}
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.55"


def kind_of(record: Record) -> Kind | None:
    """The kind whose collection (or object) a record reads, when we serve it."""
    parts = record["request"]["path"].partition("?")[0].strip("/").split("/")
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    found = KINDS.lookup(group, version, rest[0])
    assert found is not None or group in SERVED_LATER, record["id"]
    return found


def tables() -> list[Record]:
    printed = [r for r in records("tables") if r["response"]["body"].get("kind") == "Table" and "/scale" not in r["request"]["path"]]
    return [record for record in printed if kind_of(record) is not None]


@pytest.mark.parametrize("record", tables(), ids=lambda record: record["id"])
def test_columns_are_those_recorded(record: Record) -> None:
    kind = kind_of(record)
    assert kind is not None
    ours = [{name: value for name, value in column.items() if name != "description"} for column in head(kind.columns)]
    assert ours == record["response"]["body"]["columnDefinitions"]


def test_columns_of_a_scale_are_those_recorded() -> None:
    ours = [{name: value for name, value in column.items() if name != "description"} for column in head(SCALE)]
    assert ours == BY_ID["tables-057"]["response"]["body"]["columnDefinitions"]


def cells(resource: Resource, obj: dict[str, Any]) -> list[Any]:
    """The row of one object, its ages aside."""
    table = render(KINDS.of(resource).columns, [obj], now=NOW, include="None", list_meta={})
    return timeless(table["rows"][0]["cells"])


def timeless(row: list[Any]) -> list[Any]:
    return [_AGO.sub("<age>", cell) if isinstance(cell, str) else cell for cell in row]


def recorded(record: str, name: str) -> list[Any]:
    rows = [row["cells"] for row in BY_ID[record]["response"]["body"]["rows"] if row["cells"][0] == name]
    assert len(rows) == 1
    return timeless(rows[0])


def dated(value: Any, ago: float = 9) -> Any:
    """A recorded tree with a time for its placeholders."""
    return json.loads(json.dumps(value).replace("<time>", rfc3339(NOW - ago)))


@pytest.mark.parametrize("pod", BY_ID["tables-001"]["response"]["body"]["items"], ids=lambda pod: pod["metadata"]["name"])
def test_rows_of_the_recorded_pods(pod: dict[str, Any]) -> None:
    assert cells(resources.PODS, dated(pod)) == recorded("tables-002", pod["metadata"]["name"])


def test_the_row_of_the_recorded_stateful_set() -> None:
    (row,) = BY_ID["tables-056"]["response"]["body"]["rows"]
    assert cells(resources.STATEFULSETS, dated(row["object"])) == timeless(row["cells"])


def metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "golden-tables", "creationTimestamp": rfc3339(NOW - 9)}


def template(label: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": label}}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}


def spec(label: str, **more: Any) -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app": label}}, "template": template(label)} | more


def workloads() -> list[tuple[str, str, Resource, dict[str, Any], dict[str, Any]]]:
    """(record, name, resource, spec, status): what the recorded rows tell of their objects."""
    hashed = {"matchLabels": {"app": "d", "pod-template-hash": "7c6c799847"}}
    daemons = dict.fromkeys(
        ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"), 1
    )
    start, end = rfc3339(NOW - 8), rfc3339(NOW - 3)
    done = {"succeeded": 1, "startTime": start, "completionTime": end, "conditions": [{"type": "Complete", "status": "True"}]}
    waiting = {"conditions": [{"type": "Suspended", "status": "True"}]}
    jobs = {
        uid: spec("j") | {"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}, "completions": 1}
        for uid in ("<uid:10>", "<uid:25>")
    }
    cron = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": template("cj")}}}
    hard, used = {"limits.cpu": "100", "pods": "100", "requests.cpu": "4"}, {"limits.cpu": "0", "pods": "19", "requests.cpu": "0"}
    return [
        ("tables-009", "rc", resources.REPLICATIONCONTROLLERS, spec("rc", replicas=0) | {"selector": {"app": "rc"}}, {"replicas": 0}),
        ("tables-010", "rq", resources.RESOURCEQUOTAS, {"hard": hard}, {"hard": hard, "used": used}),
        (
            "tables-014",
            "d",
            resources.DEPLOYMENTS,
            spec("d", replicas=1),
            {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
        ),
        (
            "tables-015",
            "d-7c6c799847",
            resources.REPLICASETS,
            spec("d", replicas=1) | {"selector": hashed},
            {"replicas": 1, "readyReplicas": 1},
        ),
        ("tables-016", "ds", resources.DAEMONSETS, spec("ds"), daemons),
        ("tables-018", "j", resources.JOBS, jobs["<uid:10>"], done),
        ("tables-018", "jsusp", resources.JOBS, jobs["<uid:25>"], waiting),
        ("tables-019", "cj", resources.CRONJOBS, cron, {}),
        ("tables-023", "i", resources.INGRESSES, {"rules": [{"host": "a.example"}], "tls": [{"hosts": ["a.example"]}]}, {}),
        ("tables-024", "n", resources.NETWORKPOLICIES, {"podSelector": {"matchLabels": {"app": "s"}}}, {}),
        ("tables-020", "p", resources.PODDISRUPTIONBUDGETS, {"minAvailable": 1}, {"disruptionsAllowed": 1}),
        ("tables-020", "q", resources.PODDISRUPTIONBUDGETS, {"maxUnavailable": "50%"}, {"disruptionsAllowed": 1}),
    ]


@pytest.mark.parametrize(
    ("record", "name", "resource", "wanted", "status"), workloads(), ids=[f"{row[0]}-{row[1]}" for row in workloads()]
)
def test_rows_of_workloads(record: str, name: str, resource: Resource, wanted: dict[str, Any], status: dict[str, Any]) -> None:
    assert cells(resource, {"metadata": metadata(name), "spec": wanted, "status": status}) == recorded(record, name)


def test_rows_of_one_autoscaler_in_both_versions() -> None:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    wanted = {"scaleTargetRef": {"kind": "StatefulSet", "name": "s"}, "minReplicas": 2, "maxReplicas": 3, "metrics": [metric]}
    obj = {"kind": "HorizontalPodAutoscaler", "metadata": metadata("h"), "spec": wanted, "status": {"desiredReplicas": 0}}
    assert cells(resources.AUTOSCALERS, obj) == recorded("tables-021", "h")
    assert cells(resources.AUTOSCALERS_V1, to_v1(copy.deepcopy(obj))) == recorded("tables-022", "h")


def test_rows_of_the_systems_priorities() -> None:
    for name, value in (("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)):
        since = {"name": name, "creationTimestamp": rfc3339(NOW - 23 * 60)}
        obj = {"metadata": since, "value": value, "preemptionPolicy": "PreemptLowerPriority"}
        assert cells(resources.PRIORITYCLASSES, obj) == recorded("tables-037", name)


def test_rows_that_nobody_recorded() -> None:
    """Ingresses of many hosts, parameters of a class, a driver's lists: as upstream puts them together."""
    hosts = [{"host": f"{letter}.example"} for letter in "abcd"]
    status = {"loadBalancer": {"ingress": [{"hostname": "z.example"}, {"ip": "192.0.2.1"}]}}
    many = {"metadata": metadata("i"), "spec": {"rules": hosts, "ingressClassName": "c"}, "status": status}
    shown = ["i", "c", "a.example,b.example,c.example + 1 more...", "192.0.2.1,z.example", "80", "9s"]
    assert cells(resources.INGRESSES, many) == timeless(shown)
    parameters = {"apiGroup": "g.example", "kind": "K", "name": "n"}
    of_class = {"metadata": metadata("c"), "spec": {"controller": "c.example/x", "parameters": parameters}}
    assert cells(resources.INGRESSCLASSES, of_class) == timeless(["c", "c.example/x", "K.g.example/n", "9s"])
    driver = {"attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False}
    lists = {"tokenRequests": [{"audience": "a"}, {"audience": "b"}], "volumeLifecycleModes": ["Persistent", "Ephemeral"]}
    of_driver = {"metadata": metadata("d"), "spec": driver | lists}
    assert cells(resources.CSIDRIVERS, of_driver) == timeless(["d", True, False, False, "a,b", False, "Persistent,Ephemeral", "9s"])
    parent = {"resource": "services", "namespace": "default", "name": "kubernetes"}
    of_service = {"metadata": metadata("10.96.0.1"), "spec": {"parentRef": parent}}
    assert cells(resources.IPADDRESSES, of_service) == ["10.96.0.1", "services/default/kubernetes"]


def test_rows_of_component_statuses() -> None:
    message = 'Get "https://127.0.0.1:10259/healthz": dial tcp 127.0.0.1:10259: connect: connection refused'
    for name, status, said in (("scheduler", "False", message), ("etcd-0", "True", "ok")):
        condition = {"type": "Healthy", "status": status, "message": said}
        obj = {"metadata": {"name": name}, "conditions": [condition]}
        assert cells(resources.COMPONENTSTATUSES, obj) == recorded("tables-032", name)
