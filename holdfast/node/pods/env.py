"""A container's environment: literals, references, whole ConfigMaps and Secrets, Service addresses, ``$(NAME)``.

Pure: the objects needed are collected first (``references``) and handed in. What is missing and not
optional raises ConfigError, whose reason the container shows while it waits.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery import quantity

_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ConfigError(Exception):
    """A container cannot be configured; ``reason`` is what it waits with."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def references(container: Obj) -> set[tuple[str, str]]:
    """The ("ConfigMap" or "Secret", name) pairs a container's environment reads."""
    found = set()
    for source in container.get("envFrom") or ():
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if name := (source.get(key) or {}).get("name"):
                found.add((kind, name))
    for item in container.get("env") or ():
        origin = item.get("valueFrom") or {}
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if name := (origin.get(key) or {}).get("name"):
                found.add((kind, name))
    return found


def make_env(
    pod: Obj,
    container: Obj,
    objects: Mapping[tuple[str, str], Obj | None],
    services: Iterable[Obj] = (),
    capacity: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """``objects`` holds every reference, None where there is no such object; ``capacity`` is the node's allocatable."""
    out = service_env(pod, services)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            reference = source.get(key)
            if reference:
                data = _data(pod, kind, reference, objects)
                out.update({prefix + name: value for name, value in (data or {}).items() if _NAME.fullmatch(prefix + name)})
    own: dict[str, str] = {}
    for item in container.get("env") or ():
        name = item["name"]
        origin = item.get("valueFrom")
        if origin:
            value = _value_from(pod, container, origin, objects, capacity or {})
            if value is None:
                continue
        else:
            value = expand(item.get("value") or "", lambda key: own.get(key, out.get(key)))
        own[name] = value
    out.update(own)
    return out


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """``$(NAME)`` replaced where it is known, ``$$`` as an escaped ``$``; anything else stays as it is."""
    out, at = [], 0
    while at < len(text):
        if text[at] != "$" or at + 1 >= len(text):
            out.append(text[at])
            at += 1
        elif text[at + 1] == "$":
            out.append("$")
            at += 2
        elif text[at + 1] == "(" and (end := text.find(")", at)) > 0:
            name = text[at + 2 : end]
            value = lookup(name)
            out.append(text[at : end + 1] if value is None else value)
            at = end + 1
        else:
            out.append(text[at : at + 2])
            at += 2
    return "".join(out)


def _data(pod: Obj, kind: str, reference: Obj, objects: Mapping[tuple[str, str], Obj | None]) -> dict[str, str] | None:
    """Decoded data of a referenced object; None when it is absent and optional."""
    obj = objects.get((kind, reference["name"]))
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    if kind == "ConfigMap":
        return {str(k): str(v) for k, v in (obj.get("data") or {}).items()}
    out = {}
    for key, value in (obj.get("data") or {}).items():
        try:
            out[str(key)] = base64.b64decode(value).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError):
            raise ConfigError(f"Secret {reference['name']}: key {key} is not base64") from None
    return out


def _value_from(
    pod: Obj, container: Obj, origin: Obj, objects: Mapping[tuple[str, str], Obj | None], capacity: Mapping[str, Any]
) -> str | None:
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        reference = origin.get(field)
        if reference:
            data = _data(pod, kind, reference, objects)
            if data is not None and reference["key"] in data:
                return data[reference["key"]]
            if reference.get("optional"):
                return None
            namespace = pod["metadata"].get("namespace", "")
            raise ConfigError(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")
    if origin.get("fieldRef"):
        return field_value(pod, origin["fieldRef"]["fieldPath"])
    if origin.get("resourceFieldRef"):
        return resource_value(pod, container, origin["resourceFieldRef"], capacity)
    raise ConfigError("an environment variable has a source this node does not know")


def field_value(pod: Obj, path: str) -> str:
    """A field of the pod as text. Raises ConfigError for paths that are not offered."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    plain = {
        "metadata.name": metadata.get("name"),
        "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": ",".join(item["ip"] for item in status.get("hostIPs") or ()),
        "status.podIP": status.get("podIP"),
        "status.podIPs": ",".join(item["ip"] for item in status.get("podIPs") or ()),
    }
    if path not in plain:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(plain[path] or "")


def resource_value(pod: Obj, container: Obj, reference: Obj, capacity: Mapping[str, Any]) -> str:
    """requests.cpu and the like, divided and rounded up; a missing limit is what the node has."""
    name = reference.get("containerName")
    if name and name != container["name"]:
        every = [*(pod["spec"].get("initContainers") or ()), *(pod["spec"].get("containers") or ())]
        container = next((c for c in every if c["name"] == name), container)
    section, _, resource = str(reference["resource"]).partition(".")
    resources = container.get("resources") or {}
    value = (resources.get(section) or {}).get(resource)
    if value is None and section == "limits":
        value = capacity.get(resource)
    divisor = quantity.parse(reference.get("divisor") or "1") or quantity.parse("1")
    return str(-(-quantity.parse(value or "0") // divisor))


def service_env(pod: Obj, services: Iterable[Obj]) -> dict[str, str]:
    """Addresses of Services: always that of the API, those of the pod's namespace unless enableServiceLinks is false."""
    out: dict[str, str] = {}
    links = pod["spec"].get("enableServiceLinks")
    for service in sorted(services, key=lambda s: (s["metadata"].get("namespace", ""), s["metadata"]["name"])):
        metadata, spec = service["metadata"], service.get("spec") or {}
        api = metadata.get("namespace") == "default" and metadata["name"] == "kubernetes"
        own = metadata.get("namespace") == pod["metadata"].get("namespace") and links is not False
        ip, ports = spec.get("clusterIP"), spec.get("ports") or ()
        if not ip or ip == "None" or not ports or not (api or own):
            continue
        prefix = metadata["name"].upper().replace("-", "_").replace(".", "_")
        out[f"{prefix}_SERVICE_HOST"] = ip
        out[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        first = ports[0]
        out[f"{prefix}_PORT"] = f"{(first.get('protocol') or 'TCP').lower()}://{ip}:{first['port']}"
        for port in ports:
            if port.get("name"):
                out[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            protocol = port.get("protocol") or "TCP"
            stem = f"{prefix}_PORT_{port['port']}_{protocol}"
            out[stem] = f"{protocol.lower()}://{ip}:{port['port']}"
            out |= {f"{stem}_PROTO": protocol.lower(), f"{stem}_PORT": str(port["port"]), f"{stem}_ADDR": ip}
    return out
