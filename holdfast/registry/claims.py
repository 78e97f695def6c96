"""What a ServiceAccount's token says. The server signs it (``server.tokens``); ``subresources.token`` decides what it may say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

AUDIENCE = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class TokenClaims:
    """What a token says. ``bound_kind`` is Pod, Secret, Node or ""; ``node`` where a bound pod runs."""

    namespace: str
    name: str
    uid: str
    audiences: tuple[str, ...]
    seconds: int
    bound_kind: str = ""
    bound_name: str = ""
    bound_uid: str = ""
    node: str = ""


class TokenError(Exception):
    """Why a token proves nothing, in the words of TokenReview."""


IssueToken = Callable[[TokenClaims], tuple[str, float]]
"""Returns the token and when it ends, in unix seconds."""
