"""Eight clients and some watchers against one API, whatever it is served by; what they saw goes to the judges.

The transport says how a request is carried: in process on virtual time, or over HTTP to a process that is
killed. Objects are ConfigMaps; a write's value is unique, its label red or blue.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

from holdfast.kinds.kind import Obj
from holdfast.lab import linearizable, revisions, watches
from holdfast.lab.history import ABSENT, CONFLICT, DONE, EXISTS, Entry, History, Operation, Snapshot, ViolationError

LABELS = ("red", "blue")
NAMESPACE = "lab"
MERGE = "application/merge-patch+json"


class LostError(Exception):
    """No answer: nobody knows what became of it."""


class Transport(Protocol):
    async def call(self, verb: str, name: str = "", body: Any = None, **options: str) -> tuple[int, Obj]:
        """(code, body) of the answer. Raises LostError."""

    def watch(self, **options: str) -> AsyncGenerator[Obj, None]:
        """Events as on the wire; an expired revision is an ERROR event. Ends, or raises LostError, when the stream breaks."""


class Workload:
    def __init__(
        self, transport: Transport, chance: random.Random, pause: Callable[[], Awaitable[None]], *, prefix: str = "key", keys: int = 4
    ) -> None:
        self.transport = transport
        self.chance = chance
        self.pause = pause
        self.prefix = prefix
        self.keys = [f"{prefix}-{n}" for n in range(keys)]
        self.ends = {f"{prefix}-end-{label}": label for label in LABELS}
        self.history = History()
        self.streams: list[watches.Stream] = []
        self.lost = 0

    async def run(self, *, clients: int = 8, operations: int = 10, watchers: tuple[str, ...] = ("", "red", "")) -> None:
        begin = await self._revision()
        async with asyncio.TaskGroup() as tasks:
            for label in watchers:
                tasks.create_task(self._watcher(label, begin))
            async with asyncio.TaskGroup() as working:
                for client in range(clients):
                    working.create_task(self._client(client, operations))
            for name, label in self.ends.items():
                await self._end(clients, name, label)

    def judge(self, log: list[Entry]) -> None:
        """Raises ViolationError."""
        mine = [entry for entry in log if entry.key.startswith(self.prefix + "-")]
        linearizable.check(self.history)
        revisions.check(self.history, mine)
        for stream in self.streams:
            watches.check(stream, mine)

    async def _revision(self) -> int:
        while True:
            with contextlib.suppress(LostError):
                _, found = await self.transport.call("list")
                return int(found["metadata"]["resourceVersion"])
            await self.pause()

    async def _end(self, client: int, name: str, label: str) -> None:
        """The write every watcher of the label waits for."""
        for attempt in range(1000):
            operation = self._operation(client, "create", name, f"end.{label}.{attempt}")
            if await self._write(operation, "create", body=_object(name, operation.value or "", label)) != "lost":
                return
            await self.pause()

    # Clients

    def _operation(self, client: int, act: str, key: str, value: str | None = None, expected: str | None = None) -> Operation:
        return Operation(client, act, key, self.history.moment(), math.inf, "unknown", value, expected)

    async def _client(self, client: int, operations: int) -> None:
        known: dict[str, tuple[str, str]] = {}
        for count in range(operations):
            await self.pause()
            key = self.chance.choice(self.keys)
            value, label = f"{self.prefix}.{client}.{count}", self.chance.choice(LABELS)
            act = self.chance.choices(("create", "get", "replace", "put", "patch", "delete", "list"), (4, 4, 5, 1, 2, 2, 2))[0]
            if act == "create":
                await self._write(self._operation(client, "create", key, value), "create", body=_object(key, value, label))
            elif act == "get":
                await self._get(client, key, known)
            elif act == "list":
                await self._list(client, known)
            elif act == "delete":
                await self._delete(client, key, known)
            elif act == "put":
                await self._write(self._operation(client, "put", key, value), "update", key, _object(key, value, label))
            else:
                await self._conditional(client, act, key, value, label, known)

    async def _conditional(self, client: int, act: str, key: str, value: str, label: str, known: dict[str, tuple[str, str]]) -> None:
        """A replacement insists on what the client saw last; a patch sometimes does."""
        expected, version = known.get(key, (None, ""))
        body = _object(key, value, label)
        if act == "patch" and self.chance.random() < 0.5:
            expected, version = None, ""
        elif not version:
            await self._get(client, key, known)
            return
        if version:
            body["metadata"]["resourceVersion"] = version
        operation = self._operation(client, "put", key, value, expected)
        await self._write(operation, "patch" if act == "patch" else "update", key, body)

    async def _delete(self, client: int, key: str, known: dict[str, tuple[str, str]]) -> None:
        expected, version = known.get(key, (None, "")) if self.chance.random() < 0.5 else (None, "")
        body = {"preconditions": {"resourceVersion": version}} if version else {}
        await self._write(self._operation(client, "remove", key, None, expected), "delete", key, body)

    async def _write(self, operation: Operation, verb: str, name: str = "", body: Any = None) -> str:
        try:
            code, answer = await self.transport.call(verb, name, body)
        except LostError:
            self.lost += 1
            self.history.lose(operation)
            return "lost"
        outcome = _outcome(code, answer)
        revision = int(answer["metadata"].get("resourceVersion") or 0) if outcome == DONE and verb != "delete" else 0
        self.history.finish(operation, outcome, revision=revision)
        return outcome

    async def _get(self, client: int, key: str, known: dict[str, tuple[str, str]]) -> None:
        operation = self._operation(client, "read", key)
        try:
            code, answer = await self.transport.call("get", key)
        except LostError:
            return
        outcome = _outcome(code, answer)
        if outcome == DONE:
            value, version = answer["data"]["value"], answer["metadata"]["resourceVersion"]
            known[key] = (value, version)
            self.history.finish(operation, DONE, value, int(version))
        else:
            self.history.finish(operation, outcome)

    async def _list(self, client: int, known: dict[str, tuple[str, str]]) -> None:
        """All pages show the moment of the first. A listing that breaks off says nothing."""
        call = self.history.moment()
        limit = self.chance.choice(("", "1", "2", "3"))
        options = {"limit": limit} if limit else {}
        items: list[Obj] = []
        returned = 0
        with contextlib.suppress(LostError):
            while True:
                code, answer = await self.transport.call("list", **options)
                if code == 410:
                    return
                _outcome(code, answer)
                returned = returned or self.history.moment()
                items += answer["items"]
                revision, token = int(answer["metadata"]["resourceVersion"]), answer["metadata"].get("continue")
                if not token:
                    break
                options["continue"] = token
                await self.pause()
            names = [item["metadata"]["name"] for item in items]
            if names != sorted(set(names)):
                raise ViolationError(f"Snapshot: pages repeat or lose the order of names: {names}")
            mine = [item for item in items if item["metadata"]["name"].startswith(self.prefix + "-")]
            found = {i["metadata"]["name"]: (i["data"]["value"], int(i["metadata"]["resourceVersion"])) for i in mine}
            known.update({key: (value, str(version)) for key, (value, version) in found.items()})
            self.history.snapshots.append(Snapshot(client, call, returned, revision, found))

    # Watchers

    async def _watcher(self, label: str, begin: int) -> None:
        stream = watches.Stream(begin, label)
        self.streams.append(stream)
        last = f"{self.prefix}-end-{label or LABELS[-1]}"
        while True:
            options = {"resourceVersion": str(stream.last), "allowWatchBookmarks": "true", "timeoutSeconds": "20"}
            if label:
                options["labelSelector"] = f"color={label}"
            expired = away = False
            with contextlib.suppress(LostError):
                async with contextlib.aclosing(self.transport.watch(**options)) as events:
                    async for event in events:
                        if event["type"] == "ERROR":
                            expired = True
                            break
                        seen = _seen(event)
                        if seen.type == "BOOKMARK" or seen.key.startswith(self.prefix + "-"):
                            stream.events.append(seen)
                        if seen.key == last:
                            return
                        if self.chance.random() < 0.3:
                            await self.pause()
                        elif self.chance.random() < 0.05:
                            away = True
                            break
            if expired:
                state = await self._begin_anew(label)
                stream = watches.Stream(state[0], label)
                self.streams.append(stream)
                if last in state[1]:
                    return
            else:
                stream.resumed.append(len(stream.events))
                for _ in range(10 if away else 1):
                    await self.pause()

    async def _begin_anew(self, label: str) -> tuple[int, set[str]]:
        """As a reflector does after 410: list, then watch from there."""
        options = {"labelSelector": f"color={label}"} if label else {}
        while True:
            with contextlib.suppress(LostError):
                code, found = await self.transport.call("list", **options)
                if code == 200:
                    return int(found["metadata"]["resourceVersion"]), {item["metadata"]["name"] for item in found["items"]}
            await self.pause()


def _object(name: str, value: str, label: str) -> Obj:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"color": label}}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"value": value}}


def _outcome(code: int, answer: Obj) -> str:
    if code in (200, 201):
        return DONE
    found = {(404, "NotFound"): ABSENT, (409, "AlreadyExists"): EXISTS, (409, "Conflict"): CONFLICT}.get((code, answer.get("reason")))
    if found is None:
        raise ViolationError(f"Answer: {code} {answer}")
    return found


def _seen(event: Obj) -> watches.Seen:
    metadata = event["object"]["metadata"]
    revision = int(metadata["resourceVersion"])
    if event["type"] == "BOOKMARK":
        return watches.Seen("BOOKMARK", revision)
    value, label = event["object"].get("data", {}).get("value", ""), (metadata.get("labels") or {}).get("color", "")
    return watches.Seen(event["type"], revision, metadata["name"], value, label, metadata["uid"])


def entry(act: str, revision: int, obj: Obj) -> Entry:
    """A line of the store's log."""
    metadata = obj["metadata"]
    value, label = (obj.get("data") or {}).get("value", ""), (metadata.get("labels") or {}).get("color", "")
    return Entry(revision, act, metadata["name"], value, label, metadata["uid"])
