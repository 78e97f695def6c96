"""From a container of a pod to the InstanceConfig a runtime starts: image defaults, user, mounts, limits."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery import quantity
from holdfast.node.api import RENDERED, Image
from holdfast.node.pods import files, users
from holdfast.node.pods.env import ConfigError, expand
from holdfast.node.pods.model import instance_id, is_recursive, uid
from holdfast.node.runtimes.api import Device, InstanceConfig, Mount
from holdfast.volumes.api import VolumeError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


SubPath = Callable[[str, str, int, str, str], str]
"""As ``node.api.Volumes.sub_path``."""


def _no_sub_path(*_: object) -> str:
    raise VolumeError("subPath is not offered here")


@dataclass(frozen=True)
class Places:
    """Where things of this pod lie on the host."""

    directory: Path
    logs: Path
    netns: str
    volumes: Mapping[str, str]
    fence_files: tuple[str, ...] = ()
    has_files: bool = True
    """Whether the pod gets files of its own, such as /etc/hosts: where nothing runs, nobody reads them."""
    target_pid: int = 0
    """Of the container whose processes an ephemeral one wants to see."""
    sub_path: SubPath = _no_sub_path


def log_path(logs: Path, container: str, attempt: int) -> Path:
    return logs / container / f"{attempt}.log"


def make_config(
    pod: Obj,
    container: Obj,
    attempt: int,
    image: Image,
    env: Mapping[str, str],
    places: Places,
    cluster: files.Cluster,
    ip: str,
) -> InstanceConfig:
    """Everything a runtime needs. Raises ConfigError. Writes the pod's small files."""
    name, spec = container["name"], pod["spec"]
    context, pod_context = container.get("securityContext") or {}, spec.get("securityContext") or {}
    user = users.resolve(pod, container, image.user, image.layers)
    host = files.hostname(pod, cluster.domain)
    environment = _environment(image, env, host, user.home)
    args = _arguments(container, image, environment)
    capabilities = context.get("capabilities") or {}
    path = log_path(places.logs, name, attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    cpu = requests.get("cpu", limits.get("cpu"))
    lifecycle = container.get("lifecycle") or {}
    return InstanceConfig(
        id=instance_id(uid(pod), name, attempt),
        pod_uid=uid(pod),
        pod_name=pod["metadata"]["name"],
        namespace=pod["metadata"].get("namespace", ""),
        container=name,
        attempt=attempt,
        layers=image.layers,
        args=args,
        env=environment,
        cwd=container.get("workingDir") or image.cwd or "/",
        hostname=host,
        netns=places.netns,
        pid_of=places.target_pid,
        devices=_devices(pod, container, places),
        mounts=_mounts(pod, container, attempt, places, cluster, ip, environment),
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        cpu_shares=max(2, quantity.to_millis(cpu) * 1024 // 1000) if cpu else 2,
        cpu_limit=float(quantity.parse(limits["cpu"])) if limits.get("cpu") else 0.0,
        memory_limit=quantity.to_int(limits["memory"]) if limits.get("memory") else 0,
        privileged=bool(context.get("privileged")),
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
        tty=bool(container.get("tty")),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        log_path=str(path),
        stop_signal=lifecycle.get("stopSignal") or image.stop_signal or "SIGTERM",
        fence_files=places.fence_files,
        labels={"image": image.id, **_selinux(pod_context)},
    )


def _selinux(context: Obj) -> dict[str, str]:
    options: Any = context.get("seLinuxOptions") or {}
    return {"selinux-level": str(options["level"])} if options.get("level") else {}


def _environment(image: Image, env: Mapping[str, str], hostname: str, home: str) -> dict[str, str]:
    out = {"PATH": _PATH, "HOSTNAME": hostname}
    for item in image.env:
        key, _, value = item.partition("=")
        out[key] = value
    out.update(env)
    if home:
        out.setdefault("HOME", home)
    return out


def _arguments(container: Obj, image: Image, env: Mapping[str, str]) -> tuple[str, ...]:
    command = [expand(part, env.get) for part in container.get("command") or ()]
    args = [expand(part, env.get) for part in container.get("args") or ()]
    if not command:
        command = list(image.entrypoint)
        args = args or list(image.cmd)
    if not [*command, *args]:
        raise ConfigError(f"no command specified: neither the container nor image {image.name} names one", "CreateContainerError")
    return (*command, *args)


def _mounts(
    pod: Obj, container: Obj, attempt: int, places: Places, cluster: files.Cluster, ip: str, env: Mapping[str, str]
) -> tuple[Mount, ...]:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    mounts: list[Mount] = []
    for number, item in enumerate(container.get("volumeMounts") or ()):
        volume = volumes.get(item["name"], {})
        source = _source(places, volume or item, block=False)
        if below := _below(item, env):
            source = _bound(uid(pod), container["name"], number, source, below, places)
        _refuse_propagation(item)
        # What the node writes is no container's to change: it would be followed, and removed, by the node (SEC-11).
        read_only = bool(item.get("readOnly")) or any(kind in volume for kind in RENDERED)
        mounts.append(Mount(source, item["mountPath"], read_only, recursive=is_recursive(item)))
    if not places.has_files:
        return tuple(mounts)
    taken = {mount.target.rstrip("/") for mount in mounts}
    own = files.write_pod_files(places.directory, pod, ip, cluster)
    read_only = bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem"))
    mounts += [Mount(source, target, read_only) for target, source in own.items() if target not in taken]
    message = container.get("terminationMessagePath") or "/dev/termination-log"
    mounts.append(Mount(str(files.termination_file(places.directory, container["name"], attempt)), message))
    # parents before children, or a volume would hide what lies mounted inside it
    return tuple(sorted(mounts, key=lambda mount: mount.target.rstrip("/").count("/")))


def _devices(pod: Obj, container: Obj, places: Places) -> tuple[Device, ...]:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    found = []
    for item in container.get("volumeDevices") or ():
        volume = volumes.get(item["name"], item)
        read_only = bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))
        found.append(Device(_source(places, volume, block=True), item["devicePath"], read_only))
    return tuple(found)


