"""Deployments, ReplicaSets and ReplicationControllers as somebody uses them: stock kubectl, and a node on which nothing runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.controllers.deployment import objects
from tests.kubectl import Kubectl
from tests.system import System

ROLLED = 'deployment "{}" successfully rolled out'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("deployments") / "d")
    running.up("--runtime", "simulated", "--listen", "127.0.0.1:0")
    try:
        yield running
    finally:
        running.reset()


def deployment(name: str, replicas: int = 3, image: str = "one:1", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "c", "image": image, "command": ["sleep", "3600"]}
    template = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
    given = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": given}


def create(k: Kubectl, *made: dict[str, Any]) -> None:
    for each in made:
        k("create", "-f", "-", stdin=json.dumps(each))


def rolled_out(k: Kubectl, name: str) -> None:
    assert ROLLED.format(name) in k("rollout", "status", f"deploy/{name}", "--timeout=60s", timeout=70)


def pods(k: Kubectl, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = k.json("get", "pods", "-l", f"app={name}")["items"]
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def images(k: Kubectl, name: str) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in pods(k, name)}


def events(k: Kubectl, name: str) -> list[tuple[str, str, str]]:
    """(reason, message, who says so) about an object and those whose names begin like its own."""
    found = k.json("get", "events")["items"]
    mine = [e for e in found if e["involvedObject"]["name"].startswith(name)]
    return [(e["reason"], e["message"], e["source"]["component"]) for e in mine]


def test_created_exposed_and_scaled(k: Kubectl) -> None:
    assert k("create", "deployment", "web", "--image=one:1", "--replicas=3") == "deployment.apps/web created\n"
    rolled_out(k, "web")
    (row,) = k.rows("get", "deploy", "web")[1:]
    assert row[:4] == ["web", "3/3", "3", "3"]
    (owned,) = k.json("get", "rs", "-l", "app=web")["items"]
    name, digest = owned["metadata"]["name"], owned["metadata"]["labels"]["pod-template-hash"]
    assert name == f"web-{digest}"
    for pod in pods(k, "web"):
        assert re.fullmatch(rf"{name}-[a-z0-9]{{5}}", pod["metadata"]["name"])
        assert pod["metadata"]["generateName"] == f"{name}-"
        assert pod["metadata"]["labels"]["pod-template-hash"] == digest
    k.system.until(lambda: len([e for e in events(k, "web") if e[0] == "SuccessfulCreate"]) == 3, "the pods are told of")
    told = events(k, "web")
    assert ("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 3", "deployment-controller") in told
    made = {f"Created pod: {pod['metadata']['name']}" for pod in pods(k, "web")}
    assert {text for reason, text, who in told if (reason, who) == ("SuccessfulCreate", "replicaset-controller")} == made

    k("expose", "deploy", "web", "--port=80")
    k.system.until(lambda: _ready_endpoints(k, "web") == 3, "the Service has three endpoints")
    k("scale", "deploy", "web", "--replicas=5", "--current-replicas=3")
    rolled_out(k, "web")
    assert len(pods(k, "web")) == 5
    k("scale", "deploy", "web", "--replicas=0")
    k.system.until(lambda: not k.json("get", "pods", "-l", "app=web")["items"], "no pod is left")
    assert k("autoscale", "deploy", "web", "--max=3").startswith("horizontalpodautoscaler.autoscaling/web")
    k.system.until(lambda: any(f"replica set {name} from 5 to 0" in e[1] for e in events(k, "web")), "scaling down is told")
    described = k("describe", "deploy", "web")
    assert re.search(rf"NewReplicaSet:\s+{name} \(0/0 replicas created\)", described)
    assert f"Scaled down replica set {name} from 5 to 0" in described


def _ready_endpoints(k: Kubectl, name: str) -> int:
    slices = k.json("get", "endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
    return sum(e["conditions"]["ready"] for each in slices for e in each.get("endpoints") or [])


def test_rolled_out_watched_and_undone(k: Kubectl) -> None:
    create(k, deployment("roll"))
    rolled_out(k, "roll")
    k("annotate", "deploy", "roll", "kubernetes.io/change-cause=first")
    k("set", "image", "deploy/roll", "c=two:1")
    rolled_out(k, "roll")
    assert images(k, "roll") == {"two:1"}
    k("annotate", "deploy", "roll", "kubernetes.io/change-cause=second", "--overwrite")
    k.system.until(lambda: _history(k, "roll") == {"1": "first", "2": "second"}, "both revisions have their causes")
    assert "two:1" in k("rollout", "history", "deploy/roll", "--revision=2")

    assert k("rollout", "undo", "deploy/roll") == "deployment.apps/roll rolled back\n"
    rolled_out(k, "roll")
    assert images(k, "roll") == {"one:1"}
    k.system.until(lambda: set(_history(k, "roll")) == {"2", "3"}, "the first revision is the third now")
    sets = {rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: rs for rs in _sets(k, "roll")}
    assert sets["3"]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    k("rollout", "undo", "deploy/roll", "--to-revision=2")
    rolled_out(k, "roll")
    assert images(k, "roll") == {"two:1"}
    assert k.field("deploy", "roll", path=".metadata.annotations.deployment\\.kubernetes\\.io/revision") == "4"


def _sets(k: Kubectl, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = k.json("get", "rs", "-l", f"app={name}")["items"]
    return found


def _history(k: Kubectl, name: str) -> dict[str, str]:
    lines = k("rollout", "history", f"deploy/{name}").splitlines()[2:]
    return dict(line.split(None, 1) for line in map(str.strip, lines) if line)  # type: ignore[misc]


def test_paused_it_waits_and_resumed_it_rolls_once(k: Kubectl) -> None:
    create(k, deployment("slow"))
    rolled_out(k, "slow")
    k("rollout", "pause", "deploy/slow")
    k("set", "image", "deploy/slow", "c=two:1")
    k("set", "env", "deploy/slow", "A=b")
    k("scale", "deploy", "slow", "--replicas=4")
    k.system.until(lambda: len(pods(k, "slow")) == 4, "a paused Deployment is scaled")
    assert images(k, "slow") == {"one:1"}
    k.system.until(lambda: _reason(k, "slow") == "DeploymentPaused", "it says that it is paused")
    k("rollout", "resume", "deploy/slow")
    rolled_out(k, "slow")
    assert images(k, "slow") == {"two:1"}
    assert len(_sets(k, "slow")) == 2

    before = {pod["metadata"]["uid"] for pod in pods(k, "slow")}
    k("rollout", "restart", "deploy/slow")
    rolled_out(k, "slow")
    assert not before & {pod["metadata"]["uid"] for pod in pods(k, "slow")}


def _reason(k: Kubectl, name: str, kind: str = "Progressing") -> str:
    return k.field("deploy", name, path=f'.status.conditions[?(@.type=="{kind}")].reason')


def test_a_rollout_that_gets_nowhere_says_so_and_keeps_what_works(k: Kubectl) -> None:
    create(k, deployment("stuck", minReadySeconds=2, progressDeadlineSeconds=4))
    rolled_out(k, "stuck")
    bad = [{"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": ["false"]}]
    k("patch", "deploy", "stuck", "--type=json", "-p", json.dumps(bad))
    said = k.fails("rollout", "status", "deploy/stuck", "--timeout=60s", timeout=70)
    assert 'deployment "stuck" exceeded its progress deadline' in said
    assert k.field("deploy", "stuck", path=".status.availableReplicas") == "3"
    assert _reason(k, "stuck", "Available") == "MinimumReplicasAvailable"
    k("rollout", "undo", "deploy/stuck")
    rolled_out(k, "stuck")
    k("wait", "--for=condition=Progressing", "deploy/stuck", "--timeout=30s")
    assert _reason(k, "stuck") == "NewReplicaSetAvailable"


def test_recreated_it_never_runs_old_and_new_together(k: Kubectl) -> None:
    create(k, deployment("either", 2, strategy={"type": "Recreate"}))
    rolled_out(k, "either")
    old = [pod["metadata"]["name"] for pod in pods(k, "either")]
    k("set", "image", "deploy/either", "c=two:1")
    rolled_out(k, "either")
    assert images(k, "either") == {"two:1"}
    assert not set(old) & {pod["metadata"]["name"] for pod in k.json("get", "pods")["items"]}


def test_history_is_as_long_as_wanted(k: Kubectl) -> None:
    create(k, deployment("short", 1, revisionHistoryLimit=1))
    for number in range(3):
        rolled_out(k, "short")
        k("set", "image", "deploy/short", f"c=v:{number}")
    rolled_out(k, "short")
    k.system.until(lambda: len(_sets(k, "short")) == 2, "one old revision is left")


def test_pods_that_are_lost_or_taken_away_are_replaced(k: Kubectl) -> None:
    create(k, deployment("keep", 2))
    rolled_out(k, "keep")
    one, other = (pod["metadata"]["name"] for pod in pods(k, "keep"))
    k("delete", "pod", one)
    k("label", "pod", other, "pod-template-hash-")
    k.system.until(lambda: len(_members(k, "keep")) == 2, "there are two again")
    assert not {one, other} & set(_members(k, "keep"))
    assert "ownerReferences" not in k.json("get", "pod", other)["metadata"]
    digest = _sets(k, "keep")[0]["metadata"]["labels"]["pod-template-hash"]
    k("label", "pod", other, f"pod-template-hash={digest}")
    k.system.until(
        lambda: "ownerReferences" in (k.system.get("-n", k.namespace, "pod", other) or _OWNED)["metadata"], "it is taken back"
    )
    k.system.until(lambda: len(_members(k, "keep")) == 2, "and there are two still")


_OWNED = {"metadata": {"ownerReferences": []}}
"""Stands for a pod that was taken back and then was one too many."""


def _members(k: Kubectl, name: str) -> list[str]:
    owned = [pod for pod in pods(k, name) if pod["metadata"].get("ownerReferences")]
    return [pod["metadata"]["name"] for pod in owned if any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(pod))]


def _conditions(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return list(pod["status"].get("conditions") or [])


def test_everything_goes_with_its_owner_unless_told_otherwise(k: Kubectl) -> None:
    create(k, deployment("gone", 2))
    rolled_out(k, "gone")
    kept = {pod["metadata"]["uid"] for pod in pods(k, "gone")}
    k("delete", "deploy", "gone", "--cascade=orphan")
    create(k, deployment("gone", 2))
    rolled_out(k, "gone")
    assert {pod["metadata"]["uid"] for pod in pods(k, "gone")} == kept
    k("delete", "deploy", "gone", "--cascade=foreground")
    k.system.until(lambda: not _sets(k, "gone") and not pods(k, "gone"), "sets and pods are gone")


def test_a_budget_counts_what_the_deployment_wants_and_a_drain_keeps_it(k: Kubectl) -> None:
    create(k, deployment("spend", 3))
    rolled_out(k, "spend")
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "spend"},
        "spec": {"maxUnavailable": "34%", "selector": {"matchLabels": {"app": "spend"}}},
    }
    create(k, budget)
    k.system.until(lambda: k.field("pdb", "spend", path=".status.disruptionsAllowed") == "2", "two may go")
    assert k.field("pdb", "spend", path=".status.expectedPods") == "3"
    (node,) = k.json("get", "nodes")["items"]
    name = node["metadata"]["name"]
    before = {pod["metadata"]["name"] for pod in pods(k, "spend")}
    drain = ("drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--pod-selector=app=spend")
    try:
        said = k.fails(*drain, "--timeout=3s", timeout=70)
        assert "violate the pod's disruption budget" in said
        k("uncordon", name)
        rolled_out(k, "spend")
        assert len(before & {pod["metadata"]["name"] for pod in pods(k, "spend")}) == 1
        k("delete", "pdb", "spend")
        k(*drain, "--timeout=60s", timeout=70)
    finally:
        k("uncordon", name)
    rolled_out(k, "spend")
    assert not before & {pod["metadata"]["name"] for pod in pods(k, "spend")}


def test_a_set_that_may_not_make_pods_says_why(k: Kubectl) -> None:
    made = deployment("barred", 2)
    made["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"
    create(k, made)
    k.system.until(lambda: _reason(k, "barred", "ReplicaFailure") == "FailedCreate", "the failure is told")
    k.system.until(lambda: any(e[0] == "FailedCreate" for e in events(k, "barred")), "and an event")
    (text,) = {e[1] for e in events(k, "barred") if e[0] == "FailedCreate"}
    assert text.startswith("Error creating: ")
    assert 'serviceaccount "nobody" not found' in text
    k("create", "serviceaccount", "nobody")
    rolled_out(k, "barred")
    assert _reason(k, "barred", "ReplicaFailure") == ""


def test_a_name_that_somebody_else_has_is_gone_round(k: Kubectl) -> None:
    create(k, deployment("clash", 1, paused=True))
    taken = objects.build(k.json("get", "deploy", "clash"))["metadata"]["name"]
    other = deployment("stranger", 0)
    create(k, other | {"kind": "ReplicaSet", "metadata": {"name": taken}})
    k("rollout", "resume", "deploy/clash")
    rolled_out(k, "clash")
    assert k.field("deploy", "clash", path=".status.collisionCount") == "1"
    (made,) = _sets(k, "clash")
    assert made["metadata"]["name"] != taken
    assert "ownerReferences" not in k.json("get", "rs", taken)["metadata"]


def test_a_deployment_that_may_not_make_a_set_says_why(k: Kubectl) -> None:
    role = "system:controller:deployment-controller"
    rules = k.json("get", "clusterrole", role)["rules"]
    barred = [
        {**rule, "verbs": [v for v in rule["verbs"] if v != "create"]} if "replicasets" in rule["resources"] else rule for rule in rules
    ]
    k("patch", "clusterrole", role, "--type=merge", "-p", json.dumps({"rules": barred}))
    try:
        create(k, deployment("without", 1))
        k.system.until(lambda: _reason(k, "without") == "ReplicaSetCreateError", "the failure is told")
        k.system.until(lambda: any(e[0] == "ReplicaSetCreateError" for e in events(k, "without")), "and an event")
    finally:
        k("patch", "clusterrole", role, "--type=merge", "-p", json.dumps({"rules": rules}))
    (text,) = {e[1] for e in events(k, "without") if e[0] == "ReplicaSetCreateError"}
    assert text.startswith('Failed to create new replica set "without-')
    assert "cannot create resource" in text
    rolled_out(k, "without")


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_without_a_deployment_too(k: Kubectl, kind: str) -> None:
    plain = kind == "ReplicationController"
    name = kind.lower()
    body = deployment(name, 2)
    body |= {"apiVersion": "v1" if plain else "apps/v1", "kind": kind}
    if plain:
        body["spec"]["selector"] = {"app": name}
    create(k, body)
    k.system.until(lambda: len(_members(k, name)) == 2, "two pods are ready")
    k("scale", name, name, "--replicas=1")
    k.system.until(lambda: k.field(name, name, path=".status.availableReplicas") == "1", "one is left")
    who = "replication-controller" if plain else "replicaset-controller"
    k.system.until(lambda: [e[2] for e in events(k, name) if e[0] == "SuccessfulDelete"] == [who], "the deletion is told")
    k("delete", name, name)
    k.system.until(lambda: not pods(k, name), "its pods go with it")
