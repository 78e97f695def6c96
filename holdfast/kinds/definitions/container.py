"""Containers: image policies, ports, environment, mounts, resources. The same for init and main ones.

What needs the whole pod (a mount's volume, duplicate names, host ports) stands in ``pod_spec``.
"""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import (
    amount,
    fill,
    fill_absent,
    items,
    label,
    one_of,
    port_name_texts,
    port_number,
    relative_path,
)
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, duplicate, forbidden, invalid, key, required

RESOURCES = ("cpu", "memory", "ephemeral-storage")
DOWNWARD_RESOURCES = tuple(f"{side}.{name}" for side in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory"))
ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ENV_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def pull_policy(image: str) -> str:
    """Always for ``latest`` or no tag at all; a digest names its content."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _container_defaults(container: dict[str, Any]) -> None:
    fill(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=pull_policy(str(container.get("image") or "")),
    )
    fill_absent(container, resources={})
    for entry in container.get("env") or []:
        if isinstance(entry, dict) and entry.get("value") == "":
            del entry["value"]


def _port_defaults(port: dict[str, Any]) -> None:
    fill(port, protocol="TCP")


def _resource_field_defaults(selector: dict[str, Any]) -> None:
    fill(selector, divisor="0")


def _field_ref_defaults(selector: dict[str, Any]) -> None:
    fill(selector, apiVersion="v1")


def _check_container(container: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if container.get("name"):
        found += label(child(path, "name"), container["name"])
    image = container.get("image") or ""
    if image != image.strip():
        found.append(invalid(child(path, "image"), image, "must not have leading or trailing whitespace"))
    policies = ("File", "FallbackToLogsOnError")
    found += one_of(child(path, "terminationMessagePolicy"), container.get("terminationMessagePolicy"), policies)
    found += one_of(child(path, "imagePullPolicy"), container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"))
    found += _check_port_names(container, path)
    for probe in ("livenessProbe", "startupProbe"):
        threshold = (container.get(probe) or {}).get("successThreshold")
        if threshold not in (None, 0, 1):
            found.append(invalid(child(path, probe, "successThreshold"), threshold, "must be 1"))
    return found


def _check_image(container: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return [] if container.get("image") else [required(child(path, "image"))]


def _check_port_names(container: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for port, here in items(container, path, "ports"):
        name = port.get("name")
        if name in seen:
            found.append(duplicate(child(here, "name"), name))
        if name:
            seen.add(name)
    return found


def _check_port(port: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = [invalid(child(path, "name"), port["name"], text) for text in port_name_texts(port["name"])] if port.get("name") else []
    if port.get("containerPort") == 0:
        found.append(required(child(path, "containerPort")))
    elif port.get("containerPort") is not None:
        found += port_number(child(path, "containerPort"), port["containerPort"])
    if port.get("hostPort"):
        found += port_number(child(path, "hostPort"), port["hostPort"])
    return found + one_of(child(path, "protocol"), port.get("protocol"), ("SCTP", "TCP", "UDP"))


def _env_name(path: str, name: str) -> list[FieldError]:
    good = all(" " <= char <= "~" and char != "=" for char in name)
    return [] if good else [invalid(path, name, _ENV_TEXT)]


def _check_env(entry: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = _env_name(child(path, "name"), entry.get("name") or "")
    source = entry.get("valueFrom")
    if source is None:
        return found
    here = child(path, "valueFrom")
    given = [name for name in SOURCES if source.get(name) is not None]
    if entry.get("value"):
        found.append(invalid(here, "", "may not be specified when `value` is not empty"))
    elif not given:
        listed = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        found.append(invalid(here, "", listed))
    elif len(given) > 1:
        found.append(invalid(here, "", "may not have more than one field specified at a time"))
    if source.get("fieldRef"):
        found += check_field_ref(source["fieldRef"], child(here, "fieldRef"), ENV_FIELDS)
    for name in ("configMapKeyRef", "secretKeyRef"):
        if source.get(name) is not None:
            found += [invalid(child(here, name, "name"), source[name].get("name") or "", t) for t in _ref_texts(source[name])]
    return found


def _ref_texts(reference: dict[str, Any]) -> list[str]:
    return names.dns1123_subdomain(reference.get("name") or "")


def check_field_ref(reference: dict[str, Any], path: str, allowed: tuple[str, ...]) -> list[FieldError]:
    """``metadata.labels['key']`` besides the plain paths ``allowed``."""
    field = reference.get("fieldPath") or ""
    here = child(path, "fieldPath")
    base, bracket, rest = field.partition("['")
    if bracket and rest.endswith("']"):
        if base in ("metadata.labels", "metadata.annotations"):
            return [invalid(here, field, text) for text in names.qualified_name(rest[:-2].lower())]
        return [invalid(here, field, "error converting fieldPath: field label does not support subscript")]
    if not field or field in allowed:
        return []
    known = {*ENV_FIELDS, "metadata.labels", "metadata.annotations"}
    if field in known:
        return [FieldError("FieldValueNotSupported", here, field, "supported values: " + ", ".join(f'"{a}"' for a in allowed))]
    return [invalid(here, field, f"error converting fieldPath: field label not supported: {field}")]


def _check_resource_field(selector: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    resource = str(selector.get("resource") or "")
    if "hugepages-" in resource:
        return []
    return one_of(child(path, "resource"), resource, DOWNWARD_RESOURCES)


def _check_env_from(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = _env_name(child(path, "prefix"), source.get("prefix") or "")
    given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
    if not given:
        listed = path.rsplit("[", 1)[0]
        found.append(invalid(listed, "", "must specify one of: `configMapRef` or `secretRef`"))
    elif len(given) > 1:
        found.append(invalid(path, "", "may not have more than one field specified at a time"))
    for name in given:
        found += [invalid(child(path, name, "name"), source[name].get("name") or "", text) for text in _ref_texts(source[name])]
    return found


def _check_mount(mount: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    listed = path.rsplit("[", 1)[0]
    if mount.get("subPath"):
        found += relative_path(child(listed, "subPath"), mount["subPath"])
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            found.append(invalid(child(path, "subPathExpr"), mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"))
        found += relative_path(child(path, "subPathExpr"), mount["subPathExpr"])
    modes = ("Bidirectional", "HostToContainer", "None")
    found += one_of(child(listed, "mountPropagation"), mount.get("mountPropagation"), modes)
    return found


def check_resources(resources: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    """Known names, no negative amounts, requests within limits."""
    found: list[FieldError] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for side, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            here = key(child(path, side), name)
            found += resource_name(here, name)
            number = amount(value)
            if number is not None and number < 0:
                found.append(invalid(here, value, "must be greater than or equal to 0"))
    for name, value in requests.items():
        want, limit = amount(value), amount(limits.get(name, ""))
        if limit is not None and want is not None and want > limit:
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            found.append(invalid(child(path, "requests"), value, text))
        elif name not in limits and (name.startswith("hugepages-") or "/" in name):
            found.append(required(child(path, "limits"), "Limit must be set for non overcommitable resources"))
    return found


def resource_name(path: str, name: str) -> list[FieldError]:
    found = [invalid(path, name, text) for text in names.qualified_name(name)]
    if found or "/" in name or name in RESOURCES or name.startswith("hugepages-"):
        return found
    return [
        invalid(path, name, "must be a standard resource type or fully qualified"),
        invalid(path, name, "must be a standard resource for containers"),
    ]


def check_names(spec: dict[str, Any], path: str) -> list[FieldError]:
    """Container names are unique over init, main and ephemeral ones; main ones have the first say."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for group in ("containers", "initContainers", "ephemeralContainers"):
        for container, here in items(spec, path, group):
            name = container.get("name")
            if name and name in seen:
                found.append(duplicate(child(here, "name"), name))
            seen.add(str(name))
    return found


def check_init(spec: dict[str, Any], path: str) -> list[FieldError]:
    """Init containers end, so they take probes and hooks only as sidecars."""
    found: list[FieldError] = []
    for container, here in items(spec, path, "initContainers"):
        if container.get("restartPolicy") == "Always":
            continue
        text = "may not be set for init containers without restartPolicy=Always"
        given = [n for n in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe") if container.get(n) is not None]
        found += [forbidden(child(here, name), text) for name in given]
    return found


_NOT_EPHEMERAL = ("lifecycle", "livenessProbe", "ports", "readinessProbe", "resizePolicy", "resources", "restartPolicy", "startupProbe")


def check_ephemeral(spec: dict[str, Any], path: str) -> list[FieldError]:
    """Ephemeral containers promise nothing: no ports, probes, hooks, resources; they may look at one of the others."""
    found: list[FieldError] = []
    text = "cannot be set for an Ephemeral Container"
    targets = {container.get("name") for group in ("containers", "initContainers") for container in spec.get(group) or []}
    for container, here in items(spec, path, "ephemeralContainers"):
        target = container.get("targetContainerName")
        if target and target not in targets:
            found.append(FieldError("FieldValueNotFound", child(here, "targetContainerName"), target))
        found += [forbidden(child(here, name), text) for name in _NOT_EPHEMERAL if container.get(name)]
        for mount, place in items(container, here, "volumeMounts"):
            found += [forbidden(child(place, name), text) for name in ("subPath", "subPathExpr") if mount.get(name)]
    return found


overlay(CORE + "Container", defaulter=_container_defaults, checks=(_check_image, _check_container))
overlay(CORE + "EphemeralContainer", defaulter=_container_defaults, checks=(_check_image, _check_container))
# A constant default too: where the protocol is absent it still is part of the list key.
overlay(CORE + "ContainerPort", defaults={"protocol": "TCP"}, defaulter=_port_defaults, checks=(_check_port,))
overlay(CORE + "EnvVar", checks=(_check_env,))
overlay(CORE + "EnvFromSource", checks=(_check_env_from,))
overlay(CORE + "VolumeMount", checks=(_check_mount,))
overlay(CORE + "ResourceRequirements", checks=(check_resources,))
overlay(CORE + "ObjectFieldSelector", defaulter=_field_ref_defaults)
overlay(CORE + "ResourceFieldSelector", defaulter=_resource_field_defaults, checks=(_check_resource_field,))
