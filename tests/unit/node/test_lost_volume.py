"""A pod that has lost a volume: what runs ends first, then the volume is prepared anew, then it is started."""

from __future__ import annotations

from typing import Any

from holdfast.node.api import PodNetwork
from holdfast.node.pods import model
from holdfast.node.pods.decide import decide
from holdfast.node.pods.model import Failure, KillInstance, KillOrder, PrepareVolumes, StartContainer, View
from holdfast.node.runtimes.api import InstanceState

POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]},
    "status": {},
}


def view(phase: str, **more: Any) -> View:
    one = InstanceState(model.instance_id("u", "c", 0), "u", "c", 0, phase, 7, 1.0, 2.0, 137)
    return View(POD, 10.0, {one.id: one}, network=PodNetwork("10.0.0.1", "/ns"), confirmed=True, started=frozenset({one.id}), **more)


def test_it_ends_while_its_volumes_are_not_ready() -> None:
    id = model.instance_id("u", "c", 0)
    failure = Failure("FailedMount", "lost", 99.0)
    found = decide(view("running", kill_orders={id: KillOrder("lost its volume", 2)}, setup_failure=failure))
    assert found.intents == (KillInstance(id, "c", 2, "lost its volume"),)
    assert decide(view("running")).intents == (PrepareVolumes(),)


def test_it_is_started_anew_only_on_a_volume() -> None:
    assert decide(view("exited")).intents == (PrepareVolumes(),)
    assert decide(view("exited", volumes_ready=True)).intents == (StartContainer("c", 1),)
