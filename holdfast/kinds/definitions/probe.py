"""Probes and lifecycle hooks: the handlers, their defaults and their rules."""

from __future__ import annotations

import re
from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import all_not_negative, exactly_one, fill, fill_absent, one_of, port_number, port_number_or_name
from holdfast.machinery.fielderror import FieldError, child, invalid, required

HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_HEADER = re.compile(r"[-A-Za-z0-9]+")
_HEADER_TEXT = (
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is"
    " '[-A-Za-z0-9]+')"
)


def _probe_defaults(probe: dict[str, Any]) -> None:
    fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)


def _http_defaults(action: dict[str, Any]) -> None:
    fill(action, path="/", scheme="HTTP")


def _grpc_defaults(action: dict[str, Any]) -> None:
    fill_absent(action, service="")


def check_handler(handler: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    given = [name for name in HANDLERS if handler.get(name) is not None]
    return exactly_one(path, given, "handler", [required(path, "must specify a handler type")])


def _check_probe(probe: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = check_handler(probe, old, path) + all_not_negative(probe, path, _COUNTS)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        found.append(invalid(child(path, "terminationGracePeriodSeconds"), grace, "must be greater than 0"))
    return found


def _check_exec(action: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return [] if action.get("command") else [required(child(path, "command"))]


def _check_port(action: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return port_number_or_name(child(path, "port"), action.get("port", 0))


def _check_http(action: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = _check_port(action, old, path)
    found += one_of(child(path, "scheme"), action.get("scheme"), ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or []:
        if not _HEADER.fullmatch(header.get("name") or ""):
            found.append(invalid(child(path, "httpHeaders"), header.get("name") or "", _HEADER_TEXT))
    return found


def _check_grpc(action: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return port_number(child(path, "port"), action.get("port", 0))


overlay(CORE + "Probe", defaulter=_probe_defaults, checks=(_check_probe,))
overlay(CORE + "LifecycleHandler", checks=(check_handler,))
overlay(CORE + "ExecAction", checks=(_check_exec,))
overlay(CORE + "HTTPGetAction", defaulter=_http_defaults, checks=(_check_http,), optional=("port",))
overlay(CORE + "HTTPHeader", optional=("name", "value"))
overlay(CORE + "TCPSocketAction", checks=(_check_port,), optional=("port",))
overlay(CORE + "GRPCAction", defaulter=_grpc_defaults, checks=(_check_grpc,), optional=("port",))
