"""Wrong input: each refusal says what, where and what to do; no traceback, no half-made object."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.system import System

SERVICE_AS_PRINTED = """\
apiVersion: v1
kind: Service
metadata:
  name: printed
spec:
  ports:
  - port: 80
  clusterIP: None
  selector:
app: nginx
"""
SET_WITH_TABS = """\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: printed
spec:
  template:
    metadata:
      labels:
\t\t\t\tapp: nginx
"""
SET_AS_PRINTED = """\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: printed
spec:
  serviceName: nginx
  replicas: 2
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
volumeClaimTemplates:
- metadata:
    name: www
"""


def refused(system: System, text: str, *arguments: str) -> str:
    done = system.run("create", *arguments, "-f", "-", stdin=text)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_printed_service_names_app(system: System) -> None:
    assert 'unknown field "app"' in refused(system, SERVICE_AS_PRINTED)
    assert system.get("service", "printed") is None


def test_the_printed_set_names_the_misplaced_fields(system: System) -> None:
    text = refused(system, SET_AS_PRINTED, "--validate=false")
    assert "spec.template.spec.containers" in text
    text = refused(system, SET_AS_PRINTED)
    assert re.search(r'unknown field "(spec\.)?spec"', text), text  # kubectl checks by itself before 1.25
    assert 'unknown field "volumeClaimTemplates"' in text
    assert system.get("statefulset", "printed") is None


def test_selector_that_does_not_match(system: System) -> None:
    text = refused(system, SET_AS_PRINTED.replace("        app: nginx", "        app: other"), "--validate=false")
    assert "`selector` does not match template `labels`" in text


def test_up_names_file_and_line_of_a_tab(tmp_path: Path, system: System) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(SET_WITH_TABS)
    done = system.holdfast("up", "-f", str(manifest), "--data", str(tmp_path / "d"), check=False)
    assert done.returncode == 1
    assert f"{manifest}: line 9: a tab" in done.stderr
    assert not (tmp_path / "d").exists()


def test_up_does_not_move_in_with_other_files(tmp_path: Path, system: System) -> None:
    """And a reset takes its own with it, nobody else's."""
    (tmp_path / "thesis.txt").write_text("years")
    for role in ("up", "server"):
        done = system.holdfast(role, "--data", str(tmp_path), check=False)
        assert done.returncode == 1
        assert f"{tmp_path} holds other things (thesis.txt): give a new or an empty directory as --data" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    for ours in ("pki", "log"):
        (tmp_path / ours).mkdir()
    (tmp_path / "store.db").touch()
    assert "thesis.txt" in system.holdfast("reset", "--yes", "--data", str(tmp_path)).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_nobody_else_may_look_into_the_data(system: System) -> None:
    assert system.data.stat().st_mode & 0o077 == 0
    for path in (system.data / "store.db", system.data / "kubeconfig"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_second_up_is_refused(system: System) -> None:
    done = system.holdfast("up", "--detach", "--data", str(system.data), check=False)
    assert done.returncode == 1
    assert "runs already" in done.stderr
    assert str(system.data) in done.stderr


def test_port_in_use_is_named(tmp_path: Path, system: System) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = system.holdfast("up", "--detach", "--data", str(tmp_path / "d"), "--listen", f"127.0.0.1:{port}", check=False)
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "--listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_image_says_how_to_load_it(system: System) -> None:
    system.kubectl("run", "lost", "--image=example.test/nowhere:1", "--restart=Never")

    def waiting() -> str:
        statuses = system.get("pod", "lost")["status"].get("containerStatuses") or [{}]
        return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))

    system.until(lambda: waiting() in ("ErrImagePull", "ImagePullBackOff"), "the image is missed")
    system.until(lambda: "holdfast image load" in system.kubectl("describe", "pod", "lost"), "the event says how to load it", 10)
    system.kubectl("delete", "pod", "lost", "--grace-period=0", "--force")


@pytest.mark.parametrize("arguments", [("up", "--listen", "nonsense"), ("reset",), ("image", "tag", "a")])
def test_bad_usage_exits_with_2(system: System, arguments: tuple[str, ...]) -> None:
    assert system.holdfast(*arguments, check=False).returncode == 2
