"""Jobs in whole clusters in virtual time: lost answers make no second pod, and the ledger would see a wrong count."""

from __future__ import annotations

import pytest

from holdfast.controllers.job import decide
from holdfast.lab.explore import Case, calm, run
from holdfast.lab.faults import Fault

CREATES, PATCHES = ("controllers", "job-controller create pods"), ("controllers", "job-controller patch pods")
STATUS = ("controllers", "job-controller update jobs/status")


def places(site: tuple[str, str], count: int) -> list[int]:
    """Where in the undisturbed story such writes are, evenly chosen."""
    found = [number for number, each in enumerate(calm("job").writes) if each == site]
    return found[:: max(len(found) // count, 1)][:count]


@pytest.mark.parametrize("fault", [Fault.NO_REPLY, Fault.CRASH_NO_REPLY, Fault.SERVER_CRASH_AFTER])
@pytest.mark.parametrize("site", [CREATES, STATUS], ids=["create", "status"])
def test_an_answer_that_is_lost_changes_nothing(site: tuple[str, str], fault: Fault) -> None:
    for number in places(site, 2):
        result = run(Case("job", fault=fault, number=number))
        assert result.violations == [], result.case
        assert sum(result.fired.values()) == 1


def test_a_count_before_the_finalizer_is_gone_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A positive control: the controller dies between both, and counts one twice."""
    numbers = places(PATCHES, 6)

    def hasty(work: decide._Work) -> None:
        for kind, uids in work.uncounted.items():
            work.status[kind] = int(work.status.get(kind) or 0) + len(uids)
        work.uncounted = {"succeeded": [], "failed": []}

    monkeypatch.setattr(decide._Work, "_settle", hasty)
    cases = [Case("job", fault=Fault.CRASH_BEFORE, number=number) for number in numbers]
    assert any("P-17" in text for case in cases for text in run(case).violations)
