"""The plan of a set: its steps for the common changes, and that it is what ``decide`` does when the world takes its time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.controllers.statefulset import objects, plan
from holdfast.controllers.statefulset.decide import Seen
from holdfast.controllers.statefulset.plan import Step, World, steps
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

NOW = 1_800_000_000.0
TEMPLATES: dict[str, Obj] = {name: {"metadata": {}, "spec": {"containers": [{"name": "c", "image": name}]}} for name in "ab"}


def make_seen(replicas: int, pods: str, update: str = "b", current: str = "a", retention: str = "Retain", **spec: Any) -> Seen:
    """``pods``: words like ``0:a``, ``1:b:unready``, ``2:a:Failed``, ``3:a:going``; each has its claim."""
    full = {
        "replicas": replicas,
        "serviceName": "s",
        "selector": {},
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": retention, "whenDeleted": "Retain"},
        "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": {}}],
        **spec,
    }
    metadata = {"name": "web", "namespace": "ns", "uid": "u", "generation": 1}
    owner: Obj = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": full}
    found, claims = [], {}
    for word in pods.split():
        number, revision, *state = word.split(":")
        found.append(member(owner, int(number), revision, (state or ["ready"])[0]))
        (claim,) = objects.build_claims(owner, int(number))
        claims[meta.name(claim)] = {**claim, "metadata": {**claim["metadata"], "uid": f"claim-{number}"}}
    return Seen(owner, found, claims, current, update, TEMPLATES)


def member(owner: Obj, number: int, revision: str, state: str) -> Obj:
    pod = objects.build_pod(owner, TEMPLATES[revision], revision, number)
    metadata = {**pod["metadata"], "uid": f"uid-{number}", "creationTimestamp": rfc3339(NOW - 100)}
    if state == "going":
        metadata["deletionTimestamp"] = rfc3339(NOW - 5)
    ready = "True" if state in ("ready", "going") else "False"
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": rfc3339(NOW - 90)}]
    status = {"phase": "Failed" if state == "Failed" else "Running", "startTime": rfc3339(NOW - 100), "conditions": conditions}
    return {**pod, "metadata": metadata, "status": status}


def told(found: list[Step]) -> list[str]:
    return [f"{step.action} {step.subject.partition('/')[2]} {step.unavailable}" for step in found]


def test_a_new_set() -> None:
    expected = []
    for number in range(3):
        expected += [f"claim www-web-{number} {3 - number}", f"create web-{number} {3 - number}", f"ready web-{number} {2 - number}"]
    assert told([*steps(make_seen(3, ""), NOW)]) == expected


def test_a_rolling_update() -> None:
    expected = []
    for number in (2, 1, 0):
        expected += [f"delete web-{number} 1", f"gone web-{number} 1", f"create web-{number} 1", f"ready web-{number} 0"]
    assert told([*steps(make_seen(3, "0:a 1:a 2:a"), NOW)]) == expected


def test_scaling_down_with_what_is_lost() -> None:
    expected = [
        *("own www-web-2 0", "delete web-2 0", "gone web-2 0", "lose www-web-2 0"),
        *("own www-web-1 0", "delete web-1 0", "gone web-1 0", "lose www-web-1 0"),
    ]
    assert told([*steps(make_seen(1, "0:b 1:b 2:b", retention="Delete"), NOW)]) == expected
    assert not any(step.action == plan.LOSE for step in steps(make_seen(1, "0:b 1:b 2:b"), NOW))


def test_a_partition_leaves_the_rest_alone() -> None:
    seen = make_seen(3, "0:a 1:a 2:a", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    assert {step.subject for step in steps(seen, NOW)} == {"pod/web-2"}


def test_several_at_a_time() -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 2}}
    found = [*steps(make_seen(4, "0:a 1:a 2:a 3:a", podManagementPolicy="Parallel", updateStrategy=rolling), NOW)]
    assert max(step.unavailable for step in found) == 2


def test_e5_recreate_shows_that_all_are_away_at_once() -> None:
    found = [*steps(make_seen(2, "0:a 1:a 2:a", updateStrategy={"type": "Recreate"}), NOW)]
    expected = ["delete web-0 1", "delete web-1 2", "delete web-2 2", "gone web-0 2", "gone web-1 2", "gone web-2 2"]
    for number in range(2):
        expected += [f"create web-{number} {2 - number}", f"ready web-{number} {1 - number}"]
    assert told(found) == expected


def test_time_is_a_step_too() -> None:
    found = [*steps(make_seen(2, "", minReadySeconds=30), NOW)]
    assert [step.action for step in found] == ["claim", "create", "ready", "time"] * 2


def test_nothing_to_do_is_no_step() -> None:
    assert [*steps(make_seen(3, "0:b 1:b 2:b", current="b"), NOW)] == []
    assert [*steps(make_seen(3, "0:a 1:a 2:a", updateStrategy={"type": "OnDelete"}), NOW)] == []


def test_what_was_seen_is_not_changed() -> None:
    seen = make_seen(1, "0:a 1:a 2:a:Failed", retention="Delete")
    before = repr(seen)
    assert [*steps(seen, NOW)]
    assert repr(seen) == before


# The plan is what happens


class Slow(World):
    """One thing happens at a time, in any order, and the controller looks whenever it likes."""

    def __init__(self, seen: Seen, now: float, chance: random.Random) -> None:
        super().__init__(seen, now)
        self.chance = chance

    def run(self) -> Iterator[Step]:
        for _ in range(5000):
            yield from self.act(self.decide())
            for _ in range(self.chance.randint(0, 2)):
                yield from self.something()
            found = self.decide()
            if not found.intents and not self.moves():
                rest = [*self.move_on(found)]
                yield from rest
                if not rest:
                    return
        raise AssertionError("it never comes to rest")

    def moves(self) -> list[str]:
        ended = [name for name, pod in self.pods.items() if objects.phase(pod) == "Failed" and not meta.is_terminating(pod)]
        ready = [name for name, pod in self.pods.items() if objects.is_ready(pod) and not meta.is_terminating(pod)]
        return [name for name in self.pods if name not in ended and name not in ready]

    def something(self) -> Iterator[Step]:
        moves = self.moves()
        if not moves:
            return
        name = self.chance.choice(moves)
        if meta.is_terminating(self.pods[name]):
            del self.pods[name]
        else:
            self.pods[name] = self._ready(self.pods[name])
        if self.chance.random() < 0.5:
            yield from self._collect()


DONE = (plan.CREATE, plan.DELETE, plan.CLAIM, plan.LOSE)
STATES = st.sampled_from(["", "", "", ":unready", ":Failed"])
"""None that is going already: whether a claim is still given to a member that goes depends on who is quicker."""
POD = st.none() | st.tuples(st.sampled_from("ab"), STATES)
ROLLING = st.fixed_dictionaries({"partition": st.integers(0, 4)}, optional={"maxUnavailable": st.sampled_from([1, 2, "50%"])})


@settings(max_examples=150, deadline=None)
@given(
    replicas=st.integers(0, 5),
    there=st.lists(POD, max_size=6),
    update=st.sampled_from("ab"),
    policy=st.sampled_from(["OrderedReady", "Parallel"]),
    rolling=st.sampled_from(["OnDelete", "Recreate"]) | ROLLING,
    retention=st.sampled_from(["Retain", "Delete"]),
    patience=st.sampled_from([0, 0, 10]),
    seed=st.integers(0, 2**32),
)
def test_the_plan_is_what_happens(
    replicas: int, there: list[Any], update: str, policy: str, rolling: Obj | str, retention: str, patience: int, seed: int
) -> None:
    pods = " ".join(f"{number}:{pod[0]}{pod[1]}" for number, pod in enumerate(there) if pod)
    strategy: Obj = {"type": rolling} if isinstance(rolling, str) else {"type": "RollingUpdate", "rollingUpdate": rolling}
    options = {"podManagementPolicy": policy, "updateStrategy": strategy, "minReadySeconds": patience}
    # While a member is away, those that are too many may pass for the whole set: upstream counts them (currentRevision moves on).
    assume(len(there) <= replicas or not (strategy.get("rollingUpdate") or {}).get("partition"))
    seen = make_seen(replicas, pods, update, "a", retention, **options)
    planned = [step for step in steps(seen, NOW) if step.action in DONE]
    happened = [step for step in Slow(seen, NOW, random.Random(seed)).run() if step.action in DONE]
    assert by_subject(happened) == by_subject(planned)


def by_subject(found: list[Step]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = defaultdict(list)
    for step in found:
        out[step.subject].append(step.action + (step.detail if step.action == plan.CREATE else ""))
    return out


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("pods", ["", "0:a 1:a 2:a", "0:a 1:a 2:a 3:a 4:a", "0:a 2:b", "0:a:Failed 1:a", "1:a 2:b:going"])
def test_in_order_the_plan_is_what_happens_in_that_order(pods: str, seed: int) -> None:
    seen = make_seen(3, pods, retention="Delete")
    planned = [(s.action, s.subject) for s in steps(seen, NOW) if s.action in (plan.CREATE, plan.DELETE)]
    happened = [(s.action, s.subject) for s in Slow(seen, NOW, random.Random(seed)).run() if s.action in (plan.CREATE, plan.DELETE)]
    assert happened == planned
