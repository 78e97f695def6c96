"""What several integration tests stand on: stock kubectl with a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubectl import Kubectl, clients
from tests.system import System


@pytest.fixture(scope="module", params=clients(), ids=lambda path: Path(path).name)
def k(request: pytest.FixtureRequest, system: System) -> Iterator[Kubectl]:
    kubectl = Kubectl(request.param, system, f"verbs-{clients().index(request.param)}")
    assert kubectl("create", "namespace", kubectl.namespace) == f"namespace/{kubectl.namespace} created\n"
    yield kubectl
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=60s", timeout=70)
