"""What an author is told besides the answer: old volume types and labels, ports in each other's way, hidden variables."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Resource
from holdfast.kinds.resources import CRONJOBS, DEPLOYMENTS, PERSISTENTVOLUMES, PODS, SECRETS, STATEFULSETS

TABLE = builtin_table()
Obj = dict[str, Any]


def told(resource: Resource, new: Obj, old: Obj | None = None) -> list[str]:
    return [text for warn in TABLE.of(resource).warnings for text in warn(new, old)]


def container(name: str, *ports: Obj, **more: Any) -> Obj:
    return {"name": name, "image": "i", "ports": list(ports)} | more


def test_ports_of_a_pod_share_its_address() -> None:
    first = {"containerPort": 80, "protocol": "TCP"}
    outer = {"containerPort": 81, "hostPort": 1}
    pod = {
        "spec": {
            "initContainers": [container("i", {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"})],
            "containers": [
                container("a", first, {**first, "hostPort": 8080}),
                container("b", dict(first), outer, {**outer, "hostIP": "::1"}),
            ],
        }
    }
    place = "spec.containers[{}].ports[{}]".format
    assert told(PODS, pod) == [
        f"{place(0, 1)}: overlapping port definition with {place(0, 0)}",
        f"{place(1, 0)}: duplicate port definition with {place(0, 0)}",
        f"{place(1, 0)}: overlapping port definition with {place(0, 1)}",
        f"{place(1, 2)}: dangerously ambiguous port definition with {place(1, 1)}",
    ]


def test_hidden_variables_old_labels_and_graces() -> None:
    spec = {
        "nodeSelector": {"beta.kubernetes.io/os": "linux", "kubernetes.io/os": "linux"},
        "terminationGracePeriodSeconds": -1,
        "containers": [container("a", env=[{"name": "A"}, {"name": "B"}, {"name": "A"}])],
    }
    assert sorted(told(PODS, {"spec": spec})) == [
        'spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply',
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
    ]


def test_a_template_is_told_once() -> None:
    gone = {"volumes": [{"name": "v", "scaleIO": {}}], "containers": [container("a")]}
    text = "volumes[0].scaleIO: deprecated in v1.16, non-functional in v1.22+"
    made = {"spec": {"template": {"spec": gone}}}
    for resource in (DEPLOYMENTS, STATEFULSETS):
        assert told(resource, made) == [f"spec.template.spec.{text}"]
        assert told(resource, made, made) == []
    cron = {"spec": {"jobTemplate": {"spec": {"template": {"spec": gone}}}}}
    assert told(CRONJOBS, cron) == [f"spec.jobTemplate.spec.template.spec.{text}"]
    assert told(PERSISTENTVOLUMES, {"spec": {"cephfs": {}}}) == ["spec.cephfs: deprecated in v1.28, non-functional in v1.31+"]


def test_volumes_that_work_here_are_not_called_gone() -> None:
    assert told(PERSISTENTVOLUMES, {"spec": {"rbd": {}}}) == []


def test_a_certificate_that_would_not_load() -> None:
    pem = "LS0tLS1CRUdJTiBYLS0tLS0K"
    secret: Obj = {"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}
    assert told(SECRETS, secret) == ["tls: failed to find any PEM data in certificate input"]
    secret["data"]["tls.crt"] = pem
    assert told(SECRETS, secret) == ["tls: failed to find any PEM data in key input"]
    secret["data"]["tls.key"] = pem
    assert told(SECRETS, secret) == []
