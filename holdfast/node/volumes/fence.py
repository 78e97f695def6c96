"""The fence of a volume: who may write to it, as an annotation of its PersistentVolume (DESIGN, Fencing; P-1, P-2).

``{epoch, podUID, pod, node, bootID, released}``. A new holder is admitted when there is none, when the former one was
released (its node confirmed that every instance is dead) or revoked (its pod record no longer exists: force delete,
Node deleted, out of service). Each change is one write under the resourceVersion that was read. Pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

ANNOTATION = "holdfast.io/fence"
_SHARED = {"ReadOnlyMany", "ReadWriteMany"}


@dataclass(frozen=True)
class Fence:
    epoch: int = 0
    podUID: str = ""
    pod: str = ""
    """namespace/name"""
    node: str = ""
    bootID: str = ""
    released: bool = True


def read(volume: Obj) -> Fence:
    """The fence of a PersistentVolume. Raises ValueError when somebody has made it unreadable."""
    text = meta.annotations_of(volume).get(ANNOTATION)
    if not text:
        return Fence()
    try:
        return Fence(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"annotation {ANNOTATION} of {meta.name(volume)} is not a fence: {error}") from None


def write(fence: Fence) -> str:
    return json.dumps(asdict(fence), separators=(",", ":"))


def is_exclusive(volume: Obj) -> bool:
    """One pod at a time: ReadWriteOnce and ReadWriteOncePod. Shared modes carry identity only."""
    return not _SHARED & set(volume["spec"].get("accessModes") or [])


def is_held_by_other(fence: Fence, pod_uid: str) -> bool:
    return bool(fence.podUID) and fence.podUID != pod_uid and not fence.released


def taken(fence: Fence, pod: Obj, node: str, boot_id: str) -> Fence:
    """The next epoch, held by ``pod``; the same fence when it is that pod's in this very boot already."""
    wanted = Fence(fence.epoch, meta.uid(pod), meta.key(pod), node, boot_id, released=False)
    return fence if fence == wanted else replace(wanted, epoch=fence.epoch + 1)


def released(fence: Fence) -> Fence:
    return replace(fence, released=True)
