"""What this machine is: the facts a Node object reports."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from holdfast.kinds.kind import Obj

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
MAX_PODS = 110


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def capacity(data: Path) -> dict[str, str]:
    """What pods may ask for."""
    memory = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal:")), "0")
    disk = os.statvfs(data)
    return {
        "cpu": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": str(MAX_PODS),
    }


def node_info(version: str, runtime: str) -> Obj:
    system = dict(line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line)
    return {
        "architecture": architecture(),
        "bootID": boot_id(),
        "containerRuntimeVersion": runtime,
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": version,
        "machineID": _read("/etc/machine-id"),
        "operatingSystem": "linux",
        "osImage": system.get("PRETTY_NAME", "Linux").strip('"'),
        "systemUUID": _read("/sys/class/dmi/id/product_uuid"),
    }
