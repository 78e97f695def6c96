"""Who is asking: a client certificate (CN is the user, O the groups), or a bearer token that we signed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from holdfast.machinery import errors
from holdfast.registry.claims import TokenError
from holdfast.registry.request import User
from holdfast.server.tokens import Tokens

AUTHENTICATED = "system:authenticated"
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
OPEN_PATHS = ("/livez", "/readyz", "/healthz", "/version")
"""What may be read without a name: whether the server lives, and what it is."""


def is_open(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in OPEN_PATHS)


class Authenticator:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def authenticate(
        self, certificate: Mapping[str, Any] | None, fingerprint: str, headers: Mapping[str, str], path: str
    ) -> User:
        """``fingerprint``: the certificate's SHA-256. Raises ApiError 401."""
        bearer = headers.get("Authorization", "")
        if bearer:
            scheme, _, token = bearer.partition(" ")
            if scheme.lower() != "bearer":
                raise errors.unauthorized()
            try:
                proven, _ = await self._tokens.verify(token.strip(), [])
            except TokenError:
                raise errors.unauthorized() from None
            return proven
        if certificate:
            return _of_certificate(certificate, fingerprint)
        if is_open(path):
            return ANONYMOUS
        raise errors.unauthorized()


def _of_certificate(certificate: Mapping[str, Any], fingerprint: str) -> User:
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
    extra = {"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)}
    return User(name, (*groups, AUTHENTICATED), extra=extra, until=ssl.cert_time_to_seconds(certificate["notAfter"]))
