"""Order, proven from a watch by resourceVersion: starts, deletions, scaling, updates; identities and data through all of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.system import TUTORIAL, System
from tests.trace import Seen, Trace


def manifest(**spec: Any) -> dict[str, Any]:
    """The tutorial's set with web's readiness delayed by 3 s."""
    found: dict[str, Any] = yaml.safe_load((TUTORIAL / "statefulset.yaml").read_text())
    probe = {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 3, "periodSeconds": 1}
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["readinessProbe"] = probe
    container["lifecycle"] = {
        "postStart": {
            "exec": {"command": ["sh", "-c", "test -e /usr/share/nginx/html/index.html || hostname > /usr/share/nginx/html/index.html"]}
        }
    }
    found["spec"].update(spec)
    return found


@pytest.fixture(scope="module")
def members(system: System) -> System:
    system.kubectl("create", "-f", str(TUTORIAL / "service.yaml"))
    return system


def added(name: str) -> Any:
    return lambda seen: seen.type == "ADDED" and seen.name == name


def became_ready(name: str) -> Any:
    return lambda seen: seen.ready and seen.name == name


def identity(system: System, name: str) -> tuple[str, str, str, str]:
    """Hostname, claim, volume and page of a member."""
    claim = system.get("pod", name)["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    volume = system.get("pvc", claim)["spec"]["volumeName"]
    page = system.kubectl("exec", name, "--", "cat", "/usr/share/nginx/html/index.html").strip()
    return system.kubectl("exec", name, "--", "hostname").strip(), claim, volume, page


def test_the_next_member_waits_for_the_one_before(members: System) -> None:
    with Trace(members) as trace:
        members.create(manifest())
        members.wait_ready("web-0", "web-1")
        assert trace.first(added("web-0")) < trace.first(became_ready("web-0")) < trace.first(added("web-1"))
        web0 = members.get("pod", "web-0")
        times = {c["type"]: c["lastTransitionTime"] for c in web0["status"]["conditions"]}
        assert times["Ready"] > times["PodScheduled"], "readiness was delayed"


def test_deleted_members_come_back_in_order_as_they_were(members: System) -> None:
    before = {name: identity(members, name) for name in ("web-0", "web-1")}
    assert before["web-1"] == ("web-1", "www-web-1", before["web-1"][2], "web-1")
    uids = {members.get("pod", name)["metadata"]["uid"] for name in before}
    with Trace(members) as trace:
        members.kubectl("delete", "pod", "web-0", "web-1")
        members.until(lambda: not uids & {p["metadata"]["uid"] for p in members.get("pods")["items"]}, "the old ones are gone", 20)
        members.wait_ready("web-0", "web-1")
        new0 = trace.first(added("web-0"))
        assert new0 < trace.first(became_ready("web-0"), after=new0) < trace.first(added("web-1"))
    assert {name: identity(members, name) for name in before} == before


def test_scaling_goes_up_in_order_and_down_in_reverse(members: System) -> None:
    with Trace(members) as trace:
        members.kubectl("scale", "statefulset", "web", "--replicas=5")
        members.wait_ready(*(f"web-{n}" for n in range(5)))
        for n in (2, 3):
            assert trace.first(became_ready(f"web-{n}")) < trace.first(added(f"web-{n + 1}"))
        members.kubectl("scale", "statefulset", "web", "--replicas=2")
        members.until(lambda: len(members.get("pods")["items"]) == 2, "three members are gone", 60)
        gone = {s.name: s.revision for s in trace.events() if s.type == "DELETED"}
        begun = {n: trace.first(lambda s, n=n: s.terminating and s.name == n) for n in ("web-4", "web-3", "web-2")}  # type: ignore[misc]
        assert begun["web-4"] < gone["web-4"] < begun["web-3"] < gone["web-3"] < begun["web-2"] < gone["web-2"]
    claims = {c["metadata"]["name"] for c in members.get("pvc")["items"]}
    assert claims == {f"www-web-{n}" for n in range(5)}


def test_an_update_goes_from_the_last_member_to_the_first_and_keeps_data(members: System) -> None:
    members.holdfast("image", "tag", "nginx:1.9.1", "nginx:next", "--data", str(members.data))
    before = {name: identity(members, name) for name in ("web-0", "web-1")}

    def updated(name: str) -> Any:
        return lambda seen: seen.image == "nginx:next" and seen.name == name

    def updated_ready(seen: Seen) -> bool:
        return seen.ready and bool(updated("web-1")(seen))

    with Trace(members) as trace:
        members.kubectl("set", "image", "statefulset/web", "nginx=nginx:next")
        members.kubectl("rollout", "status", "statefulset/web", "--timeout=60s")
        assert trace.first(updated("web-1")) < trace.first(updated_ready) < trace.first(updated("web-0"))
    assert {name: identity(members, name) for name in before} == before


def test_a_set_that_is_made_again_finds_its_data(members: System) -> None:
    before = {name: identity(members, name) for name in ("web-0", "web-1")}
    members.kubectl("delete", "statefulset", "web")
    members.until(lambda: members.get("pods") is None, "the members are gone", 60)
    assert len(members.get("pvc")["items"]) == 5
    members.create(manifest())
    members.wait_ready("web-0", "web-1")
    assert {name: identity(members, name) for name in before} == before


def test_down_and_up_keeps_pods_and_data(members: System) -> None:
    before = {name: identity(members, name) for name in ("web-0", "web-1")}
    uids = {p["metadata"]["name"]: p["metadata"]["uid"] for p in members.get("pods")["items"]}
    members.down()
    members.up()

    def restarted() -> bool:
        pods = {p["metadata"]["name"]: p for p in members.get("pods")["items"]}
        counts = [p["status"]["containerStatuses"][0]["restartCount"] for p in pods.values()]
        return {name: p["metadata"]["uid"] for name, p in pods.items()} == uids and counts == [1, 1]

    members.until(restarted, "the same pods run, restarted once", 30)
    members.wait_ready("web-0", "web-1")
    assert {name: identity(members, name) for name in before} == before
