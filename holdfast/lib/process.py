"""A process that is not our child, known again: a number alone is not a process, so its start time goes with it (HAZ-12)."""

from __future__ import annotations

from pathlib import Path


def start_time(pid: int) -> int:
    """Clock ticks since boot at which ``pid`` started; 0 when there is no such process (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
