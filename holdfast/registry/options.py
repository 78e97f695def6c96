"""The options of a request (query parameters and DeleteOptions), checked as upstream checks them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.client.api import APPLY_PATCH
from holdfast.kinds.kind import Obj
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import errors, fielderror
from holdfast.machinery.decode import decode
from holdfast.machinery.fielderror import FieldError
from holdfast.registry.request import Request

_GROUP = "meta.k8s.io"
_DELETE = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_KINDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
MAX_REVISION = 2**64
_DIGITS = 20
POLICIES = ("Foreground", "Background", "Orphan")


def flag(options: Mapping[str, str], name: str) -> bool:
    """A boolean query parameter: present and neither "0" nor "false"."""
    value = options.get(name)
    return value is not None and value.lower() not in ("0", "false")


def integer(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is None or text == "":
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise errors.bad_request(f"strconv.ParseInt: parsing {json.dumps(text)}: invalid syntax")
    if len(digits) > _DIGITS or not -(2**63) <= int(text) < 2**63:
        raise errors.bad_request(f"strconv.ParseInt: parsing {json.dumps(text)}: value out of range")
    return int(text)


def revision(text: str, prefix: str = "") -> int:
    """A resourceVersion; 0 for "". Raises ApiError 400."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS or int(text) >= MAX_REVISION:
        quoted = json.dumps(text)
        raise errors.bad_request(
            f"{prefix}resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax"
        )
    return int(text)


def check_write(request: Request) -> None:
    """dryRun, fieldValidation, fieldManager, force."""
    options = request.options
    found: list[FieldError] = []
    applying = request.verb == "patch" and request.content_type.startswith(APPLY_PATCH)
    if applying and not options.get("fieldManager"):
        found.append(fielderror.required("fieldManager", "is required for apply patch"))
    if request.verb == "patch" and not applying and "force" in options:
        found.append(fielderror.forbidden("force", "may not be specified for non-apply patch"))
    found += _dry_run(options.get("dryRun"))
    validation = options.get("fieldValidation", "")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        found.append(fielderror.not_supported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
    manager = options.get("fieldManager", "")
    if len(manager.encode()) > 128:
        found.append(fielderror.too_long("fieldManager", manager, 128))
    for position, char in enumerate(manager):
        if not char.isprintable():
            text = f"invalid character U+{ord(char):04X} (at position {position})"
            found.append(fielderror.invalid("fieldManager", manager, text))
    if found:
        raise errors.invalid(_KINDS.get(request.verb, "UpdateOptions"), "", found, _GROUP)


def _dry_run(value: str | list[str] | None) -> list[FieldError]:
    values = [value] if isinstance(value, str) else list(value or [])
    if all(v == "All" for v in values):
        return []
    return [fielderror.not_supported("dryRun", values, ("All",))]


def dry_run(request: Request) -> bool:
    return request.options.get("dryRun") == "All"


def check_list(options: Mapping[str, str], *, watch: bool) -> None:
    """The rules about resourceVersionMatch and sendInitialEvents (API-12 to API-16, API-33, API-34)."""
    match, version = options.get("resourceVersionMatch", ""), options.get("resourceVersion", "")
    path = "resourceVersionMatch"
    found: list[FieldError] = []
    if "sendInitialEvents" in options:
        if not watch:
            found.append(fielderror.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        else:
            if match != "NotOlderThan":
                found.append(fielderror.forbidden(path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
            if match not in ("", "NotOlderThan"):
                found.append(fielderror.not_supported(path, match, ("NotOlderThan",)))
            if options.get("continue"):
                found.append(fielderror.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
    elif match and watch:
        found.append(fielderror.forbidden(path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
    elif match:
        found += _match(match, version, bool(options.get("continue")), path)
    if found:
        raise errors.invalid("ListOptions", "", found, _GROUP)


def _match(match: str, version: str, continued: bool, path: str) -> list[FieldError]:
    found = []
    if not version:
        found.append(fielderror.forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if continued:
        found.append(fielderror.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
    if match not in ("Exact", "NotOlderThan"):
        detail = 'supported values: "Exact", "NotOlderThan", ""'
        found.append(FieldError("FieldValueNotSupported", path, match, detail))
    if match == "Exact" and version == "0":
        found.append(fielderror.forbidden(path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    return found


@dataclass(frozen=True)
class DeleteOptions:
    grace: int | None = None
    policy: str = ""
    """Foreground, Background, Orphan or "" (the default: as its finalizers say, else in the background)."""
    uid: str | None = None
    revision: str | None = None
    dry_run: bool = False
    cascading: bool = False
    """``orphanDependents: false``: such a caller is told by a 202 that the deletion goes on."""


def delete_options(request: Request) -> DeleteOptions:
    """From the body and the query; the body wins, but a dry run asked for anywhere is one."""
    body = _delete_body(request.body)
    options = request.options
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = integer(options, "gracePeriodSeconds")
    policy = body.get("propagationPolicy") or options.get("propagationPolicy") or ""
    orphan = body.get("orphanDependents")
    if orphan is None and "orphanDependents" in options:
        orphan = flag(options, "orphanDependents")
    found = _dry_run(body.get("dryRun")) + _dry_run(options.get("dryRun"))
    if policy and orphan is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        found.append(fielderror.invalid("propagationPolicy", policy, text))
    elif policy and policy not in POLICIES:
        listed = ", ".join(json.dumps(name) for name in (*POLICIES, "nil"))
        found.append(FieldError("FieldValueNotSupported", "propagationPolicy", policy, f"supported values: {listed}"))
    if found:
        raise errors.invalid("DeleteOptions", "", found, _GROUP)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    conditions = body.get("preconditions") or {}
    dry = options.get("dryRun") == "All" or bool(body.get("dryRun"))
    return DeleteOptions(grace, policy, conditions.get("uid"), conditions.get("resourceVersion"), dry, cascading=orphan is False)


def _delete_body(body: Any) -> Obj:
    if body is None or body == {}:
        return {}
    if not isinstance(body, dict):
        raise errors.bad_request("the body of a delete request is a DeleteOptions object")
    if body.get("kind") not in (None, "", "DeleteOptions"):
        version = body.get("apiVersion") or "v1"
        raise errors.bad_request(f'no kind "{body["kind"]}" is registered for version "{version}" as options of a delete request')
    known: Obj = decode(schema_of(_DELETE), body)[0]
    return known
