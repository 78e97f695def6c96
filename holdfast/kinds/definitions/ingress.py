"""Ingress and IngressClass: hosts and paths that lead to Services from outside."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from holdfast.kinds.definitions.overlay import NETWORKING, overlay
from holdfast.kinds.definitions.rules import (
    fill_absent,
    ip,
    items,
    label_texts,
    one_of,
    path_segment,
    port_name_texts,
    port_number,
    subdomain,
    subdomain_texts,
    unsupported,
)
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, required, too_long

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_LONGEST_CONTROLLER = 250
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_WILDCARD = r"\*\." + _SUBDOMAIN
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case"
    " alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is"
    f" '{_WILDCARD}')"
)
_URL_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_NO_IP = "must be a DNS name, not an IP address"


def _host(path: str, host: str) -> list[FieldError]:
    if "*" not in host:
        return subdomain(path, host)
    return [] if re.fullmatch(_WILDCARD, host) else [invalid(path, host, _WILDCARD_TEXT)]


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        found.append(invalid(path, spec.get("rules"), "either `defaultBackend` or `rules` must be specified"))
    if spec.get("ingressClassName") is not None:
        found += subdomain(child(path, "ingressClassName"), spec["ingressClassName"])
    return found


def _check_rule(rule: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    host, here = rule.get("host"), child(path, "host")
    if not host:
        return []
    return ([invalid(here, host, _NO_IP)] if _is_ip(host) else []) + _host(here, host)


def _check_http(http: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not http.get("paths"):
        found.append(required(child(path, "paths")))
    for entry, here in items(http, path, "paths"):
        found += _check_path(entry, here)
        if entry.get("pathType") is not None and entry.get("backend") is None:
            found += _check_backend({}, None, child(here, "backend"))
    return found


def _check_path(entry: dict[str, Any], path: str) -> list[FieldError]:
    kind, value, here = entry.get("pathType"), entry.get("path") or "", child(path, "path")
    if kind is None:
        return [required(child(path, "pathType"), "pathType must be specified")]
    if kind not in _PATH_TYPES:
        return [unsupported(child(path, "pathType"), kind, _PATH_TYPES)]
    strict = kind != "ImplementationSpecific"
    found = [] if value.startswith("/") or not (value or strict) else [invalid(here, value, "must be an absolute path")]
    if strict:
        found += [invalid(here, value, f"must not contain '{part}'") for part in ("//", "/./", "/../", "%2f", "%2F") if part in value]
        found += [invalid(here, value, f"cannot end with '{end}'") for end in ("/..", "/.") if value.endswith(end)]
    return found


def _check_backend(backend: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _check_reference(resource, child(path, "resource"))
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    name, here = service.get("name") or "", child(path, "service", "name")
    found = [invalid(here, name, text) for text in label_texts(name)] if name else [required(here)]
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        found.append(invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        found += [invalid(child(path, "service", "port", "name"), port["name"], text) for text in port_name_texts(port["name"])]
    elif port.get("number"):
        found += port_number(child(path, "service", "port", "number"), port["number"])
    else:
        found.append(required(path, "port name or number is required"))
    return found


def _check_reference(reference: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if reference.get("apiGroup") is not None:
        found += subdomain(child(path, "apiGroup"), reference["apiGroup"])
    for name in ("kind", "name"):
        value = reference.get(name)
        found += path_segment(child(path, name), value) if value else [required(child(path, name))]
    return found


def _check_tls(tls: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = [error for at, host in enumerate(tls.get("hosts") or []) for error in _host(index(child(path, "hosts"), at), host)]
    if tls.get("secretName"):
        found += subdomain(child(path, "secretName"), tls["secretName"])
    return found


def check_balancer(balancer: dict[str, Any], path: str) -> list[FieldError]:
    """status.loadBalancer, which whoever serves the Ingress writes."""
    found: list[FieldError] = []
    for entry, here in items(balancer, path, "ingress"):
        if entry.get("ip"):
            found += ip(child(here, "ip"), entry["ip"])
        if entry.get("hostname"):
            found += subdomain(child(here, "hostname"), entry["hostname"])
            if _is_ip(entry["hostname"]):
                found.append(invalid(child(here, "hostname"), entry["hostname"], _NO_IP))
    return found


def _prefixed_path(path: str, value: str) -> list[FieldError]:
    host, slash, rest = value.partition("/")
    if not (host and slash and rest):
        return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    found = [invalid(path, host, text) for text in subdomain_texts(host)]
    if not re.fullmatch(_URL_PATH, rest):
        found.append(invalid(path, rest, f"Invalid path (regex used for validation is '{_URL_PATH}')"))
    return found


def _check_class(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    controller, here = spec.get("controller") or "", child(path, "controller")
    found = _prefixed_path(here, controller) if controller else [required(here)]
    if len(controller) > _LONGEST_CONTROLLER:
        found.insert(0, too_long(here, "", _LONGEST_CONTROLLER))
    return found


def _check_parameters(parameters: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = _check_reference(parameters, path)
    scope, namespace, here = parameters.get("scope"), parameters.get("namespace"), child(path, "namespace")
    found += one_of(child(path, "scope"), scope, ("Cluster", "Namespace"))
    if scope == "Namespace":
        if namespace is None:
            found.append(required(here, "`parameters.scope` is set to 'Namespace'"))
        else:
            found += [invalid(here, namespace, text) for text in label_texts(namespace)]
    elif scope == "Cluster" and namespace is not None:
        found.append(forbidden(here, "`parameters.scope` is set to 'Cluster'"))
    return found


def _ingress_defaults(ingress: dict[str, Any]) -> None:
    fill_absent(ingress, spec={}, status={})
    fill_absent(ingress["status"], loadBalancer={})


overlay(NETWORKING + "Ingress", defaulter=_ingress_defaults)
overlay(NETWORKING + "IngressSpec", checks=(_check_spec,))
overlay(NETWORKING + "IngressRule", checks=(_check_rule,))
overlay(NETWORKING + "HTTPIngressRuleValue", checks=(_check_http,), optional=("paths",))
overlay(NETWORKING + "HTTPIngressPath", optional=("backend", "pathType"))
overlay(NETWORKING + "IngressBackend", checks=(_check_backend,))
overlay(NETWORKING + "IngressServiceBackend", optional=("name",), defaults={"port": {}})
overlay(NETWORKING + "IngressTLS", checks=(_check_tls,))
overlay(NETWORKING + "IngressClass", defaults={"spec": {}})
overlay(NETWORKING + "IngressClassSpec", checks=(_check_class,))
overlay(
    NETWORKING + "IngressClassParametersReference",
    defaults={"scope": "Cluster"},
    checks=(_check_parameters,),
    optional=("kind", "name"),
)
