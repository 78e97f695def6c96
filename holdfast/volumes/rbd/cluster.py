"""A Ceph cluster, as one of its users reaches it: the ``rbd`` and ``ceph`` commands, and what their failures mean.

The problem: a key must be in no command line, no log and no file that others may read. The idea: configuration and key lie
in anonymous memory (memfd) that is handed to the child alone. Blocking functions; the engine calls them in threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.lib.programs import SYSTEM_PATH
from holdfast.lib.threads import begin
from holdfast.volumes import filesystems
from holdfast.volumes.api import Source, VolumeError

KEYRING = "/etc/ceph/keyring"
_PATIENCE = 5
"""Seconds that a monitor may take to answer a command."""
_LIMIT = 60.0
_KEYRING_MOST = 1 << 20
_TIMEOUTS = (f"--rados_mon_op_timeout={_PATIENCE}", f"--client_mount_timeout={_PATIENCE}", "--rados_osd_op_timeout=30")
_MONITOR = re.compile(r"[\w.\-:\[\],/]+")
_NAME = re.compile(r"[^-\s/@,=\x00-\x1f][^\s/@,=\x00-\x1f]*")
"""Ceph's tools look for their options everywhere in a command line: no name may be taken for one."""
_SECRET = re.compile(r"[A-Za-z0-9+/]+=*")
_UNREACHABLE = (110, 5, 107, 111, 113)
_DENIED = (1, 13, 95)


class CephError(VolumeError):
    """``code`` is the errno that the command ended with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Access:
    """An image (or with "" its pool), where it is, and as whom it is reached."""

    monitors: tuple[str, ...]
    pool: str
    image: str
    user: str
    key: str = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.pool}/{self.image}"


def access(source: Source) -> Access:
    """Raises VolumeError that names the field which is wrong or missing."""
    given = source.attributes
    monitors = tuple(part.strip() for part in given.get("monitors", "").split(",") if part.strip())
    if not monitors:
        raise VolumeError("monitors: required, one or more HOST:PORT of the Ceph cluster")
    for monitor in monitors:
        if not _MONITOR.fullmatch(monitor):
            raise VolumeError(f"monitors: {monitor!r} is not HOST:PORT")
    names = {"pool": given.get("pool") or "rbd", "image": given.get("image", ""), "user": given.get("user") or "admin"}
    for part, name in names.items():
        if name and not _NAME.fullmatch(name):
            raise VolumeError(f"{part}: {name!r} is not a name of Ceph's")
    key = _secret_key(source.secrets) if source.secrets else _keyring_key(given.get("keyring") or KEYRING, names["user"])
    return Access(monitors, names["pool"], names["image"], names["user"], key)


def _secret_key(secrets: Mapping[str, str]) -> str:
    """The Secret's ``key``, or whatever single thing it holds."""
    text = (secrets.get("key") or next(iter(secrets.values()))).strip()
    if not _SECRET.fullmatch(text):
        raise VolumeError("secretRef: its data.key is not a key of Ceph's; put there what `ceph auth get-key client.USER` prints")
    return text


