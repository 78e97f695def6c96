"""Every recorded answer of a real API server against ours: equal, or on the one list of meant differences."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.conformance.api.golden import Difference, Replay, allowed, reason_for, records
from tests.serving import api_server

EQUAL = ("read", "watch", "write", "patch", "subresources", "defaults", "invalid", "discovery")
TOO_LONG = ("watch-076",)
"""It waits more than a minute for the bookmark of each minute: ``scripts/replay watch`` does, test_api_32 has a shorter one."""


@pytest.mark.parametrize("area", EQUAL)
async def test_answers_as_recorded(area: str, tmp_path: Path) -> None:
    async with api_server(tmp_path, pod_security="privileged") as api:
        found = await Replay(api).run(area, leave_out=TOO_LONG)
    unmeant = [str(difference) for difference in found if not reason_for(difference)]
    assert not unmeant, f"{len(unmeant)} differences:\n" + "\n".join(unmeant)
    assert not _stale(area, found), "these meant differences are none any more"


def _stale(area: str, found: list[Difference]) -> list[str]:
    """Globs of the list that name records of this area and cover nothing."""
    differing = {difference.record for difference in found}
    here = {record["id"] for record in records(area)}
    globs = [glob for entry in allowed() if not entry.get("sometimes") and not entry.get("without") for glob in entry["records"]]
    return [g for g in globs if g != "*" and any(fnmatchcase(i, g) for i in here) and not any(fnmatchcase(i, g) for i in differing)]
