"""Which pod has which address: kept on disk by pod uid, so that a pod keeps its IP across restarts.

Addresses rotate: a freed one comes back only after all others were handed out, so that a client with an
old record meets nobody rather than somebody else.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import orjson


class Addresses:
    def __init__(self, path: Path, cidr: str) -> None:
        self._path = path
        self.network = ipaddress.ip_network(cidr)
        self.gateway = str(self.network[1])
        self.held: dict[str, str] = {}
        self._next = 2
        try:
            record = orjson.loads(path.read_bytes())
            self.held = {str(uid): str(ip) for uid, ip in record["held"].items() if ipaddress.ip_address(ip) in self.network}
            self._next = int(record["next"])
        except (OSError, ValueError, KeyError, TypeError):
            # unreadable: running pods' addresses are taken over from their namespaces by ``adopt``
            pass

    def adopt(self, uid: str, ip: str) -> None:
        """Takes over an address that a living pod holds."""
        if self.held.get(uid) != ip:
            self.held[uid] = ip
            self._save()

    def take(self, uid: str) -> str:
        """The pod's address, now and after every restart. Raises RuntimeError when all are in use."""
        if uid in self.held:
            return self.held[uid]
        used = set(self.held.values())
        count = self.network.num_addresses
        for step in range(count):
            index = 2 + (self._next - 2 + step) % (count - 3)
            ip = str(self.network[index])
            if ip not in used:
                self.held[uid] = ip
                self._next = index + 1
                self._save()
                return ip
        raise RuntimeError(f"all {count - 3} pod addresses of {self.network} are in use")

    def free(self, uid: str) -> None:
        if self.held.pop(uid, None) is not None:
            self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps({"held": self.held, "next": self._next}))
        os.replace(temporary, self._path)
