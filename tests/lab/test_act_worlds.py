"""A node's own acts in the lab (volumes, mounts, records, fences, instances): each with every crash, each with the loss of the machine.

LAB_PLANS says how many; the judge's eyes on storage have a control each. See docs/guarantees.md.
"""

from __future__ import annotations

from itertools import islice

import pytest

from holdfast.lab.explore import TIED, Case, calm, plans, run
from holdfast.lab.faults import CRASHES, LOSSES, Fault
from holdfast.lab.stories import STORIES
from holdfast.node.simulated.machine import Disk
from holdfast.node.simulated.parts import SimulatedEngine
from holdfast.node.volumes.manager import NodeVolumes
from holdfast.volumes.api import Source, Staging
from tests.lab.worlds import PLANS, all_well, table

ACTS = {"create", "expand", "delete", "mount", "grow", "unmount", "write", "drop", "keep", "start", "kill", "remove"}


@pytest.mark.timeout(3600)
def test_every_act_with_every_crash() -> None:
    """Before, when it was done and nobody had heard, and after; each site before any of them a second time."""
    summary = all_well(islice(plans(sorted(STORIES), CRASHES, acts=True), PLANS // 5))
    sites = [site for story in STORIES for site in calm(story).acts]
    assert {site.split()[1] for _, site in sites} == ACTS
    assert not table(summary, sites, CRASHES), "every act is hit in each way"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("acts", [True, False], ids=["at acts", "at writes"])
def test_the_machine_is_lost_there(acts: bool) -> None:
    """Its power comes back, it is repaired while its Node is out of service, or it is gone for good and its Node is deleted."""
    cases = plans(sorted(STORIES), LOSSES, acts=acts)
    summary = all_well(islice((case for case in cases if _can_be_told(case)), PLANS // 9))
    assert {fault for _, fault in summary.fired} == set(LOSSES)


def _can_be_told(case: Case) -> bool:
    return case.fault is not Fault.LOST_THERE or case.story not in TIED


def _says(case: Case, text: str) -> None:
    found = run(case).violations
    assert any(text in each for each in found), found


def test_a_mount_that_stays_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(_self: SimulatedEngine, _handle: str, _target: str) -> None:
        return

    monkeypatch.setattr(SimulatedEngine, "unstage", forget)
    _says(Case("retention-Retain-Retain"), "and nothing uses it")


def test_a_start_on_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pretend(_self: SimulatedEngine, _source: Source, staging: Staging) -> str:
        return staging.target

    monkeypatch.setattr(SimulatedEngine, "stage", pretend)
    _says(Case("create"), "with nothing mounted")


def test_data_that_goes_under_a_mount_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(_self: SimulatedEngine, _handle: str, _target: str) -> None:
        return

    async def delete(self: SimulatedEngine, source: Source) -> None:
        self._machine.disk.delete(source.handle)

    monkeypatch.setattr(SimulatedEngine, "unstage", forget)
    monkeypatch.setattr(SimulatedEngine, "delete", delete)
    _says(Case("retention-Delete-Delete"), "is removed while it is mounted")


def test_a_capacity_without_a_file_system_of_that_size_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pretend(_self: NodeVolumes, _volume: str) -> None:
        return

    monkeypatch.setattr(NodeVolumes, "grow", pretend)
    _says(Case("grows"), "is said to have 2Gi")


def test_a_volume_that_nobody_knows_of_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "delete", lambda _self, _handle: None)
    _says(Case("retention-Delete-Delete"), "and no PersistentVolume tells of it")
