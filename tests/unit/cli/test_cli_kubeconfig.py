"""Kubeconfigs of other people's clusters, as the command line reads them."""

from __future__ import annotations

import base64
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.cli import kubeconfig
from holdfast.cli.errors import UserError
from holdfast.lib import pki


def written(path: Path, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **more: Any) -> Path:
    server = {"server": "https://one.example:6443/", "insecure-skip-tls-verify": True}
    document = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": server | (cluster or {})}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "db"}},
            {"name": "there", "context": {"cluster": "c", "user": "u"}},
        ],
        **more,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_current_context_counts_unless_another_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "k")
    found = kubeconfig.load([path])
    assert (found.server, found.namespace, found.headers) == ("https://one.example:6443", "db", {})
    assert kubeconfig.load([path], "there").namespace == "default"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "secret"}, "Bearer secret"),
        ({"tokenFile": "token"}, "Bearer from-file"),
        ({"username": "a", "password": "b"}, "Basic " + base64.b64encode(b"a:b").decode()),
    ],
)
def test_credentials_in_headers(tmp_path: Path, user: dict[str, Any], header: str) -> None:
    (tmp_path / "token").write_text("from-file\n")
    assert kubeconfig.load([written(tmp_path / "k", user)]).headers == {"Authorization": header}


def test_a_credential_plugin_is_asked(tmp_path: Path) -> None:
    print_it = "print(json.dumps({'status': {'token': os.environ['X'] + version}}))"
    script = f"import json, os; version = json.loads(os.environ['KUBERNETES_EXEC_INFO'])['apiVersion']; {print_it}"
    plugin = {"command": sys.executable, "args": ["-c", script], "env": [{"name": "X", "value": "x-"}], "apiVersion": "v9"}
    assert kubeconfig.load([written(tmp_path / "k", {"exec": plugin})]).headers == {"Authorization": "Bearer x-v9"}
    broken = written(tmp_path / "b", {"exec": {"command": "no-such-plugin"}})
    with pytest.raises(UserError, match="the credential plugin no-such-plugin gives none"):
        kubeconfig.load([broken])


def test_certificates_embedded_or_in_files_beside_it(tmp_path: Path) -> None:
    keys = pki.ensure_pki(tmp_path / "pki", ["localhost"])
    for name, content in (("ca.crt", keys.ca.certificate), ("u.crt", keys.admin.certificate), ("u.key", keys.admin.key)):
        (tmp_path / name).write_bytes(content)
    user = {"client-certificate": "u.crt", "client-key": "u.key"}
    cluster = {"insecure-skip-tls-verify": False, "certificate-authority": "ca.crt"}
    tls = kubeconfig.load([written(tmp_path / "files", user, cluster)]).tls
    assert tls is not None
    assert tls.verify_mode == ssl.CERT_REQUIRED
    data = {f"{key}-data": base64.b64encode((tmp_path / name).read_bytes()).decode() for key, name in user.items()}
    assert kubeconfig.load([written(tmp_path / "embedded", data)]).tls is not None
    broken = written(tmp_path / "broken", {**data, "client-key-data": base64.b64encode(b"rubbish").decode()})
    with pytest.raises(UserError, match="certificates of context 'here' cannot be used"):
        kubeconfig.load([broken])


def test_of_several_files_the_first_entry_counts(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {"token": "first"})
    two = written(tmp_path / "two", {"token": "second"}, **{"current-context": "there"})
    found = kubeconfig.load([one, two])
    assert (found.namespace, found.headers["Authorization"]) == ("db", "Bearer first")


def test_plain_http_needs_no_certificates(tmp_path: Path) -> None:
    assert kubeconfig.load([written(tmp_path / "k", cluster={"server": "http://127.0.0.1:8001"})]).tls is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no kubeconfig"),
        ("a: [", "is no kubeconfig"),
        ("- a", "is no kubeconfig"),
        ("{}", "says no current-context"),
        ("current-context: x", "has no context 'x'"),
        ("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]", "names no cluster with a server"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "k"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        kubeconfig.load([path])


def test_where_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, given = tmp_path / "own", tmp_path / "given"
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.find(None, own) == [tmp_path / ".kube" / "config"]
    own.touch()
    assert kubeconfig.find(None, own) == [own]
    monkeypatch.setenv("KUBECONFIG", f"a{os.pathsep}b")
    assert kubeconfig.find(None, own) == [Path("a"), Path("b")]
    assert kubeconfig.find(given, own) == [given]
