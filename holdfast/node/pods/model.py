"""What ``decide`` sees and says: a pod's observed state, the intents that follow from it, and small readers of a PodSpec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.kinds.kind import Obj
from holdfast.node.api import PodNetwork
from holdfast.node.runtimes.api import InstanceState


@dataclass(frozen=True)
class Failure:
    """Why a container could not be started at the last try; tried again at ``retry_at``."""

    reason: str
    message: str
    retry_at: float


@dataclass(frozen=True)
class KillOrder:
    """An instance has to end for a reason of its own (probe, hook). ``grace`` None means the pod's."""

    reason: str
    grace: int | None = None


@dataclass(frozen=True)
class View:
    """Everything known about one pod at one moment."""

    pod: Obj
    now: float
    """The wall clock, for what people read."""
    instances: Mapping[str, InstanceState] = field(default_factory=dict)
    network: PodNetwork | None = None
    volumes_ready: bool = False
    confirmed: bool = False
    """A live read has shown this uid in the API (or it has run here before)."""
    gone: bool = False
    """A live read has shown that the API no longer knows this uid."""
    stopping: bool = False
    """The node goes down in order: everything ends, nothing is released in the API."""
    busy: bool = False
    """A step that may bring an instance, network or volume into being is under way: nothing is released under it."""
    released: bool = False
    """Network and volumes have been given back after all instances ended."""
    reported: bool = False
    """The API holds the status decided last."""
    setup_failure: Failure | None = None
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """By container name."""
    not_before: Mapping[str, float] = field(default_factory=dict)
    """By container name: when its crash back-off ends."""
    delays: Mapping[str, float] = field(default_factory=dict)
    """By container name: the present back-off in seconds."""
    started: frozenset[str] = frozenset()
    """Instances whose startup probe and postStart hook are done."""
    passing: frozenset[str] = frozenset()
    """Instances whose readiness probe passes."""
    kill_orders: Mapping[str, KillOrder] = field(default_factory=dict)
    """By instance id."""
    image_ids: Mapping[str, str] = field(default_factory=dict)
    """By instance id: the image it was made from."""
    host_ip: str = "127.0.0.1"
    moment: float = 0.0
    """A clock that never jumps, for what is waited for: ``retry_at``, ``not_before`` and ``Decision.wake_at`` are of it."""


@dataclass(frozen=True)
class Confirm:
    """Read the pod live: a stale list never starts a uid."""


@dataclass(frozen=True)
class PrepareVolumes:
    pass


@dataclass(frozen=True)
class AddNetwork:
    pass


@dataclass(frozen=True)
class StartContainer:
    name: str
    attempt: int


@dataclass(frozen=True)
class KillInstance:
    """preStop, TERM, ``grace`` seconds, KILL. A later order with less grace shortens an earlier one."""

    id: str
    container: str
    grace: int
    message: str


@dataclass(frozen=True)
class RemoveInstance:
    """An exited attempt older than the previous one."""

    id: str


@dataclass(frozen=True)
class Release:
    """All instances are confirmed dead: network and volumes go back."""


@dataclass(frozen=True)
class Finish:
    """Complete the deletion: DELETE with grace 0 and the uid as precondition."""


@dataclass(frozen=True)
class Forget:
    """Nothing of the pod is left in the API: drop instances, logs and files here."""


Intent = Confirm | PrepareVolumes | AddNetwork | StartContainer | KillInstance | RemoveInstance | Release | Finish | Forget


@dataclass(frozen=True)
class Decision:
    intents: tuple[Intent, ...]
    status: Obj
    wake_at: float | None = None
    """When to decide again although nothing happened."""


def uid(pod: Obj) -> str:
    return str(pod["metadata"]["uid"])


def full_name(pod: Obj) -> str:
    """``name_namespace(uid)``, as messages print a pod."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata.get('namespace', '')}({metadata['uid']})"


def instance_id(pod_uid: str, container: str, attempt: int) -> str:
    return f"{pod_uid}_{container}_{attempt}"


def is_recursive(mount: Obj) -> bool:
    """Whether a mount is read-only with everything below it (KEP-3857)."""
    return mount.get("recursiveReadOnly") in ("IfPossible", "Enabled")


def is_sidecar(container: Obj) -> bool:
    """An init container that keeps running beside the others."""
    return container.get("restartPolicy") == "Always"


def init_containers(pod: Obj) -> list[Obj]:
    return list(pod["spec"].get("initContainers") or ())


def containers(pod: Obj) -> list[Obj]:
    return list(pod["spec"].get("containers") or ())


def ephemeral_containers(pod: Obj) -> list[Obj]:
    """Added to a running pod to look at it: started once, never again, and nobody waits for them."""
    return list(pod["spec"].get("ephemeralContainers") or ())


def all_containers(pod: Obj) -> Iterator[Obj]:
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def find_container(pod: Obj, name: str) -> Obj | None:
    return next((c for c in all_containers(pod) if c["name"] == name), None)


def latest(instances: Iterable[InstanceState], container: str) -> InstanceState | None:
    return max((i for i in instances if i.container == container), key=lambda i: i.attempt, default=None)


def previous(instances: Iterable[InstanceState], container: str) -> InstanceState | None:
    """The attempt before the latest."""
    found = sorted((i for i in instances if i.container == container), key=lambda i: i.attempt)
    return found[-2] if len(found) > 1 else None


def reported(pod: Obj, container: str) -> Obj:
    """The container's status as the API has it; {} without one."""
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for item in status.get(key) or ():
            if item.get("name") == container:
                return dict(item)
    return {}


def restarts(pod: Obj, container: Obj, exit_code: int, *, init: bool) -> bool:
    """Whether an exit is followed by another attempt. An init container that succeeded is never run again."""
    if init and is_sidecar(container):
        return True
    if container in ephemeral_containers(pod):
        return False
    policy = pod["spec"].get("restartPolicy") or "Always"
    if init:
        return exit_code != 0 and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


GONE_GRACE_SECONDS = 2
"""For a pod the API has already let go (forced deletion): its name may be waited for."""


def grace_of(pod: Obj, *, gone: bool = False) -> int:
    """Seconds the pod has to end: those of the deletion, else those of the spec."""
    metadata, spec = pod["metadata"], pod["spec"]
    if gone:
        return min(GONE_GRACE_SECONDS, grace_of(pod))
    granted = metadata.get("deletionGracePeriodSeconds") if metadata.get("deletionTimestamp") else None
    if granted is None:
        granted = spec.get("terminationGracePeriodSeconds")
    return 30 if granted is None else int(granted)
