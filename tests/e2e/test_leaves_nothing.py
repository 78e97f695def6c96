"""``holdfast demo`` leaves the machine as it found it: mounts, namespaces, links, rules, loop devices, cgroups, processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from holdfast.system.settings import Settings
from tests.system import TUTORIAL, System


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _processes() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (OSError, ValueError):
            continue
    return found


def traces(data: Path) -> dict[str, list[str]]:
    """All that a system on ``data`` has on this machine: everything it makes carries its directory or its short id.

    Other systems may run meanwhile and come and go as they like.
    """
    marks = (str(data), Settings(data).instance_id)
    places = {
        "mounts": Path("/proc/self/mountinfo").read_text().splitlines(),
        "links": _lines("ip", "-o", "link"),
        "rules": _lines("nft", "list", "ruleset"),
        "loops": _lines("losetup", "-a"),
        "cgroups": [directory for directory, _, _ in os.walk("/sys/fs/cgroup")],
        "processes": _processes(),
        "run": [str(path) for path in Path("/run").glob("holdfast/*")],
        "files": [str(data)] if data.exists() else [],
    }
    found = {place: [line for line in lines if any(mark in line for mark in marks)] for place, lines in places.items()}
    own = " ".join(sys.argv)
    found["processes"] = [line for line in found["processes"] if own not in line]
    return {place: lines for place, lines in found.items() if lines}


def forwarding() -> tuple[set[str], str]:
    """Which systems run, and whether the host forwards for them."""
    return {path.name for path in Path("/run").glob("holdfast/*")}, Path("/proc/sys/net/ipv4/ip_forward").read_text()


def test_demo_tells_the_tutorial_and_leaves_nothing(tmp_path: Path) -> None:
    systems, forwards = forwarding()
    done = System(tmp_path).holdfast("demo")
    assert "names, records and data were kept" in done.stdout
    told = re.search(r"data in (\S+)", done.stdout)
    assert told is not None
    assert traces(Path(told[1])) == {}
    if forwarding()[0] == systems:
        assert forwarding()[1] == forwards


def test_a_running_system_leaves_the_traces_that_are_looked_for(system: System) -> None:
    """So that the check above cannot pass by looking at nothing."""
    system.kubectl("create", "-f", str(TUTORIAL / "service.yaml"), "-f", str(TUTORIAL / "statefulset.yaml"))
    system.wait_ready("web-0", "web-1")
    assert set(traces(system.data)) == {"mounts", "links", "rules", "loops", "cgroups", "processes", "run", "files"}


def test_reset_after_kills_leaves_nothing(tmp_path: Path) -> None:
    killed = System(tmp_path / "d")
    killed.up("--listen", "127.0.0.1:0")
    killed.build_nginx()
    killed.kubectl("create", "-f", str(TUTORIAL / "service.yaml"), "-f", str(TUTORIAL / "statefulset.yaml"))
    killed.wait_ready("web-0", "web-1")
    killed.kill("node")
    killed.kill("server")
    assert traces(killed.data)
    killed.reset()
    assert traces(killed.data) == {}


def test_demo_without_kubectl(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": "/usr/sbin:/sbin:/usr/local/sbin"}
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in os.listdir("/usr/bin"):
        if name != "kubectl":
            (tools / name).symlink_to(f"/usr/bin/{name}")
    environment["PATH"] += f":{tools}"
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "demo"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a small client of holdfast" in done.stdout
