"""Stock kubectl's verbs for running pods and for the node: run, logs, exec, attach, cp, port-forward, drain.

The clients are chosen as ``test_kubectl_verbs`` says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from tests.kubectl import Kubectl, fetch

SHELL = "busybox"


@pytest.fixture(scope="module")
def shell(k: Kubectl) -> Kubectl:
    """A pod named shell with a web server, a label and an environment."""
    serve = "mkdir /www; echo page >/www/index.html; httpd -p 8080 -h /www"
    script = f"trap 'exit 0' TERM; {serve}; echo ready; echo err; sleep 9999 & wait"
    k("run", "shell", f"--image={SHELL}", "--image-pull-policy=IfNotPresent", "--labels=app=shell", "--env=WORD=hi", "--port=8080",
      "--command", "--", "sh", "-c", script)  # fmt: skip
    assert k("wait", "--for=condition=Ready", "pod/shell", "--timeout=30s") == "pod/shell condition met\n"
    return k


def test_run(k: Kubectl) -> None:
    dry = k("run", "dry", f"--image={SHELL}", "--dry-run=client", "-o", "yaml")
    assert "kind: Pod" in dry
    assert "run: dry" in dry
    assert "default-scheduler" in k("run", "dry", f"--image={SHELL}", "--dry-run=server", "-o", "yaml")
    k.fails("get", "pod", "dry")
    image = (f"--image={SHELL}", "--image-pull-policy=IfNotPresent", "--restart=Never")
    done = k.run("run", "once", *image, "--rm", "-i", "--command", "--", "sh", "-c", "read a; echo got $a; exit 3", stdin="word\n")
    assert done.returncode == 3, done
    assert b"got word\n" in done.stdout
    assert b'pod "once" deleted' in done.stdout
    k.fails("get", "pod", "once")
    code, screen = k.typed(
        "run", "tty", *image, "--rm", "-it", "--command", "--", "sh", "-c", "tty; read a; echo got $a; sleep 1", keys="word\n"
    )
    assert code == 0, screen
    assert "got word" in screen
    said = k("run", "attached", *image, "--attach", "--command", "--", "sh", "-c", "sleep 1; echo said")
    assert "said\n" in said
    k("delete", "pod", "attached")
    assert "AlreadyExists" in k.fails(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}})
    )


def test_logs(shell: Kubectl) -> None:
    assert shell("logs", "shell") == "ready\nerr\n"
    assert shell("logs", "pod/shell", "-c", "shell", "--tail=1", "--since=1h") == "err\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z ready", shell("logs", "shell", "--timestamps").splitlines()[0])
    assert shell("logs", "-l", "app=shell", "--prefix", "--all-containers").startswith("[pod/shell/shell] ready\n")
    assert shell("logs", "shell", "--limit-bytes=3") == "rea"
    with shell.running("logs", "-f", "shell", "--tail=1") as seen:
        seen("^err")
        shell("exec", "shell", "--", "sh", "-c", "echo later >/proc/1/fd/1")
        seen("^later")
    assert 'previous terminated container "shell" in pod "shell" not found' in shell.fails("logs", "shell", "--previous")
    assert "container nope is not valid for pod shell" in shell.fails("logs", "shell", "-c", "nope")


def test_exec(shell: Kubectl) -> None:
    assert shell("exec", "shell", "--", "sh", "-c", "echo $WORD; hostname") == "hi\nshell\n"
    assert "command terminated with exit code 5" in shell.fails("exec", "shell", "--", "sh", "-c", "exit 5", code=5)
    done = shell.run("exec", "shell", "-c", "shell", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    assert "container nope is not valid for pod shell" in shell.fails("exec", "shell", "-c", "nope", "--", "true")
    assert "executable file not found" in shell.fails("exec", "shell", "--", "nosuchprogram")
    assert 'pods "nope" not found' in shell.fails("exec", "nope", "--", "true")
    data = os.urandom(8 << 20)
    done = shell.run("exec", "-i", "shell", "--", "cat", stdin=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    sized = 'until [ "$(stty size)" = "33 77" ]; do sleep 0.1; done; read a; echo got $a; exit 6'
    code, screen = shell.typed("exec", "-it", "shell", "--", "sh", "-c", sized, keys="word\n")
    assert code == 6, screen
    assert "got word" in screen


def test_attach(shell: Kubectl) -> None:
    assert 'pods "nope" not found' in shell.fails("attach", "nope")
    # What is written before the attachment stands is not seen: so it is written for a while.
    writing = "for i in $(seq 100); do echo attached >/proc/1/fd/1; sleep 0.1; done"
    with shell.running("attach", "shell") as seen, shell.running("exec", "shell", "--", "sh", "-c", writing):
        seen("^attached")


def test_cp(shell: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_bytes(data := os.urandom(3 << 20))
    shell("cp", str(tmp_path / "d"), "shell:/tmp/d")
    shell("cp", f"{shell.namespace}/shell:/tmp/d", str(tmp_path / "back"))
    assert (tmp_path / "back" / "e" / "f").read_bytes() == data


def test_port_forward_and_proxy(shell: Kubectl) -> None:
    shell("expose", "pod", "shell", "--port=80", "--target-port=8080")
    for target, port in (("pod/shell", 8080), ("svc/shell", 80)):
        with shell.running("port-forward", target, f":{port}") as said:
            at = said(r"127\.0\.0\.1:(\d+) -> 8080")[1]
            assert [fetch(f"http://127.0.0.1:{at}/index.html") for _ in range(3)] == ["page\n"] * 3
    assert "does not have a service port 99" in shell.fails("port-forward", "svc/shell", ":99")
    with shell.running("proxy", "--port=0") as said:
        at = said(r"127\.0\.0\.1:(\d+)")[1]
        assert json.loads(fetch(f"http://127.0.0.1:{at}/api/v1/namespaces/{shell.namespace}/pods/shell"))["kind"] == "Pod"
        base = f"http://127.0.0.1:{at}/api/v1/namespaces/{shell.namespace}"
        for target in ("pods/shell", "pods/http:shell:8080", "services/shell:80"):
            assert fetch(f"{base}/{target}/proxy/index.html") == "page\n"
    path = f"/api/v1/namespaces/{shell.namespace}/pods/shell:8080/proxy/"
    assert shell("get", "--raw", path + "index.html") == "page\n"
    assert "the server could not find the requested resource" in shell.fails("get", "--raw", path + "nothing")
    assert "connection refused" in shell.fails("get", "--raw", path.replace("8080", "81"))
    node = shell("get", "pod", "shell", "-o", "jsonpath={.spec.nodeName}")
    assert shell("get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz") == "ok"
    shell("delete", "svc", "shell")


def test_debug(shell: Kubectl) -> None:
    """An ephemeral container beside the others: the pod's network, the processes of the one it looks at, gone when it ends."""
    if shell.minor < 23:  # before, ephemeral containers had another API
        return
    shell("label", "namespace", shell.namespace, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
    image = (f"--image={SHELL}", "--image-pull-policy=IfNotPresent")
    script = "wget -qO- http://127.0.0.1:8080/; grep -q httpd /proc/[0-9]*/cmdline && echo seen; read word; echo got $word; exit 3"
    done = shell.run("debug", "shell", *image, "-c", "look", "--target=shell", "-i", "--", "sh", "-c", script, stdin="hello\n")
    assert b"got hello" in done.stdout, done
    path = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}"
    shell.system.until(lambda: shell("get", "pod", "shell", "-o", path) == "3", "the node says how it ended")
    assert shell("logs", "shell", "-c", "look") == "page\nseen\ngot hello\n"
    shell("debug", "shell", *image, "-c", "stays", "--", "sleep", "999")
    path = "jsonpath={.status.ephemeralContainerStatuses[1].state.running.startedAt}"
    shell.system.until(lambda: shell("get", "pod", "shell", "-o", path) != "", "it runs")
    assert shell("exec", "shell", "-c", "stays", "--", "echo", "in") == "in\n"
    assert shell("get", "pod", "shell", "-o", "jsonpath={.status.containerStatuses[0].restartCount}{.status.phase}") == "0Running"


