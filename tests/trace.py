"""What a watch of the pods showed, in the order of resourceVersions, kept while a test goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.system import System, ready


@dataclass(frozen=True)
class Seen:
    """One event of one pod."""

    type: str
    revision: int
    name: str
    uid: str
    ready: bool
    terminating: bool
    image: str


class Trace:
    """``with Trace(system) as trace``: events are recorded until the block ends."""

    def __init__(self, system: System, labels: str = "app=nginx") -> None:
        self._system = system
        begin = system.api.request("GET", "/api/v1/pods")["metadata"]["resourceVersion"]
        options = {"labelSelector": labels, "resourceVersion": begin, "timeoutSeconds": "120"}
        self._events = system.api.watch("/api/v1/namespaces/default/pods", **options)
        self._seen: list[Seen] = []
        self._thread = threading.Thread(target=self._record, daemon=True)

    def __enter__(self) -> Trace:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _record(self) -> None:
        for event in self._events:
            self._seen.append(_seen(event["type"], event["object"]))

    def events(self) -> list[Seen]:
        """All that happened before this call: a mark is made in the system and waited for."""
        mark = self._system.api.request("GET", "/api/v1/pods")["metadata"]["resourceVersion"]
        newest = max((pod_revision(p) for p in self._system.get("pods")["items"]), default=0)
        self._system.until(lambda: newest <= max((s.revision for s in self._seen), default=newest), f"the watch reaches {mark}", 10)
        revisions = [seen.revision for seen in self._seen]
        assert revisions == sorted(revisions), "a watch shows changes in their order"
        return [*self._seen]

    def first(self, test: Callable[[Seen], bool], after: int = 0) -> int:
        """The revision of the first event (after another) of which ``test`` is true."""
        found = next((seen.revision for seen in self.events() if seen.revision > after and test(seen)), None)
        assert found is not None, self._seen
        return found


def pod_revision(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["resourceVersion"])


def _seen(kind: str, pod: dict[str, Any]) -> Seen:
    metadata = pod["metadata"]
    image = pod["spec"]["containers"][0]["image"]
    terminating = bool(metadata.get("deletionTimestamp"))
    return Seen(kind, pod_revision(pod), metadata["name"], metadata["uid"], ready(pod), terminating, image)
