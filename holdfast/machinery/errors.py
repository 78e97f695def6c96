"""API errors, as every floor raises them and as clients read them.

The problem: a failure is decided deep in a check and must reach the wire as a ``Status`` with the
reason, code and text that Kubernetes clients switch on. The idea: one exception that carries the
Status; constructors give each reason its upstream text (apimachinery ``api/errors``). The server turns
it into an HTTP answer; both clients (HTTP and in-process) raise it again unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.machinery.fielderror import FieldError, aggregate


class ApiError(Exception):
    """A refused request: HTTP ``code``, Kubernetes ``reason`` ("" for the few that upstream gives none), ``message``, ``details``."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """The ``Status`` object of this error, as sent on the wire."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body

    @classmethod
    def from_status(cls, status: dict[str, Any]) -> ApiError:
        """The error a ``Status`` body describes (the client's side of ``status``)."""
        return cls(
            int(status.get("code") or 500),
            str(status.get("reason") or "Unknown"),
            str(status.get("message") or "unknown error"),
            status.get("details"),
        )


class UnknownOutcomeError(Exception):
    """The connection ended after a write was sent: it may or may not have been stored. Read again; never compensate."""


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(name: str, group: str, resource: str, **more: Any) -> dict[str, Any]:
    pairs = {"name": name, "group": group, "kind": resource, **more}
    return {key: value for key, value in pairs.items() if value}


def not_found(resource: str, name: str, group: str = "") -> ApiError:
    message = f'{_qualified(resource, group)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(name, group, resource))


def already_exists(resource: str, name: str, group: str = "") -> ApiError:
    message = f'{_qualified(resource, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(name, group, resource))


def conflict(resource: str, name: str, why: str = "", group: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(name, group, resource))


def invalid(kind: str, name: str, errors: Sequence[FieldError], group: str = "") -> ApiError:
    """422 with one cause per field error; ``kind`` is the Kind ("StatefulSet"), not the resource."""
    qualified = f"{kind}.{group}" if group else kind
    message = f'{qualified} "{name}" is invalid: {aggregate(errors)}'
    return ApiError(422, "Invalid", message, _details(name, group, kind, causes=[e.cause() for e in errors]))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, name: str, why: str, group: str = "", **more: Any) -> ApiError:
    qualified = _qualified(resource, group)
    subject = f'{qualified} "{name}"' if name else qualified
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(name, group, resource, **more))


def method_not_allowed(verb: str, resource: str, group: str = "") -> ApiError:
    return ApiError(405, "MethodNotAllowed", f'{verb} is not supported on resources of kind "{_qualified(resource, group)}"')


def not_acceptable(allowed: Sequence[str]) -> ApiError:
    return ApiError(406, "NotAcceptable", "only the following media types are accepted: " + ", ".join(allowed))


def unsupported_media_type(allowed: Sequence[str]) -> ApiError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(allowed)
    return ApiError(415, "UnsupportedMediaType", message)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_large(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def timeout(message: str, retry_after: int = 0) -> ApiError:
    return ApiError(504, "Timeout", message, {"retryAfterSeconds": retry_after} if retry_after else {})


def internal(message: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)


def full(message: str) -> ApiError:
    return ApiError(507, "InsufficientStorage", message)


def is_namespace_terminating(error: ApiError) -> bool:
    """Whether a create was refused because its namespace is going: then nothing needs to be made there any more."""
    causes = (error.details or {}).get("causes") or []
    return error.code == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
