"""Stock kubectl writes objects: both kinds of apply, prune, diff, dry run, replace, validation, labels, patches.

HOLDFAST_KUBECTLS names the clients, as for ``test_kubectl_verbs``; what a client is too old to know is left out for it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.kubectl import Kubectl, manifest


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {"app": "x"}}, "data": data}


def service(name: str, *ports: int, labels: dict[str, str] | None = None) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"name": f"p{port}", "port": port} for port in ports]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def managers(k: Kubectl, *what: str) -> list[tuple[str, str]]:
    shown = k.json("get", *what, *(["--show-managed-fields"] if k.minor >= 21 else []))
    return [(entry["manager"], entry["operation"]) for entry in shown["metadata"]["managedFields"]]


# --- client-side apply


def test_three_way_apply_keeps_what_others_wrote_and_removes_what_it_wrote(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "c.json", config("three", mine="1", dropped="2"))
    assert k("apply", "-f", file) == "configmap/three created\n"
    k("patch", "cm", "three", "--type=merge", "-p", '{"data":{"theirs":"3"}}')
    k("label", "cm", "three", "theirs=yes")
    manifest(tmp_path, "c.json", config("three", mine="9"))
    assert k("apply", "-f", file) == "configmap/three configured\n"
    found = k.json("get", "cm", "three")
    assert found["data"] == {"mine": "9", "theirs": "3"}
    assert found["metadata"]["labels"] == {"app": "x", "theirs": "yes"}
    seen = json.loads(k("apply", "view-last-applied", "cm/three", "-o", "json"))
    assert seen["data"] == {"mine": "9"}
    k("apply", "set-last-applied", "-f", manifest(tmp_path, "c.json", config("three", mine="9", theirs="3")))
    k("apply", "-f", manifest(tmp_path, "c.json", config("three", mine="9")))
    assert k.json("get", "cm", "three")["data"] == {"mine": "9"}
    assert ("kubectl-client-side-apply", "Update") in managers(k, "cm", "three")


def test_three_way_apply_merges_lists_by_their_keys(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "s.json", service("merged", 80, 81))
    k("apply", "-f", file)
    k("patch", "svc", "merged", "-p", '{"spec":{"ports":[{"name":"p90","port":90}]}}')
    manifest(tmp_path, "s.json", service("merged", 80, 82))
    assert k("apply", "-f", file) == "service/merged configured\n"
    assert sorted(port["port"] for port in k.json("get", "svc", "merged")["spec"]["ports"]) == [80, 82, 90]
    revision = k.field("svc", "merged", path=".metadata.resourceVersion")
    k("apply", "-f", file)  # "configured": kubectl sends the order of its items, which changes nothing
    assert k.field("svc", "merged", path=".metadata.resourceVersion") == revision


def test_apply_replaces_what_cannot_be_changed_when_forced(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "c.json", config("fixed", a="1") | {"immutable": True})
    k("apply", "-f", file)
    manifest(tmp_path, "c.json", config("fixed", a="2") | {"immutable": True})
    assert "field is immutable when `immutable` is set" in k.fails("apply", "-f", file)
    uid = k.field("cm", "fixed", path=".metadata.uid")
    k("apply", "--force", "-f", file)
    assert k.field("cm", "fixed", path=".data.a") == "2"
    assert k.field("cm", "fixed", path=".metadata.uid") != uid


def test_prune_removes_what_the_manifests_no_longer_name(k: Kubectl, tmp_path: Path) -> None:
    chosen = {"app": "prune"}
    objects = [config("pruned-a", chosen, a="1"), config("pruned-b", chosen, a="1"), service("pruned-c", 80, labels=chosen)]
    k("apply", "-f", manifest(tmp_path, "all.yaml", *objects))
    k("create", "configmap", "bystander")
    k("label", "cm", "bystander", "app=prune")  # not applied, so not pruned
    one = manifest(tmp_path, "one.json", objects[0])
    allow = "--prune-allowlist" if k.minor >= 26 else "--prune-whitelist"
    kinds = (f"{allow}=core/v1/ConfigMap", f"{allow}=core/v1/Service")
    assert "configmap/pruned-b pruned (server dry run)" in k(
        "apply", "--prune", "-l", "app=prune", *kinds, "-f", one, "--dry-run=server"
    )
    said = k("apply", "--prune", "-l", "app=prune", *kinds, "-f", one)
    assert set(said.splitlines()) == {"configmap/pruned-a unchanged", "configmap/pruned-b pruned", "service/pruned-c pruned"}
    assert set(k("get", "cm,svc", "-l", "app=prune", "-o", "name").split()) == {"configmap/bystander", "configmap/pruned-a"}
    if k.minor >= 25:  # the kinds that older clients go through by themselves are served no longer
        k("apply", "-f", manifest(tmp_path, "all.yaml", *objects))
        assert "configmap/pruned-b pruned" in k("apply", "--prune", "-l", "app=prune", "-f", one)


# --- server-side apply


def test_server_side_apply_and_its_conflicts(k: Kubectl, tmp_path: Path) -> None:
    mine = manifest(tmp_path, "mine.json", config("shared", a="1", b="2"))
    theirs = manifest(tmp_path, "theirs.json", config("shared", a="9"))
    assert k("apply", "--server-side", "-f", mine) == "configmap/shared serverside-applied\n"
    assert k("apply", "--server-side", "-f", mine) == "configmap/shared serverside-applied\n"
    refused = k.fails("apply", "--server-side", "--field-manager=rival", "-f", theirs)
    assert refused.startswith('error: Apply failed with 1 conflict: conflict with "kubectl": .data.a\nPlease review the fields above')
    assert k.field("cm", "shared", path=".data.a") == "1"
    k("apply", "--server-side", "--field-manager=rival", "--force-conflicts", "-f", theirs)
    assert k.json("get", "cm", "shared")["data"] == {"a": "9", "b": "2"}
    assert {("kubectl", "Apply"), ("rival", "Apply")} <= set(managers(k, "cm", "shared"))
    # Each takes back only what is its own.
    k("apply", "--server-side", "--field-manager=rival", "-f", manifest(tmp_path, "less.json", config("shared")))
    assert k.json("get", "cm", "shared")["data"] == {"b": "2"}


def test_server_side_apply_over_an_edit_names_who_edited(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "c.json", config("edited", a="1"))
    k("apply", "--server-side", "-f", file)
    k("patch", "cm", "edited", "--type=merge", "-p", '{"data":{"a":"2"}}')
    refused = k.fails("apply", "--server-side", "-f", file)
    assert 'conflict with "kubectl-patch"' in refused
    assert ".data.a" in refused
    k("apply", "--server-side", "--force-conflicts", "-f", file)
    assert k.field("cm", "edited", path=".data.a") == "1"


def test_from_client_side_to_server_side_apply_and_back(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "c.json", config("moved", kept="1", dropped="2"))
    k("apply", "-f", file)
    if k.minor >= 26:  # older clients leave the first manager in place
        manifest(tmp_path, "c.json", config("moved", kept="1"))
        assert k("apply", "--server-side", "-f", file) == "configmap/moved serverside-applied\n"
        assert k.json("get", "cm", "moved")["data"] == {"kept": "1"}
        assert ("kubectl-client-side-apply", "Update") not in managers(k, "cm", "moved")
    else:
        k("apply", "--server-side", "-f", file)
    assert ("kubectl", "Apply") in managers(k, "cm", "moved")
    manifest(tmp_path, "c.json", config("moved", kept="2"))
    assert k("apply", "-f", file) == "configmap/moved configured\n"
    assert k.json("get", "cm", "moved")["data"] == {"kept": "2"}


def test_server_side_dry_run_changes_nothing(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "c.json", config("dry", a="1"))
    assert k("apply", "-f", file, "--dry-run=server") == "configmap/dry created (server dry run)\n"
    assert k("apply", "-f", file, "--server-side", "--dry-run=server") == "configmap/dry serverside-applied (server dry run)\n"
    assert k("get", "cm", "dry", "--ignore-not-found") == ""
    k("apply", "-f", file)
    revision = k.field("cm", "dry", path=".metadata.resourceVersion")
    shown = json.loads(k("apply", "-f", manifest(tmp_path, "c.json", config("dry", a="2")), "--dry-run=server", "-o", "json"))
    assert shown["data"] == {"a": "2"}
    assert k("delete", "cm", "dry", "--dry-run=server").startswith('configmap "dry" deleted')
    assert k("label", "cm", "dry", "b=c", "--dry-run=server").startswith("configmap/dry labeled")
    assert k.field("cm", "dry", path=".metadata.resourceVersion") == revision


def test_diff(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "all.yaml", config("d", a="1"), service("d", 80))
    added = k.fails("diff", "-f", file, code=1)
    assert '+  a: "1"' in added
    k("apply", "-f", file)
    assert k("diff", "-f", file) == ""
    manifest(tmp_path, "all.yaml", config("d", a="2"), service("d", 80, 81))
    changed = k.fails("diff", "-f", file, code=1)
    assert re.search(r'^-  a: "1"\n\+  a: "2"$', changed, re.MULTILINE)
    assert re.search(r"^\+    port: 81$", changed, re.MULTILINE)
    assert re.search(r'^\+  a: "2"$', k.fails("diff", "--server-side", "--force-conflicts", "-f", file, code=1), re.MULTILINE)
    if k.minor >= 25:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"key": "value"}}
        assert "dmFsdWU=" not in k.fails("diff", "-f", manifest(tmp_path, "s.json", secret), code=1)


# --- replace, validation, labels


def test_replace(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "c.json", config("r", a="1"))
    k("create", "-f", file, "--save-config")
    manifest(tmp_path, "c.json", config("r", b="2"))
    assert k("replace", "-f", file) == "configmap/r replaced\n"
    assert k.json("get", "cm", "r")["data"] == {"b": "2"}
    uid = k.field("cm", "r", path=".metadata.uid")
    said = k("replace", "--force", "-f", file)
    assert said.startswith('configmap "r" deleted')
    assert said.endswith("configmap/r replaced\n")
    assert k.field("cm", "r", path=".metadata.uid") != uid


def test_validation_by_the_server(k: Kubectl, tmp_path: Path) -> None:
    file = manifest(tmp_path, "bad.json", config("v") | {"dota": {"a": "b"}})
    if k.minor >= 25:
        strict = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dota"'
        assert strict in k.fails("create", "--validate=strict", "-f", file)
        assert strict in k.fails("apply", "-f", file)
        done = k.run("create", "--validate=warn", "-f", file)
        assert (done.returncode, done.stderr.decode()) == (0, 'Warning: unknown field "dota"\n')
        assert k("replace", "--validate=ignore", "-f", file) == "configmap/v replaced\n"
    wrong = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "wrong"}, "spec": {"containers": [{"name": "A_b"}]}}
    refused = k.fails("create", "-f", "-", stdin=json.dumps(wrong))
    assert 'The Pod "wrong" is invalid' in refused
    assert "* spec.containers[0].name: Invalid value" in refused
    assert "* spec.containers[0].image: Required value" in refused
    unknown = '{"apiVersion":"v1","kind":"Nonsense","metadata":{"name":"n"}}'
    assert 'no matches for kind "Nonsense" in version "v1"' in k.fails("create", "--validate=false", "-f", "-", stdin=unknown)


def test_labels_and_annotations_overwritten_and_removed(k: Kubectl) -> None:
    k("create", "configmap", "l1")
    k("create", "configmap", "l2")
    k("label", "cm", "l1", "l2", "tier=one")
    assert "already has a value (one), and --overwrite is false" in k.fails("label", "cm", "l1", "tier=two")
    assert k("label", "cm", "-l", "tier=one", "tier=two", "--overwrite") == "configmap/l1 labeled\nconfigmap/l2 labeled\n"
    assert k("label", "cm", "l1", "tier=two", "--overwrite").startswith("configmap/l1 ")
    revision = k.field("cm", "l1", path=".metadata.resourceVersion")
    assert "the object has been modified" in k.fails("label", "cm", "l1", "x=y", "--resource-version=1")
    k("label", "cm", "l1", "x=y", f"--resource-version={revision}")
    assert "a valid label must be an empty string or consist of alphanumeric characters" in k.fails("label", "cm", "l1", "z=-bad-")
    k("annotate", "cm", "l1", "note=one")
    assert "already has a value (one)" in k.fails("annotate", "cm", "l1", "note=two")
    k("annotate", "--overwrite", "cm", "l1", "note=two", "more=yes")
    k("annotate", "cm", "l1", "more-")
    assert k.json("get", "cm", "l1")["metadata"]["annotations"] == {"note": "two"}
    if k.minor >= 27:
        assert k("annotate", "cm", "l1", "--list") == "note=two\n"
        assert set(k("label", "cm", "l1", "--list").split()) == {"tier=two", "x=y"}


def test_patches_of_subresources(k: Kubectl) -> None:
    containers = [{"name": "c", "image": "busybox"}]
    template = {"metadata": {"labels": {"app": "idle"}}, "spec": {"containers": containers, "terminationGracePeriodSeconds": 0}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "idle"}}, "template": template}
    held = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "idle"}, "spec": spec}
    k("apply", "-f", "-", stdin=json.dumps(held))
    if k.minor < 24:
        return
    k("patch", "deploy", "idle", "--subresource=status", "--type=merge", "-p", '{"status":{"collisionCount":3},"spec":{"replicas":9}}')
    found = k.json("get", "deploy", "idle")
    assert (found["status"]["collisionCount"], found["spec"]["replicas"]) == (3, 0)
    shown = k.json("get", "deploy", "idle", "--subresource=scale")
    assert (shown["kind"], shown["spec"].get("replicas", 0), shown["status"]["selector"]) == ("Scale", 0, "app=idle")
    k("patch", "deploy", "idle", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}')
    assert k.json("get", "deploy", "idle")["spec"]["replicas"] == 1
    shown = k.json("get", "deploy", "idle", "--subresource=status")
    del shown["metadata"]["resourceVersion"]
    shown["status"]["collisionCount"], shown["spec"]["replicas"] = 4, 7
    k("replace", "deploy", "idle", "--subresource=status", "-f", "-", stdin=json.dumps(shown))
    found = k.json("get", "deploy", "idle")
    assert (found["status"]["collisionCount"], found["spec"]["replicas"]) == (4, 1)
