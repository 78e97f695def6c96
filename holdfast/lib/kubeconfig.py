"""Kubeconfig files: one cluster, one user, one context; keys embedded, readable by the owner only."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import yaml

from holdfast.lib.pki import Credential, write_private


@dataclass(frozen=True)
class Kubeconfig:
    server: str
    ca: bytes
    credential: Credential | None = None
    token: str = ""


def dump(config: Kubeconfig, *, cluster: str = "holdfast", user: str = "admin") -> bytes:
    who: dict[str, str] = {}
    if config.credential:
        who["client-certificate-data"] = base64.b64encode(config.credential.certificate).decode()
        who["client-key-data"] = base64.b64encode(config.credential.key).decode()
    if config.token:
        who["token"] = config.token
    ca = base64.b64encode(config.ca).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": config.server, "certificate-authority-data": ca}}],
        "users": [{"name": user, "user": who}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def write(path: Path, config: Kubeconfig, *, user: str = "admin") -> None:
    write_private(path, dump(config, user=user))


def load(path: Path) -> Kubeconfig:
    """The current context of a kubeconfig. Raises ValueError naming what is missing."""
    document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    try:
        wanted = document.get("current-context")
        context = next((c["context"] for c in document["contexts"] if c["name"] == wanted), document["contexts"][0]["context"])
        cluster = next(c["cluster"] for c in document["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in document["users"] if u["name"] == context["user"])
        ca = _data(path, cluster, "certificate-authority")
        credential = None
        if "client-key-data" in user or "client-key" in user:
            credential = Credential(_data(path, user, "client-certificate"), _data(path, user, "client-key"))
        return Kubeconfig(cluster["server"], ca, credential, user.get("token", ""))
    except (KeyError, StopIteration, TypeError, IndexError) as error:
        raise ValueError(f"{path} is not a usable kubeconfig: missing {error}") from error


def _data(path: Path, entry: dict[str, str], field: str) -> bytes:
    if f"{field}-data" in entry:
        return base64.b64decode(entry[f"{field}-data"])
    return (path.parent / entry[field]).read_bytes()
