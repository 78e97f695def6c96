"""Service-account tokens: issued by TokenRequest, bound to a pod, verified live.

A token is good while its signature, times and audience are, and while the account (and the pod it is
bound to) with that very uid is there: a token of a deleted pod is worth nothing (SEC-30).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import Clock
from holdfast.registry.claims import AUDIENCE, TokenClaims, TokenError
from holdfast.registry.request import User

ISSUER = AUDIENCE
_INVALID = "invalid bearer token"
_BOUND = ("pod", "secret", "node")

Lookup = Callable[[str, str, str], Obj | None]
"""(plural of core/v1, namespace, name) -> the live object."""


class Tokens:
    def __init__(self, key_pem: bytes, clock: Clock, lookup: Lookup) -> None:
        key = serialization.load_pem_private_key(key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._public = key.public_key()
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._key_id = hashlib.sha256(der).hexdigest()[:40]
        self._clock = clock
        self._lookup = lookup

    def issue(self, claims: TokenClaims) -> tuple[str, float]:
        """(token, when it ends in unix seconds)."""
        now = int(self._clock.now())
        private: dict[str, Any] = {
            "namespace": claims.namespace,
            "serviceaccount": {"name": claims.name, "uid": claims.uid},
        }
        if claims.bound_kind:
            private[claims.bound_kind.lower()] = {"name": claims.bound_name, "uid": claims.bound_uid}
        if claims.node:
            private["node"] = {"name": claims.node}
        body = {
            "aud": list(claims.audiences),
            "exp": now + claims.seconds,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "sub": f"system:serviceaccount:{claims.namespace}:{claims.name}",
        }
        token = jwt.encode(body, self._key, algorithm="ES256", headers={"kid": self._key_id})
        return token, now + claims.seconds

    async def verify(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]]:
        """The identity a token proves and those of the wanted audiences it is for (none wanted: ours). Raises TokenError."""
        wanted = list(audiences) or [ISSUER]
        try:
            claims = self._claims(token)
            private = claims["kubernetes.io"]
            namespace, account = private["namespace"], private["serviceaccount"]
            audience = [one for one in wanted if one in claims["aud"]]
            if not audience:
                given, asked = (f"[{' '.join(f'{chr(34)}{one}{chr(34)}' for one in some)}]" for some in (claims["aud"], wanted))
                raise TokenError(f"[{_INVALID}, token audiences {given} is invalid for the target audiences {asked}]")
            bound = [(kind, private[kind]) for kind in _BOUND if "uid" in private.get(kind, {})]
            lives = self._lives("serviceaccounts", namespace, account)
            lives = lives and all(self._lives(f"{kind}s", "" if kind == "node" else namespace, one) for kind, one in bound)
        except jwt.ExpiredSignatureError:
            raise TokenError(f"[{_INVALID}, service account token has expired]") from None
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise TokenError(_INVALID) from None
        if not lives:
            raise TokenError(f"[{_INVALID}, service account token has been invalidated]")
        extra: dict[str, tuple[str, ...]] = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.get('jti', '')}",)}
        for kind in ("node", "pod"):
            for field, value in private.get(kind, {}).items():
                extra[f"authentication.kubernetes.io/{kind}-{field}"] = (str(value),)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(
            f"system:serviceaccount:{namespace}:{account['name']}", groups, account["uid"], extra, float(claims["exp"])
        ), audience

    def _claims(self, token: str) -> dict[str, Any]:
        """What a token says whose signature and times are good; its audience is looked at by itself. Raises PyJWTError."""
        options: Any = {"require": ["exp", "iss", "aud", "sub"], "verify_aud": False}
        return jwt.decode(token, self._public, algorithms=["ES256"], issuer=ISSUER, options=options)

    def _lives(self, plural: str, namespace: str, reference: Obj) -> bool:
        found = self._lookup(plural, namespace, reference["name"])
        return found is not None and found["metadata"]["uid"] == reference["uid"]

    def jwks(self) -> Obj:
        """The public key, for others who verify our tokens."""
        key = dict(jwt.algorithms.ECAlgorithm.to_jwk(self._public, as_dict=True))
        return {"keys": [{**key, "use": "sig", "alg": "ES256", "kid": self._key_id}]}

    def discovery(self, server: str) -> Obj:
        return {
            "issuer": ISSUER,
            "jwks_uri": f"{server}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
