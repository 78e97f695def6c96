"""E: updates and their history, with stock kubectl."""

from __future__ import annotations

import copy
import json

import pytest

from tests.e2e.statefulset.rows import Rows, refused, revisions_at_once, rounds, statefulset, uids
from tests.system import ready

THREE = ("web-0", "web-1", "web-2")


def _updated(rows: Rows, value: str) -> set[str]:
    return {name for name, there in rounds(rows.pods()).items() if there == value}


def _revisions(rows: Rows) -> dict[int, str]:
    return {obj["revision"]: name for name, obj in rows.all("controllerrevisions").items()}


def _patch_as_kubectl_makes_it(rows: Rows) -> bytes:
    """By its bytes ``rollout undo`` knows that there is nothing to undo: Go's JSON, keys sorted, HTML escaped."""
    changed = {**rows.set()["spec"]["template"], "$patch": "replace"}
    text = json.dumps({"spec": {"template": changed}}, sort_keys=True, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e").encode()


@pytest.mark.parametrize("claims", [False, True], ids=["without claims", "with claims"])
def test_e1_updates_go_in_reverse_and_wait(rows: Rows, claims: bool) -> None:
    """Upstream: rolling updates and roll backs of template modifications (with PVCs)."""
    rows.create(statefulset(gated=True, claims=claims))
    rows.open(*THREE)
    status = rows.rest()["status"]
    assert status["currentRevision"] == status["updateRevision"]
    kept = uids(rows.all("persistentvolumeclaims"))
    assert len(kept) == 3 * claims
    rows.roll("two", gated=True, claims=claims)
    for number, name in ((2, "web-2"), (1, "web-1"), (0, "web-0")):
        wanted = set(THREE[number:])
        rows.until(lambda wanted=wanted: _updated(rows, "two") == wanted, f"{name} is replaced")  # type: ignore[misc]
        rows.rest()
        assert _updated(rows, "two") == wanted, "and nobody else before it is Ready"
        rows.open(name)
    rows.until(lambda: rows.set()["status"]["currentRevision"] != status["currentRevision"], "the update is complete")
    done = rows.set()["status"]
    assert done["currentRevision"] == done["updateRevision"] == rows.pods()["web-0"]["metadata"]["labels"]["controller-revision-hash"]
    rows.roll("", gated=True, claims=claims)
    rows.until(lambda: rows.set()["status"]["updateRevision"] == status["updateRevision"], "back at the very revision there was")
    assert len(_revisions(rows)) == 2
    assert uids(rows.all("persistentvolumeclaims")) == kept


def test_e2_partition(rows: Rows) -> None:
    """Upstream: canary updates and phased rolling updates."""

    def partition(number: int) -> None:
        rows.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": number}})

    rows.create(statefulset(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 5}}))
    before = uids(rows.wait(*THREE))
    rows.roll("two")
    rows.rest()
    assert uids(rows.pods()) == before, "a partition beyond all members rolls nothing"
    partition(2)
    rows.until(lambda: _updated(rows, "two") == {"web-2"}, "only the last one is new")
    rows.wait(*THREE)
    rows.kubectl("delete", "pod", "web-0", "web-2")
    after = rows.wait(*THREE)
    assert _updated(rows, "two") == {"web-2"}, "each comes back at its own revision"
    old, new = (after[name]["metadata"]["labels"]["controller-revision-hash"] for name in ("web-0", "web-2"))
    assert (old, new) == (rows.set()["status"]["currentRevision"], rows.set()["status"]["updateRevision"])
    partition(1)
    rows.until(lambda: _updated(rows, "two") == {"web-1", "web-2"}, "the next one")
    partition(0)
    rows.until(lambda: _updated(rows, "two") == set(THREE), "all")
    rows.wait(*THREE)
    rows.until(lambda: rows.set()["status"]["currentRevision"] == new, "complete")


def test_e3_on_delete(rows: Rows) -> None:
    rows.create(statefulset(updateStrategy={"type": "OnDelete"}))
    before = uids(rows.wait(*THREE))
    rows.roll("two")
    rows.rest()
    assert uids(rows.pods()) == before
    rows.kubectl("delete", "pod", "web-1")
    rows.wait(*THREE)
    assert _updated(rows, "two") == {"web-1"}


