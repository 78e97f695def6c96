"""D: order and scaling. Readiness is held by a gate, so nothing here depends on how fast a machine is."""

from __future__ import annotations

import pytest

from holdfast.lib.clock import parse_rfc3339
from tests.e2e.statefulset.rows import Rows, statefulset, uids
from tests.system import ready


def _terminating(rows: Rows, name: str) -> bool:
    return bool(rows.pods().get(name, {"metadata": {}})["metadata"].get("deletionTimestamp"))


def test_d1_members_start_in_order(rows: Rows) -> None:
    """Upstream: scaling in predictable order (up)."""
    rows.create(statefulset(gated=True))
    for number in range(3):
        rows.until(lambda n=number: f"web-{n}" in rows.pods(), f"web-{number} is made")  # type: ignore[misc]
        rows.rest()
        assert set(rows.pods()) == {f"web-{n}" for n in range(number + 1)}
        rows.open(f"web-{number}")
    rows.wait("web-0", "web-1", "web-2")


def test_d1_members_start_once_those_before_are_available(rows: Rows) -> None:
    rows.create(statefulset(replicas=2, minReadySeconds=2))
    pods = rows.wait("web-0", "web-1")
    ready_at = next(c["lastTransitionTime"] for c in pods["web-0"]["status"]["conditions"] if c["type"] == "Ready")
    assert parse_rfc3339(pods["web-1"]["metadata"]["creationTimestamp"]) >= parse_rfc3339(ready_at) + 2


def test_d2_members_go_in_reverse_and_one_at_a_time(rows: Rows) -> None:
    rows.create(statefulset())
    rows.wait("web-0", "web-1", "web-2")
    for name in ("web-1", "web-2"):
        rows.patch("pods", name, {"metadata": {"finalizers": ["test/hold"]}})
    rows.change(replicas=0)
    rows.until(lambda: _terminating(rows, "web-2"), "web-2 goes")
    rows.rest()
    assert not _terminating(rows, "web-1")
    assert not _terminating(rows, "web-0")
    rows.patch("pods", "web-2", {"metadata": {"finalizers": None}})
    rows.until(lambda: _terminating(rows, "web-1"), "web-1 goes")
    assert set(rows.pods()) == {"web-0", "web-1"}, "web-2 was gone before"
    rows.rest()
    assert not _terminating(rows, "web-0")
    rows.patch("pods", "web-1", {"metadata": {"finalizers": None}})
    rows.until(lambda: not rows.pods(), "all are gone")


def test_d3_an_unhealthy_member_halts_scaling(rows: Rows) -> None:
    """Upstream: halt if any stateful pod is unhealthy."""
    rows.create(statefulset(replicas=2, gated=True))
    rows.open("web-0", "web-1")
    rows.wait("web-0", "web-1")
    rows.shut("web-0")
    rows.change(replicas=3)
    rows.rest()
    assert set(rows.pods()) == {"web-0", "web-1"}, "nothing is added"
    rows.change(replicas=1)
    rows.rest()
    assert not _terminating(rows, "web-1"), "nothing is taken away"
    rows.open("web-0")
    rows.wait("web-0")


def test_d4_r40_the_unhealthy_member_itself_may_go(rows: Rows) -> None:
    rows.create(statefulset(replicas=2, gated=True))
    rows.open("web-0")
    rows.until(lambda: "web-1" in rows.pods(), "web-1 is made")
    rows.change(replicas=1)
    rows.wait("web-0")


def test_d5_parallel_does_not_wait(rows: Rows) -> None:
    """Upstream: burst scaling runs to completion even with unhealthy pods."""
    rows.create(statefulset(replicas=6, gated=True, podManagementPolicy="Parallel"))
    rows.until(lambda: len(rows.pods()) == 6, "six are made, none of them Ready")
    assert not any(map(ready, rows.pods().values()))
    rows.change(replicas=0)
    rows.until(lambda: not rows.pods(), "all are gone")


