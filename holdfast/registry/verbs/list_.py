"""list: a consistent page of a collection, from the cache, or from the store for an exact or continued revision."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import orjson

from holdfast.machinery import errors, fielderror
from holdfast.machinery.errors import ApiError
from holdfast.registry import codec
from holdfast.registry.request import Listing, Request, Stored
from holdfast.registry.selection import Predicate, predicate
from holdfast.registry.verbs.get import not_older_than, parse_revision
from holdfast.store.api import CompactedError, FutureRevisionError

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue"
    " parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided"
    " token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was"
    " returned and now may show up in the list."
)


async def execute(registry: Registry, request: Request) -> Listing:
    options = request.options
    _check(options.get("resourceVersion", ""), options.get("resourceVersionMatch", ""), options.get("continue", ""), options)
    limit = _limit(options.get("limit", ""))
    selected = predicate(request)
    prefix = codec.prefix(request.kind, request.namespace)
    token = options.get("continue", "")
    if token:
        revision, after = decode_token(token, prefix)
        return await _from_store(registry, request, selected, limit, revision, after)
    exact = options.get("resourceVersionMatch") == "Exact"
    if exact:
        return await _from_store(registry, request, selected, limit, parse_revision(options["resourceVersion"]), "")
    await not_older_than(registry, options.get("resourceVersion", ""))
    return _cut(registry, request, registry.cache.list(prefix), registry.cache.revision, selected, limit)


def _check(version: str, match: str, token: str, options: object) -> None:
    found = []
    if match and not version:
        found.append(
            fielderror.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        )
    if match and token:
        found.append(fielderror.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    if match and match not in ("Exact", "NotOlderThan"):
        found.append(fielderror.not_supported("resourceVersionMatch", match, ("Exact", "NotOlderThan", "")))
    if match == "Exact" and version == "0":
        text = 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
        found.append(fielderror.forbidden("resourceVersionMatch", text))
    if isinstance(options, dict) and options.get("sendInitialEvents"):
        found.append(fielderror.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if found:
        raise errors.invalid("ListOptions", "", found, "meta.k8s.io")
    if token and version not in ("", "0"):
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    parse_revision(version)


def _limit(text: str) -> int:
    if not text:
        return 0
    if not text.lstrip("-").isdigit():
        raise errors.bad_request(f'limit: strconv.ParseInt: parsing "{text}": invalid syntax')
    return max(int(text), 0)


def _cut(registry: Registry, request: Request, items: list[Stored], revision: int, selected: Predicate | None, limit: int) -> Listing:
    if selected is None and limit and len(items) > limit:
        page = items[:limit]
        return Listing([codec.serve(request.kind, i) for i in page], revision, encode_token(revision, page[-1].obj), len(items) - limit)
    found: list[Stored] = []
    for item in items:
        served = codec.serve(request.kind, item)
        if selected is not None and not selected(served.obj):
            continue
        if limit and len(found) == limit:
            return Listing(found, revision, encode_token(revision, found[-1].obj))
        found.append(served)
    return Listing(found, revision)


async def _from_store(
    registry: Registry, request: Request, selected: Predicate | None, limit: int, revision: int, after: str
) -> Listing:
    prefix = codec.prefix(request.kind, request.namespace)
    inconsistent = revision < 0
    try:
        page = await registry.store.list(prefix, revision=0 if inconsistent else revision, after=prefix + after if after else "")
    except CompactedError:
        if not after:
            raise errors.expired(f"The resourceVersion for the provided list is too old: {revision}") from None
        status = errors.expired(_EXPIRED).status()
        status["metadata"] = {"continue": _token(-1, after)}
        raise ExpiredTokenError(status) from None
    except FutureRevisionError as error:
        message = f"Timeout: Too large resource version: {revision}, current: {error.current}"
        raise ApiError(504, "Timeout", message, {"retryAfterSeconds": 1}) from None
    return _cut(registry, request, [codec.stored(r) for r in page.records], page.revision, selected, limit)


class ExpiredTokenError(ApiError):
    """410 with a continue token that works, though inconsistently."""

    def __init__(self, status: dict[str, object]) -> None:
        super().__init__(410, "Expired", str(status["message"]))
        self._status = status

    def status(self) -> dict[str, object]:
        return self._status


def _token(revision: int, start: str) -> str:
    raw = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def encode_token(revision: int, last: dict[str, object]) -> str:
    metadata = last["metadata"]
    assert isinstance(metadata, dict)
    namespace = metadata.get("namespace")
    return _token(revision, f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"]))


def decode_token(token: str, prefix: str) -> tuple[int, str]:
    """(revision, key to go on after, relative to the collection). Raises ApiError 400."""
    try:
        found = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start = int(found["rv"]), str(found["start"])
    except (ValueError, KeyError, TypeError):
        raise errors.bad_request("continue key is not valid: the token was not made by this server") from None
    if ".." in start.split("/"):
        raise errors.bad_request("continue key is not valid: invalid path")
    # Tokens carry namespace/name; below one namespace the prefix holds the namespace already.
    namespaced = prefix.count("/") > 3
    return revision, start.partition("/")[2] if namespaced else start
