"""``holdfast plan``: what applying a manifest would do to a set, in order, and what would be lost. Writes nothing.

The server says what the set would become (a dry run of what ``kubectl apply`` sends); ``decide`` says what follows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import click

from holdfast.cli import manifests
from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube
from holdfast.cli.kubeconfig import Access
from holdfast.cli.live import Live
from holdfast.client.api import APPLY_PATCH, STRATEGIC_PATCH
from holdfast.controllers.statefulset import objects, plan
from holdfast.controllers.statefulset.plan import Step, steps
from holdfast.kinds import schemas
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMES, STATEFULSETS
from holdfast.machinery import meta
from holdfast.machinery.threeway import three_way

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MANAGER = "kubectl"
_DRY = {"dryRun": "All", "fieldValidation": "Strict"}
"""As kubectl validates: a field that is no field is a mistake."""
_SAYS = {
    plan.CREATE: "create {} at revision {}",
    plan.DELETE: "delete {}: {}",
    plan.CLAIM: "create {}",
    plan.REPAIR: "restore the labels of {}",
    plan.OWN: "give {} to {}",
    plan.ROLL_BACK: "roll {} back, {}",
    plan.GONE: "wait until {} is gone",
    plan.READY: "wait until {} is Ready",
    plan.TIME: "wait {1}, until the members of {0} are available",
    plan.LOSE: "LOSE {}",
}


def run(access: Access, paths: list[Path], namespace: str) -> None:
    kube = Kube(access)
    for manifest in [manifest for path in paths for manifest in manifests.load(path)]:
        if (manifest.get("kind"), manifest.get("apiVersion")) != ("StatefulSet", STATEFULSETS.api_version):
            click.echo(f"{manifest.get('kind')} {meta.name(manifest)}: not a StatefulSet, nothing is planned")
            continue
        if not (manifest.get("metadata") or {}).get("name"):
            raise UserError("a StatefulSet without metadata.name: what kubectl apply takes needs one")
        live = Live(kube, (manifest.get("metadata") or {}).get("namespace") or namespace or access.namespace)
        for line in explain(live, kube, manifest, time.time()):
            click.echo(line)


def explain(live: Live, kube: Kube, manifest: Obj, now: float) -> Iterator[str]:
    before = live.get(STATEFULSETS, meta.name(manifest))
    after = becomes(live, kube, manifest, before)
    seen = live.seen(after)
    found = list(steps(seen, now))
    name = f"sts/{meta.name(after)}"
    how = "would be created" if before is None else "would be changed" if before["spec"] != after["spec"] else "stays as it is"
    members = _many(objects.replicas(after), "member")
    yield f"{name} in namespace {live.namespace} {how}: {members} of revision {seen.update}"
    width = len(str(len(found)))
    for number, step in enumerate(found, 1):
        text = _SAYS[step.action].format(step.subject, step.detail)
        yield f"  {number:>{width}}. {text:<60} {step.unavailable} of {step.members} unavailable"
    yield from _doubts(found, live)
    yield from _sum(found, name, live)


def _doubts(found: list[Step], live: Live) -> Iterator[str]:
    """A plan supposes that all goes well; about members that are not well now it says so."""
    touched: set[str] = set()
    for number, step in enumerate(found, 1):
        if step.action == plan.READY and step.subject not in touched:
            yield f"Step {number} supposes that {step.subject} becomes Ready: holdfast why {step.subject} -n {live.namespace}"
        touched.add(step.subject)


def _sum(found: list[Step], name: str, live: Live) -> Iterator[str]:
    if not found:
        yield f"Nothing would be done: {name} is as it should be, or leaves the rest to you (OnDelete, partition)."
        return
    most = max(found, key=lambda step: step.unavailable)
    ended = [step for step in found if step.action == plan.DELETE]
    away = f"At most {most.unavailable} of {_many(most.members, 'member')} unavailable at a time"
    yield f"{away}; {_many(len(ended), 'pod')} deleted."
    lost = [step for step in found if step.action == plan.LOSE]
    if not lost:
        yield "No claim is deleted: all data stays."
    for step in lost:
        yield f"Lost: {step.subject.replace('pvc/', 'claim ')}{_fate(step.detail, live)}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _fate(volume: str, live: Live) -> str:
    """What the retention policy's deletion of a claim means for the data is the volume's business."""
    if not volume:
        return ", which has no volume yet"
    found = (live.allowed(PERSISTENTVOLUMES) or {}).get(volume)
    policy = found["spec"].get("persistentVolumeReclaimPolicy") if found else None
    if policy == "Retain":
        return f"; its volume {volume} stays, to be bound again by hand (Retain)"
    return f" and the data of its volume {volume}" + (f" ({policy})" if policy else "")


# What the set would become


def becomes(live: Live, kube: Kube, manifest: Obj, before: Obj | None) -> Obj:
    """As the server answers to a dry run of ``kubectl apply``, of either kind."""
    manifest = {**manifest, "metadata": {**manifest["metadata"], "namespace": live.namespace}}
    manifest.pop("status", None)
    path = live.path(STATEFULSETS, meta.name(manifest))
    if before is None:
        answer = kube.request("POST", live.path(STATEFULSETS) + "?" + urlencode(_DRY), manifest)
        return _sure(answer, manifest)
    applied = meta.annotations_of(before).get(LAST_APPLIED)
    if applied is None:
        query = urlencode({**_DRY, "fieldManager": _MANAGER, "force": "true"})
        return _sure(kube.request("PATCH", f"{path}?{query}", manifest, content=APPLY_PATCH), before)
    try:
        former = json.loads(applied)
    except ValueError as error:
        raise UserError(f"annotation {LAST_APPLIED} of {meta.name(before)} is no JSON: {error}") from error
    # Maps that many write to: only what was applied goes from them, never the map.
    shared: Obj = {"labels": {}, "annotations": {}}
    wanted = {**manifest, "metadata": {**shared, **manifest["metadata"]}}
    patch = three_way(schemas.of_kind(STATEFULSETS.group, STATEFULSETS.version, STATEFULSETS.kind), former, wanted)
    return _sure(kube.request("PATCH", f"{path}?{urlencode(_DRY)}", patch, content=STRATEGIC_PATCH), before)


def _sure(answer: Obj, before: Obj) -> Obj:
    """A dry run need not give what only a commit does."""
    metadata = {"uid": "planned", **before["metadata"], **answer["metadata"]}
    return {**answer, "apiVersion": STATEFULSETS.api_version, "kind": STATEFULSETS.kind, "metadata": metadata}
