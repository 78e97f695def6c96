"""Live objects of one namespace, as much of them as ``holdfast why`` and ``holdfast plan`` look at. Reads only."""

from __future__ import annotations

from urllib.parse import quote

from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube, Refused
from holdfast.controllers.statefulset import picture
from holdfast.controllers.statefulset.causes import Around
from holdfast.controllers.statefulset.decide import Seen
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import (
    CONTROLLERREVISIONS,
    EVENTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    STATEFULSETS,
    STORAGECLASSES,
)
from holdfast.machinery import meta


class Live:
    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self.namespace = namespace
        self._lists: dict[Resource, dict[str, Obj]] = {}

    def path(self, resource: Resource, name: str = "") -> str:
        return resource.path(quote(self.namespace, safe="") if resource.namespaced else "", quote(name, safe=""))

    def get(self, resource: Resource, name: str) -> Obj | None:
        try:
            found: Obj = self._kube.request("GET", self.path(resource, name))
        except Refused as refusal:
            if refusal.status.get("code") == 404:
                return None
            raise
        return found

    def need(self, resource: Resource, name: str) -> Obj:
        found = self.get(resource, name)
        if found is None:
            raise UserError(f'there is no {resource.kind} "{name}" in namespace "{self.namespace}"')
        return found

    def all(self, resource: Resource, query: str = "") -> dict[str, Obj]:
        """By name; read once."""
        if resource not in self._lists:
            items = self._kube.request("GET", self.path(resource) + query)["items"]
            known = {"apiVersion": resource.api_version, "kind": resource.kind}
            self._lists[resource] = {meta.name(item): {**known, **item} for item in items}
        return self._lists[resource]

    def allowed(self, resource: Resource, query: str = "") -> dict[str, Obj] | None:
        """None where the user may not list them: then less can be said, and that is all."""
        try:
            return self.all(resource, query)
        except Refused as refusal:
            if refusal.status.get("code") != 403:
                raise
            return None

    def seen(self, owner: Obj) -> Seen:
        pods, claims, history = (self.all(r).values() for r in (PODS, PERSISTENTVOLUMECLAIMS, CONTROLLERREVISIONS))
        return picture.take(owner, pods, claims, history)

    def owner_of(self, name: str) -> Obj | None:
        """The set that has, or would have, a pod of that name."""
        stem, _, number = name.rpartition("-")
        return self.get(STATEFULSETS, stem) if stem and number.isdigit() else None

    def around(self) -> Around:
        found: dict[str, list[Obj]] = {}
        events = self.allowed(EVENTS, "?fieldSelector=type%3DWarning") or {}
        for event in sorted(events.values(), key=_stamp, reverse=True):
            found.setdefault((event.get("involvedObject") or {}).get("uid") or "", []).append(event)
        nodes, volumes, classes = (self.allowed(r) for r in (NODES, PERSISTENTVOLUMES, STORAGECLASSES))
        return Around(nodes, self.all(PODS), self.all(PERSISTENTVOLUMECLAIMS), volumes, classes, found)


def _stamp(event: Obj) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
