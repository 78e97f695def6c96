"""Who a container runs as: numbers, or names looked up in the image's own /etc/passwd and /etc/group."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.kinds.kind import Obj
from holdfast.node.pods.env import ConfigError

_LIMIT = 1 << 20


@dataclass(frozen=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""


def resolve(pod: Obj, container: Obj, image_user: str, layers: Sequence[str]) -> User:
    """The user of a container. Raises ConfigError when a name is unknown or root is not wanted."""
    pod_context, context = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    merged = {**pod_context, **{k: v for k, v in context.items() if v is not None}}
    passwd, group = list(_table(layers, "etc/passwd")), list(_table(layers, "etc/group"))
    name, _, group_name = image_user.partition(":")
    if merged.get("runAsUser") is not None:
        name, group_name = str(merged["runAsUser"]), ""
    uid, gid, home, login = _user(name or "0", passwd)
    if group_name:
        gid = _group(group_name, group)
    if merged.get("runAsGroup") is not None:
        gid = int(merged["runAsGroup"])
    if merged.get("runAsNonRoot") and uid == 0:
        why = (
            "container's runAsUser breaks non-root policy"
            if merged.get("runAsUser") == 0
            else "container has runAsNonRoot and image will run as root"
        )
        metadata = pod["metadata"]
        where = f'(pod: "{metadata["name"]}_{metadata.get("namespace", "")}({metadata["uid"]})", container: {container["name"]})'
        raise ConfigError(f"{why} {where}")
    groups = {int(g) for g in pod_context.get("supplementalGroups") or ()}
    if pod_context.get("fsGroup") is not None:
        groups.add(int(pod_context["fsGroup"]))
    if pod_context.get("supplementalGroupsPolicy") != "Strict":
        groups |= {int(row[2]) for row in group if len(row) > 3 and login and login in row[3].split(",") and row[2].isdigit()}
    return User(uid, gid, tuple(sorted(groups)), home)


def _user(text: str, passwd: list[list[str]]) -> tuple[int, int, str, str]:
    """(uid, gid, home, login) of a name or number; a number need not be listed."""
    for row in passwd:
        if len(row) >= 6 and row[2].isdigit() and row[3].isdigit() and text in (row[0], row[2]):
            return int(row[2]), int(row[3]), row[5], row[0]
    if text.isdigit():
        return int(text), 0, "/root" if text == "0" else "/", ""
    raise ConfigError(f"unable to find user {text}: no matching entries in passwd file", "CreateContainerError")


def _group(text: str, group: list[list[str]]) -> int:
    for row in group:
        if len(row) >= 3 and row[0] == text and row[2].isdigit():
            return int(row[2])
    if text.isdigit():
        return int(text)
    raise ConfigError(f"unable to find group {text}: no matching entries in group file", "CreateContainerError")


def _table(layers: Sequence[str], name: str) -> Iterator[list[str]]:
    """Rows of a colon-separated file as the container will see it: the topmost layer that has it wins."""
    for layer in reversed(layers):
        path = Path(layer) / name
        try:
            parent, mode = path.parent.lstat().st_mode, path.lstat().st_mode
        except OSError:
            continue
        if not stat.S_ISDIR(parent) or not stat.S_ISREG(mode):
            return
        with path.open("rb") as file:
            for line in file.read(_LIMIT).decode("utf-8", "replace").splitlines():
                if line and not line.startswith("#"):
                    yield line.split(":")
        return