def test_d6_scaling_goes_before_updating(rows: Rows) -> None:
    rows.create(statefulset(replicas=3))
    before = uids(rows.wait("web-0", "web-1", "web-2"))
    rows.patch("pods", "web-2", {"metadata": {"finalizers": ["test/hold"]}})
    changed = statefulset()["spec"]["template"]
    changed["metadata"]["annotations"] = {"round": "two"}
    rows.change(replicas=2, template=changed)
    rows.until(lambda: _terminating(rows, "web-2"), "the surplus member goes")
    rows.rest()
    assert uids(rows.pods()) == before, "and nothing is updated meanwhile"
    rows.patch("pods", "web-2", {"metadata": {"finalizers": None}})
    rows.until(lambda: not set(uids(rows.pods()).values()) & set(before.values()), "then both are updated")
    rows.wait("web-0", "web-1")


def test_d7_claims_are_used_again(rows: Rows) -> None:
    rows.create(statefulset(replicas=3, claims=True))
    rows.wait("web-0", "web-1", "web-2")
    claims = uids(rows.all("persistentvolumeclaims"))
    for name in ("web-1", "web-2") if rows.runtime == "oci" else ():
        rows.kubectl("exec", name, "--", "sh", "-c", "hostname > /data/name")
    rows.change(replicas=1)
    rows.wait("web-0")
    assert uids(rows.all("persistentvolumeclaims")) == claims
    rows.change(replicas=3)
    rows.wait("web-0", "web-1", "web-2")
    assert uids(rows.all("persistentvolumeclaims")) == claims
    for name in ("web-1", "web-2") if rows.runtime == "oci" else ():
        assert rows.kubectl("exec", name, "--", "cat", "/data/name") == f"{name}\n"


@pytest.mark.parametrize("end", [{"phase": "Failed", "reason": "Evicted"}, {"phase": "Succeeded"}], ids=["Failed", "Succeeded"])
def test_d8_r46_an_ended_member_is_made_anew(rows: Rows, end: dict[str, str]) -> None:
    """Upstream: should recreate evicted statefulset; should not deadlock when a pod's predecessor fails."""
    rows.create(statefulset(replicas=2))
    before = uids(rows.wait("web-0", "web-1"))
    rows.patch("pods", "web-0", {"status": end}, below="status")
    rows.until(lambda: uids(rows.pods()).get("web-0", before["web-0"]) != before["web-0"], "another web-0")
    assert uids(rows.wait("web-0", "web-1"))["web-1"] == before["web-1"]


def test_d8_no_deadlock_behind_an_unhealthy_successor(rows: Rows) -> None:
    rows.create(statefulset(replicas=2, gated=True))
    rows.open("web-0")
    rows.until(lambda: "web-1" in rows.pods(), "web-1 is made, not Ready")
    before = uids(rows.pods())
    rows.kubectl("delete", "pod", "web-0")
    rows.until(lambda: uids(rows.pods()).get("web-0", before["web-0"]) != before["web-0"], "web-0 is made anew")
    rows.open("web-0", "web-1")
    rows.wait("web-0", "web-1")


def test_d9_a_set_that_is_deleted_makes_nothing(rows: Rows) -> None:
    rows.create(statefulset(replicas=2))
    rows.wait("web-0", "web-1")
    rows.patch("statefulsets", "web", {"metadata": {"finalizers": ["test/hold"]}})
    rows.kubectl("delete", "statefulset", "web", "--wait=false")
    rows.kubectl("delete", "pod", "web-1")
    rows.until(lambda: rows.set()["status"].get("replicas") == 1, "the status is kept up")
    assert set(rows.pods()) == {"web-0"}
    rows.patch("statefulsets", "web", {"metadata": {"finalizers": None}})
    rows.until(lambda: not rows.pods(), "all go with the set")


def test_d10_a_terminating_member_blocks(rows: Rows) -> None:
    rows.create(statefulset(replicas=2))
    before = uids(rows.wait("web-0", "web-1"))
    rows.patch("pods", "web-0", {"metadata": {"finalizers": ["test/hold"]}})
    rows.kubectl("delete", "pod", "web-0", "--wait=false")
    rows.change(replicas=3)
    rows.rest()
    assert uids(rows.pods()) == before
    rows.patch("pods", "web-0", {"metadata": {"finalizers": None}})
    rows.wait("web-0", "web-1", "web-2")
