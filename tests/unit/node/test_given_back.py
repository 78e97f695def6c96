"""A pod that has given its volumes back takes nothing again, whatever the API knows of its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.node.api import PodNetwork
from holdfast.node.pods import model
from holdfast.node.pods.decide import decide
from holdfast.node.pods.model import Release, View
from holdfast.node.runtimes.api import InstanceState

ENDED = InstanceState(model.instance_id("u", "c", 0), "u", "c", 0, "exited", 7, 1.0, 2.0, 0)
POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
}


def view(**more: Any) -> View:
    given = {"network": PodNetwork("10.0.0.1", "/ns"), "volumes_ready": True, **more}
    return View({**POD, "status": {"phase": "Running"}}, 10.0, {ENDED.id: ENDED}, confirmed=True, **given)


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_it_takes_nothing_again(phase: str) -> None:
    over = view(network=None, volumes_ready=False, released=True)
    found = decide(replace(over, pod={**POD, "status": {"phase": phase}}))
    assert found.intents == ()
    assert found.status["phase"] == "Succeeded"


def test_it_gives_back_first() -> None:
    assert decide(view()).intents == (Release(),)
