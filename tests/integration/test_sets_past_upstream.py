"""What a set has beyond upstream, as a user meets it: stock kubectl, the holdfast command, a real server and node without root."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.system import System

CONTAINER = {"name": "db", "image": "busybox", "command": ["sleep", "inf"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
LABELS = {"app": "db"}


def make_set(**changes: object) -> dict[str, object]:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    spec = {
        "replicas": 3,
        "serviceName": "db",
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [CONTAINER]}},
        "volumeClaimTemplates": [claim],
        **changes,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("past") / "d")
    running.up("--runtime", "simulated", "--listen", "127.0.0.1:0")
    try:
        yield running
    finally:
        running.reset()


def test_f6_kubectl_waits_for_a_set_and_the_plan_names_what_is_lost(simulated: System) -> None:
    simulated.create(make_set())
    said = simulated.kubectl("wait", "--for=condition=Available", "sts/db", "--timeout=60s")
    assert "statefulset.apps/db condition met" in said
    simulated.kubectl("rollout", "status", "sts/db", "--timeout=60s")
    kubeconfig = ("--kubeconfig", str(simulated.data / "kubeconfig"))
    assert "sts/db waits for nothing" in simulated.holdfast("why", "sts/db", *kubeconfig).stdout

    volume = simulated.get("pvc", "data-db-2")["spec"]["volumeName"]
    smaller = make_set(replicas=2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete", "whenDeleted": "Retain"})
    file = simulated.data.parent / "smaller.json"
    file.write_text(json.dumps(smaller))
    planned = simulated.holdfast("plan", "-f", str(file), *kubeconfig).stdout
    assert "delete pod/db-2: the set was scaled down" in planned
    assert f"Lost: claim data-db-2 and the data of its volume {volume} (Delete)" in planned
    assert simulated.get("sts", "db")["spec"]["replicas"] == 3, "nothing is written"
    simulated.kubectl("apply", "-f", str(file))
    simulated.wait_gone("pod/db-2", "pvc/data-db-2", f"pv/{volume}")
    assert "Nothing would be done" in simulated.holdfast("plan", "-f", str(file), *kubeconfig).stdout

    simulated.kubectl("cordon", simulated.get("nodes")["items"][0]["metadata"]["name"])
    simulated.kubectl("delete", "pod", "db-1", "--timeout=60s")
    simulated.kubectl("wait", "--for=condition=PodScheduled=False", "pod/db-1", "--timeout=60s")
    why = simulated.holdfast("why", "sts/db", *kubeconfig).stdout
    assert "pod/db-1 (NotReady): db-1 is not Ready" in why
    assert "because db-1 fits on no node: 0/1 nodes are available" in why
    simulated.kubectl("uncordon", simulated.get("nodes")["items"][0]["metadata"]["name"])


def test_the_plan_names_the_revision_that_kubectl_apply_makes(simulated: System) -> None:
    """Defaults that the server filled in once stay (imagePullPolicy follows no new tag), lists merge by their keys, in their order."""
    kubeconfig = ("--kubeconfig", str(simulated.data / "kubeconfig"))
    file = simulated.data.parent / "applied.json"
    sidecar = {"name": "side", "image": "busybox", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    main = {"name": "main", "image": "busybox"}
    lists: list[list[dict[str, object]]] = [
        [main],
        [{**main, "image": "busybox:1.36"}],
        [sidecar, {**main, "image": "busybox:1.36", "ports": [{"containerPort": 80}, {"containerPort": 81}]}],
        [{**main, "ports": [{"containerPort": 81}], "command": ["sleep", "inf"]}, {**sidecar, "env": [{"name": "B", "value": "3"}]}],
        [sidecar],
    ]
    for number, containers in enumerate(lists):
        volume: dict[str, object] = {"name": "v", "emptyDir": {}} if number % 2 else {"name": "v", "configMap": {"name": "c"}}
        labels = {"app": "applied"}
        pod = {"terminationGracePeriodSeconds": 0, "containers": containers, "volumes": [volume]}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
        manifest = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "applied"}, "spec": spec}
        file.write_text(json.dumps(manifest))
        planned = simulated.holdfast("plan", "-f", str(file), *kubeconfig).stdout.splitlines()[0]
        applied = json.loads(simulated.kubectl("apply", "-f", str(file), "-o", "json"))

        def observed(generation: int = applied["metadata"]["generation"]) -> bool:
            return bool(simulated.get("sts", "applied")["status"].get("observedGeneration") == generation)

        simulated.until(observed, "the change is seen")
        assert planned.endswith(f": 1 member of revision {simulated.get('sts', 'applied')['status']['updateRevision']}")
        again = simulated.holdfast("plan", "-f", str(file), *kubeconfig).stdout
        assert "sts/applied in namespace default stays as it is" in again
    simulated.kubectl("delete", "sts", "applied")


def test_the_plan_refuses_what_kubectl_would_and_why_knows_who_is_wanted(simulated: System) -> None:
    kubeconfig = ("--kubeconfig", str(simulated.data / "kubeconfig"))
    file = simulated.data.parent / "wrong.json"
    wrong = make_set(replicaz=3)
    file.write_text(json.dumps(wrong))
    refused = simulated.holdfast("plan", "-f", str(file), *kubeconfig, check=False)
    assert (refused.returncode, "unknown field" in refused.stderr, "spec.replicaz" in refused.stderr) == (1, True, True)
    wrong["metadata"] = {"generateName": "db-"}
    file.write_text(json.dumps(wrong))
    assert "without metadata.name" in simulated.holdfast("plan", "-f", str(file), *kubeconfig, check=False).stderr
    simulated.create(make_set(replicas=1) | {"metadata": {"name": "held"}})
    simulated.kubectl("wait", "--for=condition=Available", "sts/held", "--timeout=60s")
    simulated.kubectl("patch", "pod", "held-0", "-p", '{"metadata": {"finalizers": ["test/hold"]}}')
    simulated.kubectl("delete", "pod", "held-0", "--wait=false")
    said = simulated.holdfast("why", "pod/held-1", *kubeconfig).stdout
    assert said == "pod/held-1 does not exist, and sts/held, which has 1 replicas, does not want it.\n"
    simulated.until(lambda: simulated.get("pod", "held-0")["status"]["phase"] == "Failed", "its program has ended")
    assert "pod/held-0 (Terminating)" in simulated.holdfast("why", "sts/held", *kubeconfig).stdout
    simulated.kubectl("patch", "pod", "held-0", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    simulated.kubectl("delete", "sts", "held")


def test_why_takes_two_words_tells_of_mistakes_and_minds_no_closed_pipe(simulated: System) -> None:
    made = make_set(replicas=0)
    made["metadata"] = {"name": "odd", "annotations": {"holdfast.dev/unstik": "true", "holdfast.dev/progress-deadline": "soon"}}
    simulated.create(made)
    kubeconfig = ("--kubeconfig", str(simulated.data / "kubeconfig"))
    one, two = (simulated.holdfast("why", *words, *kubeconfig).stdout for words in (("sts/odd",), ("statefulset", "odd")))
    assert one == two
    assert "(InvalidAnnotation): holdfast.dev/unstik means nothing; holdfast.dev/unstick does." in one
    assert '(InvalidAnnotation): holdfast.dev/progress-deadline: "soon" is no duration' in one
    command = f"{sys.executable} -m holdfast.cli.main why sts/odd --kubeconfig {simulated.data}/kubeconfig | true"
    assert subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stderr == ""
    simulated.kubectl("delete", "sts", "odd")
