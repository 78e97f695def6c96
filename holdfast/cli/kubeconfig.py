"""A kubeconfig of any Kubernetes, as kubectl reads it: which server, trusted how, as whom, in which namespace.

Several files (KUBECONFIG) are one: of two entries with a name the first counts. Credentials may be a client
certificate, a token, a file with one, a password, or what a credential plugin (``exec``) prints.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from holdfast.cli.errors import UserError


@dataclass(frozen=True)
class Access:
    server: str
    tls: ssl.SSLContext | None
    """None for plain http (``kubectl proxy``)."""
    headers: dict[str, str] = field(default_factory=dict)
    namespace: str = "default"


def find(given: Path | None, own: Path) -> list[Path]:
    """Where to look: what was given, KUBECONFIG, the server of this machine's data directory, or kubectl's own place."""
    if given is not None:
        return [given]
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if named:
        return named
    return [own if own.exists() else Path.home() / ".kube" / "config"]


def load(paths: Sequence[Path], context: str = "") -> Access:
    """Raises UserError for a file that is missing or says too little."""
    merged: dict[str, dict[str, Any]] = {"clusters": {}, "users": {}, "contexts": {}}
    current = context
    for path in paths:
        for section, name, entry in _entries(path):
            if section == "current-context":
                current = current or name
            else:
                merged[section].setdefault(name, entry)
    shown = os.pathsep.join(map(str, paths))
    if not current and len(merged["contexts"]) == 1:
        current = next(iter(merged["contexts"]))
    found = merged["contexts"].get(current)
    if found is None:
        raise UserError(f"{shown} has no context {current!r}" if current else f"{shown} says no current-context")
    cluster, user = merged["clusters"].get(found.get("cluster")), merged["users"].get(found.get("user"), {})
    if not cluster or not cluster.get("server"):
        raise UserError(f"{shown}: context {current!r} names no cluster with a server")
    try:
        user = _with_plugin(user)
        tls = None if cluster["server"].startswith("http://") else _tls(cluster, user)
        return Access(cluster["server"].rstrip("/"), tls, _headers(user), found.get("namespace") or "default")
    except (ssl.SSLError, ValueError) as error:
        raise UserError(f"{shown}: the certificates of context {current!r} cannot be used: {error}") from error


def _entries(path: Path) -> Iterator[tuple[str, str, Any]]:
    """(section, name, entry); files are named in an entry relative to where it stands."""
    try:
        config = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError as error:
        raise UserError(f"there is no kubeconfig {path}: start a server (holdfast up), or name one with --kubeconfig") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no kubeconfig: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is no kubeconfig")
    yield "current-context", str(config.get("current-context") or ""), None
    for section, key in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        for item in config.get(section) or []:
            entry = dict(item.get(key) or {})
            for name in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
                if entry.get(name):
                    entry[name] = str(path.parent / entry[name])
            yield section, str(item.get("name")), entry


def _with_plugin(user: dict[str, Any]) -> dict[str, Any]:
    plugin = user.get("exec")
    if not plugin:
        return user
    environment = {**os.environ, **{e["name"]: e["value"] for e in plugin.get("env") or []}}
    version = plugin.get("apiVersion") or "client.authentication.k8s.io/v1"
    request = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(request)
    try:
        done = subprocess.run(
            [plugin["command"], *(plugin.get("args") or [])], env=environment, capture_output=True, check=True, timeout=60
        )
        status = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise UserError(f"the credential plugin {plugin.get('command')} gives none: {error}") from error
    found = {"token": status.get("token")}
    for given, name in (("clientCertificateData", "client-certificate-data"), ("clientKeyData", "client-key-data")):
        if status.get(given):
            found[name] = base64.b64encode(status[given].encode()).decode()
    return {**user, **found}


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif cluster.get("certificate-authority-data"):
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    else:
        context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
    if user.get("client-certificate-data") or user.get("client-certificate"):
        with _file(user, "client-certificate") as certificate, _file(user, "client-key") as key:
            context.load_cert_chain(certificate, key)
    return context


@contextmanager
def _file(user: dict[str, Any], name: str) -> Iterator[str]:
    """ssl takes certificates from files only."""
    if user.get(f"{name}-data"):
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user[f"{name}-data"]))
            pem.flush()
            yield pem.name
    else:
        yield str(user.get(name) or "")


def _headers(user: dict[str, Any]) -> dict[str, str]:
    token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if user.get("tokenFile") else "")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
