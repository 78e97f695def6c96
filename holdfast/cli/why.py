"""``holdfast why``: what a set, a pod or a claim waits for, since when, and what to do, from ``decide``'s own records.

Nothing is asked of the server but objects, so it works against any Kubernetes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import click

from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube
from holdfast.cli.kubeconfig import Access
from holdfast.cli.live import Live
from holdfast.controllers.statefulset import causes, objects, options
from holdfast.controllers.statefulset.causes import Around
from holdfast.controllers.statefulset.decide import Plan, decide
from holdfast.controllers.statefulset.waits import Wait
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta
from holdfast.machinery.tables import human_duration

_KINDS = {
    "sts": ("sts", "statefulset", "statefulsets", "statefulset.apps", "statefulsets.apps"),
    "pod": ("po", "pod", "pods"),
    "pvc": ("pvc", "persistentvolumeclaim", "persistentvolumeclaims"),
}


def run(access: Access, subject: str, namespace: str) -> None:
    kind, name = parse(subject)
    live = Live(Kube(access), namespace or access.namespace)
    click.echo("\n".join(explain(live, kind, name, time.time())))


def parse(subject: str) -> tuple[str, str]:
    given, _, name = subject.partition("/")
    for kind, spellings in _KINDS.items():
        if given.lower() in spellings and name:
            return kind, name
    raise click.UsageError(f"{subject}: sts/NAME, pod/NAME or pvc/NAME is wanted")


def explain(live: Live, kind: str, name: str, now: float) -> list[str]:
    if kind == "sts":
        return _set(live, live.need(STATEFULSETS, name), now)
    return _pod(live, name, now) if kind == "pod" else _claim(live, name, now)


def _set(live: Live, owner: Obj, now: float) -> list[str]:
    plan, around = decide(live.seen(owner), now), live.around()
    subject = f"sts/{meta.name(owner)}"
    # What its annotations ask for and does not happen is told too: who set them supposes that it does.
    ignored = [f"  {subject} (InvalidAnnotation): {mistake}." for mistake in options.of(owner).mistakes]
    if not plan.waits:
        said = (meta.condition({"status": plan.status}, "Progressing") or {}).get("message")
        return [f"{subject} waits for nothing. {said}.", *ignored]
    things = {wait.subject: wait for wait in reversed(plan.waits)}
    lines = [f"{subject} waits for {len(things)} thing{'s' if len(things) > 1 else ''}:"]
    for wait in reversed(things.values()):
        lines += _told(wait, _behind(wait, owner, around), now)
    return lines + ignored


def _behind(wait: Wait, owner: Obj, around: Around) -> list[Wait]:
    """What the thing waited for waits for itself."""
    kind, _, name = wait.subject.partition("/")
    pod, claim = around.pods.get(name), around.claims.get(name)
    if kind == "pvc":
        return causes.of_claim(claim, around) if claim is not None else []
    if kind != "pod":
        return []
    if pod is not None:
        return causes.of_pod(pod, around)
    said = around.last_event(owner, "FailedCreate")
    remedy = f"See why it is refused: kubectl describe sts {meta.name(owner)} -n {meta.namespace(owner)}"
    return [Wait(wait.subject, "FailedCreate", said, "", remedy)] if f" {name} " in f"{said} " else []


def _pod(live: Live, name: str, now: float) -> list[str]:
    pod, owner = live.get(PODS, name), live.owner_of(name)
    plan = decide(live.seen(owner), now) if owner is not None else Plan()
    if pod is None and owner is None:
        raise UserError(f'there is no Pod "{name}" in namespace "{live.namespace}", and no StatefulSet would have it')
    if pod is not None:
        found = causes.of_pod(pod, live.around())
        ours = [w for w in plan.waits if w.subject == f"pod/{name}" and (not found or w.reason not in ("NotReady", "Terminating"))]
        # What its set would have one ask is what is being asked.
        found += [w._replace(remedy="") if f"why pod/{name} " in w.remedy else w for w in ours]
        if not found:
            since = (meta.condition(pod, "Ready") or {}).get("lastTransitionTime")
            return [f"pod/{name} waits for nothing: it is Ready since {since}."]
        return [f"pod/{name} waits:", *_all(found, now)]
    assert owner is not None
    ours = [w for w in plan.waits if w.subject == f"pod/{name}"]
    start = objects.first_ordinal(owner)
    wanted = objects.ordinal({"metadata": {"name": name}}) in range(start, start + objects.replicas(owner))
    first = ours or (plan.waits[:1] if wanted else [])
    if not first:
        count = objects.replicas(owner)
        return [f"pod/{name} does not exist, and sts/{meta.name(owner)}, which has {count} replicas, does not want it."]
    lines = [f"pod/{name} does not exist; sts/{meta.name(owner)} waits:"]
    for wait in first:
        lines += _told(wait, _behind(wait, owner, live.around()), now)
    return lines


def _claim(live: Live, name: str, now: float) -> list[str]:
    claim = live.get(PERSISTENTVOLUMECLAIMS, name)
    if claim is not None:
        found = causes.of_claim(claim, live.around())
        if not found:
            return [f"pvc/{name} waits for nothing: it is Bound to {claim['spec'].get('volumeName')}."]
        return [f"pvc/{name} waits:", *_all(found, now)]
    for owner in live.all(STATEFULSETS).values():
        for template in owner["spec"].get("volumeClaimTemplates") or []:
            prefix = f"{template['metadata']['name']}-{meta.name(owner)}-"
            if name.startswith(prefix) and name.removeprefix(prefix).isdigit():
                member = f"{meta.name(owner)}-{name.removeprefix(prefix)}"
                return [f"pvc/{name} does not exist: it is made together with pod {member}.", *_pod(live, member, now)]
    raise UserError(f'there is no PersistentVolumeClaim "{name}" in namespace "{live.namespace}", and no StatefulSet would have it')


# Sentences


def _all(waits: Iterable[Wait], now: float) -> list[str]:
    return [line for wait in waits for line in _told(wait, [], now)]


def _told(wait: Wait, behind: list[Wait], now: float) -> list[str]:
    """The thing itself; what is behind it, which has the better remedy."""
    known = [b for b in behind if b.message != wait.message]
    lines = [f"  {wait.subject} ({wait.reason}): {wait.message}{_since(wait, now)}."]
    lines += [f"    because {b.message}{_since(b, now)}." for b in known]
    remedies = [b.remedy for b in known if b.remedy] or ([wait.remedy] if wait.remedy else [])
    if wait.remedy and known and "holdfast why" not in wait.remedy:
        remedies = [wait.remedy, *remedies]
    return [*lines, *(f"    > {remedy}" for remedy in dict.fromkeys(remedies))]


def _since(wait: Wait, now: float) -> str:
    if not wait.since:
        return ""
    return f", since {wait.since} ({human_duration(max(now - parse_rfc3339(wait.since), 0))})"
