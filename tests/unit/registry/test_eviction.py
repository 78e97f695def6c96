"""What one eviction takes from a budget, and which states of a budget give nothing."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.machinery.errors import ApiError
from holdfast.registry.subresources.eviction import spent


def budget(**status: Any) -> dict[str, Any]:
    counts = {"observedGeneration": 2, "disruptionsAllowed": 1, "desiredHealthy": 1, "currentHealthy": 2}
    return {"metadata": {"name": "b", "generation": 2}, "spec": {}, "status": {**counts, **status}}


def test_the_last_disruption_closes_the_budget_and_names_the_pod() -> None:
    before = budget(disruptionsAllowed=1)
    status = spent(before, "p", "now")["status"]
    assert (status["disruptionsAllowed"], status["disruptedPods"]) == (0, {"p": "now"})
    assert (status["conditions"][0]["status"], status["conditions"][0]["reason"]) == ("False", "InsufficientPods")
    assert before == budget(disruptionsAllowed=1)


def test_one_of_several_leaves_the_condition_alone() -> None:
    status = spent(budget(disruptionsAllowed=3, disruptedPods={"o": "then"}), "p", "now")["status"]
    assert (status["disruptionsAllowed"], status["disruptedPods"]) == (2, {"o": "then", "p": "now"})
    assert "conditions" not in status


SYNC_FAILED = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why"}


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        ({"observedGeneration": 1}, 429, "The disruption budget b is still being processed by the server."),
        ({"disruptionsAllowed": 0}, 429, "The disruption budget b needs 1 healthy pods and has 2 currently"),
        (
            {"disruptionsAllowed": 0, "conditions": [SYNC_FAILED]},
            429,
            "The disruption budget b does not allow evicting pods currently because it failed sync: why",
        ),
        ({"disruptionsAllowed": -1}, 403, "pdb disruptions allowed is negative"),
        ({"disruptedPods": {str(n): "t" for n in range(2001)}}, 403, "DisruptedPods map too big"),
    ],
)
def test_a_budget_that_gives_nothing_says_why(status: dict[str, Any], code: int, text: str) -> None:
    with pytest.raises(ApiError) as refused:
        spent(budget(**status), "p", "now")
    said = refused.value.message + str(refused.value.details)
    assert refused.value.code == code
    assert text in said
    assert ("retryAfterSeconds" in said) == ("processed" in text)
