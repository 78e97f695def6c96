"""The OCI runtime configuration of an instance: what runc is told, from what the node decided."""

from __future__ import annotations

import os
import resource
from typing import Any

from holdfast.node.runtimes.api import InstanceConfig, Mount

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What Docker and containerd grant by default.
DEFAULT_CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
]

# In the kernel's order: a capability's place is its bit.
ALL_CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]

MASKED = [
    *(f"/proc/{name}" for name in ("acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "timer_list", "timer_stats")),
    *("/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"),
]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
CPU_PERIOD = 100_000


def bounding() -> set[str]:
    """Capabilities this process may hand on: the runtime refuses others."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                mask = int(line.split()[1], 16)
                return {name for bit, name in enumerate(ALL_CAPABILITIES) if mask >> bit & 1}
    return set(ALL_CAPABILITIES)


def capabilities(config: InstanceConfig, allowed: set[str]) -> list[str]:
    """The default set, plus what is added, minus what is dropped; ``ALL`` in either; privileged has everything."""
    if config.privileged:
        return [f"CAP_{name}" for name in ALL_CAPABILITIES if name in allowed]
    add = {name.upper().removeprefix("CAP_") for name in config.add_capabilities}
    drop = {name.upper().removeprefix("CAP_") for name in config.drop_capabilities}
    granted = set(ALL_CAPABILITIES) if "ALL" in add else (set() if "ALL" in drop else set(DEFAULT_CAPABILITIES))
    if "ALL" not in drop:
        granted -= drop
    granted |= add - {"ALL"}
    return [f"CAP_{name}" for name in ALL_CAPABILITIES if name in granted & allowed]


def environment(config: InstanceConfig) -> list[str]:
    env = {"PATH": DEFAULT_PATH, **({"HOSTNAME": config.hostname} if config.hostname else {})}
    if config.tty:
        env["TERM"] = "xterm"
    return [f"{key}={value}" for key, value in {**env, **config.env}.items()]


def process(config: InstanceConfig, args: list[str], tty: bool) -> dict[str, Any]:
    """The ``process`` of the container itself and of each exec into it."""
    caps = capabilities(config, bounding())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(hard if hard != resource.RLIM_INFINITY else 524_288, 524_288)
    env = environment(config)
    if tty and not config.tty and "TERM" not in config.env:
        env.append("TERM=xterm")
    return {
        "terminal": tty,
        "user": {"uid": config.uid, "gid": config.gid, "additionalGids": list(config.groups)},
        "args": args,
        "env": env,
        "cwd": config.cwd or "/",
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": files, "soft": min(1024, files)}],
        "noNewPrivileges": config.no_new_privileges,
    }


def mounts(config: InstanceConfig) -> list[dict[str, Any]]:
    """The kernel's own file systems, then the node's binds, parents before children."""
    safe = ["nosuid", "noexec", "nodev"]
    system = [] if config.privileged else ["ro"]
    table: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": safe},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*safe, "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, *system]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*safe, "relatime", *system]},
    ]
    given = {mount.target.rstrip("/") or "/" for mount in config.mounts}
    table = [entry for entry in table if entry["destination"] not in given]
    return table + [_bind(mount) for mount in sorted(config.mounts, key=lambda m: len([part for part in m.target.split("/") if part]))]


def _bind(mount: Mount) -> dict[str, Any]:
    options = ["rbind", "rprivate", ("rro" if mount.recursive else "ro") if mount.read_only else "rw"]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}


def devices(config: InstanceConfig) -> list[dict[str, Any]]:
    """Nodes of the block devices that the instance is given; they belong to its user."""
    found = []
    for device in config.devices:
        number = os.stat(device.source).st_rdev
        numbers = {"type": "b", "major": os.major(number), "minor": os.minor(number)}
        found.append({"path": device.target, **numbers, "fileMode": 0o660, "uid": config.uid, "gid": config.gid})
    return found


def resources(config: InstanceConfig) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [{"allow": config.privileged, "access": "rwm"}]
    for node, device in zip(devices(config), config.devices, strict=True):
        numbers = {name: node[name] for name in ("type", "major", "minor")}
        rules.append({"allow": True, **numbers, "access": "r" if device.read_only else "rwm"})
    limits: dict[str, Any] = {"devices": rules}
    cpu: dict[str, int] = {}
    if config.cpu_shares:
        cpu["shares"] = max(2, config.cpu_shares)
    if config.cpu_limit:
        cpu |= {"quota": max(1000, round(config.cpu_limit * CPU_PERIOD)), "period": CPU_PERIOD}
    if cpu:
        limits["cpu"] = cpu
    if config.memory_limit:
        limits["memory"] = {"limit": config.memory_limit}
    return limits


def bundle(config: InstanceConfig, cgroup: str) -> dict[str, Any]:
    """The whole of ``config.json``."""
    namespaces: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
    if config.pid_of:
        namespaces[0]["path"] = f"/proc/{config.pid_of}/ns/pid"
    if config.netns:
        namespaces.append({"type": "network", "path": config.netns})
    linux: dict[str, Any] = {"cgroupsPath": cgroup, "resources": resources(config), "namespaces": namespaces}
    if config.devices:
        linux["devices"] = devices(config)
    if not config.privileged:
        linux |= {"maskedPaths": MASKED, "readonlyPaths": READ_ONLY}
    return {
        "ociVersion": "1.0.2",
        "process": process(config, list(config.args), config.tty),
        "root": {"path": "rootfs", "readonly": config.read_only_root},
        "hostname": config.hostname or config.pod_name,
        "mounts": mounts(config),
        "linux": linux,
    }