def _keyring_key(path: str, user: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(0, "not a file")
        with open(path) as file:
            lines = file.read(_KEYRING_MOST).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no text"
        raise VolumeError(f"keyring: {path} on this node: {why}; put the keyring of client.{user} there, or use secretRef") from None
    section = ""
    for line in lines:
        name, _, value = line.partition("=")
        if line.strip().startswith("["):
            section = line.strip(" \t[]")
        elif section == f"client.{user}" and name.strip() == "key" and _SECRET.fullmatch(value.strip()):
            return value.strip()
    raise VolumeError(f"keyring: {path} on this node holds no key of client.{user}; `ceph auth get client.{user}` prints it")


@dataclass(frozen=True)
class Papers:
    """Open files with the configuration and the key; ``of`` tells the process in which they are open."""

    conf: int
    key: int
    of: str = "self"

    def path(self, number: int) -> str:
        return f"/proc/{self.of}/fd/{number}"


def _memory(name: str, text: str) -> int:
    handle = os.memfd_create(name)
    os.write(handle, text.encode())
    return handle


@contextlib.contextmanager
def papers(reached: Access) -> Iterator[Papers]:
    """For children that are started inside the block with both numbers passed on."""
    with contextlib.ExitStack() as stack:
        key = _memory("keyring", f"[client.{reached.user}]\n\tkey = {reached.key}\n")
        stack.callback(os.close, key)
        hosts = ",".join(reached.monitors)
        quiet = "log_to_stderr = false\nerr_to_stderr = false\nlog_file =\nadmin_socket =\n"
        conf = _memory("conf", f"[global]\nmon_host = {hosts}\nkeyring = /proc/self/fd/{key}\n{quiet}")
        stack.callback(os.close, conf)
        yield Papers(conf, key)


def run(reached: Access, name: str, *arguments: str, held: Papers | None = None, limit: float = _LIMIT) -> str:
    """stdout of ``rbd`` or ``ceph``, after ``limit`` seconds at most. ``held``: papers of a process that is running.

    Raises CephError, VolumeError.
    """
    with contextlib.ExitStack() as stack:
        mine = held or stack.enter_context(papers(reached))
        command = [filesystems.tool(name, "ceph-common"), "-c", mine.path(mine.conf)]
        command += ["--keyring", mine.path(mine.key), "--id", reached.user]
        try:
            done = subprocess.run(
                [*command, *_TIMEOUTS, *arguments],
                pass_fds=() if held else (mine.conf, mine.key),
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=limit,
                env={"PATH": SYSTEM_PATH, "LC_ALL": "C", "TZ": "UTC"},
            )
        except subprocess.TimeoutExpired:
            raise CephError(110, _unreachable(reached)) from None
    if done.returncode:
        raise CephError(done.returncode, _meaning(reached, name, done.returncode, done.stderr))
    return done.stdout


def _meaning(reached: Access, name: str, code: int, stderr: str) -> str:
    said = [line for line in stderr.splitlines() if line.startswith((f"{name}: ", "Error E"))]
    text = "; ".join(line.removeprefix(f"{name}: ") for line in said) or f"{name} ended with {code}"
    if code in _UNREACHABLE and "connect" in text:
        return _unreachable(reached)
    if code in _DENIED:
        return f"client.{reached.user} may not do that ({text}): wrong key, or not enough rights: {_rights(reached)}"
    if code == 2 and "opening pool" in text:
        return f"there is no pool {reached.pool} in the Ceph cluster at {', '.join(reached.monitors)}; `ceph osd pool ls` lists them"
    if code == 2:
        return f"there is no image {reached.image} in pool {reached.pool}; `rbd ls {reached.pool}` lists them"
    return f"rbd image {reached.name}: {text}"


def _rights(reached: Access) -> str:
    caps = f"mon 'profile rbd' osd 'profile rbd pool={reached.pool}'"
    return f"`ceph auth get client.{reached.user}` shows them, and {caps} is enough"


def _unreachable(reached: Access) -> str:
    """No answer has two causes that need different hands: nobody is there, or it does not accept the key."""
    for monitor in reached.monitors:
        host, _, port = monitor.partition("/")[0].removeprefix("v1:").removeprefix("v2:").rpartition(":")
        with contextlib.suppress(OSError, ValueError):
            socket.create_connection((host.strip("[]") or port, int(port) if host else 6789), timeout=2).close()
            why = f"a monitor answers at {monitor} but does not let client.{reached.user} in: wrong key or user?"
            return f"{why} {_rights(reached)}"
    return f"no monitor of the Ceph cluster answers at {', '.join(reached.monitors)}; are the addresses right, and is one running?"


@dataclass(frozen=True)
class Image:
    id: str
    size: int
    features: tuple[str, ...]
    made: str
    """When it was created: with id and pool no two images are alike."""


def info(reached: Access, held: Papers | None = None) -> Image:
    """Raises CephError, code 2 for no image."""
    found = _json(run(reached, "rbd", "info", "--format", "json", *place(reached), held=held))
    return Image(found["id"], found["size"], tuple(found["features"]), found.get("create_timestamp", ""))


def watchers(reached: Access) -> set[str]:
    """Addresses of the clients that have it open for writing."""
    found = _json(run(reached, "rbd", "status", "--format", "json", *place(reached)))
    return {entry["address"] for entry in found.get("watchers") or []}


def metadata(reached: Access) -> dict[str, str]:
    text = run(reached, "rbd", "image-meta", "list", "--format", "json", *place(reached))
    return dict(_json(text)) if text.strip() else {}


@dataclass(frozen=True)
class Sight:
    """An image as it was seen at one moment."""

    image: Image
    metadata: Mapping[str, str]
    watchers: set[str]


def look(reached: Access) -> Sight:
    """All there is to know, asked for side by side: each question is a process of its own. Raises VolumeError."""
    image = begin(lambda: info(reached), "rbd")
    said = begin(lambda: metadata(reached), "rbd")
    present = begin(lambda: watchers(reached), "rbd")
    return Sight(image.result(), said.result(), present.result())


def cut_off(reached: Access, address: str) -> None:
    """No write of that client reaches the cluster any more. Raises VolumeError that says what to do instead."""
    try:
        run(reached, "ceph", "osd", "blocklist", "add", address)
    except CephError as error:
        what = f"rbd image {reached.name} was held by {address}, whose end was vouched for, and it could not be cut off: {error}"
        raise VolumeError(f"{what}; an administrator can: ceph osd blocklist add {address}") from error


def place(reached: Access) -> tuple[str, ...]:
    return "--pool", reached.pool, "--image", reached.image


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise VolumeError(f"the rbd command said something that is no JSON: {text[:200]!r}") from None
