"""Which nodes a pod fits, and why not the others. Pure. Texts are upstream's, as FailedScheduling shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from holdfast.controllers.scheduler.volumes import NO_DISK, Disk, Placing, Storage, clash, disks_of, place
from holdfast.kinds.core.claims import claims_of
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, quantity
from holdfast.machinery.selectors import matches_terms

Amounts = dict[str, Fraction]
Port = tuple[str, int, str]
"""Protocol, number and address of the host."""


_ANY = "0.0.0.0"


@dataclass
class Choice:
    """``node`` is "" when none fits; ``message`` then says why. ``volumes``: what is to be done there about its claims."""

    node: str = ""
    message: str = ""
    volumes: Placing = field(default_factory=Placing)


class Taken:
    """What pods take of one node."""

    def __init__(self) -> None:
        self.amounts: Amounts = {}
        self.ports: Counter[Port] = Counter()
        self.disks: Counter[Disk] = Counter()
        self.pods = 0


class Accounts:
    """What is taken of each node by the pods that have it and are not finished; kept up as they come and go."""

    def __init__(self, pods: Iterable[Obj] = ()) -> None:
        self._nodes: dict[str, Taken] = {}
        self._users: dict[str, Counter[str]] = {}
        """By ``namespace/name`` of a claim: how many pods use it, by node."""
        for pod in pods:
            self.add(pod)

    def of(self, node: str) -> Taken:
        return self._nodes.get(node) or Taken()

    def users(self, claim: str) -> set[str]:
        """Nodes of the pods that use a claim (``namespace/name``)."""
        return set(+self._users.get(claim, Counter()))

    def add(self, pod: Obj) -> None:
        self._count(pod, 1)

    def remove(self, pod: Obj) -> None:
        """As it was when it was added."""
        self._count(pod, -1)

    def _count(self, pod: Obj, sign: int) -> None:
        node = pod["spec"]["nodeName"]
        taken = self._nodes.setdefault(node, Taken())
        taken.pods += sign
        for port in _host_ports(pod):
            taken.ports[port] += sign
        taken.ports = +taken.ports
        for disk in disks_of(pod):
            taken.disks[disk] += sign
        taken.disks = +taken.disks
        for claim in claims_of(pod).values():
            users = self._users.setdefault(f"{meta.namespace(pod)}/{claim}", Counter())
            users[node] += sign
            if not +users:
                del self._users[f"{meta.namespace(pod)}/{claim}"]
        for name, amount in requests(pod).items():
            taken.amounts[name] = taken.amounts.get(name, Fraction(0)) + sign * amount
        if not taken.pods:
            del self._nodes[node]


@dataclass
class Cluster:
    nodes: list[Obj]
    accounts: Accounts
    storage: Storage = field(default_factory=Storage)
    """The pod's claims and what there is for them."""


def requests(pod: Obj) -> Amounts:
    """The most it ever asks for at once: all containers, or before them an init container; sidecars stay from their start on."""
    spec = pod["spec"]
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or []:
        own = _requested(container)
        if _is_sidecar(container):
            sidecars = _sum(sidecars, own)
            own = {}
        starting = _largest(starting, _sum(sidecars, own))
    running = sidecars
    for container in spec.get("containers") or []:
        running = _sum(running, _requested(container))
    overhead = {name: quantity.parse(value) for name, value in (spec.get("overhead") or {}).items()}
    # Requests of the pod as a whole take the place of its containers'.
    return _sum({**_largest(starting, running), **_requested(spec)}, overhead)


def _requested(holder: Obj) -> Amounts:
    found = (holder.get("resources") or {}).get("requests") or {}
    return {name: quantity.parse(value) for name, value in found.items()}


def _is_sidecar(container: Obj) -> bool:
    return container.get("restartPolicy") == "Always"


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, Fraction(0)) + other.get(name, Fraction(0)) for name in {**one, **other}}


def _largest(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, Fraction(0)), other.get(name, Fraction(0))) for name in {**one, **other}}


