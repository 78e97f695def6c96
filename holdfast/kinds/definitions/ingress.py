"""Ingress, IngressClass: hosts, paths and backends."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from holdfast.kinds.definitions.overlay import overlay
from holdfast.kinds.definitions.rules import (
    fill,
    fill_absent,
    ip,
    items,
    label,
    path_segment,
    port_name_texts,
    port_number,
    subdomain,
    subdomain_texts,
    unsupported,
)
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, required, too_long

NETWORKING = "io.k8s.api.networking.v1."
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
SCOPES = ("Cluster", "Namespace")
CONTROLLER_LIMIT = 250
_WILDCARD = re.compile(r"\*(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case"
    " alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is"
    " '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_FORBIDDEN_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_ENDS = ("/..", "/.")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _host_texts(host: str) -> list[str]:
    if "*" not in host:
        return subdomain_texts(host)
    return [] if _WILDCARD.fullmatch(host) and len(host) <= 253 else [_WILDCARD_TEXT]


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    backend = spec.get("defaultBackend")
    if not spec.get("rules") and backend is None:
        found.append(invalid(path, None, "either `defaultBackend` or `rules` must be specified"))
    if backend is not None:
        found += _backend(backend, child(path, "defaultBackend"))
    for rule, here in items(spec, path, "rules"):
        found += _rule(rule, here)
    for tls, here in items(spec, path, "tls"):
        for position, host in enumerate(tls.get("hosts") or []):
            found += [invalid(index(child(here, "hosts"), position), host, text) for text in _host_texts(host)]
        if tls.get("secretName"):
            found += subdomain(child(here, "secretName"), tls["secretName"])
    if spec.get("ingressClassName") is not None:
        found += subdomain(child(path, "ingressClassName"), spec["ingressClassName"])
    return found


def _rule(rule: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    host = rule.get("host") or ""
    if host:
        if _is_ip(host):
            found.append(invalid(child(path, "host"), host, "must be a DNS name, not an IP address"))
        found += [invalid(child(path, "host"), host, text) for text in _host_texts(host)]
    http = rule.get("http")
    if http is None:
        return found
    if not http.get("paths"):
        found.append(required(child(path, "http", "paths")))
    for one, here in items(http, child(path, "http"), "paths"):
        found += _path(one, here)
    return found


def _path(one: dict[str, Any], here: str) -> list[FieldError]:
    kind, value = one.get("pathType"), one.get("path") or ""
    if kind is None:
        return [required(child(here, "pathType"), "pathType must be specified")]
    path = child(here, "path")
    found: list[FieldError] = []
    if kind not in PATH_TYPES:
        found.append(unsupported(child(here, "pathType"), kind, PATH_TYPES))
    elif not value.startswith("/") and (value or kind != "ImplementationSpecific"):
        found.append(invalid(path, value, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        found += [invalid(path, value, f"must not contain '{part}'") for part in _FORBIDDEN_IN_PATHS if part in value]
        found += [invalid(path, value, f"cannot end with '{end}'") for end in _FORBIDDEN_ENDS if value.endswith(end)]
    return found + _backend(one.get("backend") or {}, child(here, "backend"))


def _backend(backend: dict[str, Any], path: str) -> list[FieldError]:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _reference(resource, child(path, "resource"))
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    name, port = service.get("name") or "", service.get("port") or {}
    here = child(path, "service", "name")
    found = label(here, name) if name else [required(here)]
    if port.get("name") and port.get("number"):
        found.append(invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        found += [invalid(child(path, "service", "port", "name"), port["name"], text) for text in port_name_texts(port["name"])]
    elif port.get("number"):
        found += port_number(child(path, "service", "port", "number"), port["number"])
    else:
        found.append(required(path, "port name or number is required"))
    return found


def _reference(reference: dict[str, Any], path: str) -> list[FieldError]:
    """Of a kind of somebody else's."""
    found: list[FieldError] = []
    if reference.get("apiGroup") is not None:
        found += subdomain(child(path, "apiGroup"), reference["apiGroup"])
    for name in ("kind", "name"):
        value = reference.get(name) or ""
        found += path_segment(child(path, name), value) if value else [required(child(path, name))]
    return found


def _check_class(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    controller, here = spec.get("controller") or "", child(path, "controller")
    found: list[FieldError] = []
    if old is not None and controller != ((old.get("controller") if isinstance(old, dict) else None) or ""):
        found.append(invalid(here, controller, "field is immutable"))
    if not controller:
        found.append(required(here))
    else:
        if len(controller) > CONTROLLER_LIMIT:
            found.append(too_long(here, "", CONTROLLER_LIMIT))
        found += _prefixed(here, controller)
    parameters = spec.get("parameters")
    return found if parameters is None else found + _parameters(parameters, child(path, "parameters"))


def _prefixed(path: str, value: str) -> list[FieldError]:
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    return [invalid(path, domain, text) for text in names.dns1123_subdomain(domain)] or (
        [] if re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", rest) else [invalid(path, rest, "Invalid path")]
    )


def _parameters(parameters: dict[str, Any], path: str) -> list[FieldError]:
    found = _reference(parameters, path)
    scope, namespace, here = parameters.get("scope") or "", parameters.get("namespace"), child(path, "namespace")
    if scope not in SCOPES:
        return [*found, unsupported(child(path, "scope"), scope, SCOPES)]
    if scope == "Namespace":
        found += label(here, namespace) if namespace is not None else [required(here, "`parameters.scope` is set to 'Namespace'")]
    elif namespace is not None:
        found.append(forbidden(here, "`parameters.scope` is set to 'Cluster'"))
    return found


def _check_balancer(status: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for ingress, here in items(status, path, "ingress"):
        if ingress.get("ip"):
            found += ip(child(here, "ip"), ingress["ip"])
        if ingress.get("hostname"):
            found += subdomain(child(here, "hostname"), ingress["hostname"])
            if _is_ip(ingress["hostname"]):
                found.append(invalid(child(here, "hostname"), ingress["hostname"], "must be a DNS name, not an IP address"))
    return found


def _status_defaults(status: dict[str, Any]) -> None:
    fill_absent(status, loadBalancer={})


def _class_defaults(ingress_class: dict[str, Any]) -> None:
    fill_absent(ingress_class, spec={})


def _parameters_defaults(parameters: dict[str, Any]) -> None:
    fill(parameters, scope="Cluster")


overlay(NETWORKING + "IngressSpec", checks=(_check_spec,))
overlay(NETWORKING + "Ingress", defaults={"spec": {}, "status": {}})
overlay(NETWORKING + "IngressStatus", defaulter=_status_defaults)
overlay(NETWORKING + "IngressLoadBalancerStatus", checks=(_check_balancer,))
overlay(NETWORKING + "HTTPIngressPath", optional=("pathType", "backend"))
overlay(NETWORKING + "HTTPIngressRuleValue", optional=("paths",))
overlay(NETWORKING + "IngressServiceBackend", optional=("name",))
overlay(NETWORKING + "IngressClass", defaulter=_class_defaults)
overlay(NETWORKING + "IngressClassSpec", checks=(_check_class,))
overlay(NETWORKING + "IngressClassParametersReference", defaulter=_parameters_defaults, optional=("kind", "name"))