def test_e4_max_unavailable(rows: Rows) -> None:
    names = tuple(f"web-{n}" for n in range(5))
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    rows.create(statefulset(replicas=5, gated=True, podManagementPolicy="Parallel", updateStrategy=strategy))
    rows.open(*names)
    rows.wait(*names)
    rows.roll("two", gated=True)
    for batch in (("web-3", "web-4"), ("web-1", "web-2"), ("web-0",)):
        rows.until(lambda batch=batch: set(batch) <= _updated(rows, "two"), f"{batch} are replaced")  # type: ignore[misc]
        rows.rest()
        assert {name for name, pod in rows.pods().items() if not ready(pod)} == set(batch), "never more than two are away"
        rows.open(*batch)
    assert _updated(rows, "two") == set(names)


def test_e4_b8_a_share_is_rounded_down(rows: Rows) -> None:
    """30% of 5 acts as 1."""
    names = tuple(f"web-{n}" for n in range(5))
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "30%"}}
    rows.create(statefulset(replicas=5, gated=True, podManagementPolicy="Parallel", updateStrategy=strategy))
    rows.open(*names)
    rows.wait(*names)
    rows.roll("two", gated=True)
    rows.until(lambda: _updated(rows, "two") == {"web-4"}, "one is replaced")
    rows.rest()
    assert _updated(rows, "two") == {"web-4"}


def _recreating(rows: Rows) -> str:
    return next(str(c["reason"]) for c in rows.set()["status"]["conditions"] if c["type"] == "Progressing")


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_e5_recreate_has_never_pods_of_two_revisions(rows: Rows, policy: str) -> None:
    rows.create(statefulset(claims=True, podManagementPolicy=policy))
    before, claims = uids(rows.wait(*THREE)), uids(rows.all("persistentvolumeclaims"))
    begin = rows.revision()
    rows.change(updateStrategy={"type": "Recreate", "rollingUpdate": None})
    rows.rest()
    assert uids(rows.pods()) == before, "a change of the strategy alone replaces nobody"
    rows.roll("two", claims=True)
    rows.until(lambda: _recreating(rows) == "RecreateComplete", "all are replaced")
    after = rows.wait(*THREE)
    assert _updated(rows, "two") == set(THREE)
    assert not set(uids(after).values()) & set(before.values())
    assert uids(rows.all("persistentvolumeclaims")) == claims
    trace = rows.trace(begin)
    assert revisions_at_once(trace) == 1
    made = [pod["metadata"]["name"] for kind, pod in trace if kind == "ADDED"]
    assert made == list(THREE) if policy == "OrderedReady" else set(made) == set(THREE)
    told = [(kind, message) for kind, reason, message in rows.events() if reason == "RecreateStarted"]
    assert told == [("Normal", "Deleting all pods for Recreate update")]
    status = rows.set()["status"]
    assert status["currentRevision"] == status["updateRevision"]


def test_e5_recreate_waits_for_the_last_old_pod_also_beyond_the_range(rows: Rows) -> None:
    rows.create(statefulset(updateStrategy={"type": "Recreate"}))
    before = uids(rows.wait(*THREE))
    rows.patch("pods", "web-2", {"metadata": {"finalizers": ["test/hold"]}})
    begin = rows.revision()
    changed = statefulset()["spec"]["template"]
    changed["metadata"]["annotations"] = {"round": "two"}
    rows.change(replicas=2, template=changed)
    rows.until(lambda: set(rows.pods()) == {"web-2"}, "all go at once, and web-2 is held")
    rows.rest()
    assert set(rows.pods()) == {"web-2"}, "nothing is created beside it"
    assert _recreating(rows) == "RecreateInProgress"
    rows.patch("pods", "web-2", {"metadata": {"finalizers": None}})
    after = rows.wait("web-0", "web-1")
    assert not set(uids(after).values()) & set(before.values())
    assert revisions_at_once(rows.trace(begin)) == 1


