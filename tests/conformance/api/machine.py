"""The state machine: each rule sends one request, says what the model expects of it, and compares the whole answer.

One onlooker per kind watches from the beginning and must have seen the model's list of events when all is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from holdfast.registry.verbs import common
from tests.conformance.api.entrance import Entrance
from tests.conformance.api.objectmodel import CONFIGMAP, STATEFULSET, Item, Model, Obj, Shape

T = TypeVar("T")
NAMES = st.sampled_from(["a", "b"])
WHICH = st.integers(0, 9)
"""One of the objects that are there; 0 = one that is not."""
COLORS = st.sampled_from(["red", "blue"])
SELECTED = st.sampled_from(["", "red", "blue"])
VALUES = st.integers(0, 3)
FINALIZERS = st.sampled_from([(), (), ("x.io/one",), ("x.io/one", "x.io/two")])
VERSIONS = st.sampled_from(["none", "none", "right", "stale"])
RARELY = st.sampled_from([False, False, False, True])
MATCHES = st.sampled_from(["", "0", "NotOlderThan", "Exact", "legacy"])
PAST = st.floats(0, 1)
FUTURE_WAIT = 0.01


class ApiMachine(RuleBasedStateMachine):
    """Subclasses say which kinds, how the server is reached, and whether anybody else writes there."""

    shapes: tuple[Shape, ...] = (CONFIGMAP, STATEFULSET)
    alone = True

    def __init__(self) -> None:
        super().__init__()
        self.loop = self.new_loop()
        self.stack = contextlib.AsyncExitStack()
        self.model = Model()
        self.news = asyncio.Event()
        self.pages: list[tuple[Shape, str, str, int, str]] = []
        self.run(self._begin())

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 10))

    async def enter(self) -> Entrance:
        raise NotImplementedError

    async def _begin(self) -> None:
        self.entrance = await self.enter()
        self.stack.enter_context(mock.patch.object(common, "FUTURE_WAIT", FUTURE_WAIT))
        self.first = self.model.revision = self.entrance.registry.store.revision
        self.seen: dict[str, list[tuple[str, Item]]] = {shape.plural: [] for shape in self.shapes}
        self.watchers = [self.loop.create_task(self._look_on(shape)) for shape in self.shapes]
        for watcher in self.watchers:
            watcher.add_done_callback(lambda _: self.news.set())

    async def _look_on(self, shape: Shape) -> None:
        async for event in self.entrance.watch(shape, resourceVersion=str(self.first)):
            assert event["type"] != "ERROR", event
            self.seen[shape.plural].append((event["type"], shape.read(event["object"])))
            self.news.set()

    async def _complete(self, shape: Shape, onlooker: asyncio.Task[None]) -> None:
        """The onlooker of a kind has seen as much as the model knows of."""
        while len(self.seen[shape.plural]) < len(self.model.watched(shape, self.first)) and not onlooker.done():
            self.news.clear()
            await self.news.wait()

    def teardown(self) -> None:
        try:
            self.run(self._end())
        finally:
            self.run(self._close())

    async def _end(self) -> None:
        for shape, onlooker in zip(self.shapes, self.watchers, strict=True):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._complete(shape, onlooker), 5)
            if onlooker.done():
                await onlooker
            assert self.seen[shape.plural] == self.model.watched(shape, self.first)

    async def _close(self) -> None:
        for watcher in self.watchers:
            watcher.cancel()
        await asyncio.gather(*self.watchers, return_exceptions=True)
        await self.stack.aclose()

    # What the rules share

    async def call(self, verb: str, shape: Shape, name: str = "", body: Any = None, **more: Any) -> tuple[int, Obj]:
        return await self.entrance.call(verb, shape, name, body, **more)

    def _refused(self, answer: tuple[int, Obj], code: int, reason: str) -> None:
        assert (answer[0], answer[1].get("reason")) == (code, reason), answer

    def written(self, shape: Shape) -> int:
        """The revision of the write that was just made; alone here, it must be the next one."""
        registry = self.entrance.registry
        revision = registry.cache.changed(f"/registry/{shape.plural}/")
        if self.alone:
            assert revision == registry.store.revision == self.model.revision + 1
        return revision

    def unchanged(self) -> None:
        if self.alone:
            assert self.entrance.registry.store.revision == self.model.revision

    def put(self, shape: Shape, code: int, answer: Obj, wanted: Item, *, created: bool = False) -> None:
        """A write was answered: it is stored as the model has it, at a new revision."""
        assert code == (201 if created else 200), answer
        found = shape.read(answer)
        wanted = replace(wanted, revision=self.written(shape), uid=found.uid if created else wanted.uid)
        assert found == wanted
        self.model.put(shape, wanted)

    def version(self, item: Item, which: str) -> dict[str, str]:
        return {"none": {}, "right": {"resourceVersion": str(item.revision)}, "stale": {"resourceVersion": str(item.revision - 1)}}[
            which
        ]

    def past(self, share: float) -> int:
        return self.first + round((self.model.revision - self.first) * share)

    def one(self, which: int, shapes: tuple[Shape, ...] | None = None) -> tuple[Shape, str, Item | None]:
        shapes = shapes or self.shapes
        there = [(shape, item) for shape in shapes for item in self.model.listed(shape)]
        if not which or not there:
            return shapes[0], "nobody", None
        shape, item = there[which % len(there)]
        return shape, item.name, item

    @initialize(finalizers=FINALIZERS)
    def begin(self, finalizers: tuple[str, ...]) -> None:
        """Most rules are about objects that are there."""
        for shape in self.shapes:
            code, answer = self.run(self.call("create", shape, "", shape.body("a", 1, "red", finalizers=[*finalizers])))
            self.put(shape, code, answer, self._new(shape, "a", 1, "red", finalizers), created=True)

    # Reads

    @rule(which=WHICH, at=st.sampled_from(["", "0", "past", "now", "future"]), share=PAST)
    def get(self, which: int, at: str, share: float) -> None:
        shape, name, item = self.one(which)
        revision = {"past": self.past(share), "now": self.model.revision, "future": self.model.revision + 10**6}.get(at, at)
        answer = self.run(self.call("get", shape, name, resourceVersion=str(revision)))
        if at == "future":
            self._refused(answer, 504, "Timeout")
        elif item is None:
            self._refused(answer, 404, "NotFound")
        else:
            assert shape.read(answer[1]) == item

    @rule(
        data=st.data(),
        color=SELECTED,
        match=st.sampled_from(["", "0", "NotOlderThan", "Exact", "legacy"]),
        limit=st.integers(0, 3),
        share=PAST,
    )
    def list(self, data: Any, color: str, match: str, limit: int, share: float) -> None:
        shape = data.draw(st.sampled_from(self.shapes))
        options = {"labelSelector": f"color={color}"} if color else {}
        exact = match == "Exact" or (match == "legacy" and limit > 0)
        if match:
            options["resourceVersion"] = "0" if match == "0" else str(max(self.past(share), 1))
        if match in ("Exact", "NotOlderThan"):
            options["resourceVersionMatch"] = match
        if limit:
            options["limit"] = str(limit)
        answer = self.run(self.call("list", shape, **options))
        asked = int(options.get("resourceVersion", "0"))
        if answer[0] == 410 and exact:
            assert asked < self.model.compacted
            return
        if match in ("0", "NotOlderThan"):
            limit = 0
        self._page(shape, answer, color, asked if exact else None, "", limit)

    def _page(self, shape: Shape, answer: tuple[int, Obj], color: str, revision: int | None, after: str, limit: int) -> None:
        code, body = answer
        assert code == 200, body
        shown = int(body["metadata"]["resourceVersion"])
        if revision is not None:
            assert shown == revision
        elif self.alone:
            assert shown == self.model.revision
        wanted = [item for item in self.model.listed(shape, color, revision) if item.name > after]
        page = wanted[:limit] if limit else wanted
        assert [shape.read(item) for item in body["items"]] == page
        token = body["metadata"].get("continue")
        if not color:
            assert bool(token) == (len(wanted) > len(page))
            assert (body["metadata"].get("remainingItemCount") or 0) == len(wanted) - len(page)
        elif not token:
            assert page == wanted
        if token:
            self.pages.append((shape, color, token, shown, page[-1].name))

    @rule(which=st.integers(0, 5), limit=st.integers(0, 3))
    def next_page(self, which: int, limit: int) -> None:
        if not self.pages:
            return
        shape, color, token, revision, after = self.pages.pop(which % len(self.pages))
        options = {
            "continue": token,
            **({"labelSelector": f"color={color}"} if color else {}),
            **({"limit": str(limit)} if limit else {}),
        }
        answer = self.run(self.call("list", shape, **options))
        if answer[0] != 410:
            self._page(shape, answer, color, revision, after, limit)
            return
        assert revision < self.model.compacted
        self._refused(answer, 410, "Expired")
        options["continue"] = answer[1]["metadata"]["continue"]
        self._page(shape, self.run(self.call("list", shape, **options)), color, None, after, limit)

    @rule(data=st.data(), color=SELECTED, share=PAST)
    def watch(self, data: Any, color: str, share: float) -> None:
        shape = data.draw(st.sampled_from(self.shapes))
        revision = max(self.past(share), 1)
        wanted = self.model.watched(shape, revision, color)
        options = {"labelSelector": f"color={color}"} if color else {}
        found = self.run(self._take(shape, len(wanted), resourceVersion=str(revision), **options))
        if found and found[0]["type"] == "ERROR":
            self._refused((410, found[0]["object"]), 410, "Expired")
            assert revision < self.model.compacted, found[0]
        else:
            assert [(event["type"], shape.read(event["object"])) for event in found] == wanted

    @rule(data=st.data(), color=SELECTED)
    def watch_list(self, data: Any, color: str) -> None:
        shape = data.draw(st.sampled_from(self.shapes))
        wanted = self.model.listed(shape, color)
        options = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
        if color:
            options["labelSelector"] = f"color={color}"
        *found, bookmark = self.run(self._take(shape, len(wanted) + 1, **options))
        assert [(event["type"], shape.read(event["object"])) for event in found] == [("ADDED", item) for item in wanted]
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

    async def _take(self, shape: Shape, count: int, **options: str) -> list[Obj]:
        found: list[Obj] = []
        if not count:
            return found
        async with contextlib.aclosing(self.entrance.watch(shape, **options)) as events:
            async for event in events:
                found.append(event)
                if len(found) == count or event["type"] == "ERROR":
                    break
        return found

    @rule(share=PAST)
    def compact(self, share: float) -> None:
        revision = self.past(share)
        self.run(self.entrance.registry.store.compact(revision))
        self.model.compacted = max(self.model.compacted, revision)

    # Writes

    @rule(data=st.data(), name=NAMES, value=VALUES, color=COLORS, finalizers=FINALIZERS, dry=RARELY)
    def create(self, data: Any, name: str, value: int, color: str, finalizers: tuple[str, ...], dry: bool) -> None:
        shape = data.draw(st.sampled_from(self.shapes))
        body = shape.body(name, value, color, finalizers=[*finalizers])
        code, answer = self.run(self.call("create", shape, "", body, **({"dryRun": "All"} if dry else {})))
        if self.model.get(shape, name) is not None:
            self._refused((code, answer), 409, "AlreadyExists")
        elif dry:
            assert (code, "resourceVersion" in answer["metadata"]) == (201, False)
            self.unchanged()
        else:
            self.put(shape, code, answer, self._new(shape, name, value, color, finalizers), created=True)

    def _new(self, shape: Shape, name: str, value: int, color: str, finalizers: tuple[str, ...] = ()) -> Item:
        return Item(name, "", 0, color, value, finalizers, generation=int(shape.staged))

    @rule(data=st.data(), value=VALUES, color=COLORS)
    def create_with_a_generated_name(self, data: Any, value: int, color: str) -> None:
        shape = data.draw(st.sampled_from(self.shapes))
        body = shape.body("", value, color, generateName="g-")
        code, answer = self.run(self.call("create", shape, "", body))
        name = answer["metadata"]["name"]
        assert (name[:2], len(name)) == ("g-", 7)
        self.put(shape, code, answer, self._new(shape, name, value, color), created=True)

    @rule(which=WHICH, value=VALUES, color=COLORS, finalizers=FINALIZERS, version=VERSIONS, dry=RARELY)
    def update(self, which: int, value: int, color: str, finalizers: tuple[str, ...], version: str, dry: bool) -> None:
        shape, name, item = self.one(which)
        metadata = self.version(item, version) if item is not None else {}
        body = shape.body(name, value, color, finalizers=[*finalizers], **metadata)
        answer = self.run(self.call("update", shape, name, body, **({"dryRun": "All"} if dry else {})))
        self._changed(shape, answer, item, version, dry=dry, value=value, color=color, finalizers=finalizers)

    @rule(which=WHICH, value=VALUES, how=st.sampled_from(["merge", "strategic", "json"]), version=VERSIONS)
    def patch(self, which: int, value: int, how: str, version: str) -> None:
        shape, name, item = self.one(which)
        metadata = self.version(item, version) if item is not None else {}
        body: Any = {"metadata": metadata, **shape.partial(value)}
        if how == "json":
            body = [{"op": "replace", "path": shape.pointer(), "value": shape.wire(value)}]
            body += [{"op": "replace", "path": f"/metadata/{field}", "value": given} for field, given in metadata.items()]
        self._changed(shape, self.run(self.call("patch", shape, name, body, patch=how)), item, version, value=value)

    @rule(which=WHICH, right=st.booleans(), value=VALUES)
    def patch_with_a_test(self, which: int, right: bool, value: int) -> None:
        shape, name, item = self.one(which)
        tested = (item.value if item is not None else 0) + int(not right)
        steps = (("test", tested), ("replace", value))
        body = [{"op": op, "path": shape.pointer(), "value": shape.wire(given)} for op, given in steps]
        answer = self.run(self.call("patch", shape, name, body, patch="json"))
        if item is not None and item.value != tested:
            self._refused(answer, 422, "Invalid")
        else:
            self._changed(shape, answer, item, "none", value=value)

    def _changed(
        self, shape: Shape, answer: tuple[int, Obj], item: Item | None, version: str, *, dry: bool = False, **changes: Any
    ) -> None:
        """A write to what is there: refused, without effect, the end of a deletion, or a new revision."""
        if item is None:
            self._refused(answer, 404, "NotFound")
            return
        if version == "stale":
            self._refused(answer, 409, "Conflict")
            return
        wanted = replace(item, **changes)
        if item.terminating and set(wanted.finalizers) - set(item.finalizers):
            self._refused(answer, 422, "Invalid")
            return
        if shape.staged and wanted.value != item.value:
            wanted = replace(wanted, generation=item.generation + 1)
        code, body = answer
        assert code == 200, body
        if dry or wanted == item:
            assert replace(shape.read(body), revision=item.revision) == wanted
            self.unchanged()
        elif wanted.terminating and not wanted.finalizers:
            assert shape.read(body) == wanted
            self.model.remove(shape, item.name, self.written(shape))
        else:
            self.put(shape, code, body, wanted)

    @rule(which=WHICH, status=VALUES, value=VALUES, version=VERSIONS)
    def update_status(self, which: int, status: int, value: int, version: str) -> None:
        """A spec sent along is of no account."""
        staged = tuple(shape for shape in self.shapes if shape.staged)
        if not staged:
            return
        shape, name, item = self.one(which, staged)
        metadata = self.version(item, version) if item is not None else {}
        finalizers = [*item.finalizers] if item is not None else []
        body = shape.body(name, value, item.color if item is not None else "red", finalizers=finalizers, **metadata)
        answer = self.run(self.call("update", shape, name, {**body, "status": {"replicas": status}}, subresource="status"))
        self._changed(shape, answer, item, version, status=status)

    # Deletion

    @rule(
        which=WHICH,
        uid=st.sampled_from(["none", "none", "right", "wrong"]),
        version=VERSIONS,
        policy=st.sampled_from(["", "", "Background", "Orphan", "Foreground"]),
        dry=RARELY,
    )
    def delete_in_any_way(self, which: int, uid: str, version: str, policy: str, dry: bool) -> None:
        self._delete(which, uid, version, policy, dry=dry)

    def _delete(self, which: int, uid: str = "none", version: str = "none", policy: str = "", *, dry: bool = False) -> None:
        shape, name, item = self.one(which)
        if not self.alone:
            policy = ""  # the garbage collector would take its finalizers away in its own time
        conditions = self.version(item, version) if item is not None else {}
        if uid != "none":
            conditions["uid"] = item.uid if item is not None and uid == "right" else "12345"
        body: Obj = {"preconditions": conditions} if conditions else {}
        body |= {"propagationPolicy": policy} if policy else {}
        body |= {"dryRun": ["All"]} if dry else {}
        answer = self.run(self.call("delete", shape, name, body))
        if item is None:
            self._refused(answer, 404, "NotFound")
        elif uid == "wrong" or version == "stale":
            self._refused(answer, 409, "Conflict")
        elif dry:
            assert answer[0] == 200, answer
            self.unchanged()
        else:
            assert answer[0] in (200, 202), answer
            self._deleted(shape, item, policy)

    @rule(which=WHICH)
    def delete_at_once(self, which: int) -> None:
        self._delete(which)

    def _deleted(self, shape: Shape, item: Item, policy: str, revision: int = 0) -> None:
        """What one deletion does: at once, or as a wait for finalizers."""
        finalizers = item.finalizers
        if policy:  # also of a deletion that has begun: a client may change its mind
            kept = tuple(name for name in finalizers if name not in ("orphan", "foregroundDeletion"))
            finalizers = kept + {"Orphan": ("orphan",), "Foreground": ("foregroundDeletion",)}.get(policy, ())
        begun = item if item.terminating else replace(item, terminating=True, generation=item.generation + int(shape.staged))
        wanted = replace(begun, finalizers=finalizers)
        if not finalizers:
            self.model.remove(shape, item.name, revision or self.written(shape))
        elif wanted != item:
            self.model.put(shape, replace(wanted, revision=revision or self.written(shape)))
        else:
            self.unchanged()

    @rule(which=st.integers(0, 5), color=COLORS, count=st.integers(0, 1))
    def take_finalizers_away(self, which: int, color: str, count: int) -> None:
        """From an object that waits for them: all but ``count``."""
        waiting = [(shape, item) for shape in self.shapes for item in self.model.listed(shape) if item.terminating]
        if not waiting:
            return
        shape, item = waiting[which % len(waiting)]
        finalizers = item.finalizers[:count]
        body = shape.body(item.name, item.value, color, finalizers=[*finalizers])
        answer = self.run(self.call("update", shape, item.name, body))
        self._changed(shape, answer, item, "none", color=color, finalizers=finalizers)

    @rule(data=st.data(), color=SELECTED, rarely=RARELY)
    def delete_collection(self, data: Any, color: str, rarely: bool) -> None:
        if not rarely:
            return
        shape = data.draw(st.sampled_from(self.shapes))
        options = {"labelSelector": f"color={color}"} if color else {}
        wanted = self.model.listed(shape, color)
        code, body = self.run(self.call("deletecollection", shape, "", {}, **options))
        assert code == 200, body
        if not self.alone:  # where others write too, revisions have gaps: the cache knows the deletions'
            self._collected(shape, wanted)
            return
        for item in wanted:
            if not item.terminating:
                self._deleted(shape, item, "", self.model.revision + 1)
        self.unchanged()

    def _collected(self, shape: Shape, wanted: list[Item]) -> None:
        events = self.entrance.registry.cache.since(f"/registry/{shape.plural}/", self.model.revision)
        assert events is not None
        revisions = iter([event.revision for event in events])
        for item in wanted:
            if not item.terminating:
                self._deleted(shape, item, "", next(revisions))
