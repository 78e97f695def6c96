"""A real Ceph cluster on this machine's loopback: one monitor and one OSD that keeps its objects in memory, about 8 s.

Needs Debian's ceph-mon, ceph-osd and ceph-common (``scripts/system-packages test`` installs them). Without a manager: that one
only counts. Pool ``kube``, user ``client.kube`` with the rights a user of RBD should have, and ``client.admin``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

POOL, USER = "kube", "kube"
_CONF = """[global]
fsid = {fsid}
mon host = v1:{address}
public addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool delete = true
run dir = {root}/run
admin socket = {root}/run/$name.asok
log file = {root}/$name.log
pid file = {root}/run/$name.pid
mon data = {root}/mon
osd data = {root}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
keyring = {root}/keyring
err to stderr = false
log to stderr = false
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Ceph:
    root: Path
    port: int
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def monitor(self) -> str:
        return f"127.0.0.1:{self.port}"

    def run(self, name: str, *arguments: str, stdin: str | None = None) -> str:
        """One of Ceph's commands, as client.admin."""
        command = [name, "-c", str(self.root / "ceph.conf"), "--keyring", str(self.root / "keyring"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=stdin)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def rbd(self, *arguments: str) -> str:
        return self.run("rbd", *arguments)

    def ceph(self, *arguments: str) -> str:
        return self.run("ceph", *arguments)

    def key(self, user: str) -> str:
        if user not in self._keys:
            self._keys[user] = self.ceph("auth", "get-key", f"client.{user}").strip()
        return self._keys[user]

    def keyring(self, user: str) -> str:
        """Path of a file with the user's key, as /etc/ceph/keyring is one."""
        path = self.root / f"{user}.keyring"
        path.write_text(f"[client.{user}]\n\tkey = {self.key(user)}\n")
        path.chmod(0o600)
        return str(path)

    def image(self, name: str, size: str = "512M", *features: str) -> None:
        given = [part for feature in features or ("layering",) for part in ("--image-feature", feature)]
        self.rbd("create", "--pool", POOL, "--image", name, "--size", size, *given)

    def watchers(self, name: str) -> list[str]:
        found = json.loads(self.rbd("status", "--format", "json", "--pool", POOL, "--image", name))
        return [entry["address"] for entry in found["watchers"]]

    def signal(self, daemon: str, number: signal.Signals) -> None:
        """``daemon``: mon.a or osd.0."""
        os.kill(int((self.root / "run" / f"{daemon}.pid").read_text()), number)

    @contextlib.contextmanager
    def stopped(self, daemon: str) -> Iterator[None]:
        self.signal(daemon, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(daemon, signal.SIGCONT)

    def start(self) -> None:
        for name in ("mon", "osd", "run"):
            (self.root / name).mkdir()
        conf, keyring, fsid, osd = str(self.root / "ceph.conf"), str(self.root / "keyring"), str(uuid.uuid4()), str(uuid.uuid4())
        Path(conf).write_text(_CONF.format(fsid=fsid, address=self.monitor, root=self.root))
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
        _do("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        _do("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *everything)
        table = str(self.root / "monmap")
        _do("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:{self.monitor}]", table)
        _do("ceph-mon", "-c", conf, "-i", "a", "--mkfs", "--monmap", table, "--keyring", keyring)
        _do("ceph-mon", "-c", conf, "-i", "a")
        self.ceph("osd", "new", osd, "0")
        own = str(self.root / "osd" / "keyring")
        self.ceph("auth", "get-or-create", "osd.0", "osd", "allow *", "mon", "allow profile osd", "-o", own)
        _do("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd, "--keyring", own)
        _do("ceph-osd", "-c", conf, "-i", "0", "--keyring", own)
        self.ceph("osd", "pool", "create", POOL, "8", "8")
        self.ceph("osd", "pool", "application", "enable", POOL, "rbd")
        self.ceph("auth", "get-or-create", f"client.{USER}", "mon", "profile rbd", "osd", f"profile rbd pool={POOL}")
        self.ceph("auth", "get-or-create", "client.weak", "mon", "allow r", "osd", f"allow rwx pool={POOL}")
        self.image("foo")

    def stop(self) -> None:
        for file in (self.root / "run").glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(file.read_text())
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
                deadline = time.monotonic() + 10
                while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
                    time.sleep(0.02)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"


@contextlib.contextmanager
def running_ceph(root: Path) -> Iterator[Ceph]:
    """``root``: a directory that is made and removed."""
    missing = [name for name in ("ceph-mon", "ceph-osd", "rbd", "qemu-storage-daemon") if shutil.which(name) is None]
    assert not missing, f"not installed: {', '.join(missing)}: scripts/system-packages test installs them"
    root.mkdir(parents=True)
    ceph = Ceph(root, _free_port())
    try:
        ceph.start()
        yield ceph
    finally:
        ceph.stop()
        shutil.rmtree(root, ignore_errors=True)