def test_e5_recreate_replaces_what_never_became_ready(rows: Rows) -> None:
    """The way out of kubernetes#67250 that upstream has: a corrected template needs no deletion by hand."""
    rows.create(statefulset(gated=True, updateStrategy={"type": "Recreate"}))
    rows.open(*THREE)
    rows.roll("broken", gated=True)
    rows.until(lambda: set(rounds(rows.pods()).items()) == {("web-0", "broken")}, "the first of the new ones is not Ready")
    rows.roll("mended", gated=True)
    rows.until(lambda: set(rounds(rows.pods()).items()) == {("web-0", "mended")}, "it is replaced")
    rows.open(*THREE)
    assert _updated(rows, "mended") == set(THREE)


def test_e6_parallel_mends_itself_after_a_revert(rows: Rows) -> None:
    rows.create(statefulset(gated=True, podManagementPolicy="Parallel"))
    rows.open(*THREE)
    rows.wait(*THREE)
    rows.roll("broken", gated=True)
    rows.until(lambda: _updated(rows, "broken") == {"web-2"}, "the broken one is not Ready")
    rows.roll("", gated=True)
    rows.until(lambda: _updated(rows, "broken") == set() and "web-2" in rows.pods(), "it is replaced without help")
    rows.open("web-2")
    rows.wait(*THREE)


def test_e7_a_revision_is_what_upstream_writes(rows: Rows) -> None:
    rows.create(statefulset(replicas=0))
    rows.rest()
    (name, revision), *more = rows.all("controllerrevisions").items()
    assert not more
    digest = revision["metadata"]["labels"]["controller.kubernetes.io/hash"]
    assert name == f"web-{digest}"
    assert revision["metadata"]["labels"]["app"] == "web"
    assert revision["data"]["spec"]["template"]["$patch"] == "replace"
    assert revision["revision"] == 1


def test_e8_history_and_e9_undo(rows: Rows) -> None:
    rows.create(statefulset(replicas=1))
    rows.kubectl("annotate", "statefulset", "web", "kubernetes.io/change-cause=the first")
    rows.wait("web-0")
    rows.kubectl("annotate", "--overwrite", "statefulset", "web", "kubernetes.io/change-cause=the second")
    rows.roll("two")
    rows.until(lambda: _updated(rows, "two") == {"web-0"} and rows.is_ready("web-0"), "rolled")
    history = rows.kubectl("rollout", "history", "statefulset/web")
    assert "REVISION  CHANGE-CAUSE" in history
    assert "the second" in history
    assert "round: two" in rows.kubectl("rollout", "history", "statefulset/web", "--revision=2")
    revisions = _revisions(rows)
    assert "rolled back" in rows.kubectl("rollout", "undo", "statefulset/web", "--to-revision=1")
    rows.until(lambda: set(_revisions(rows)) == {2, 3}, "the old revision has a new number")
    assert _revisions(rows)[3] == revisions[1]
    rows.until(lambda: _updated(rows, "two") == set() and rows.is_ready("web-0"), "rolled back")
    assert _patch_as_kubectl_makes_it(rows) in rows.raw("controllerrevisions", _revisions(rows)[3])
    if rows.kubectl.minor >= 34:  # older ones still write creationTimestamp: null, and never find a server's bytes equal
        said = rows.kubectl("rollout", "undo", "statefulset/web", "--to-revision=3")
        assert "skipped rollback (current template already matches revision 3)" in said
    assert "unable to find specified revision 9 in history" in refused(
        rows.kubectl.run("rollout", "undo", "statefulset/web", "--to-revision=9")
    )


def test_e10_restart_and_e11_status(rows: Rows) -> None:
    rows.create(statefulset(replicas=2, gated=True))
    rows.open("web-0", "web-1")
    before = uids(rows.wait("web-0", "web-1"))
    rows.kubectl("rollout", "restart", "statefulset/web")
    assert "kubectl.kubernetes.io/restartedAt" in rows.set()["spec"]["template"]["metadata"]["annotations"]
    late = rows.kubectl.run("rollout", "status", "statefulset/web", "--timeout=1s")
    assert late.returncode != 0
    assert b"Waiting for 1 pods to be ready..." in late.stdout
    for name in ("web-1", "web-0"):
        rows.until(lambda name=name: uids(rows.pods()).get(name, before[name]) != before[name], f"{name} is new")  # type: ignore[misc]
        rows.open(name)
    said = rows.kubectl("rollout", "status", "statefulset/web", "--timeout=30s")
    assert said.splitlines()[-1].startswith("partitioned roll out complete: 2 new pods have been updated...")