def decide(pod: Obj, cluster: Cluster) -> Choice:
    reasons: Counter[str] = Counter()
    fitting: list[tuple[Fraction, int, str]] = []
    placings: dict[str, Placing] = {}
    for node in cluster.nodes:
        name = meta.name(node)
        taken = cluster.accounts.of(name)
        why = _unfit(pod, node, taken)
        placings[name] = place(node, cluster.storage) if not why else Placing(why)
        if placings[name].reasons:
            reasons.update(placings[name].reasons)
        else:
            fitting.append((_load(node, taken.amounts), taken.pods, name))
    if fitting:
        chosen = min(fitting)[-1]
        return Choice(chosen, volumes=placings[chosen])
    return Choice(message=refused(cluster.nodes, ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))))


def refused(nodes: list[Obj], why: str) -> str:
    """As FailedScheduling has it."""
    return f"0/{len(nodes)} nodes are available: {why}." if nodes else "no nodes available to schedule pods"


def _load(node: Obj, used: Amounts) -> Fraction:
    """The fuller of cpu and memory, as a share: the emptiest node is taken; of equal ones that with the fewest pods."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    shares = [used.get(r, Fraction(0)) / (quantity.parse(allocatable[r]) or 1) for r in ("cpu", "memory") if r in allocatable]
    return max(shares, default=Fraction(0))


def _host_ports(pod: Obj) -> set[Port]:
    sidecars = [c for c in pod["spec"].get("initContainers") or [] if _is_sidecar(c)]
    return {
        (port.get("protocol", "TCP"), port["hostPort"], port.get("hostIP") or _ANY)
        for container in [*sidecars, *(pod["spec"].get("containers") or [])]
        for port in container.get("ports") or []
        if port.get("hostPort")
    }


def _clash(wanted: Iterable[Port], taken: Iterable[Port]) -> bool:
    """The same port on the same address, or on any."""
    return any(one[:2] == other[:2] and (one[2] == other[2] or _ANY in (one[2], other[2])) for one in wanted for other in taken)


def _unfit(pod: Obj, node: Obj, taken: Taken) -> list[str]:
    """Reasons why the pod cannot go there, but for its claims; none when it can."""
    spec = pod["spec"]
    if (node.get("spec") or {}).get("unschedulable") and not _tolerates(
        spec, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return ["node(s) were unschedulable"]
    for taint in (node.get("spec") or {}).get("taints") or []:
        if taint["effect"] in ("NoSchedule", "NoExecute") and not _tolerates(spec, taint):
            return ["node(s) had untolerated taint(s)"]  # which ones is not said to those who may not read nodes
    labels = meta.labels_of(node)
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()) or not _affine(spec, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    if _clash(_host_ports(pod), taken.ports):
        return ["node(s) didn't have free ports for the requested pod ports"]
    if short := _short(pod, node, taken):
        return short
    return [NO_DISK] if clash(disks_of(pod), taken.disks) else []


def _short(pod: Obj, node: Obj, taken: Taken) -> list[str]:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    found = []
    if "pods" in allocatable and taken.pods + 1 > quantity.parse(allocatable["pods"]):
        found.append("Too many pods")
    for name, amount in sorted(requests(pod).items()):
        if amount and taken.amounts.get(name, Fraction(0)) + amount > quantity.parse(allocatable.get(name, "0")):
            found.append(f"Insufficient {name}")
    return found


def _tolerates(spec: Obj, taint: Obj) -> bool:
    for toleration in spec.get("tolerations") or []:
        if toleration.get("effect") not in (None, "", taint["effect"]):
            continue
        key = toleration.get("key")
        if not key:
            if toleration.get("operator") == "Exists":
                return True
            continue
        if key == taint["key"] and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")):
            return True
    return False


def _affine(spec: Obj, node: Obj) -> bool:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = (required or {}).get("nodeSelectorTerms") or []
    return required is None or matches_terms(terms, meta.labels_of(node), {"metadata.name": meta.name(node)})
