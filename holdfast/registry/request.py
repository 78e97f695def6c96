"""Requests and results, as the registry takes and gives them: nothing of HTTP.

The server (and the in-process client) fill a ``Request``; ``Registry.execute`` walks it through
``registry.pipeline``. Objects come back as ``Stored``: encoded bytes with the resourceVersion spliced
in, decoded at most once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from holdfast.kinds.kind import Kind, Obj


@dataclass(frozen=True)
class User:
    """An authenticated identity. ``extra`` as in TokenReview."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    until: float = math.inf
    """When the token or certificate that proves it expires, in unix seconds."""


@dataclass(slots=True)
class Request:
    """One call on one resource. ``verb``: get list watch create update patch delete deletecollection.

    Nobody changes one (``dataclasses.replace``); it is not frozen because that costs more than everything else about it.
    """

    user: User
    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    """Query parameters (labelSelector, fieldSelector, limit, continue, resourceVersion, dryRun, fieldManager, ...)."""
    body: Any = None
    """The decoded JSON body: an object, a patch, or DeleteOptions."""
    content_type: str = "application/json"
    user_agent: str = ""
    doubled: tuple[str, ...] = ()
    """What the body's text says twice, as fieldValidation warns of it."""
    via: str = ""
    """The subresource it came through, where it is carried out on the object itself (scale)."""


def strict_text(doubled: Sequence[str]) -> list[str]:
    """What is said twice, as a strict refusal lists it: a YAML parser's lines stand together."""
    lines = [text for text in doubled if text.startswith("line ")]
    return ["yaml: unmarshal errors:" + "".join(f"\n  {line}" for line in lines)] if lines else list(doubled)


class Stored:
    """One object at one revision, shared by every reader: never mutate ``obj``."""

    __slots__ = ("_obj", "raw", "revision")

    def __init__(self, raw: bytes, revision: int) -> None:
        self.raw = raw
        """JSON bytes with metadata.resourceVersion in place."""
        self.revision = revision
        self._obj: Obj | None = None

    @property
    def obj(self) -> Obj:
        if self._obj is None:
            self._obj = orjson.loads(self.raw)
        return self._obj

    def peek(self) -> Obj:
        """``obj``, without keeping what had to be decoded for it: for a look at each of very many."""
        return self._obj if self._obj is not None else orjson.loads(self.raw)


class Result(NamedTuple):
    """``code`` 200, 201 or 202; ``stored`` or (for Status, Scale, TokenRequest ...) ``obj``."""

    code: int = 200
    stored: Stored | None = None
    obj: Obj | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    items: list[Stored]
    revision: int
    continue_token: str = ""
    remaining: int | None = None
    warnings: tuple[str, ...] = ()


class Event(NamedTuple):
    """A watch event; ``stored`` for BOOKMARK carries only kind, apiVersion and resourceVersion."""

    type: str
    stored: Stored