def test_e11_status_without_rolling_settings_and_on_delete(rows: Rows) -> None:
    rows.create(statefulset(replicas=1, updateStrategy={"type": "RollingUpdate"}))
    rows.wait("web-0")
    revision = rows.rest()["status"]["currentRevision"]
    said = rows.kubectl("rollout", "status", "statefulset/web", "--timeout=30s")
    assert said.splitlines()[-1] == f"statefulset rolling update complete 1 pods at revision {revision}..."
    rows.change(updateStrategy={"type": "OnDelete"})
    said = refused(rows.kubectl.run("rollout", "status", "statefulset/web"))
    assert "rollout status is only available for RollingUpdate strategy type" in said


def test_e12_history_is_limited(rows: Rows) -> None:
    rows.create(statefulset(replicas=0, revisionHistoryLimit=2))
    for number in range(6):
        rows.roll(str(number))
        wanted = rows.set()["metadata"]["generation"]
        rows.until(lambda wanted=wanted: rows.set()["status"]["observedGeneration"] >= wanted, "observed")  # type: ignore[misc]
    rows.until(lambda: sorted(_revisions(rows)) == [5, 6, 7], "the live one and two more are kept, the newest")
    assert _revisions(rows)[7] == rows.set()["status"]["updateRevision"]


def test_e12_no_limit_takes_a_live_revision(rows: Rows) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    rows.create(statefulset(replicas=2, revisionHistoryLimit=0, updateStrategy=strategy))
    rows.wait("web-0", "web-1")
    rows.roll("two")
    rows.until(lambda: sorted(_revisions(rows)) == [1, 2], "a second one")
    rows.roll("three")
    rows.until(lambda: sorted(_revisions(rows)) == [1, 3], "that of the members, and the wanted one")


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"replicas": 4}},
        {"metadata": {"labels": {"more": "yes"}, "annotations": {"a": "b"}}},
        {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}},
        {"spec": {"updateStrategy": {"type": "Recreate", "rollingUpdate": None}}},
        {"spec": {"minReadySeconds": 1}},
    ],
    ids=["replicas", "labels", "strategy", "recreate", "minReadySeconds"],
)
def test_e13_no_needless_roll(rows: Rows, change: dict[str, object]) -> None:
    rows.create(statefulset(replicas=2))
    before = uids(rows.wait("web-0", "web-1"))
    rows.patch("statefulsets", "web", change)
    rows.rest()
    assert before.items() <= uids(rows.pods()).items()


def test_e14_a_revision_that_an_older_version_wrote_rolls_nothing(rows: Rows) -> None:
    """As it would be found after an upgrade (kubernetes#134773): a null and a default less, so other bytes and another name."""
    rows.create(statefulset(replicas=2))
    before = uids(rows.wait("web-0", "web-1"))
    (made,) = rows.all("controllerrevisions").values()
    rows.kubectl("delete", "statefulset", "web", "--cascade=orphan")
    rows.until(lambda: "web" not in rows.all("statefulsets"), "the set is gone")
    older = {"data": copy.deepcopy(made["data"]), "revision": 1, "metadata": {"name": "web-older", "labels": {"app": "web"}}}
    older["data"]["spec"]["template"]["metadata"]["creationTimestamp"] = None
    del older["data"]["spec"]["template"]["spec"]["dnsPolicy"]
    rows.kubectl("delete", "controllerrevision", made["metadata"]["name"])
    rows.create({"apiVersion": "apps/v1", "kind": "ControllerRevision", **older})
    for name in before:
        rows.patch("pods", name, {"metadata": {"labels": {"controller-revision-hash": "web-older"}}})
    rows.create(statefulset(replicas=2))
    rows.until(lambda: rows.set()["status"].get("readyReplicas") == 2, "both are adopted")
    rows.change(replicas=3)
    after = rows.wait(*THREE)
    assert before.items() <= uids(after).items(), "nobody is replaced, neither now nor when the set is written next"
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in after.values()} == {"web-older"}
    assert _revisions(rows) == {1: "web-older"}
