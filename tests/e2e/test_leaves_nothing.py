"""``holdfast demo`` leaves the machine as it found it: mounts, namespaces, links, rules, loop devices, cgroups, processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.system import System


def traces() -> dict[str, list[str]]:
    def lines(*command: str) -> list[str]:
        return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    cgroups = [d for root in ("/sys/fs/cgroup",) for d, _, _ in os.walk(root) if "holdfast" in d]
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"holdfast" in command and b"pytest" not in command:
                processes.append(command.decode(errors="replace"))
    return {
        "mounts": [line.split(" ", 4)[4].split(" - ")[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()],
        "links": [line.split(":")[1] for line in lines("ip", "-o", "link")],
        "rules": lines("nft", "list", "ruleset"),
        "loops": lines("losetup", "-a"),
        "namespaces": sorted(p.name for p in Path("/run/netns").iterdir()) if Path("/run/netns").is_dir() else [],
        "forward": [Path("/proc/sys/net/ipv4/ip_forward").read_text()],
        "cgroups": sorted(cgroups),
        "processes": sorted(processes),
        "temporary": sorted(p.name for p in Path("/tmp").glob("holdfast-demo-*")),
        "run": sorted(str(p) for p in Path("/run").glob("holdfast/*")),
    }


def test_demo_tells_the_tutorial_and_leaves_nothing(tmp_path: Path) -> None:
    before = traces()
    done = System(tmp_path).holdfast("demo")
    assert "names, records and data were kept" in done.stdout
    assert traces() == before


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
