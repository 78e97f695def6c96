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
from holdfast.node.api import Image
from holdfast.node.pods import files, users
from holdfast.node.pods.env import ConfigError, expand
from holdfast.node.pods.model import instance_id, uid
from holdfast.node.runtimes.api import InstanceConfig, Mount

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
    mounts: list[Mount] = []
    for item in container.get("volumeMounts") or ():
        source = places.volumes.get(item["name"])
        if source is None:
            raise ConfigError(f'volume "{item["name"]}" is not mounted', "CreateContainerError")
        below = expand(item["subPathExpr"], env.get) if item.get("subPathExpr") else item.get("subPath") or ""
        if below:
            source = sub_path(source, below, read_only=bool(item.get("readOnly")))
        mounts.append(Mount(source, item["mountPath"], bool(item.get("readOnly"))))
    for item in container.get("volumeDevices") or ():
        raise ConfigError(f'volumeDevices: volume "{item["name"]}": raw block volumes are not offered', "CreateContainerError")
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


def sub_path(volume: str, below: str, *, read_only: bool = False) -> str:
    """The host path of ``below`` inside a volume, made as a directory when absent. Raises ConfigError if it leads out."""
    if below.startswith("/") or ".." in below.split("/"):
        raise ConfigError(f"subPath {below}: must be a relative path without ..", "CreateContainerConfigError")
    root = os.path.realpath(volume)
    target = os.path.realpath(os.path.join(root, below))
    if target != root and not target.startswith(root + "/"):
        raise ConfigError(f"subPath {below} leads out of its volume", "CreateContainerConfigError")
    if not os.path.lexists(target):
        _make_directories(root, os.path.relpath(target, root))
    mode = os.lstat(target).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise ConfigError(f"subPath {below} is neither a file nor a directory", "CreateContainerConfigError")
    return target


def _make_directories(root: str, below: str) -> None:
    """Step by step from the volume's root, never through a symlink, so that a racing container cannot lead out."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    owner = os.fstat(handle)
    try:
        for part in below.split("/"):
            try:
                os.mkdir(part, 0o750 | stat.S_IMODE(owner.st_mode), dir_fd=handle)
                os.chown(part, owner.st_uid, owner.st_gid, dir_fd=handle, follow_symlinks=False)
            except FileExistsError:
                pass
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            os.close(handle)
            handle = deeper
    except OSError as error:
        raise ConfigError(f"subPath {below}: {error.strerror}", "CreateContainerConfigError") from None
    finally:
        os.close(handle)


Lookup = Callable[[str], Image | None]
