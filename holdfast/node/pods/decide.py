"""One step of a pod's life, decided: what is seen in, what to do next and what to report out.

Pure: no clock, no I/O. Every step is safe to decide again: the worker runs each intent once at a time and
asks anew whenever something changed. Order of a life: confirm > volumes and network > init containers in
turn > containers > (restarts with back-off) > kill > release > finish > forget.
"""

from __future__ import annotations

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.node.pods.model import (
    AddNetwork,
    Confirm,
    Decision,
    Finish,
    Forget,
    Intent,
    KillInstance,
    PrepareVolumes,
    Release,
    RemoveInstance,
    StartContainer,
    View,
    containers,
    ephemeral_containers,
    full_name,
    grace_of,
    init_containers,
    is_sidecar,
    latest,
    reported,
    restarts,
    uid,
)
from holdfast.node.pods.report import make_status

TERMINAL = ("Succeeded", "Failed")


def decide(view: View) -> Decision:
    """The next intents, the status to report, and when to look again."""
    step = _Step(view)
    pod = view.pod
    over = step.deadline_passed()
    finished = (pod.get("status") or {}).get("phase") in TERMINAL
    # What has been given back is not taken again, though the API may not know yet that the pod has ended.
    if view.gone or view.stopping or pod["metadata"].get("deletionTimestamp") or over or finished or view.released:
        step.shut_down(terminal=over or finished or view.released)
    else:
        step.advance()
    step.collect_old_attempts()
    status = make_status(view, deadline_exceeded=over, backing_off=frozenset(step.backing_off))
    if status.get("phase") in TERMINAL and not step.intents and not view.released and not finished:
        # it has just ended by itself: sidecars end, then everything goes back
        step.shut_down(terminal=True)
    return Decision(tuple(step.intents), status, step.wake_at)


class _Step:
    def __init__(self, view: View) -> None:
        self.view = view
        self.intents: list[Intent] = []
        self.backing_off: set[str] = set()
        self.wake_at: float | None = None

    def wake(self, at: float) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def deadline_passed(self) -> bool:
        """activeDeadlineSeconds counts from the pod's start."""
        seconds = self.view.pod["spec"].get("activeDeadlineSeconds")
        begun = (self.view.pod.get("status") or {}).get("startTime")
        if seconds is None or not begun:
            return False
        end = parse_rfc3339(begun) + int(seconds)
        if self.view.now < end:
            self.wake(self.view.moment + end - self.view.now)
        return self.view.now >= end

    def advance(self) -> None:
        view = self.view
        if not view.confirmed:
            if not self._waiting_for_setup():
                self.intents.append(Confirm())
            return
        self._kill_ordered()
        if not view.volumes_ready or view.network is None:
            if self._waiting_for_setup():
                return
            if not view.volumes_ready:
                self.intents.append(PrepareVolumes())
            if view.network is None:
                self.intents.append(AddNetwork())
            return
        if self._done():
            self.shut_down(terminal=True)
            return
        for container in ephemeral_containers(view.pod):
            if not reported(view.pod, container["name"]).get("containerID"):
                self._advance_container(container, init=False)
        if not self._advance_init():
            return
        for container in containers(view.pod):
            self._advance_container(container, init=False)

    def _done(self) -> bool:
        """Every container has ended for good: sidecars and onlookers do not keep a pod."""
        view = self.view
        last = [(c, latest(view.instances.values(), c["name"])) for c in containers(view.pod)]
        return all(i is not None and i.phase == "exited" and not restarts(view.pod, c, i.exit_code, init=False) for c, i in last)

    def _waiting_for_setup(self) -> bool:
        failure = self.view.setup_failure
        if failure is None or self.view.moment >= failure.retry_at:
            return False
        self.wake(failure.retry_at)
        return True

    def _kill_ordered(self) -> None:
        for id, order in self.view.kill_orders.items():
            instance = self.view.instances.get(id)
            if instance is not None and instance.phase == "running":
                grace = grace_of(self.view.pod) if order.grace is None else order.grace
                self.intents.append(KillInstance(id, instance.container, grace, order.reason))

    def _advance_init(self) -> bool:
        """Init containers in turn; True when the others may run."""
        view = self.view
        begun = any(latest(view.instances.values(), c["name"]) for c in containers(view.pod))
        for container in init_containers(view.pod):
            last = latest(view.instances.values(), container["name"])
            if is_sidecar(container):
                self._advance_container(container, init=True)
                if not begun and (last is None or last.phase != "running" or last.id not in view.started):
                    return False
                continue
            if begun or (last is not None and last.phase == "exited" and last.exit_code == 0):
                continue
            self._advance_container(container, init=True)
            return False
        return True

    def _advance_container(self, container: Obj, *, init: bool) -> None:
        view, name = self.view, container["name"]
        last = latest(view.instances.values(), name)
        if last is not None and last.phase == "running":
            return
        if last is not None and not restarts(view.pod, container, last.exit_code, init=init):
            return
        failure = view.failures.get(name)
        if failure is not None and view.moment < failure.retry_at:
            self.wake(failure.retry_at)
            return
        if last is not None and view.moment < view.not_before.get(name, 0.0):
            self.backing_off.add(name)
            self.wake(view.not_before[name])
            return
        self.intents.append(StartContainer(name, next_attempt(view, name)))

    def shut_down(self, *, terminal: bool) -> None:
        """Containers first, then sidecars in reverse order; then everything is given back."""
        view = self.view
        names = {c["name"] for c in containers(view.pod)} | {c["name"] for c in init_containers(view.pod) if not is_sidecar(c)}
        running = [i for i in view.instances.values() if i.phase == "running"]
        sidecars = [c["name"] for c in init_containers(view.pod) if is_sidecar(c)]
        first = [i for i in running if i.container in names or i.container not in sidecars]
        if not first and running:
            first = [max(running, key=lambda i: sidecars.index(i.container))]
        for instance in first:
            order = view.kill_orders.get(instance.id)
            grace = grace_of(view.pod, gone=view.gone)
            if order is not None and order.grace is not None:
                grace = min(grace, order.grace)
            self.intents.append(KillInstance(instance.id, instance.container, grace, f"Stopping container {instance.container}"))
        if running or view.busy:
            return
        if view.stopping and not view.gone and not view.pod["metadata"].get("deletionTimestamp") and not terminal:
            return
        if not view.released:
            self.intents.append(Release())
        elif view.gone:
            self.intents.append(Forget())
        elif view.pod["metadata"].get("deletionTimestamp") and view.reported:
            self.intents.append(Finish())

    def collect_old_attempts(self) -> None:
        """The latest attempt and the one before it (``logs --previous``) are kept."""
        by_container: dict[str, list[tuple[int, str]]] = {}
        for instance in self.view.instances.values():
            if instance.phase == "exited":
                by_container.setdefault(instance.container, []).append((instance.attempt, instance.id))
        for name, found in by_container.items():
            last = latest(self.view.instances.values(), name)
            newest = last.attempt if last else 0
            self.intents += [RemoveInstance(id) for attempt, id in sorted(found) if attempt < newest - 1]


def next_attempt(view: View, name: str) -> int:
    """Counts on from what ran here and from what the API says has run (instances lost with a reboot)."""
    last = latest(view.instances.values(), name)
    if last is not None:
        return last.attempt + 1
    known = reported(view.pod, name)
    if known.get("containerID"):
        return int(known.get("restartCount") or 0) + 1
    return 0


def describe(view: View) -> str:
    """For log lines."""
    return f"{full_name(view.pod)} instances={len(view.instances)} uid={uid(view.pod)}"
