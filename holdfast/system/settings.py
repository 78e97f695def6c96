"""Settings: what the command line decides, and every name and place derived from it.

Everything a running system puts on the machine (bridge, namespaces, cgroups, nft tables, sockets) is
named by ``instance_id``, a short hash of the data directory, so that several systems live side by
side and each removes only its own (DESIGN, Constants).
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from holdfast.server.gate import Limits

_OWN = frozenset({"images", "kubeconfig", "log", "node", "pki", "run", "server.json", "volumes"})
"""What lies in a data directory, beside the store's files."""


def default_data() -> Path:
    """/var/lib/holdfast as root, else $XDG_DATA_HOME/holdfast."""
    if os.geteuid() == 0:
        return Path("/var/lib/holdfast")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "holdfast"


def default_node_name() -> str:
    """The machine's host name as a DNS subdomain."""
    return socket.gethostname().lower().replace("_", "-") or "node"


@dataclass(frozen=True)
class Settings:
    data: Path = field(default_factory=default_data)
    """The data directory: objects, keys, volumes, images. Two systems never share one."""

    host: str = "127.0.0.1"
    """Address the API listens on. Loopback unless told otherwise."""

    port: int | None = None
    """Port of the API. None: the one kept in DATA/server.json, else 6443, else a free one. 0: a free one, then kept."""

    store: str = ""
    """Store URL. "" means SQLite at DATA/store.db; memory:// keeps nothing."""

    node_name: str = field(default_factory=default_node_name)
    """Name of this machine's Node."""

    runtime: str = "auto"
    """How instances run: auto, oci or simulated."""

    volumes: str = "auto"
    """What volumes are: images in a pool (image), plain directories (directory), or images where loop devices are to be had (auto)."""

    trash_hours: float = 24.0
    """How long removed volumes are kept, where their class says nothing."""

    pod_security: str = "baseline"
    """The Pod Security Standard that is enforced where a namespace's labels say nothing: privileged, baseline or restricted."""

    advertise: tuple[str, int] = ("10.244.0.1", 6443)
    """Address and port at which pods reach the API: the node forwards it to the server."""

    pod_cidr: str = "10.244.0.0/24"
    service_cidr: str = "10.96.0.0/12"
    dns_address: str = "10.96.0.10"
    domain: str = "cluster.local"

    limits: Limits = field(default_factory=Limits)
    """What the server takes on at once, and for how long."""

    def make_data(self) -> None:
        """The data directory holds Secrets and volumes: a new one is its owner's alone to look into."""
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)

    def strangers(self) -> list[str]:
        """What lies in the data directory and is not holdfast's, by name."""
        present = (entry.name for entry in self.data.iterdir()) if self.data.is_dir() else ()
        return sorted(name for name in present if name not in _OWN and not name.startswith("store.db"))

    @cached_property
    def instance_id(self) -> str:
        """Eight hex digits out of the resolved data path."""
        return hashlib.sha256(str(self.data.resolve()).encode()).hexdigest()[:8]

    @property
    def run(self) -> Path:
        """Sockets and namespaces: gone with the next boot."""
        base = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")
        return base / "holdfast" / self.instance_id

    @property
    def runtime_file(self) -> Path:
        return self.data / "node" / "runtime"

    @property
    def kept_runtime(self) -> str:
        """What the node on this data is; "" before its first start."""
        try:
            return self.runtime_file.read_text().strip()
        except OSError:
            return ""

    @property
    def node_runtime(self) -> str:
        """``auto`` decided: what it was before, else oci."""
        return (self.kept_runtime or "oci") if self.runtime == "auto" else self.runtime

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:///{self.data / 'store.db'}"

    @property
    def pki(self) -> Path:
        return self.data / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.data / "kubeconfig"

    @property
    def node_kubeconfig(self) -> Path:
        """The node's own identity, written by the server."""
        return self.data / "node" / "kubeconfig"

    def pid_file(self, role: str) -> Path:
        return self.data / "run" / f"{role}.pid"
