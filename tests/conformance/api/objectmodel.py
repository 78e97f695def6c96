"""What an API server is, in a few lines: objects, one counter of revisions, and the list of everything that happened.

The state machine plays every verb against this and against a real one, and compares. An object is reduced to what the
verbs are about: identity, revision, color (its label), value, status, finalizers, whether it is being deleted.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import Any

Obj = dict[str, Any]
State = dict[str, "Item"]


@dataclass(frozen=True)
class Shape:
    """How a kind carries the model's value. ``staged``: it has generation and a status of its own."""

    plural: str
    kind: str
    api_version: str
    staged: bool = False

    @property
    def path(self) -> str:
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def body(self, name: str, value: int, color: str, **metadata: Any) -> Obj:
        meta = {"name": name, "labels": {"color": color}, **metadata}
        return {"kind": self.kind, "apiVersion": self.api_version, "metadata": meta, **self.content(value)}

    def content(self, value: int) -> Obj:
        if self.kind == "ConfigMap":
            return {"data": {"value": str(value)}}
        if self.kind == "Secret":
            return {"data": {"value": base64.b64encode(str(value).encode()).decode()}}
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        return {"spec": {"replicas": value, "serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template}}

    def pointer(self) -> str:
        """Where a JSON patch finds the value."""
        return "/spec/replicas" if self.staged else "/data/value"

    def wire(self, value: int) -> Any:
        content = self.content(value)
        return content["spec"]["replicas"] if self.staged else content["data"]["value"]

    def partial(self, value: int) -> Obj:
        """A merge patch's content."""
        return {"spec": {"replicas": value}} if self.staged else self.content(value)

    def value(self, obj: Obj) -> int:
        if self.staged:
            return int(obj["spec"]["replicas"])
        text = obj["data"]["value"]
        return int(base64.b64decode(text) if self.kind == "Secret" else text)

    def read(self, obj: Obj) -> Item:
        meta = obj["metadata"]
        return Item(
            meta["name"],
            meta["uid"],
            int(meta["resourceVersion"]),
            meta["labels"]["color"],
            self.value(obj),
            tuple(meta.get("finalizers") or ()),
            "deletionTimestamp" in meta,
            meta.get("generation", 0),
            (obj.get("status") or {}).get("replicas", 0) if self.staged else 0,
        )


CONFIGMAP = Shape("configmaps", "ConfigMap", "v1")
SECRET = Shape("secrets", "Secret", "v1")
STATEFULSET = Shape("statefulsets", "StatefulSet", "apps/v1", staged=True)


@dataclass(frozen=True)
class Item:
    name: str
    uid: str
    revision: int
    color: str
    value: int
    finalizers: tuple[str, ...] = ()
    terminating: bool = False
    generation: int = 0
    status: int = 0


@dataclass(frozen=True)
class Happened:
    revision: int
    plural: str
    before: Item | None
    after: Item | None


@dataclass
class Model:
    now: dict[str, State] = field(default_factory=dict)
    events: list[Happened] = field(default_factory=list)
    revision: int = 0
    compacted: int = 0

    def get(self, shape: Shape, name: str) -> Item | None:
        return self.now.setdefault(shape.plural, {}).get(name)

    def put(self, shape: Shape, item: Item) -> None:
        before = self.get(shape, item.name)
        self.now[shape.plural][item.name] = item
        self._happened(item.revision, shape, before, item)

    def remove(self, shape: Shape, name: str, revision: int) -> None:
        self._happened(revision, shape, self.now[shape.plural].pop(name), None)

    def _happened(self, revision: int, shape: Shape, before: Item | None, after: Item | None) -> None:
        assert revision > self.revision, (revision, self.revision)
        self.revision = revision
        self.events.append(Happened(revision, shape.plural, before, after))

    def at(self, shape: Shape, revision: int) -> State:
        state: State = {}
        for event in self.events:
            if event.revision > revision:
                break
            if event.plural == shape.plural:
                if event.after is not None:
                    state[event.after.name] = event.after
                elif event.before is not None:
                    del state[event.before.name]
        return state

    def listed(self, shape: Shape, color: str = "", revision: int | None = None) -> list[Item]:
        state = self.now.get(shape.plural, {}) if revision is None else self.at(shape, revision)
        return [state[name] for name in sorted(state) if color in ("", state[name].color)]

    def watched(self, shape: Shape, after: int, color: str = "") -> list[tuple[str, Item]]:
        """The events a watcher is sent, with the state it is shown: for a deletion the one before it."""
        found = []
        for event in self.events:
            if event.plural != shape.plural or event.revision <= after:
                continue
            was = event.before is not None and color in ("", event.before.color)
            now = event.after is not None and color in ("", event.after.color)
            if now and event.after is not None:
                found.append(("MODIFIED" if was else "ADDED", event.after))
            elif was and event.before is not None:
                found.append(("DELETED", replace(event.before, revision=event.revision)))
        return found
