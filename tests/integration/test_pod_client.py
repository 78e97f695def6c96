"""A program inside a pod reaches the API by the mounted token and CA, with the rights that were bound to it and no others."""

from __future__ import annotations

from typing import Any

from tests.system import ROOT, System

PROGRAM = """
from kubernetes import client, config
config.load_incluster_config()
core = client.CoreV1Api()
print(sorted(pod.metadata.name for pod in core.list_namespaced_pod("default").items))
try:
    core.list_namespaced_secret("default")
except client.ApiException as refused:
    print(refused.status, refused.reason)
"""


def program(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "python-client:1", "command": ["python3", "-c", PROGRAM]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_the_official_client_lists_pods_from_inside(system: System) -> None:
    system.holdfast("image", "build", str(ROOT / "tests" / "images" / "python-client.yaml"), "--data", str(system.data))
    system.kubectl("create", "rolebinding", "look", "--clusterrole=view", "--serviceaccount=default:default")
    system.create(program("inside"))
    system.until(lambda: system.get("pod", "inside")["status"].get("phase") in ("Succeeded", "Failed"), "the program has ended")
    assert system.kubectl("logs", "inside").splitlines() == ["['inside']", "403 Forbidden"]
