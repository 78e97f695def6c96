"""Sum of PSS of every process of ours, shims too, with two idle members. Bar: 150 MB."""

from __future__ import annotations

from pathlib import Path

from bench.common import system
from tests.system import TUTORIAL


def pss(pid: int) -> int:
    """Proportional set size in bytes; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def ours(data: Path) -> dict[int, str]:
    """Processes that carry the data directory or its short id in their command line or environment."""
    from holdfast.system.settings import Settings

    marks = (str(data).encode(), Settings(data).instance_id.encode())
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if any(mark in command for mark in marks) and b"bench" not in command.split(b"\0")[-2:]:
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")[:90]
    return found


def main() -> None:
    with system() as running:
        running.build_nginx()
        running.kubectl("create", "-f", str(TUTORIAL / "service.yaml"), "-f", str(TUTORIAL / "statefulset.yaml"))
        running.wait_ready("web-0", "web-1")
        total = 0
        for pid, command in sorted(ours(running.data).items()):
            size = pss(pid)
            total += size
            print(f"  {size / 1e6:6.1f} MB  {pid:7d}  {command}")
        print(f"sum of PSS: {total / 1e6:.1f} MB; bar 150 MB")
