"""A real GlusterFS volume with three replicas, in a network namespace of its own (its servers refuse 127.x), about 6 s.

Needs Debian's glusterfs-server and glusterfs-client (``scripts/system-packages test`` installs them).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_VOLFILE = """volume management
    type mgmt/glusterd
    option working-directory {root}/lib
    option run-directory {root}/run
    option transport-type socket
    option transport.socket.bind-address {server}
    option glusterd-sockfile {socket}
end-volume
"""


@dataclass(frozen=True)
class Gluster:
    root: Path
    name: str
    server: str
    """The address of the server; its volume is ``vol``."""

    def inside(self, *command: str, check: bool = True) -> str:
        full = ["nsenter", f"--net=/run/netns/{self.name}", *command]
        done = subprocess.run(full, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout if done.returncode == 0 else ""

    def gluster(self, *arguments: str, check: bool = True) -> str:
        return self.inside("gluster", "--mode=script", f"--glusterd-sock={self.socket}", *arguments, check=check)

    @property
    def socket(self) -> str:
        """Short: such paths have a limit."""
        return f"/run/{self.name}.socket"

    @property
    def bricks(self) -> list[Path]:
        return [self.root / f"brick{number}" for number in range(3)]

    def start(self, host: str) -> None:
        for name in ("lib", "run"):
            (self.root / name).mkdir()
        _do("ip", "netns", "add", self.name)
        near, far = f"{self.name}a", f"{self.name}b"
        _do("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
        _do("ip", "address", "add", f"{host}/30", "dev", near)
        _do("ip", "link", "set", near, "up")
        for command in (f"address add {self.server}/30 dev {far}", f"link set {far} up", "link set lo up"):
            _do("ip", "-n", self.name, *command.split())
        volfile = self.root / "glusterd.vol"
        volfile.write_text(_VOLFILE.format(root=self.root, server=self.server, socket=self.socket))
        self.inside("glusterd", "-f", str(volfile), "-p", str(self.root / "run" / "pid"), "-l", str(self.root / "log"))
        deadline = time.monotonic() + 30
        while not self.gluster("peer", "status", check=False):
            assert time.monotonic() < deadline, (self.root / "log").read_text()
            time.sleep(0.1)
        self.gluster("volume", "create", "vol", "replica", "3", *(f"{self.server}:{brick}" for brick in self.bricks), "force")
        self.gluster("volume", "start", "vol")

    def stop(self) -> None:
        space = os.stat(f"/run/netns/{self.name}").st_ino
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.stat(entry / "ns" / "net").st_ino == space:
                    os.kill(int(entry.name), signal.SIGKILL)
        Path(self.socket).unlink(missing_ok=True)
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
        subprocess.run(["ip", "link", "delete", f"{self.name}a"], check=False, capture_output=True)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"


@contextlib.contextmanager
def running_gluster(root: Path) -> Iterator[Gluster]:
    """``root``: a directory that is made and removed."""
    missing = [name for name in ("glusterd", "gluster", "mount.glusterfs") if shutil.which(name) is None]
    assert not missing, f"not installed: {', '.join(missing)}: scripts/system-packages test installs them"
    root.mkdir(parents=True)
    # A part of 198.18.0.0/15 (for tests), other for each process.
    block = os.getpid() % 16000 * 4
    host, server = (f"198.18.{(block + last) // 256}.{(block + last) % 256}" for last in (1, 2))
    gluster = Gluster(root, f"hfg{os.getpid()}", server)
    try:
        gluster.start(host)
        yield gluster
    finally:
        gluster.stop()
        shutil.rmtree(root, ignore_errors=True)
