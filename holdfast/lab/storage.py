"""The judge's eye on storage: what was made, mounted and erased on which machine; and what may be left of it at rest.

Told of each act by ``acts``; looks at disks and mounts themselves, never at what a node believes of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast.kinds import sources
from holdfast.kinds.core.claims import claims_of
from holdfast.kinds.kind import Obj
from holdfast.lab.judge import CLAIM, POD, VOLUME, Judge
from holdfast.machinery import meta, quantity
from holdfast.node.runtimes.api import InstanceConfig
from holdfast.node.simulated.machine import Disk, Machine
from holdfast.store.api import Change, Record

MOUNTS = "/volumes/mounts/"
RECORDS = Path("node/volumes")
"""Where a node's records lie, below its directory."""


class Ledger:
    """``scratch``: the nodes' directories, by name below it."""

    def __init__(self, judge: Judge, machines: Mapping[str, Machine], disk: Disk, scratch: Path) -> None:
        self._judge = judge
        self._machines = machines
        self._disk = disk
        self._scratch = scratch
        self.lies_on: dict[str, str] = {}
        """Handle: the machine on whose disk it was made."""
        self._erased: set[str] = set()
        self._grown: dict[str, int] = {}
        """Handle: the bytes that what is on it takes up."""
        self.away: set[str] = set()
        """Machines that nobody will see again: what lies there lies there."""

    def made(self, machine: Machine, handle: str, capacity: int) -> None:
        """One volume a claim, and never an empty one in the place of data that is gone."""
        if handle in self._erased:
            self._judge.says("P-5", f"volume {handle} was erased, and is made again, empty")
        if self.lies_on.get(handle) in self.away:
            del self.lies_on[handle]
        if self.lies_on.setdefault(handle, machine.name) != machine.name:
            self._judge.says("P-3", f"volume {handle} is made on {machine.name}, and lies on {self.lies_on[handle]} already")
        self._grown.setdefault(handle, capacity)

    def grown(self, handle: str) -> None:
        self._grown[handle] = self._disk.sizes[handle]

    def erased(self, handle: str) -> None:
        self._erased.add(handle)
        for machine in self._machines.values():
            if handle in machine.staged.values():
                self._judge.says("P-4", f"the data of {handle} is removed while it is mounted on {machine.name}")

    def started(self, machine: Machine, config: InstanceConfig) -> None:
        """P-5: on what is mounted, which is what its claims are bound to, on the machine where that lies."""
        mounts = [mount.source for mount in config.mounts if MOUNTS in mount.source]
        for source in mounts:
            if source not in machine.staged:
                self._judge.says("P-5", f"{config.pod_name} starts on {machine.name} with nothing mounted at {Path(source).name}")
        pod = self._judge.object(f"{POD}{config.namespace}/{config.pod_name}")
        if pod is None or meta.uid(pod) != config.pod_uid:
            return  # P-1 is about that
        wanted = {*self._handles(pod)}
        for handle in (machine.staged[source] for source in mounts if source in machine.staged):
            if handle not in wanted:
                self._judge.says("P-5", f"{config.pod_name} starts on {handle}, and its claims are bound to {sorted(wanted)}")
            if self.lies_on.get(handle) != machine.name:
                self._judge.says("P-5", f"{config.pod_name} starts on {machine.name}, and {handle} lies on {self.lies_on.get(handle)}")

    def _handles(self, pod: Obj) -> Iterator[str]:
        for name in claims_of(pod).values():
            claim = self._judge.object(f"{CLAIM}{meta.namespace(pod)}/{name}")
            if claim is not None and (handle := self._bound_to(claim)):
                yield handle

    def _bound_to(self, claim: Obj) -> str:
        """The handle of a claim's volume; "" for none."""
        volume = self._judge.object(f"{VOLUME}{claim['spec'].get('volumeName')}")
        return _handle(volume) if volume is not None else ""

    # The store

    def committed(self, change: Change, previous: Record | None) -> None:
        """A capacity that was reached is never taken back, by whatever is asked for (H10)."""
        key = change.record.key
        if previous is None or change.type != "update" or not key.startswith((CLAIM, VOLUME)):
            return
        before, now = self._judge.decoded(previous), self._judge.decoded(change.record)
        part = "status" if key.startswith(CLAIM) else "spec"
        was, has = (_capacity(obj.get(part)) for obj in (before, now))
        if meta.uid(before) != meta.uid(now):
            return
        if was and has and quantity.parse(has) < quantity.parse(was):  # a claim that is Lost has none
            self._judge.says("P-3", f"the capacity of {key} goes from {was} to {has}")
        handle = _handle(now) if part == "spec" else self._bound_to(now)
        there = (self._disk.sizes if part == "spec" else self._grown).get(handle)
        if has and there is not None and quantity.parse(has) > there:
            self._judge.says("P-3", f"{key} is said to have {has}, and there are {there} bytes")

    # Rest

    def unlike(self) -> str:
        """What is left that nobody uses; "" when nothing is."""
        for machine in self._machines.values():
            if machine.name not in self.away and (why := self._unlike_machine(machine)):
                return why
        volumes = self._judge.objects(VOLUME)
        claims = {meta.uid(claim) for claim in self._judge.objects(CLAIM)}
        known = {_handle(volume) for volume in volumes}
        for handle in self._disk.volumes:
            if handle not in known and self.lies_on.get(handle) not in self.away:
                return f"volume {handle} is left on {self.lies_on.get(handle)}, and no PersistentVolume tells of it"
        for volume in volumes:
            owner, policy = (volume["spec"].get("claimRef") or {}).get("uid"), volume["spec"].get("persistentVolumeReclaimPolicy")
            if owner and owner not in claims and policy == "Delete" and _handle(volume):
                return f"volume {meta.name(volume)} is still there, and its claim is gone"
        return self._unlike_sizes()

    def _unlike_sizes(self) -> str:
        """Who uses a volume has of it what there is."""
        used = {handle for machine in self._machines.values() for handle in machine.staged.values()}
        for claim in self._judge.objects(CLAIM):
            handle, has = self._bound_to(claim), _capacity(claim.get("status"))
            if handle in used and has and quantity.parse(has) < self._disk.sizes[handle]:
                return f"claim {meta.name(claim)} has {has} of {self._disk.sizes[handle]} bytes"
        return ""

    def _unlike_machine(self, machine: Machine) -> str:
        used = {mount.source for config in machine.living() for mount in config.mounts}
        for target, handle in machine.staged.items():
            if target not in used:
                return f"volume {handle} is mounted on {machine.name}, and nothing uses it"
        pods = {meta.uid(pod) for pod in self._judge.objects(POD) if pod["spec"].get("nodeName") == machine.name}
        for record in sorted((self._scratch / machine.name / RECORDS).glob("*.json")):
            if record.stem not in pods:
                return f"{machine.name} has a record of what pod {record.stem} holds, which is gone"
        return ""


def _handle(volume: Obj) -> str:
    found = sources.read(volume["spec"], "")
    return found.handle if found is not None else ""


def _capacity(part: Obj | None) -> str:
    return str((((part or {}).get("capacity")) or {}).get("storage") or "")
