"""Pods by themselves, with stock kubectl: logs, exit codes, restarts, copies, port-forward, sizes of volumes."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

from tests.system import System


def pod(name: str, script: str, **spec: object) -> dict[str, object]:
    container = {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def test_logs_and_exit_code(system: System) -> None:
    system.create(pod("once", "echo one; echo two; exit 4", restartPolicy="Never"))
    system.until(lambda: system.get("pod", "once")["status"]["phase"] == "Failed", "it failed")
    assert system.kubectl("logs", "once") == "one\ntwo\n"
    assert system.kubectl("logs", "once", "--tail=1") == "two\n"
    ended = system.get("pod", "once")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (4, "Error")
    system.kubectl("delete", "pod", "once")


def test_restart_and_previous_logs(system: System) -> None:
    system.create(pod("again", "echo run; sleep 0.3; exit 1", terminationGracePeriodSeconds=0))
    system.until(
        lambda: (system.get("pod", "again")["status"].get("containerStatuses") or [{}])[0].get("restartCount", 0) >= 1, "restart"
    )
    assert "run" in system.kubectl("logs", "again", "--previous")
    system.until(lambda: "CrashLoopBackOff" in system.kubectl("get", "pod", "again"), "it backs off")
    system.kubectl("delete", "pod", "again")


def test_exec_cp_and_port_forward(system: System, tmp_path: Path) -> None:
    system.create(pod("shell", "sleep 3600", terminationGracePeriodSeconds=0))
    system.wait_ready("shell")
    done = system.run("exec", "-i", "shell", "--", "sh", "-c", "cat; exit 5", stdin="typed")
    assert (done.returncode, done.stdout) == (5, "typed")
    (tmp_path / "f").write_text("copied\n")
    system.kubectl("cp", str(tmp_path / "f"), "shell:/tmp/f")
    assert system.kubectl("exec", "shell", "--", "cat", "/tmp/f") == "copied\n"
    system.kubectl("exec", "shell", "--", "sh", "-c", "mkdir /www && echo page > /www/index.html && httpd -p 8080 -h /www")
    forward = system.start_kubectl("port-forward", "pod/shell", ":8080")
    try:
        assert forward.stdout
        port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
        assert port
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/index.html", timeout=10) as page:
            assert page.read() == b"page\n"
    finally:
        forward.terminate()
        forward.wait()
    system.kubectl("delete", "pod", "shell", "--force", "--grace-period=0")


def test_env_config_and_secret_volumes(system: System) -> None:
    system.kubectl("create", "configmap", "conf", "--from-literal=key=value")
    system.kubectl("create", "secret", "generic", "hidden", "--from-literal=word=swordfish")
    manifest = pod("configured", 'echo "$POD $FROM $BOTH"; cat /conf/key /hidden/word; sleep 3600', terminationGracePeriodSeconds=0)
    container = manifest["spec"]["containers"][0]  # type: ignore[index]
    container["env"] = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "FROM", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "key"}}},
        {"name": "BOTH", "value": "$(POD)-$(FROM)"},
    ]
    container["volumeMounts"] = [{"name": "conf", "mountPath": "/conf"}, {"name": "hidden", "mountPath": "/hidden"}]
    manifest["spec"]["volumes"] = [  # type: ignore[index]
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "hidden", "secret": {"secretName": "hidden"}},
    ]
    system.create(manifest)
    system.wait_ready("configured")
    assert system.kubectl("logs", "configured") == "configured value configured-value\nvalueswordfish"
    system.kubectl("delete", "pod", "configured")


def test_a_claim_holds_what_it_says(system: System) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "gib"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    system.create(claim)
    manifest = pod("filler", "sleep 3600", terminationGracePeriodSeconds=0)
    manifest["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "gib"}}]  # type: ignore[index]
    manifest["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]  # type: ignore[index]
    system.create(manifest)
    system.wait_ready("filler")
    system.kubectl("exec", "filler", "--", "dd", "if=/dev/zero", "of=/v/a", "bs=1M", "count=1024")
    done = system.run("exec", "filler", "--", "dd", "if=/dev/zero", "of=/v/b", "bs=1M", "count=76")
    assert done.returncode != 0
    assert "No space left" in done.stderr
    system.kubectl("delete", "pod", "filler")
    system.kubectl("delete", "pvc", "gib")


def test_a_program_in_a_pod_reaches_the_api(system: System) -> None:
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    system.create(pod("inside", f"cat {path}/namespace; echo; ls {path}; sleep 3600", terminationGracePeriodSeconds=0))
    system.wait_ready("inside")
    log = system.kubectl("logs", "inside")
    assert log.startswith("default")
    assert {"ca.crt", "token"} <= set(log.split())
    token = system.kubectl("exec", "inside", "--", "cat", f"{path}/token")
    reply = system.kubectl("exec", "inside", "--", "sh", "-c", "nc -w 3 10.96.0.1 443 </dev/null && echo open", check=False)
    assert "open" in reply
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    text = system.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    assert json.loads(text)["status"]["user"]["username"] == "system:serviceaccount:default:default"
    system.kubectl("delete", "pod", "inside")
