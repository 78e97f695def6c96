"""Who is asking: a client certificate (CN is the user, O the groups), or a bearer token that we signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.machinery import errors
from holdfast.registry.request import User
from holdfast.server.tokens import Tokens

AUTHENTICATED = "system:authenticated"
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
OPEN_PATHS = ("/livez", "/readyz", "/healthz", "/version")
"""What may be read without a name: whether the server lives, and what it is."""


class Authenticator:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def authenticate(self, certificate: Mapping[str, Any] | None, headers: Mapping[str, str], path: str) -> User:
        """Raises ApiError 401."""
        bearer = headers.get("Authorization", "")
        if bearer:
            scheme, _, token = bearer.partition(" ")
            if scheme.lower() != "bearer":
                raise errors.unauthorized()
            proven = await self._tokens.verify(token.strip(), [])
            if proven is None:
                raise errors.unauthorized()
            return proven[0]
        if certificate:
            return _of_certificate(certificate)
        if path.startswith(OPEN_PATHS):
            return ANONYMOUS
        raise errors.unauthorized()


def _of_certificate(certificate: Mapping[str, Any]) -> User:
    name = ""
    groups: list[str] = []
    for part in certificate.get("subject", ()):
        for field, value in part:
            if field == "commonName":
                name = value
            elif field == "organizationName":
                groups.append(value)
    if not name or "\x00" in name:
        raise errors.unauthorized()
    return User(name, (*groups, AUTHENTICATED))