def test_several_containers(k: Kubectl) -> None:
    def container(name: str, script: str) -> dict[str, object]:
        return {"name": name, "image": SHELL, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}

    stays = "trap 'exit 0' TERM; echo from-a; sleep 999 & wait"
    spec = {
        "initContainers": [container("i", "echo init")],
        "containers": [container("a", stays), container("b", "echo from-b; sleep 0.2; exit 2")],
    }
    k("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "two"}, "spec": spec}))
    k.system.until(lambda: "CrashLoopBackOff" in k("get", "pod", "two"), "b backs off")
    assert k("get", "pod", "two").splitlines()[1].split()[1] == "1/2"
    assert k("logs", "two", "-c", "a") == "from-a\n"
    assert k("logs", "two", "-c", "b", "--previous") == "from-b\n"
    assert sorted(k("logs", "two", "--all-containers").split()) == ["from-a", "from-b", "init"]
    text = k("describe", "pod", "two")
    assert "Back-off restarting failed container" in text
    assert re.search(r"Last State:\s+Terminated", text)
    assert k("delete", "pod", "two", "--now").startswith('pod "two" deleted')


# --- the node; last, because it is one for all


def test_node_verbs(k: Kubectl) -> None:
    node = k.field("nodes", path=".items[0].metadata.name")
    assert k.rows("get", "nodes")[0] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert k("cordon", node) == f"node/{node} cordoned\n"
    try:
        assert k.rows("get", "node", node)[1][1] == "Ready,SchedulingDisabled"
        k(
            "run",
            "waits",
            f"--image={SHELL}",
            "--image-pull-policy=IfNotPresent",
            "--command",
            "--",
            "sh",
            "-c",
            "trap 'exit 0' TERM; sleep 999 & wait",
        )
        k.system.until(lambda: "1 node(s) were unschedulable" in k("describe", "pod", "waits"), "the scheduler says why")
    finally:
        assert k("uncordon", node) == f"node/{node} uncordoned\n"
    k("wait", "--for=condition=Ready", "pod/waits", "--timeout=30s")
    assert k("taint", "node", node, "a=b:NoSchedule") == f"node/{node} tainted\n"
    assert k("taint", "node", node, "a-") == f"node/{node} untainted\n"
    try:
        assert "use --force to override" in k.fails("drain", node, "--ignore-daemonsets")
        drain = ("drain", node, "--ignore-daemonsets", "--force", "--pod-selector=run=waits")
        budget = {"minAvailable": 1, "selector": {"matchLabels": {"run": "waits"}}}
        k("apply", "-f", "-", stdin=json.dumps(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "waits"}, "spec": budget}
        ))  # fmt: skip
        counted = ("get", "pdb", "waits", "-o", "jsonpath={.status.currentHealthy}")
        k.system.until(lambda: k(*counted) == "1", "the budget is counted")
        assert "Cannot evict pod as it would violate the pod's disruption budget." in k.fails(*drain, "--timeout=2s")
        k("delete", "pdb", "waits")
        assert "pod/waits evicted" in k(*drain, "--timeout=30s")
    finally:
        k("uncordon", node)
    if k.minor >= 25:
        k("label", "namespace", k.namespace, "pod-security.kubernetes.io/enforce=privileged")
        k("debug", f"node/{node}", f"--image={SHELL}", "--", "true")


def test_nothing_was_logged_as_a_failure(k: Kubectl) -> None:
    logs = "".join(path.read_text() for path in (k.system.data / "log").iterdir())
    assert "Traceback" not in logs
