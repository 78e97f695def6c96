"""token: a signed, short-lived identity of a ServiceAccount, bound to a pod on request. The key lies with the server."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import errors, fielderror, meta
from holdfast.registry import codec, options
from holdfast.registry.admission.node import check_token
from holdfast.registry.claims import AUDIENCE, TokenClaims
from holdfast.registry.core import Core
from holdfast.registry.pipeline import check_type
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import current

SECONDS = 3600
_BOUND = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets", ("v1", "Node"): "nodes"}


async def create(core: Core, request: Request) -> Result:
    options.check_write(request)
    account = codec.serve(request.kind, current(core, request)).obj
    check_type(request.body, "authentication.k8s.io/v1", "TokenRequest")
    spec: Any = request.body.get("spec") or {}
    if not isinstance(spec, dict):
        raise errors.bad_request("spec must be an object")
    seconds = spec.get("expirationSeconds", SECONDS)
    seconds = SECONDS if seconds is None else seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise errors.bad_request("spec.expirationSeconds must be an integer")
    path = "spec.expirationSeconds"
    if seconds < 600:
        _refuse(fielderror.invalid(path, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > 2**32:
        _refuse(fielderror.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
    audiences = tuple(str(a) for a in spec.get("audiences") or ()) or (AUDIENCE,)
    claims = _bind(core, request, account, spec.get("boundObjectRef"), audiences, seconds)
    if core.issue_token is None:
        raise errors.unavailable("this server issues no tokens")
    token, ends = core.issue_token(claims)
    metadata = account["metadata"]
    body: Obj = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "creationTimestamp": core.timestamp(),
        },
        "spec": {"audiences": list(audiences), "expirationSeconds": seconds, "boundObjectRef": spec.get("boundObjectRef")},
        "status": {"token": token, "expirationTimestamp": rfc3339(ends)},
    }
    return Result(201, obj=body)


def _refuse(found: fielderror.FieldError) -> None:
    raise errors.invalid("TokenRequest", "", [found], "authentication.k8s.io")


def _bind(core: Core, request: Request, account: Obj, reference: Any, audiences: tuple[str, ...], seconds: int) -> TokenClaims:
    subject = (request.namespace, request.name, meta.uid(account), audiences, seconds)
    if not reference:
        check_token(request, {}, None)
        return TokenClaims(*subject)
    if not isinstance(reference, dict):
        raise errors.bad_request("spec.boundObjectRef must be an object")
    kind, version, name = reference.get("kind"), reference.get("apiVersion") or "v1", str(reference.get("name") or "")
    storage = _BOUND.get((version, str(kind)))
    if storage is None:
        raise errors.bad_request(f"cannot bind token to object of type /{version}, Kind={kind}")
    where = f"/registry/{storage}/{name}" if storage == "nodes" else f"/registry/{storage}/{request.namespace}/{name}"
    found = core.cache.get(where)
    if found is None:
        raise errors.not_found(storage, name)
    if reference.get("uid") and reference["uid"] != meta.uid(found.obj):
        text = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record."
        raise errors.conflict(storage, name, f"{text} The object might have been deleted and then recreated")
    check_token(request, {**reference, "apiVersion": version}, found.obj)
    node = ""
    if kind == "Pod":
        spec = found.obj.get("spec") or {}
        if spec.get("serviceAccountName", "default") != request.name:
            text = f'cannot bind token for serviceaccount "{request.name}" to pod running with different serviceaccount name.'
            raise errors.bad_request(text)
        node = str(spec.get("nodeName") or "")
    return TokenClaims(*subject, bound_kind=str(kind), bound_name=name, bound_uid=meta.uid(found.obj), node=node)
