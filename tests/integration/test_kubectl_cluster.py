"""Stock kubectl reads, waits, and looks after the cluster: pages, watches, rights, nodes, rollouts.

HOLDFAST_KUBECTLS names the clients, as for ``test_kubectl_verbs``; what a client is too old to know is left out for it.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.kubectl import Kubectl


def a_set(name: str, replicas: int, **env: str) -> str:
    container = {
        "name": "c",
        "image": "busybox",
        "command": ["sleep", "3600"],
        "env": [{"name": n, "value": v} for n, v in env.items()],
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    spec = {
        "serviceName": name,
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": name}},
        "template": template,
    }
    return json.dumps({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec})


@pytest.fixture(scope="module")
def running(k: Kubectl) -> Kubectl:
    """Two pods of a set that run."""
    k("apply", "-f", "-", stdin=a_set("s", 2))
    k("rollout", "status", "sts/s", "--timeout=60s")
    return k


# --- what is served


def test_resources_and_versions(k: Kubectl) -> None:
    groups = {"apps/v1", "batch/v1", "autoscaling/v2", "policy/v1", "coordination.k8s.io/v1", "events.k8s.io/v1", "v1"}
    assert groups <= set(k("api-versions").split())
    assert {"configmaps", "pods", "services"} <= set(k("api-resources", "--namespaced=true", "-o", "name").split())
    apps = k("api-resources", "--api-group=apps", "--no-headers").splitlines()
    assert {line.split()[0] for line in apps} >= {"deployments", "statefulsets", "daemonsets", "replicasets", "controllerrevisions"}
    assert "bindings" in k("api-resources", "--verbs=create", "-o", "name").split()
    assert "bindings" not in k("api-resources", "--verbs=list,get", "-o", "name").split()
    if k.minor >= 21:
        assert "pods" in k("api-resources", "--categories=all", "-o", "name").split()


def test_raw_paths_and_cluster_info(k: Kubectl) -> None:
    assert json.loads(k("get", "--raw", "/version"))["minor"] == "36"
    assert "readyz check passed" in k("get", "--raw", "/readyz?verbose")
    listed = json.loads(k("get", "--raw", f"/api/v1/namespaces/{k.namespace}/configmaps?limit=1"))
    assert (listed["kind"], len(listed["items"])) == ("ConfigMapList", 1)
    assert "the server could not find the requested resource" in k.fails("get", "--raw", "/nope")
    made = json.dumps({"metadata": {"name": "raw"}})
    path = f"/api/v1/namespaces/{k.namespace}/configmaps"
    assert json.loads(k("create", "--raw", path, "-f", "-", stdin=made))["metadata"]["name"] == "raw"
    assert json.loads(k("delete", "--raw", f"{path}/raw"))["status"] == "Success"
    info = re.sub(r"\x1b\[[0-9;]*m", "", k("cluster-info"))
    assert re.search(r"is running at https://127\.0\.0\.1:\d+$", info, re.MULTILINE)
    dump = k("cluster-info", "dump", "--namespaces", k.namespace, "-o", "json")
    assert '"kind": "NodeList"' in dump


def test_explain(k: Kubectl) -> None:
    assert re.search(r"replicas\s+<integer>", k("explain", "statefulset.spec"))
    assert re.search(r"VERSION:\s+(autoscaling/)?v2", k("explain", "hpa.spec", "--api-version=autoscaling/v2"))
    assert re.search(r"KIND:\s+Deployment", k("explain", "deployments"))
    assert "rollingUpdate" in k("explain", "sts.spec.updateStrategy", "--recursive")


# --- reading


def test_lists_in_pages(k: Kubectl) -> None:
    for number in range(5):
        k("create", "configmap", f"page-{number}")
    k("label", "cm", "--all", "paged=yes")
    whole = k("get", "cm", "-l", "paged=yes", "-o", "name").split()
    assert k("get", "cm", "-l", "paged=yes", "-o", "name", "--chunk-size=2").split() == whole
    with k.running("get", "cm", "--chunk-size=2", "-v=8") as said:
        said(r"limit=2.*[\s\S]*continue=[\w-]+.*limit=2")
        said(r"^page-4 ")
    rows = k.rows("get", "cm", "--chunk-size=2")
    assert rows[0] == ["NAME", "DATA", "AGE"]
    assert [row[0] for row in rows[1:]].count("page-3") == 1


def test_watches_tell_their_events(k: Kubectl) -> None:
    with k.running("get", "cm", "-w", "--output-watch-events", "-l", "watched=yes") as seen:
        k("create", "configmap", "w")
        k("label", "cm", "w", "watched=yes")
        seen(r"^ADDED\s+w\s+0\s")
        k("patch", "cm", "w", "--type=merge", "-p", '{"data":{"a":"b"}}')
        seen(r"^MODIFIED\s+w\s+1\s")
        k("label", "cm", "w", "watched-")
        seen(r"^DELETED\s+w\s+1\s")
    k("label", "cm", "w", "watched=yes")
    with k.running("get", "cm", "w", "-w", "-o", "json", "--output-watch-events") as seen:
        seen(r'^{"type":"ADDED","object":{')
        k("annotate", "cm", "w", "note=yes")
        seen(r'^{"type":"MODIFIED","object":{.*"annotations":{"note":"yes"}')


def test_waiting(running: Kubectl) -> None:
    k = running
    assert k("wait", "--for=condition=Ready", "pod/s-0", "pod/s-1", "--timeout=10s").count("condition met") == 2
    assert k("wait", "--for=condition=Ready=true", "pod/s-0", "--timeout=10s") == "pod/s-0 condition met\n"
    assert "timed out waiting for the condition" in k.fails("wait", "--for=condition=Ready=false", "pod/s-0", "--timeout=0.2s")
    if k.minor >= 23:
        assert k("wait", "--for=jsonpath={.status.phase}=Running", "pod", "--all", "--timeout=10s").count("condition met") == 2
    if k.minor >= 31:
        assert k("wait", "--for=jsonpath={.status.podIP}", "pod/s-0", "--timeout=5s") == "pod/s-0 condition met\n"
        with k.running("wait", "--for=create", "cm/later", "--timeout=20s") as said:
            k("create", "configmap", "later")
            said("configmap/later condition met")


def test_events_of_an_object(running: Kubectl) -> None:
    k = running
    if k.minor < 26:
        return
    told = k("events", "--for", "pod/s-0", "--types=Normal")
    assert [word for word in ("Scheduled", "Created", "Started") if word in told] == ["Scheduled", "Created", "Started"]
    shown = json.loads(k("events", "--for", "sts/s", "-o", "json"))
    assert {event["reason"] for event in shown["items"]} == {"SuccessfulCreate"}
    with k.running("events", "--watch", "--for", "sts/s") as seen:
        seen("SuccessfulCreate")


# --- rights


def test_rights_and_who_asks(k: Kubectl) -> None:
    rules = k("auth", "can-i", "--list")
    assert re.search(r"^\*\.\*\s+\[\]\s+\[\]\s+\[\*\]$", rules, re.MULTILINE)
    nobody = k("auth", "can-i", "--list", "--as=nobody")
    assert re.search(r"selfsubjectaccessreviews\.authorization\.k8s\.io\s+\[\]\s+\[\]\s+\[create\]", nobody)
    assert re.search(r"\[/readyz\]\s+\[\]\s+\[get\]", nobody)
    assert not re.search(r"^\*\.\*", nobody, re.MULTILINE)
    assert k.fails("auth", "can-i", "create", "deployments", "--as=nobody", "-q") == ""
    assert k("auth", "can-i", "get", "/livez", "--as=nobody") == "yes\n"
    if k.minor >= 28:
        me = json.loads(k("auth", "whoami", "-o", "json"))["status"]["userInfo"]
        assert (me["username"], "system:masters" in me["groups"]) == ("kubernetes-admin", True)
        as_other = k("auth", "whoami", "--as=jane", "--as-group=devs")
        assert re.search(r"Username\s+jane", as_other)
        assert re.search(r"Groups\s+\[devs system:authenticated\]", as_other)


# --- nodes


def node_of(k: Kubectl) -> str:
    return k.field("pod", "s-0", path=".spec.nodeName")


def test_taints(running: Kubectl) -> None:
    k = running
    node = node_of(k)
    assert k("taint", "node", node, "hold=one:NoSchedule") == f"node/{node} tainted\n"
    assert "taint(s) with same effect(s) and --overwrite is false" in k.fails("taint", "node", node, "hold=two:NoSchedule")
    assert k("taint", "node", node, "hold=two:NoSchedule", "--overwrite") == f"node/{node} modified\n"
    assert re.search(r"Taints:\s+hold=two:NoSchedule", k("describe", "node", node))
    assert k("taint", "node", node, "hold:NoSchedule-") == f"node/{node} untainted\n"
    assert "not found" in k.fails("taint", "node", node, "hold-")


def test_cordon_and_drain(running: Kubectl) -> None:
    k = running
    node = node_of(k)
    uid = k.field("pod", "s-0", path=".metadata.uid")
    assert k("cordon", node) == f"node/{node} cordoned\n"
    assert k("cordon", node) == f"node/{node} already cordoned\n"
    assert k.rows("get", "node", node)[1][1] == "Ready,SchedulingDisabled"
    k("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=s")
    # What was evicted is made anew, and finds no node.
    unplaced = ".status.conditions[?(@.type=='PodScheduled')].reason"
    k.system.until(lambda: k.field("pod", "s-0", path=unplaced) == "Unschedulable", "the new pod waits for a node", 20)
    assert k.field("pod", "s-0", path=".metadata.uid") != uid
    assert k("uncordon", node) == f"node/{node} uncordoned\n"
    k("rollout", "status", "sts/s", "--timeout=60s")


# --- rollouts


def test_history_and_undo_of_a_set(running: Kubectl) -> None:
    k = running
    k("apply", "-f", "-", stdin=a_set("s", 2, STAGE="two"))
    k("annotate", "sts", "s", "kubernetes.io/change-cause=stage two")
    k("rollout", "status", "sts/s", "--timeout=60s")
    history = k("rollout", "history", "sts/s")
    assert re.search(r"^1\s", history, re.MULTILINE)
    assert re.search(r"^2\s", history, re.MULTILINE)
    assert re.search(r"STAGE:\s+two", k("rollout", "history", "sts/s", "--revision=2"))
    assert k("rollout", "undo", "sts/s", "--dry-run=server").startswith("statefulset.apps/s ")
    assert k("rollout", "undo", "sts/s") == "statefulset.apps/s rolled back\n"
    k("rollout", "status", "sts/s", "--timeout=60s")
    assert "env" not in k.json("get", "pod", "s-0")["spec"]["containers"][0]
    numbers = [revision["revision"] for revision in _revisions(k)]
    assert sorted(numbers) == [2, 3]


def _revisions(k: Kubectl) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = k.json("get", "controllerrevisions", "-l", "app=s")["items"]
    return items
