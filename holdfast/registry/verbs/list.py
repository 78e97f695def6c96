"""list: the present from the watch cache; a past revision, and later pages of one, from the store.

All pages of a listing show one revision. Their token says which, and behind which key the next begins.
"""

from __future__ import annotations

import base64
import posixpath
from dataclasses import dataclass
from typing import Any

import orjson

from holdfast.lib.turns import turns
from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.request import Listing, Request, Stored
from holdfast.registry.selection import Predicate, one_name, predicate
from holdfast.registry.verbs.common import not_older_than
from holdfast.store.api import CompactedError, FutureRevisionError

VERSION = "meta.k8s.io/v1"
CHUNK = 5000
"""Of a past revision at least so many are read at a time where not all of them are wanted: each reading begins with a search."""
_INVALID = "invalid continue token: continue key is not valid: "
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue"
    " parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided"
    " token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was"
    " returned and now may show up in the list."
)


class ExpiredTokenError(ApiError):
    """410 with a fresh token, for those who can live with an inconsistent rest."""

    def __init__(self, token: str) -> None:
        super().__init__(410, "Expired", _TOO_OLD)
        self.token = token

    def status(self) -> dict[str, Any]:
        return super().status() | {"metadata": {"continue": self.token}}


@dataclass(frozen=True)
class _Ask:
    prefix: str
    limit: int
    selected: Predicate | None
    name: str
    """The one that everything selected has; "" for any."""
    after: str = ""
    revision: int = 0
    """The exact revision asked for; 0 = now."""


async def list_(core: Core, request: Request) -> Listing:
    options.check_list(request.options, watch=False)
    selected, name = predicate(request), one_name(request)
    prefix = codec.prefix(request.kind, request.namespace)
    limit = max(options.integer(request.options, "limit") or 0, 0)
    text = request.options.get("resourceVersion", "")
    version = options.revision(text, "invalid resource version: ")
    token = request.options.get("continue", "")
    if token:
        if version:
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        revision, after = _decode(token, prefix)
        if text == "0":
            limit = 0  # any state will do: the whole rest of it
        ask = _Ask(prefix, limit, selected, name, after, max(revision, 0))
    else:
        match = request.options.get("resourceVersionMatch", "")
        await not_older_than(core, version)
        exact = match == "Exact" or (not match and limit and version)
        if text == "0" or (version and not exact):
            limit = 0  # any cached state will do: the whole of it
        ask = _Ask(prefix, limit, selected, name, "", version if exact else 0)
    return await _answer(core, request, ask, continued=bool(token))


async def _answer(core: Core, request: Request, ask: _Ask, *, continued: bool) -> Listing:
    cache = core.cache
    if not ask.revision or (
        ask.revision <= cache.revision and cache.changed(ask.prefix) <= ask.revision and ask.revision >= cache.oldest
    ):
        revision = ask.revision or cache.revision
        found, more, last = await _present(core, ask)
    else:
        revision = ask.revision
        try:
            found, more, last = await _past(core, ask)
        except CompactedError:
            if continued:
                raise ExpiredTokenError(_encode(-1, ask.after.removeprefix(ask.prefix))) from None
            raise errors.expired("The resourceVersion for the provided list is too old.") from None
        except FutureRevisionError:
            raise errors.expired("The resourceVersion for the provided list is too new.") from None
    remaining = more if more and ask.selected is None else None
    token = _encode(revision, last.removeprefix(ask.prefix)) if more else ""
    if request.kind.from_storage is not None:
        found = [codec.serve(request.kind, item) async for part in turns(found) for item in part]
    return Listing(found, revision, token, remaining)


async def _present(core: Core, ask: _Ask) -> tuple[list[Stored], int, str]:
    """(items, how many records lie behind them, the last key looked at), as they are when this begins."""
    cache = core.cache
    if ask.selected is None:
        page = cache.page(ask.prefix, ask.after, ask.limit)
        if not page or not ask.limit:
            return page, 0, ask.after
        last = _key(ask.prefix, page[-1])
        return page, cache.count_after(ask.prefix, last), last
    items = cache.named(ask.prefix, ask.name, ask.after) if ask.name else cache.page(ask.prefix, ask.after, 0)
    found: list[Stored] = []
    looked = 0
    async for part in turns(items):
        for item in part:
            looked += 1
            if ask.selected(item.peek()):
                found.append(item)
                if ask.limit and len(found) == ask.limit:
                    return found, len(items) - looked, _key(ask.prefix, item)
    return found, 0, ask.after


async def _past(core: Core, ask: _Ask) -> tuple[list[Stored], int, str]:
    found: list[Stored] = []
    after = ask.after
    while True:
        chunk = (ask.limit - len(found) if ask.selected is None else max(ask.limit, CHUNK)) if ask.limit else 0
        page = await core.store.list(ask.prefix, revision=ask.revision, after=after, limit=chunk)
        looked = 0
        async for part in turns(page.records):
            for record in part:
                looked, after = looked + 1, record.key
                item = codec.stored(record)
                if ask.selected is None or ask.selected(item.peek()):
                    found.append(item)
                if ask.limit and len(found) == ask.limit:
                    return found, page.remaining + len(page.records) - looked, after
        if not page.remaining or not page.records:
            return found, 0, after


def _key(prefix: str, item: Stored) -> str:
    """The storage key of an item listed below ``prefix`` (of a collection or of one namespace in it)."""
    metadata = item.obj["metadata"]
    namespaced = prefix.count("/") == 3 and metadata.get("namespace")
    return f"{prefix}{metadata['namespace']}/{metadata['name']}" if namespaced else f"{prefix}{metadata['name']}"


def _encode(revision: int, start: str) -> str:
    raw = orjson.dumps({"v": VERSION, "rv": revision, "start": start + "\0"})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(token: str, prefix: str) -> tuple[int, str]:
    """(revision, key behind which to go on). Raises ApiError 400."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:  # binascii's, or a token that is not ASCII
        raise errors.bad_request(f"{_INVALID}illegal base64 data") from None
    try:
        found = orjson.loads(raw)
    except ValueError:
        first = raw[:1].decode("latin-1")
        shown = first if first.isprintable() and first.isascii() else f"\\u{ord(first or chr(0)):04x}"
        raise errors.bad_request(f"{_INVALID}invalid character '{shown}' looking for beginning of value") from None
    if not isinstance(found, dict) or found.get("v") != VERSION:
        version = found.get("v") if isinstance(found, dict) else None
        raise errors.bad_request(f"{_INVALID}server does not recognize this encoded version {version}")
    revision, start = found.get("rv"), found.get("start")
    if not isinstance(revision, int) or isinstance(revision, bool) or revision == 0 or revision >= 2**63 or not isinstance(start, str):
        raise errors.bad_request(f"{_INVALID}incorrect encoded start resourceVersion (version {VERSION})")
    if not start or start.startswith("/") or posixpath.normpath("/" + start) != "/" + start:
        raise errors.bad_request(f"{_INVALID}{start}")
    return revision, prefix + start.rstrip("\0")
