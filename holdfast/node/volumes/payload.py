"""What the files of configMap, secret, projected and downwardAPI volumes hold. Pure, but for the objects asked of ``Sources``.

A missing object or key is an error unless its source is optional; the words are those users know from kubelets.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta
from holdfast.node.api import NotReady
from holdfast.node.pods.env import ConfigError, field_value, resource_value
from holdfast.node.volumes.atomic import File

MODE = 0o644


class Sources(Protocol):
    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """A ConfigMap or Secret, read live; None when there is none."""

    async def token(self, pod: Obj, audience: str, seconds: int) -> str:
        """A token of the pod's ServiceAccount, bound to the pod; renewed in time."""

    def capacity(self) -> Mapping[str, Any]:
        """What the node has: limits that a container does not set."""


@dataclass
class Payload:
    files: dict[str, File] = field(default_factory=dict)
    private: bool = False
    """Holds secrets: written to memory only."""


async def render(pod: Obj, volume: Obj, sources: Sources) -> Payload:
    """Raises NotReady (FailedMount)."""
    name = volume["name"]
    found = Payload()
    try:
        if volume.get("configMap") is not None:
            source = volume["configMap"]
            found.files = await _object(pod, "ConfigMap", source.get("name", ""), source, source.get("defaultMode"), sources)
        elif volume.get("secret") is not None:
            source = volume["secret"]
            found.files = await _object(pod, "Secret", source.get("secretName", ""), source, source.get("defaultMode"), sources)
            found.private = True
        elif volume.get("downwardAPI") is not None:
            source = volume["downwardAPI"]
            found.files = _downward(pod, source.get("items") or [], source.get("defaultMode"), sources)
        else:
            found = await _projected(pod, volume["projected"], sources)
    except ConfigError as error:
        raise NotReady("FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {error.message}') from None
    return found


async def _projected(pod: Obj, projected: Obj, sources: Sources) -> Payload:
    mode = projected.get("defaultMode")
    found = Payload()
    for source in projected.get("sources") or []:
        if source.get("configMap") is not None:
            part = source["configMap"]
            found.files |= await _object(pod, "ConfigMap", part.get("name", ""), part, mode, sources)
        elif source.get("secret") is not None:
            part = source["secret"]
            found.files |= await _object(pod, "Secret", part.get("name", ""), part, mode, sources)
            found.private = True
        elif source.get("downwardAPI") is not None:
            found.files |= _downward(pod, source["downwardAPI"].get("items") or [], mode, sources)
        elif source.get("serviceAccountToken") is not None:
            part = source["serviceAccountToken"]
            token = await sources.token(pod, part.get("audience") or "", int(part.get("expirationSeconds") or 3600))
            found.files[part["path"]] = File(token.encode(), _token_mode(pod, mode))
            found.private = True
        else:
            raise ConfigError(f"projected source {', '.join(source) or '{}'} is not offered on this node")
    return found


def file_owner(pod: Obj) -> int:
    """The user every container runs as, who may own files meant for the pod alone; -1 when there is no such one."""
    common = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    users = {(c.get("securityContext") or {}).get("runAsUser", common) for c in containers}
    only = users.pop() if len(users) == 1 else None
    return -1 if only is None else int(only)


def _token_mode(pod: Obj, mode: int | None) -> int:
    """A token is for the pod's own user or group alone when there is one."""
    context = pod["spec"].get("securityContext") or {}
    if context.get("fsGroup") is not None or file_owner(pod) >= 0:
        return 0o600
    return MODE if mode is None else mode


async def _object(pod: Obj, kind: str, name: str, source: Obj, mode: int | None, sources: Sources) -> dict[str, File]:
    namespace, optional = meta.namespace(pod), bool(source.get("optional"))
    obj = await sources.get(kind, namespace, name)
    if obj is None:
        if optional:
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = {key: value.encode() for key, value in (obj.get("data") or {}).items()} if kind == "ConfigMap" else {}
    binary = obj.get("data" if kind == "Secret" else "binaryData") or {}
    data |= {key: base64.b64decode(value) for key, value in binary.items()}
    default = MODE if mode is None else mode
    items = source.get("items")
    if not items:
        return {key: File(value, default) for key, value in data.items()}
    found = {}
    for item in items:
        if item["key"] in data:
            found[item["path"]] = File(data[item["key"]], item.get("mode") if item.get("mode") is not None else default)
        elif not optional:
            raise ConfigError(f"references non-existent {kind.lower()} key: {item['key']}")
    return found


def _downward(pod: Obj, items: list[Obj], mode: int | None, sources: Sources) -> dict[str, File]:
    found = {}
    for item in items:
        if item.get("fieldRef"):
            text = _field(pod, item["fieldRef"]["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            every = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
            container = next((c for c in every if c["name"] == reference.get("containerName")), None)
            if container is None:
                raise ConfigError(f"container {reference.get('containerName')} not found")
            text = resource_value(pod, container, reference, sources.capacity())
        own = item.get("mode")
        found[item["path"]] = File(text.encode(), own if own is not None else MODE if mode is None else mode)
    return found


def _field(pod: Obj, path: str) -> str:
    """Whole maps too, which environment variables cannot show: one ``key="value"`` a line, sorted."""
    if path in ("metadata.labels", "metadata.annotations"):
        pairs: Mapping[str, str] = pod["metadata"].get(path.rpartition(".")[2]) or {}
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(pairs.items()))
    return field_value(pod, path)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
