"""Kubernetes' own end-to-end cases of StatefulSet, told again. Most of them are rows already; here stands which, and the rest.

| upstream's case | told by |
|---|---|
| 1 should provide basic identity | test_upstream_01 |
| 2 should adopt matching orphans and release non-matching pods | test_c5_adoption_and_c6_release |
| 3 should not deadlock when a pod's predecessor fails | test_d8_no_deadlock_behind_an_unhealthy_successor |
| 4 rolling updates and roll backs of template modifications with PVCs | test_e1_updates_go_in_reverse_and_wait[with claims] |
| 5 rolling updates and roll backs of template modifications | test_e1_updates_go_in_reverse_and_wait |
| 6 canary updates and phased rolling updates | test_e2_partition |
| 7 legacy replacement when the update strategy is OnDelete | test_e3_on_delete |
| 8 scaling in predictable order, halted by an unhealthy pod | test_upstream_08 |
| 9 burst scaling runs to completion even with unhealthy pods | test_d5_parallel_does_not_wait |
| 10 should recreate evicted statefulset | test_d8_r46_an_ended_member_is_made_anew |
| 11 should have a working scale subresource | test_scale_subresource |
| 12 should list, patch and delete a collection of StatefulSets | test_collections |
| 13 should validate Statefulset Status endpoints | test_status_endpoints |
| 14, 15 MinReadySeconds honored, AvailableReplicas updated accordingly | test_f4_min_ready_seconds |
| 16, 17 PVCs deleted with WhenDeleted, with OnScaledown | test_h12_retention_matrix |
| 18, 19 the same after adopting a pod | test_upstream_18_19 |
| 20 PVC recreated when the pod is pending due to a missing PVC | test_a_missing_claim_of_a_pending_member_is_made_again |
| 21 to 24 start ordinal: set, raised, lowered, removed | test_b7_start_ordinal |
| a clustered application keeps what was written | tests/e2e/test_postgres.py |
| no member is rescheduled in a network partition | tests/unit/lab/test_regression_worlds.py |
"""

from __future__ import annotations

import pytest

from tests.e2e.statefulset.rows import Rows, owners, statefulset, uids

THREE = ("web-0", "web-1", "web-2")


@pytest.mark.parametrize("both", ["oci"], indirect=True)
def test_upstream_01_basic_identity(rows: Rows) -> None:
    """Names inside and out, a mount that works, and after a restart of all the right volume at the right member."""
    rows.create(statefulset(claims=True))
    before = uids(rows.wait(*THREE))
    for name in THREE:
        done = "hostname > /data/hostname && ln -sf /data/hostname /data/hostname-symlink && sync"
        rows.kubectl("exec", name, "--", "sh", "-c", done)
        assert rows.pods()[name]["spec"]["subdomain"] == rows.set()["spec"]["serviceName"]
    rows.change(replicas=0)
    rows.until(lambda: not rows.pods(), "all are gone")
    rows.change(replicas=3)
    assert not set(uids(rows.wait(*THREE)).values()) & set(before.values())
    for name in THREE:
        said = rows.kubectl("exec", name, "--", "sh", "-c", "hostname; cat /data/hostname; cat /data/hostname-symlink")
        assert said.split() == [name] * 3


def test_upstream_08_scaling_in_order_and_halt(rows: Rows) -> None:
    """By a watch: up from the first to the last, down from the last to the first, and neither past one that is not well."""
    begin = rows.revision()
    rows.create(statefulset(replicas=1, gated=True))
    rows.open("web-0")
    rows.shut("web-0")
    rows.change(replicas=3)
    rows.rest()
    assert set(rows.pods()) == {"web-0"}, "scaling up waits"
    rows.open(*THREE)
    rows.wait(*THREE)
    rows.shut(*THREE)
    rows.change(replicas=0)
    rows.rest()
    pods = rows.pods()
    assert set(pods) == set(THREE), "scaling down waits"
    assert not any(pod["metadata"].get("deletionTimestamp") for pod in pods.values())
    rows.open("web-0")
    rows.gate("web-1", "True")  # and now the last one is the first that is not well
    rows.until(lambda: not rows.pods(), "all are gone")
    trace = rows.trace(begin)
    assert [pod["metadata"]["name"] for kind, pod in trace if kind == "ADDED"] == list(THREE)
    assert [pod["metadata"]["name"] for kind, pod in trace if kind == "DELETED"] == list(reversed(THREE))


@pytest.mark.parametrize("both", ["simulated"], indirect=True)
@pytest.mark.parametrize("when", ["whenDeleted", "whenScaled"])
def test_upstream_18_19_claims_go_after_a_pod_was_adopted(rows: Rows, when: str) -> None:
    rows.create(statefulset(claims=True, persistentVolumeClaimRetentionPolicy={when: "Delete"}))
    rows.wait(*THREE)
    rows.patch("pods", "web-2", {"metadata": {"ownerReferences": None}})
    rows.until(lambda: owners(rows.get("pods", "web-2")) == [("StatefulSet", "web")], "web-2 is adopted again")
    if when == "whenDeleted":
        rows.kubectl("delete", "statefulset", "web")
        rows.until(lambda: not rows.all("persistentvolumeclaims"), "every claim is gone")
        return
    rows.change(replicas=1)
    rows.until(lambda: set(rows.all("persistentvolumeclaims")) == {"www-web-0"}, "all but the first claim are gone")
    rows.wait("web-0")