def _source(places: Places, volume: Obj, *, block: bool) -> str:
    """The host path of a volume. Raises ConfigError when it is not there, or a claim is a device where a directory is wanted."""
    name = volume["name"]
    source = places.volumes.get(name)
    if source is None:
        raise ConfigError(f'volume "{name}" is not mounted', "CreateContainerError")
    claimed = volume.get("persistentVolumeClaim") or volume.get("ephemeral")
    if places.has_files and (claimed or block) and block != stat.S_ISBLK(os.stat(source).st_mode):
        mode, field = ("Filesystem", "volumeDevices") if block else ("Block", "volumeMounts")
        raise ConfigError(f'volume "{name}" has volumeMode {mode}, but is specified in {field}', "CreateContainerConfigError")
    return source


def _below(item: Obj, env: Mapping[str, str]) -> str:
    """The path inside the volume that is mounted; "" for all of it. Raises ConfigError."""
    wanted = item.get("subPathExpr")
    if not wanted:
        return str(item.get("subPath") or "")
    missing: list[str] = []

    def look_up(name: str) -> str | None:
        if name not in env:
            missing.append(name)
        return env.get(name)

    found = expand(wanted, look_up)
    if missing:
        raise ConfigError(f"subPathExpr {wanted}: there is no environment variable {missing[0]}", "CreateContainerConfigError")
    return found


def _bound(pod_uid: str, container: str, number: int, source: str, below: str, places: Places) -> str:
    try:
        return places.sub_path(pod_uid, container, number, source, below)
    except (VolumeError, OSError) as error:
        text = f'failed to prepare subPath for volumeMount {number} of container "{container}": {error}'
        raise ConfigError(text, "CreateContainerConfigError") from error


def _refuse_propagation(item: Obj) -> None:
    wanted = item.get("mountPropagation") or "None"
    if wanted != "None":
        text = f'volumeMounts: mountPropagation {wanted} of "{item["name"]}" is not offered on this node'
        raise ConfigError(f"{text}: mounts do not travel between host and containers; remove the field", "CreateContainerConfigError")


Lookup = Callable[[str], Image | None]
