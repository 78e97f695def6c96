"""Stock kubectl about rights and identities, and streams that end with the token that opened them (A16, SEC-29, SEC-30)."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.system import System

NAMESPACE = "access"


@pytest.fixture(scope="module", autouse=True)
def namespace(system: System) -> None:
    system.kubectl("create", "namespace", NAMESPACE)


def test_a16_auth_reconcile_and_what_it_grants(system: System) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader", "namespace": NAMESPACE},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
    }
    assert "reconciled" in system.kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps(role))
    role["rules"] = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    assert "reconciled" in system.kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps(role))
    rules = system.get("role", "reader", "-n", NAMESPACE)["rules"]
    assert sorted(verb for rule in rules for verb in rule["verbs"]) == ["get", "list"]
    system.kubectl("create", "rolebinding", "r", "-n", NAMESPACE, "--role=reader", "--user=jane")
    listed = system.kubectl("auth", "can-i", "--list", "-n", NAMESPACE, "--as=jane")
    assert re.search(r"configmaps +\[\] +\[\] +\[(get list|list get)\]", listed), listed
    assert system.kubectl("auth", "can-i", "list", "configmaps", "-n", NAMESPACE, "--as=jane") == "yes\n"
    assert system.kubectl("auth", "can-i", "list", "secrets", "-n", NAMESPACE, "--as=jane", check=False).startswith("no")
    escalates = ("create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=jane", "--as=jane")
    assert "forbidden" in system.kubectl(*escalates, check=False)


def test_sec_29_an_exec_ends_with_the_account_of_its_token(system: System) -> None:
    pod = {"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "3600"]}], "terminationGracePeriodSeconds": 0}
    system.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "target"}, "spec": pod})
    system.wait_ready("target")
    system.kubectl("create", "serviceaccount", "guest")
    system.kubectl("create", "role", "exec", "--verb=create,get", "--resource=pods,pods/exec")
    system.kubectl("create", "rolebinding", "exec", "--role=exec", "--serviceaccount=default:guest")
    token = system.kubectl("create", "token", "guest").strip()
    config = json.loads(system.kubectl("config", "view", "--raw", "-o", "json"))
    cluster = config["clusters"][0]["cluster"]
    bare = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = system.data / "guest.json"
    path.write_text(json.dumps(bare))
    running = system.start_kubectl("--kubeconfig", str(path), "exec", "target", "--", "sh", "-c", "echo begun; sleep 3000")
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        system.kubectl("delete", "serviceaccount", "guest")
        assert running.wait(15) != 0
    except subprocess.TimeoutExpired:
        raise AssertionError("the exec goes on with the token of a deleted account") from None
    finally:
        running.kill()
        system.kubectl("delete", "pod", "target", "--wait=false")
