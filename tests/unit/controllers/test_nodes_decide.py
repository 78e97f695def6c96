"""A silent node: when it counts as that, which taints follow, and which pods must go when."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.controllers.nodes import decide
from holdfast.controllers.nodes.decide import Heartbeat
from holdfast.kinds.kind import Obj

STAMP = "2026-01-01T00:00:00Z"


def node(ready: str = "True", *taints: Obj) -> Obj:
    return {"metadata": {"name": "n"}, "spec": {"taints": list(taints)}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def pod(*tolerations: Obj) -> Obj:
    return {"metadata": {"name": "p"}, "spec": {"tolerations": list(tolerations)}}


def test_silence_counts_from_what_we_saw() -> None:
    assert not decide.is_silent(Heartbeat("x", 100.0), 100.0 + decide.GRACE_SECONDS)
    assert decide.is_silent(Heartbeat("x", 100.0), 100.1 + decide.GRACE_SECONDS)


def test_conditions_become_unknown_once() -> None:
    first = decide.silent_conditions(node(), STAMP)
    assert {c["type"]: c["status"] for c in first} == dict.fromkeys(
        ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"), "Unknown"
    )
    again = {"metadata": {}, "status": {"conditions": first}}
    assert decide.silent_conditions(again, "later") == first


@pytest.mark.parametrize(("ready", "key"), [("Unknown", decide.UNREACHABLE), ("False", decide.NOT_READY)])
def test_taints_follow_readiness_and_leave_others_alone(ready: str, key: str) -> None:
    other = {"key": "mine", "effect": "NoSchedule"}
    wanted = decide.taints(node(ready, other, {"key": decide.NOT_READY, "effect": "NoSchedule"}), STAMP)
    assert other in wanted
    assert {(t["key"], t["effect"]) for t in wanted if t != other} == {(key, "NoSchedule"), (key, "NoExecute")}
    assert decide.taints(node(ready, *wanted), "later") == wanted
    assert decide.taints(node("True", *wanted), STAMP) == [other]


@pytest.mark.parametrize(
    ("tolerations", "delay"),
    [
        ((), 0.0),
        (({"key": decide.UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},), 300.0),
        (({"operator": "Exists"},), None),
        (
            ({"key": decide.UNREACHABLE, "operator": "Exists", "tolerationSeconds": 5}, {"operator": "Exists", "tolerationSeconds": 9}),
            5.0,
        ),
        (({"key": "other", "operator": "Exists"},), 0.0),
    ],
)
def test_pods_go_when_their_patience_ends(tolerations: tuple[Obj, ...], delay: float | None) -> None:
    taint: dict[str, Any] = {"key": decide.UNREACHABLE, "effect": "NoExecute", "timeAdded": STAMP}
    assert decide.eviction_delay(pod(*tolerations), [taint, {"key": "x", "effect": "NoSchedule"}]) == delay


def test_out_of_service_is_for_nodes_that_are_down() -> None:
    taint = {"key": decide.OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
    assert decide.is_out_of_service(pod(), node("Unknown", taint))
    assert not decide.is_out_of_service(pod(), node("True", taint))
    assert not decide.is_out_of_service(pod({"operator": "Exists"}), node("Unknown", taint))
    assert not decide.is_out_of_service(pod(), node("Unknown"))
