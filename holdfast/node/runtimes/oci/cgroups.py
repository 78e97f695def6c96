"""Where control groups lie on this machine: v1 hierarchies, the one of v2, or both (hybrid)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cgroups:
    """``mounts`` holds one directory per hierarchy; ``memory`` is the one that counts memory ("" if none does)."""

    mounts: tuple[str, ...]
    memory: str
    version: int

    def directories(self, path: str) -> list[str]:
        """The directories of a cgroup such as ``/holdfast-1a2b3c4d/pod1/c`` in every hierarchy."""
        return [mount + path for mount in self.mounts]

    def oom_file(self, path: str) -> str:
        return f"{self.memory}{path}/{'memory.events' if self.version == 2 else 'memory.oom_control'}"

    @property
    def movable(self) -> tuple[str, ...]:
        """Hierarchies a process may enter at once: a new v1 cpuset takes nobody before it is set up."""
        return tuple(mount for mount in self.mounts if not Path(mount, "cpuset.cpus").exists() or self.version == 2)


def detect(mountinfo: str = "/proc/self/mountinfo") -> Cgroups:
    mounts, memory, unified = [], "", ""
    for line in Path(mountinfo).read_text().splitlines():
        left, _, right = line.partition(" - ")
        target = left.split()[4]
        fields = right.split()
        if fields[0] == "cgroup2":
            unified = target
        elif fields[0] == "cgroup":
            mounts.append(target)
            if "memory" in fields[2].split(","):
                memory = target
    if memory or not unified:
        return Cgroups((*mounts, *([unified] if unified else [])), memory, 1)
    return Cgroups((unified, *mounts), unified, 2)
