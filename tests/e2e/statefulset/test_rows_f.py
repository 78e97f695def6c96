"""F: status."""

from __future__ import annotations

from typing import Any

from tests.e2e.statefulset.rows import Rows, statefulset


def _counts(status: dict[str, Any]) -> tuple[int, ...]:
    names = ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas")
    return tuple(status.get(name, 0) for name in names)


def test_f1_counters_and_f2_observed_generation(rows: Rows) -> None:
    rows.create(statefulset(replicas=3, gated=True))
    rows.open("web-0", "web-1")
    rows.until(lambda: _counts(rows.set()["status"]) == (3, 2, 2, 3, 3), "three are there, two of them Ready")
    rows.shut("web-0")
    rows.until(lambda: _counts(rows.set()["status"]) == (3, 1, 1, 3, 3), "one is Ready")
    found = rows.rest()
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


def test_f3_completion(rows: Rows) -> None:
    rows.create(statefulset(replicas=2, gated=True))
    rows.open("web-0", "web-1")
    old = rows.rest()["status"]["currentRevision"]
    rows.roll("two", gated=True)
    rows.until(lambda: rows.set()["status"].get("updatedReplicas") == 1, "the first is replaced")
    assert rows.rest()["status"]["currentRevision"] == old
    rows.open("web-1")
    rows.until(lambda: rows.set()["status"].get("updatedReplicas") == 2, "the second is replaced")
    assert rows.rest()["status"]["currentRevision"] == old, "not before all are Ready"
    rows.open("web-0")
    rows.until(lambda: rows.set()["status"]["currentRevision"] == rows.set()["status"]["updateRevision"] != old, "complete")


def test_f4_min_ready_seconds(rows: Rows) -> None:
    """Upstream: MinReadySeconds should be honored, availableReplicas updated accordingly."""
    rows.create(statefulset(replicas=2, podManagementPolicy="Parallel", minReadySeconds=3600))
    rows.wait("web-0", "web-1")
    rows.until(lambda: _counts(rows.set()["status"])[:3] == (2, 2, 0), "Ready, not yet available")
    rows.change(minReadySeconds=0)
    rows.until(lambda: _counts(rows.set()["status"])[:3] == (2, 2, 2), "available")
    rows.change(minReadySeconds=3600)
    rows.until(lambda: _counts(rows.set()["status"])[:3] == (2, 2, 0), "no longer")
    rows.change(minReadySeconds=1)
    rows.until(lambda: _counts(rows.set()["status"])[:3] == (2, 2, 2), "after a second")


def test_f5_f6_kubectl_wait(rows: Rows) -> None:
    rows.create(statefulset(replicas=2))
    rows.kubectl("wait", "--for=condition=Available", "statefulset/web", "--timeout=60s")
    if rows.kubectl.minor >= 23:  # older clients know no jsonpath here
        rows.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "statefulset/web", "--timeout=60s")
    rows.wait("web-0", "web-1")
    kinds = {c["type"]: c["status"] for c in rows.set()["status"]["conditions"]}
    assert kinds == {"Available": "True", "Progressing": "True", "Stalled": "False"}


def test_status_endpoints(rows: Rows) -> None:
    """Upstream: should validate Statefulset Status endpoints; a condition of somebody else is kept."""
    rows.create(statefulset(replicas=1))
    rows.wait("web-0")
    theirs = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}

    def has(owner: dict[str, Any]) -> bool:
        return any(theirs.items() <= condition.items() for condition in owner["status"]["conditions"])

    found = rows.rest()
    found["status"]["conditions"] = [*found["status"].get("conditions", []), theirs]
    begin = found["metadata"]["resourceVersion"]
    rows.api("PUT", rows.path("statefulsets", "web", "status"), found)
    path = rows.path("statefulsets", "web", "status")
    assert has(rows.api("GET", path))
    events = rows.system.api.watch(rows.path("statefulsets"), resourceVersion=begin, timeoutSeconds="1")
    assert any(has(event["object"]) for event in events)
    patch = {"status": {"conditions": [{**theirs, "type": "StatusPatched"}]}}
    patched = rows.api("PATCH", path, patch, content="application/strategic-merge-patch+json")
    assert {"StatusUpdate", "StatusPatched"} <= {c["type"] for c in patched["status"]["conditions"]}
    assert patched["spec"] == found["spec"]
    rows.rest()
    assert has(rows.set())


def test_scale_subresource(rows: Rows) -> None:
    """Upstream: should have a working scale subresource."""
    rows.create(statefulset(replicas=1))
    rows.wait("web-0")
    path = rows.path("statefulsets", "web", "scale")
    scale = rows.api("GET", path)
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 1, "app=web")
    scale["spec"]["replicas"] = 2
    assert rows.api("PUT", path, scale)["spec"]["replicas"] == 2
    rows.wait("web-0", "web-1")
    rows.api("PATCH", path, {"spec": {"replicas": 1}}, content="application/merge-patch+json")
    rows.wait("web-0")


def test_collections(rows: Rows) -> None:
    """Upstream: should list, patch and delete a collection of StatefulSets."""
    made = statefulset(replicas=1)
    made["metadata"]["labels"] = {"suite": "one"}
    rows.create(made)
    rows.wait("web-0")
    everywhere = rows.api("GET", "/apis/apps/v1/statefulsets?labelSelector=suite%3Done")["items"]
    assert [item["metadata"]["namespace"] for item in everywhere if item["metadata"]["namespace"] == rows.namespace]
    patch = {"metadata": {"labels": {"suite": "two"}}, "spec": {"replicas": 2}}
    patch["spec"]["template"] = {"spec": {"containers": [{"name": "main", "image": "busybox:two"}]}}
    patched = rows.api("PATCH", rows.path("statefulsets", "web"), patch, content="application/strategic-merge-patch+json")
    (container,) = patched["spec"]["template"]["spec"]["containers"]
    assert (patched["spec"]["replicas"], container["image"], bool(container["command"])) == (2, "busybox:two", True)
    rows.api("DELETE", rows.path("statefulsets") + "?labelSelector=suite%3Done")
    assert set(rows.all("statefulsets")) == {"web"}, "that is no label of it any more"
    rows.api("DELETE", rows.path("statefulsets") + "?labelSelector=suite%3Dtwo")
    rows.until(lambda: not rows.all("statefulsets") and not rows.pods(), "the collection is gone, members too")
