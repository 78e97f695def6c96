"""Pid files: a number alone is not a process, so its start time and the boot are kept with it (HAZ-12).

A role writes one when it is the only one of its kind on its data, and again when it serves: ``up`` waits for that.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from holdfast.lib.process import start_time


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write_pid(path: Path, pid: int, *, serves: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(orjson.dumps({"pid": pid, "started": start_time(pid), "boot": boot_id(), "serves": serves}))
    temporary.replace(path)


def read_pid(path: Path, *, serves: bool = False) -> int:
    """The pid in a file while that very process runs (and, if asked, serves); else 0."""
    try:
        record = orjson.loads(path.read_bytes())
        pid, started, boot = int(record["pid"]), record["started"], record["boot"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    if serves and not record.get("serves"):
        return 0
    return pid if boot == boot_id() and start_time(pid) == started else 0
