"""One running system for every client library here; a namespace for each test; one pod for what needs a running one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system import System, running_system

BOX = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "box", "labels": {"app": "box"}},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "main", "image": "busybox", "command": ["sh", "-c", "echo first line; echo second line; exec sleep 3600"]},
            {"name": "web", "image": "nginx:1.9.1", "ports": [{"containerPort": 80, "name": "http"}]},
        ],
    },
}

_numbers = itertools.count()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("data") / "d") as running:
        yield running


@pytest.fixture
def kubeconfig(system: System, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where clients look by themselves: the variable, and the path of the file for those that want it said."""
    path = str(system.data / "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", path)
    return path


@pytest.fixture
def namespace(system: System) -> str:
    name = f"clients-{next(_numbers)}"
    system.kubectl("create", "namespace", name)
    return name


@pytest.fixture(scope="session")
def box(system: System) -> dict[str, Any]:
    """A running pod: ``main`` has a shell and has logged two lines, ``web`` serves HTTP."""
    system.create(BOX)
    system.wait_ready("box")
    pod: dict[str, Any] = system.get("pod", "box")
    return pod


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """The first thing every documentation applies: a Deployment and its Service, in one file."""
    path = tmp_path / "nginx.yaml"
    path.write_text(NGINX)
    return path


NGINX = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-deployment
  labels:
    app: nginx
spec:
  replicas: 3
  selector:
    matchLabels:
      app: nginx
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
      - name: nginx
        image: nginx:1.9.1
        ports:
        - containerPort: 80
---
apiVersion: v1
kind: Service
metadata:
  name: nginx
spec:
  selector:
    app: nginx
  ports:
  - port: 80
    targetPort: 80
"""
