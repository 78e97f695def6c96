"""Status reports: what was decided goes to the API, when it differs from what the API holds, under the pod's uid."""

from __future__ import annotations

import logging

from holdfast.client.api import STRATEGIC_PATCH, Client
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PODS
from holdfast.machinery.errors import ApiError
from holdfast.machinery.tree import copied

log = logging.getLogger("holdfast.node.pods")


def differs(wanted: Obj, held: Obj) -> bool:
    """Whether the API's status lacks something of what the node reports. Others may add conditions and fields."""
    for key, value in wanted.items():
        if key == "conditions":
            have = {c["type"]: c for c in held.get("conditions") or ()}
            if any(not _same(condition, have.get(condition["type"], {})) for condition in value):
                return True
        elif not _same(value, held.get(key)):
            return True
    return any(held.get(key) for key in ("reason", "message") if key not in wanted)


def _same(a: object, b: object) -> bool:
    """Equal, where null, an absent field and an empty text or mapping mean the same."""
    if a == b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return all(_same(a.get(key), b.get(key)) for key in {*a, *b} if key in a or key in ("state", "lastState", "waiting"))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a in (None, "", {}, []) and b in (None, "", {}, [])


def make_patch(pod: Obj, status: Obj) -> Obj:
    """A strategic merge patch of /status that refuses to touch a pod of another uid."""
    body = copied(status)
    held = pod.get("status") or {}
    for key in ("podIPs", "hostIPs"):
        if key in body and held.get(key) and held[key] != body[key]:
            body[key] = [{"$patch": "replace"}, *body[key]]
    for key in ("reason", "message"):
        if held.get(key) and key not in body:
            body[key] = None
    for condition in body["conditions"]:
        old: Obj = next((c for c in held.get("conditions") or () if c["type"] == condition["type"]), {})
        condition |= {key: None for key in ("reason", "message") if old.get(key) and key not in condition}
    types = [condition["type"] for condition in body["conditions"]]
    types += [c["type"] for c in held.get("conditions") or () if c["type"] not in types]
    body["$setElementOrder/conditions"] = [{"type": kind} for kind in types]
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": body}


class StatusReporter:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def report(self, pod: Obj, status: Obj) -> Obj | None:
        """The pod as it is afterwards; None when this uid is gone. Raises ApiError for other refusals, OSError and
        UnknownOutcomeError when the API cannot be reached (the next round tries again)."""
        metadata = pod["metadata"]
        try:
            return await self._client.patch(
                PODS,
                metadata["name"],
                metadata.get("namespace", ""),
                make_patch(pod, status),
                content_type=STRATEGIC_PATCH,
                subresource="status",
            )
        except ApiError as error:
            if error.code == 404 or (error.code in (409, 422) and "uid" in error.message.lower()):
                return None  # the name is another pod's now
            raise
