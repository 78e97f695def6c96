"""H12: what becomes of claims, by the retention policy; and claims that went missing."""

from __future__ import annotations

import pytest

from tests.e2e.statefulset.rows import Rows, owners, statefulset, uids


@pytest.mark.parametrize("deleted", ["Retain", "Delete"])
@pytest.mark.parametrize("scaled", ["Retain", "Delete"])
def test_h12_retention_matrix(rows: Rows, deleted: str, scaled: str) -> None:
    """Upstream: Non-retain StatefulSetPersistentVolumeClaimPolicy."""
    policy = {"whenDeleted": deleted, "whenScaled": scaled}
    rows.create(statefulset(replicas=3, claims=True, persistentVolumeClaimRetentionPolicy=policy))
    rows.wait("web-0", "web-1", "web-2")
    rows.rest()
    ours = [("StatefulSet", "web")] if deleted == "Delete" else []
    claims = {f"www-web-{n}" for n in range(3)}
    assert {name: owners(claim) for name, claim in rows.all("persistentvolumeclaims").items()} == dict.fromkeys(claims, ours)
    rows.change(replicas=2)
    rows.wait("web-0", "web-1")
    kept = claims - {"www-web-2"} if scaled == "Delete" else claims
    rows.until(lambda: set(rows.all("persistentvolumeclaims")) == kept, f"{kept} are left")
    rows.kubectl("delete", "statefulset", "web")
    rows.until(lambda: not rows.pods(), "the members are gone")
    kept = set() if deleted == "Delete" else kept
    rows.until(lambda: set(rows.all("persistentvolumeclaims")) == kept, f"{kept} are left")


def test_h12_the_policy_can_be_changed(rows: Rows) -> None:
    rows.create(statefulset(replicas=1, claims=True))
    rows.wait("web-0")
    rows.change(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
    rows.until(lambda: owners(rows.get("persistentvolumeclaims", "www-web-0")) == [("StatefulSet", "web")], "the set owns it")
    rows.change(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain"})
    rows.until(lambda: owners(rows.get("persistentvolumeclaims", "www-web-0")) == [], "nobody owns it")


def test_a_missing_claim_of_a_pending_member_is_made_again(rows: Rows) -> None:
    """Upstream: PVC should be recreated when pod is pending due to missing PVC."""
    node = rows.api("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    rows.create(statefulset(replicas=1, claims=True))
    rows.wait("web-0")
    before = uids(rows.all("persistentvolumeclaims"))
    rows.kubectl("cordon", node)
    try:
        rows.kubectl("delete", "pod", "web-0")
        rows.kubectl("delete", "pvc", "www-web-0", "--wait=false")
        rows.until(
            lambda: uids(rows.all("persistentvolumeclaims")).get("www-web-0", before["www-web-0"]) != before["www-web-0"], "a new claim"
        )
    finally:
        rows.kubectl("uncordon", node)
    rows.wait("web-0")
