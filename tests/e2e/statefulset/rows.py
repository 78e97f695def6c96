"""What the row tests of StatefulSet stand on: one system for each runtime, a namespace for each test, and members whose
readiness the test decides (a readiness gate), so that order can be held at any point.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.kubectl import Kubectl
from tests.system import System, kubectl_path, ready

Obj = dict[str, Any]
GATE = "test/gate"
PROGRAM = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"
_numbers = itertools.count()


def template(*, gated: bool = False, image: str = "busybox", claims: bool = False) -> Obj:
    container: Obj = {"name": "main", "image": image, "command": ["sh", "-c", PROGRAM]}
    if claims:
        container["volumeMounts"] = [{"name": "www", "mountPath": "/data"}]
    spec: Obj = {"terminationGracePeriodSeconds": 5, "automountServiceAccountToken": False, "containers": [container]}
    if gated:
        spec["readinessGates"] = [{"conditionType": GATE}]
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def statefulset(name: str = "web", replicas: int = 3, *, gated: bool = False, claims: bool = False, **spec: Any) -> Obj:
    body: Obj = {
        "replicas": replicas,
        "serviceName": name,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(gated=gated, claims=claims),
        **spec,
    }
    if claims:
        wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "300Mi"}}}
        body["volumeClaimTemplates"] = [{"metadata": {"name": "www"}, "spec": wanted}]
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": body}


class Rows:
    """One namespace. ``runtime`` is simulated or oci."""

    def __init__(self, system: System, runtime: str) -> None:
        self.system = system
        self.runtime = runtime
        self.namespace = f"rows-{next(_numbers)}"
        self.kubectl = Kubectl(kubectl_path(), system, self.namespace)
        self.api("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def close(self) -> None:
        self.system.api.request("DELETE", f"/api/v1/namespaces/{self.namespace}")

    # Asking

    def api(self, method: str, path: str, body: Any = None, content: str = "") -> Any:
        return self.system.api.request(method, path, body, content=content)

    def path(self, plural: str, name: str = "", below: str = "") -> str:
        root = "/apis/apps/v1" if plural in ("statefulsets", "controllerrevisions") else "/api/v1"
        return "/".join(part for part in (f"{root}/namespaces/{self.namespace}/{plural}", name, below) if part)

    def all(self, plural: str) -> dict[str, Obj]:
        return {item["metadata"]["name"]: item for item in self.api("GET", self.path(plural))["items"]}

    def pods(self) -> dict[str, Obj]:
        return self.all("pods")

    def get(self, plural: str, name: str) -> Obj:
        found: Obj = self.api("GET", self.path(plural, name))
        return found

    def set(self, name: str = "web") -> Obj:
        return self.get("statefulsets", name)

    def events(self) -> list[tuple[str, str, str]]:
        found = self.api("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [(event["type"], event["reason"], event["message"]) for event in found]

    def raw(self, plural: str, name: str) -> bytes:
        """The very bytes of an answer."""
        return self.system.api.raw("GET", self.path(plural, name))[1]

    def revision(self) -> str:
        """Of the whole store, now: where a trace begins."""
        return str(self.api("GET", self.path("pods"))["metadata"]["resourceVersion"])

    def trace(self, since: str) -> list[tuple[str, Obj]]:
        """Every event of the pods after that revision, in order: type and pod."""
        events = self.system.api.watch(self.path("pods"), resourceVersion=since, timeoutSeconds="1")
        return [(event["type"], event["object"]) for event in events]

    # Doing

    def create(self, obj: Obj) -> Obj:
        obj = copy.deepcopy(obj)
        obj["metadata"]["namespace"] = self.namespace
        return self.system.api.create(obj)

    def patch(self, plural: str, name: str, patch: Any, below: str = "") -> Obj:
        found: Obj = self.api("PATCH", self.path(plural, name, below), patch, content="application/merge-patch+json")
        return found

    def change(self, name: str = "web", **spec: Any) -> Obj:
        return self.patch("statefulsets", name, {"spec": spec})

    def open(self, *names: str, status: str = "True") -> None:
        """Lets gated members become Ready, or (``status`` False) unready again."""
        for name in names:
            self.until(lambda name=name: name in self.pods(), f"{name} is there")  # type: ignore[misc]
            self.gate(name, status)
            self.until(lambda name=name: self.is_ready(name) == (status == "True"), f"{name} is Ready: {status}")  # type: ignore[misc]

    def gate(self, name: str, status: str) -> None:
        """Without waiting for what follows."""
        body = {"status": {"conditions": [{"type": GATE, "status": status}]}}
        self.api("PATCH", self.path("pods", name, "status"), body, content="application/strategic-merge-patch+json")

    def shut(self, *names: str) -> None:
        self.open(*names, status="False")

    # Waiting

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 40) -> None:
        self.system.until(condition, f"{self.namespace}: {what}", seconds)

    def is_ready(self, name: str) -> bool:
        return ready(self.pods().get(name))

    def wait(self, *names: str) -> dict[str, Obj]:
        """Until exactly these members are there, all Ready."""
        self.until(lambda: set(self.pods()) == set(names) and all(map(ready, self.pods().values())), f"{names} are Ready")
        return self.pods()

    def rest(self, name: str = "web") -> Obj:
        """Until the controller has looked at the set as it is now, twice: then it had its chance to act."""
        for _ in range(2):
            limit = int(self.set(name)["spec"].get("revisionHistoryLimit", 10)) % 9 + 11
            wanted = self.change(name, revisionHistoryLimit=limit)["metadata"]["generation"]
            self.until(lambda wanted=wanted: self.set(name)["status"].get("observedGeneration", 0) >= wanted, "observed")  # type: ignore[misc]
        return self.set(name)

    def roll(self, image: str = "busybox:two", name: str = "web", *, gated: bool = False, claims: bool = False) -> Obj:
        """A new template: an annotation, so that any image will do; none is the first template again."""
        changed = template(gated=gated, claims=claims)
        changed["metadata"]["annotations"] = {"round": image} if image else None
        return self.change(name, template=changed)


def rounds(pods: dict[str, Obj]) -> dict[str, str]:
    return {name: (pod["metadata"].get("annotations") or {}).get("round", "") for name, pod in pods.items()}


def revisions_at_once(trace: list[tuple[str, Obj]]) -> int:
    """Of how many revisions there were pods at one instant, at most."""
    there: dict[str, str] = {}
    most = 0
    for kind, pod in trace:
        there[pod["metadata"]["uid"]] = pod["metadata"]["labels"]["controller-revision-hash"]
        if kind == "DELETED":
            del there[pod["metadata"]["uid"]]
        most = max(most, len(set(there.values())))
    return most


def uids(objects: dict[str, Obj]) -> dict[str, str]:
    return {name: obj["metadata"]["uid"] for name, obj in objects.items()}


def owners(obj: Obj) -> list[tuple[str, str]]:
    return [(reference["kind"], reference["name"]) for reference in obj["metadata"].get("ownerReferences") or []]


def refused(done: Any) -> str:
    """What kubectl said when it failed."""
    assert done.returncode != 0, done.stdout
    return str(done.stderr.decode())


def running(tmp: Path, runtime: str) -> Iterator[System]:
    system = System(tmp / runtime)
    system.up("--listen", "127.0.0.1:0", "--runtime", runtime)
    try:
        yield system
    finally:
        system.down()
        system.reset()
