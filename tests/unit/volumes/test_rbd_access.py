"""How an image is reached: whose key it is, what is refused before anything runs, and that no key is in a command line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from holdfast.volumes.api import Source, VolumeError
from holdfast.volumes.rbd import cluster, kernel
from holdfast.volumes.rbd.cluster import CephError, Image

KEY = "AQBVTydp6dZwLBAAwAkbR3nYrxDHxVdwl0bXiw=="
GIVEN = {"monitors": "10.0.0.1:6789, 10.0.0.2:6789", "pool": "kube", "image": "foo", "user": "me"}


def test_the_secret_goes_before_the_keyring() -> None:
    found = cluster.access(Source("h", {**GIVEN, "keyring": "/none"}, {"key": f"{KEY}\n"}))
    assert (found.monitors, found.name, found.key) == (("10.0.0.1:6789", "10.0.0.2:6789"), "kube/foo", KEY)
    assert KEY not in repr(found)
    assert cluster.access(Source("h", GIVEN, {"anything": KEY})).key == KEY


def test_the_key_of_that_user_is_taken_from_a_keyring(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text(f'[client.other]\n\tkey = AQAA\n[client.me]\n\tcaps mon = "allow r"\n\tkey = {KEY}\n')
    assert cluster.access(Source("h", {**GIVEN, "keyring": str(keyring)})).key == KEY
    with pytest.raises(VolumeError, match=r"holds no key of client\.you"):
        cluster.access(Source("h", {**GIVEN, "keyring": str(keyring), "user": "you"}))
    with pytest.raises(VolumeError, match="keyring: /dev/zero on this node: not a file"):
        cluster.access(Source("h", {**GIVEN, "keyring": "/dev/zero"}))


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An ``rbd`` that does what ``script`` says."""
    command = tmp_path / "rbd"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("features", "read_only", "options"),
    [(("layering",), False, ""), (("layering", "exclusive-lock"), False, "--options exclusive"), (("layering",), True, "--read-only")],
)
def test_the_kernel_maps_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], read_only: bool, options: str
) -> None:
    fake(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/said; cat "$4" > {tmp_path}/key; cat "$2" > {tmp_path}/conf; echo /dev/rbd7')
    reached = cluster.access(Source("h", GIVEN, {"key": KEY}))
    assert kernel.attach(reached, Image("1", 1, features, ""), read_only=read_only) == "/dev/rbd7"
    said = (tmp_path / "said").read_text().strip()
    assert KEY not in said
    assert said.endswith(f"map --pool kube --image foo {options}".strip())
    assert KEY in (tmp_path / "key").read_text()
    conf = (tmp_path / "conf").read_text()
    assert "mon_host = 10.0.0.1:6789,10.0.0.2:6789\n" in conf
    assert KEY not in conf
    assert not kernel.is_there("/dev/rbd7", "1")


@pytest.mark.parametrize("part", ["pool", "image", "user"])
def test_no_name_is_taken_for_an_option(part: str) -> None:
    with pytest.raises(VolumeError, match=f"{part}: '--conf' is not a name of Ceph's"):
        cluster.access(Source("h", {**GIVEN, part: "--conf"}, {"key": KEY}))


def test_what_the_commands_failures_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = cluster.access(Source("h", {**GIVEN, "monitors": "127.0.0.1:1"}, {"key": KEY}))
    for code, text, says in (
        (2, "rbd: error opening image foo: (2) No such file or directory", "there is no image foo in pool kube"),
        (2, "rbd: error opening pool 'kube': (2) No such file or directory", "there is no pool kube"),
        (110, "rbd: couldn't connect to the cluster!", "no monitor of the Ceph cluster answers at 127.0.0.1:1"),
        (1, "rbd: list: (1) Operation not permitted", "client.me may not do that"),
        (16, "noise\nrbd: error: image still has watchers", "rbd image kube/foo: error: image still has watchers"),
    ):
        fake(tmp_path, monkeypatch, f'echo "{text}" >&2; exit {code}')
        with pytest.raises(CephError, match=says) as caught:
            cluster.watchers(reached)
        assert caught.value.code == code


def test_a_missing_command_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_more: None)
    with pytest.raises(VolumeError, match=r"needs? rbd, and it is not installed: apt-get install ceph-common"):
        cluster.watchers(cluster.access(Source("h", GIVEN, {"key": KEY})))
