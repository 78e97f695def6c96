"""K: disruption budgets, evictions, drain."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cli.kube import Refused
from tests.e2e.statefulset.rows import Rows, refused, statefulset, uids

BUDGET = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"
THREE = ("web-0", "web-1", "web-2")


def _budget(rows: Rows, **spec: Any) -> None:
    body = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}
    rows.api("POST", BUDGET.format(rows.namespace), body)


def _status(rows: Rows) -> tuple[int, int, int, int]:
    found = rows.api("GET", BUDGET.format(rows.namespace) + "/web").get("status", {})
    return tuple(found.get(name, -1) for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"))  # type: ignore[return-value]


def _evict(rows: Rows, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": rows.namespace}}
    rows.api("POST", rows.path("pods", name, "eviction"), body)


def test_k1_the_status_of_a_budget(rows: Rows) -> None:
    rows.create(statefulset(gated=True))
    rows.open(*THREE)
    _budget(rows, minAvailable=2)
    rows.until(lambda: _status(rows) == (1, 3, 2, 3), "one may go")
    rows.shut("web-1")
    rows.until(lambda: _status(rows) == (0, 2, 2, 3), "none may go")
    rows.open("web-1")
    rows.change(replicas=4)
    rows.open("web-3")
    rows.until(lambda: _status(rows) == (2, 4, 2, 4), "two may go")


def test_k2_an_eviction_is_refused(rows: Rows) -> None:
    rows.create(statefulset(gated=True))
    rows.open(*THREE)
    _budget(rows, maxUnavailable=1)
    rows.until(lambda: _status(rows) == (1, 3, 2, 3), "one may go")
    before = uids(rows.pods())
    _evict(rows, "web-2")
    rows.until(lambda: uids(rows.pods()).get("web-2", before["web-2"]) != before["web-2"], "web-2 is made anew")
    with pytest.raises(Refused) as error:
        _evict(rows, "web-1")
    status = error.value.status
    assert (status["code"], status["reason"]) == (429, "TooManyRequests")
    assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    (cause,) = status["details"]["causes"]
    assert (cause["reason"], cause["message"]) == (
        "DisruptionBudget",
        "The disruption budget web needs 2 healthy pods and has 2 currently",
    )


def test_k3_a_broken_pod_may_be_evicted(rows: Rows) -> None:
    rows.create(statefulset(gated=True))
    rows.open("web-0", "web-1")
    rows.until(lambda: "web-2" in rows.pods(), "web-2 is there, not Ready")
    _budget(rows, minAvailable=3, unhealthyPodEvictionPolicy="AlwaysAllow")
    rows.until(lambda: _status(rows) == (0, 2, 3, 3), "none may go")
    before = uids(rows.pods())
    with pytest.raises(Refused):
        _evict(rows, "web-0")
    _evict(rows, "web-2")
    rows.until(lambda: uids(rows.pods()).get("web-2", before["web-2"]) != before["web-2"], "the broken one went")


def test_drain_obeys_the_budget(rows: Rows) -> None:
    node = rows.api("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    rows.create(statefulset(replicas=2))
    before = uids(rows.wait("web-0", "web-1"))
    _budget(rows, minAvailable=2)
    rows.until(lambda: _status(rows)[:3] == (0, 2, 2), "none may go")
    drain = ("drain", node, "--ignore-daemonsets", "--force", "--pod-selector=app=web")
    try:
        said = refused(rows.kubectl.run(*drain, "--timeout=3s"))
        assert "Cannot evict pod as it would violate the pod's disruption budget" in said
        assert uids(rows.pods()) == before
        patch = {"spec": {"minAvailable": 0}}
        rows.api("PATCH", BUDGET.format(rows.namespace) + "/web", patch, content="application/merge-patch+json")
        assert f"node/{node} " in rows.kubectl(*drain, "--timeout=60s")
        assert not set(uids(rows.pods()).values()) & set(before.values())
    finally:
        rows.kubectl("uncordon", node)
    rows.wait("web-0", "web-1")
