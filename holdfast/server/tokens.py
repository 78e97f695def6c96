"""Service-account tokens: issued by TokenRequest, bound to a pod, verified live.

A token is good while its signature, times and audience are, and while the account (and the pod it is
bound to) with that very uid is there: a token of a deleted pod is worth nothing (SEC-30).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import Clock, rfc3339
from holdfast.machinery import errors
from holdfast.machinery.fielderror import invalid
from holdfast.registry.request import User

ISSUER = "https://kubernetes.default.svc.cluster.local"
MIN_SECONDS, MAX_SECONDS, DEFAULT_SECONDS = 600, 2**32, 3600

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

    async def issue(self, account: Obj, request: Obj) -> Obj:
        """A TokenRequest with its status. Raises ApiError 422, 404 or 409."""
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds") or DEFAULT_SECONDS
        if not isinstance(seconds, int) or not MIN_SECONDS <= seconds <= MAX_SECONDS:
            text = (
                "may not specify a duration less than 10 minutes"
                if isinstance(seconds, int) and seconds < MIN_SECONDS
                else "may not specify a duration larger than 2^32 seconds"
            )
            fault = invalid("spec.expirationSeconds", seconds, text)
            raise errors.invalid("TokenRequest", "", [fault], "authentication.k8s.io")
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        now = int(self._clock.now())
        private: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": metadata["uid"]}}
        bound = spec.get("boundObjectRef")
        if bound:
            private["pod"] = self._bound(namespace, bound)
        claims = {
            "aud": spec.get("audiences") or [ISSUER],
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": rfc3339(now)},
            "spec": {**spec, "audiences": claims["aud"], "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": rfc3339(now + seconds)},
        }

    def _bound(self, namespace: str, reference: Obj) -> Obj:
        if reference.get("kind") != "Pod":
            fault = invalid("spec.boundObjectRef.kind", reference.get("kind"), "tokens are bound to a Pod")
            raise errors.invalid("TokenRequest", "", [fault], "authentication.k8s.io")
        name = str(reference.get("name") or "")
        pod = self._lookup("pods", namespace, name)
        if pod is None:
            raise errors.not_found("pods", name)
        uid = pod["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            text = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record."
            text += " The object might have been deleted and then recreated"
            raise errors.conflict("pods", name, text)
        return {"name": name, "uid": uid}

    async def verify(self, token: str, audiences: list[str]) -> User | None:
        """The identity a token proves; None for any that does not."""
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=["ES256"],
                audience=audiences or [ISSUER],
                issuer=ISSUER,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            private = claims["kubernetes.io"]
            namespace, account = private["namespace"], private["serviceaccount"]
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            return None
        if not self._lives("serviceaccounts", namespace, account):
            return None
        extra: dict[str, tuple[str, ...]] = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.get('jti', '')}",)}
        pod = private.get("pod")
        if pod:
            if not self._lives("pods", namespace, pod):
                return None
            extra["authentication.kubernetes.io/pod-name"] = (pod["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (pod["uid"],)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(f"system:serviceaccount:{namespace}:{account['name']}", groups, account["uid"], extra)

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
