"""The way out: one veth pair between the host and the node's namespace, masqueraded twice.

The node hides pod addresses behind its end of the pair, the host hides that end behind its own address,
so the host never learns of 10.x. Forwarding on the host is switched on for as long as any instance needs
it; what it was before is kept in one file that all instances share.
"""

from __future__ import annotations

import fcntl
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.node.network import links, namespaces, nft

log = logging.getLogger("holdfast.node.network")

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_INNER = "egress"


class Egress:
    def __init__(self, id: str, shared: Path, node: Path, pod_cidr: str) -> None:
        self._link = f"hf{id}e"
        self._table = f"hf{id}"
        number = int(id, 16) % (64 * 64)
        third, fourth = 64 + number // 64, (number % 64) * 4
        self._outside = f"169.254.{third}.{fourth + 1}"
        self._inside = f"169.254.{third}.{fourth + 2}"
        self._shared = shared
        self._node = node
        self._pod_cidr = pod_cidr

    @contextmanager
    def _locked(self) -> Iterator[Path]:
        """Several instances count on one kernel switch: they take turns."""
        self._shared.mkdir(parents=True, exist_ok=True)
        with (self._shared / "ip_forward.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._shared / "ip_forward"

    def open(self) -> None:
        """Blocks. Raises OSError, NftError or pyroute2's NetlinkError when this host does not allow it."""
        links.setup_egress_outside(self._link, _INNER, self._outside, str(self._node))
        namespaces.visit(str(self._node), lambda: links.setup_egress_inside(_INNER, self._inside, self._outside))
        with self._locked() as before:
            if not before.exists():
                before.write_text(_FORWARD.read_text())
            _FORWARD.write_text("1")
        nft.run(
            f"add table ip {self._table}\n"
            f"flush table ip {self._table}\n"
            f"add chain ip {self._table} egress {{ type nat hook postrouting priority 100; }}\n"
            f'add rule ip {self._table} egress ip saddr {self._inside} oifname != "{self._link}" masquerade\n'
        )
        inner = (
            "add table ip holdfast_egress\nflush table ip holdfast_egress\n"
            "add chain ip holdfast_egress out { type nat hook postrouting priority 110; }\n"
            f'add rule ip holdfast_egress out oifname "{_INNER}" ip saddr {self._pod_cidr} masquerade\n'
        )
        namespaces.visit(str(self._node), lambda: nft.run(inner))

    def close(self) -> None:
        """Takes everything away and puts forwarding back when no other instance needs it. Blocks; idempotent."""
        try:
            nft.run(f"add table ip {self._table}\ndelete table ip {self._table}\n")
        except nft.NftError as error:
            log.debug("removing table %s: %s", self._table, error)
        links.unplug(self._link)
        with self._locked() as before:
            others = [name for name in links.names() if re.fullmatch(r"hf[0-9a-f]{8}e", name) and name != self._link]
            if before.exists() and not others:
                _FORWARD.write_text(before.read_text())
                before.unlink()
        if not (self._shared / "ip_forward").exists():
            (self._shared / "ip_forward.lock").unlink(missing_ok=True)
