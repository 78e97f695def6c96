"""Containers, probes, ports, environment and resources: defaults and bounds (pkg/apis/core/v1 defaults upstream)."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.machinery import names, quantity
from holdfast.machinery.fielderror import FieldError, child, duplicate, index, invalid, key, not_supported, required

Obj = dict[str, Any]
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")


def _pull_policy(container: Obj) -> None:
    """Always for ``latest`` or no tag, IfNotPresent for a tag or digest."""
    container.setdefault("resources", {})
    if not container.get("imagePullPolicy"):
        image = container.get("image") or ""
        last = image.rpartition("/")[2]
        latest = "@" not in image and (":" not in last or last.endswith(":latest"))
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"


def _limits_to_requests(resources: Obj) -> None:
    """A limit without a request is the request too."""
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, value in limits.items():
            requests.setdefault(name, value)


def _check_resources(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    found = []
    for name, request in (new.get("requests") or {}).items():
        limit = (new.get("limits") or {}).get(name)
        try:
            if quantity.parse(request) < 0:
                found.append(invalid(key(child(path, "requests"), name), request, "must be greater than or equal to 0"))
            if limit is not None and quantity.parse(request) > quantity.parse(limit):
                text = f"must be less than or equal to {name} limit of {limit}"
                found.append(invalid(child(path, "requests"), request, text))
        except ValueError:
            continue  # the quantity's own check reports it
    return found


def check_container(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    name = new.get("name") or ""
    if name:
        found += [invalid(child(path, "name"), name, text) for text in names.dns1123_label(name)]
    if not new.get("image"):
        found.append(required(child(path, "image")))
    for position, variable in enumerate(new.get("env") or []):
        here = index(child(path, "env"), position)
        if variable.get("value") and variable.get("valueFrom"):
            found.append(invalid(child(here, "valueFrom"), "", "may not be specified when `value` is not empty"))
        if "=" in (variable.get("name") or ""):
            found.append(
                invalid(
                    child(here, "name"),
                    variable["name"],
                    "a valid environment variable name must consist only of printable ASCII characters other than '='",
                )
            )
    seen: set[str] = set()
    for position, mount in enumerate(new.get("volumeMounts") or []):
        here = index(child(path, "volumeMounts"), position)
        target = mount.get("mountPath") or ""
        if target in seen:
            found.append(invalid(child(here, "mountPath"), target, "must be unique"))
        seen.add(target)
        if ".." in (mount.get("subPath") or "").split("/"):
            found.append(invalid(child(here, "subPath"), mount["subPath"], "must not contain '..'"))
    ports: set[str] = set()
    for position, port in enumerate(new.get("ports") or []):
        here = index(child(path, "ports"), position)
        named = port.get("name")
        if named:
            found += [invalid(child(here, "name"), named, t) for t in port_name(named)]
            if named in ports:
                found.append(duplicate(child(here, "name"), named))
            ports.add(named)
    return found


def port_name(name: str) -> list[str]:
    """IANA service names, as container ports use them."""
    found = []
    if len(name) > 15:
        found.append("must be no more than 15 characters")
    if not name.replace("-", "").isalnum() or name != name.lower():
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any(c.isalpha() for c in name):
        found.append("must contain at least one letter (a-z)")
    if "--" in name:
        found.append("must not contain consecutive hyphens")
    if name[:1] == "-" or name[-1:] == "-":
        found.append("must not begin or end with a hyphen")
    return found


def _check_probe(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    handlers = [h for h in ("exec", "httpGet", "tcpSocket", "grpc") if new.get(h) is not None]
    if not handlers:
        return [required(path, "must specify a handler type")]
    if len(handlers) > 1:
        return [FieldError("FieldValueForbidden", child(path, h), "", "may not specify more than 1 handler type") for h in handlers[1:]]
    return []


def _check_policy(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    policy = new.get("imagePullPolicy")
    return [not_supported(child(path, "imagePullPolicy"), policy, PULL_POLICIES)] if policy and policy not in PULL_POLICIES else []


_BOUNDS = {
    "timeoutSeconds": {"minimum": 1},
    "periodSeconds": {"minimum": 1},
    "successThreshold": {"minimum": 1},
    "failureThreshold": {"minimum": 1},
    "initialDelaySeconds": {"minimum": 0},
}
_PORT = {"minimum": 1, "maximum": 65535}

overlay(
    CORE + "Container",
    defaults={"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"},
    defaulter=_pull_policy,
    checks=(check_container, _check_policy),
)
overlay(
    CORE + "ContainerPort",
    defaults={"protocol": "TCP"},
    fields={"containerPort": _PORT, "hostPort": {"minimum": 0, "maximum": 65535}, "protocol": {"enum": PROTOCOLS}},
)
overlay(
    CORE + "Probe",
    defaults={"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    fields=_BOUNDS,
    checks=(_check_probe,),
)
overlay(CORE + "HTTPGetAction", defaults={"path": "/", "scheme": "HTTP"}, fields={"scheme": {"enum": ("HTTP", "HTTPS")}})
overlay(CORE + "GRPCAction", defaults={"service": ""})
overlay(CORE + "ObjectFieldSelector", defaults={"apiVersion": "v1"})
overlay(CORE + "ResourceRequirements", defaulter=_limits_to_requests, checks=(_check_resources,))
overlay(CORE + "VolumeResourceRequirements", checks=(_check_resources,))
