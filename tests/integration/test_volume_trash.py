"""``holdfast volume``: what a user who deleted a StatefulSet with its claims does; and nodes whose volumes are plain directories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.lib import privileged
from tests.integration.test_pod_volumes import MOUNT, claim, pod, said, uses
from tests.system import System


def volume(system: System, *arguments: str) -> str:
    done = system.holdfast("volume", *arguments, "--data", str(system.data), check=False)
    return done.stdout + done.stderr


def stateful(script: str) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "command": ["sh", "-c", script], "volumeMounts": [{"name": "www", "mountPath": "/v"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "kept"},
        "spec": {
            "replicas": 2,
            "podManagementPolicy": "Parallel",
            "serviceName": "kept",
            "selector": {"matchLabels": {"app": "kept"}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "template": {
                "metadata": {"labels": {"app": "kept"}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
            "volumeClaimTemplates": [claim("www")],
        },
    }


def gone(system: System, *names: str) -> None:
    for name in names:
        system.until(lambda n=name: system.get("pv", n) is None, f"{name} goes", 30)  # type: ignore[misc]


def test_a_stateful_set_deleted_with_its_claims_comes_back_with_its_data(system: System) -> None:
    system.create(stateful("[ -f /v/f ] || hostname > /v/f; sleep 3600"))
    system.wait_ready("kept-0", "kept-1")
    names = [system.get("pvc", f"www-kept-{n}")["spec"]["volumeName"] for n in (0, 1)]
    told = volume(system, "list")
    assert all(name in told for name in names)
    assert "default/www-kept-0" in told
    assert "is not in the trash" in volume(system, "restore", "default/www-kept-0")
    system.kubectl("delete", "statefulset", "kept")
    gone(system, *names)
    told = volume(system, "list", "--trash")
    assert "default/www-kept-0" in told
    assert "300Mi" in told
    entry = system.data / "volumes" / "pool" / ".trash" / f"{names[0]}.json"
    kept = entry.read_text()
    assert f"restored {names[0]}: the next claim default/www-kept-0 gets it" in volume(system, "restore", names[0])
    entry.write_text(kept)  # as if it had been cut off before its last act
    assert "half restored" in volume(system, "list", "--trash")
    assert f"restored {names[0]}" in volume(system, "restore", names[0])
    assert f"restored {names[1]}" in volume(system, "restore", "default/www-kept-1")
    assert "default/www-kept" not in volume(system, "list", "--trash")
    system.create(stateful("cat /v/f; sleep 3600"))
    system.wait_ready("kept-0", "kept-1")
    for number, name in enumerate(names):
        assert system.get("pvc", f"www-kept-{number}")["spec"]["volumeName"] == name
        assert system.kubectl("logs", f"kept-{number}") == f"kept-{number}\n"
    system.kubectl("delete", "statefulset", "kept")
    gone(system, *names)
    assert volume(system, "purge", "default/www-kept-0") == f"erased {names[0]}\n"
    assert f"erased {names[1]}" in volume(system, "purge", "--all")
    assert volume(system, "purge", "--all") == "the trash is empty\n"
    assert not [path for path in (system.data / "volumes" / "pool").rglob("*") if path.name.startswith(tuple(names))]


def test_a_name_that_is_taken_is_not_restored_over(system: System) -> None:
    system.create(claim("taken"))
    said(system, pod("t1", "echo first > /v/f", [uses("taken")], MOUNT))
    first = system.get("pvc", "taken")["spec"]["volumeName"]
    system.kubectl("delete", "pvc", "taken")
    gone(system, first)
    system.create(claim("taken"))
    said(system, pod("t2", "echo second > /v/f", [uses("taken")], MOUNT))
    second = system.get("pvc", "taken")["spec"]["volumeName"]
    told = volume(system, "restore", "default/taken")
    assert f"claim default/taken exists and has volume {second}; delete that claim first" in told
    assert "NAMESPACE/NAME is wanted" in volume(system, "restore", first, "--claim", "other")
    assert "restored" in volume(system, "restore", first, "--claim", "default/old")
    system.create(claim("old"))
    assert said(system, pod("t3", "cat /v/f", [uses("old")], MOUNT)) == ["first"]
    assert system.get("pvc", "old")["spec"]["volumeName"] == first
    for name in ("old", "taken"):
        system.kubectl("delete", "pvc", name)
    gone(system, first, second)
    volume(system, "purge", "--all")


# Without loop devices


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("plain") / "d")
    running.up("--listen", "127.0.0.1:0", "--volumes", "directory")
    yield running
    running.down()
    running.reset()


def test_a_directory_says_what_it_does_not_keep(plain: System) -> None:
    plain.create(claim("dir"))
    assert said(plain, pod("w", "echo kept > /v/f; cat /v/f", [uses("dir")], MOUNT)) == ["kept"]
    name = plain.get("pvc", "dir")["spec"]["volumeName"]
    assert plain.get("pv", name)["spec"]["csi"]["volumeAttributes"] == {"capacityEnforced": "false"}
    told = "its capacity is not enforced"
    for subject in (("pvc", "dir"), ("storageclass", "standard")):
        plain.until(lambda s=subject: told in " ".join(plain.kubectl("describe", *s).split()), f"{subject} says so", 20)  # type: ignore[misc]


def test_r_31_a_wrong_missing_or_empty_directory_starts_nothing(plain: System) -> None:
    name = plain.get("pvc", "dir")["spec"]["volumeName"]
    place = plain.data / "volumes" / "directories"
    marker = place / name / "holdfast.json"
    text = marker.read_text()
    (place / name).rename(place / "away")
    plain.create(pod("r", "cat /v/f", [uses("dir")], MOUNT))

    def says(words: str) -> None:
        plain.until(lambda: words in " ".join(plain.kubectl("describe", "pod", "r").split()), words, 30)

    says("is missing; nothing is made in its place")
    (place / name).mkdir()
    says("its marker holdfast.json is missing; nothing starts on it")
    (place / name).rmdir()
    (place / "away").rename(place / name)
    plain.until(lambda: plain.get("pod", "r")["status"].get("phase") == "Succeeded", "the right one is taken", 40)
    assert plain.kubectl("logs", "r") == "kept\n"
    assert marker.read_text() == text
    plain.kubectl("delete", "pod", "r")


def test_a_removed_directory_can_be_had_back(plain: System) -> None:
    name = plain.get("pvc", "dir")["spec"]["volumeName"]
    system_pods = pod("holder", "sleep 3600", [uses("dir")], MOUNT)
    plain.create(system_pods)
    plain.wait_ready("holder")
    plain.kubectl("patch", "pvc", "dir", "-p", json.dumps({"spec": {"resources": {"requests": {"storage": "400Mi"}}}}))
    plain.until(lambda: plain.get("pvc", "dir")["status"]["capacity"]["storage"] == "400Mi", "it has grown in name", 20)
    plain.kubectl("delete", "pod", "holder")
    plain.kubectl("delete", "pvc", "dir")
    gone(plain, name)
    assert not (plain.data / "volumes" / "directories" / name).exists()
    assert "restored" in volume(plain, "restore", "default/dir")
    plain.create(claim("dir"))
    assert said(plain, pod("again", "cat /v/f", [uses("dir")], MOUNT)) == ["kept"]
    plain.kubectl("delete", "pvc", "dir")
    gone(plain, name)
    assert f"erased {name}" in volume(plain, "purge", "--all")
    assert [path.name for path in Path(plain.data / "volumes" / "directories").iterdir()] == [".trash"]


def test_the_trash_of_a_system_that_is_stopped(tmp_path: Path) -> None:
    """Seen and emptied without it, and without leaving anything mounted; what needs its API says so."""
    running = System(tmp_path / "d")
    assert volume(running, "list", "--trash") == "none\n"
    running.up("--listen", "127.0.0.1:0")
    try:
        running.create(claim("c"))
        said(running, pod("p", "true", [uses("c")], MOUNT))
        name = running.get("pvc", "c")["spec"]["volumeName"]
        running.kubectl("delete", "pvc", "c")
        gone(running, name)
    finally:
        running.down()
    assert name in volume(running, "list", "--trash")
    assert volume(running, "list") == "none\n"
    assert "does not answer (Connection refused), and restoring needs it: holdfast up" in volume(running, "restore", name)
    assert name in volume(running, "list", "--trash"), "nothing of a restore that could not be done"
    assert not privileged.mounts_below(running.data)
    assert volume(running, "purge", name) == f"erased {name}\n"
    assert not privileged.mounts_below(running.data)
    running.reset()
