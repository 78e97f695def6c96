"""What an engine is asked for on behalf of a claim, and the PersistentVolume that comes of it. Pure."""

from __future__ import annotations

from holdfast.kinds.core.claims import HOSTNAME, reference_to
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, quantity
from holdfast.volumes.api import Volume

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
_ONE_WRITER = {"ReadWriteOnce", "ReadWriteOncePod"}


def name_of(claim: Obj) -> str:
    """Made of the claim's uid, so that doing it twice does it once."""
    return f"pvc-{meta.uid(claim)}"


def refusal(claim: Obj, engine: str, *, network: bool) -> str:
    """Why no engine of that kind makes a volume for a claim; "" when it may try. Names the field and what to do."""
    spec = claim["spec"]
    block = spec.get("volumeMode") == "Block"
    offered = _ONE_WRITER | ({"ReadOnlyMany"} if network else set()) | ({"ReadWriteMany"} if network and block else set())
    strange = sorted(set(spec.get("accessModes") or []) - offered)
    if strange:
        where = "" if network else ": its volumes lie on the disk of one node"
        return f"accessModes: {', '.join(strange)} is not offered by {engine}{where}; ask for {', '.join(sorted(offered))}"
    if spec.get("selector"):
        return "claim Selector is not supported: remove spec.selector, or name a class that makes no volumes by itself"
    source = spec.get("dataSourceRef") or spec.get("dataSource")
    if source:
        what = f"{source.get('kind')} {source.get('name')}"
        return f"dataSource: {engine} does not make volumes from {what} yet; leave it out and copy the data with a pod"
    return ""


def size_text(capacity: int, asked: str) -> str:
    """A capacity as text: in the words of who asked for it, if it is that."""
    return asked if capacity == quantity.to_int(asked) else quantity.format_bytes(capacity)


def volume(claim: Obj, found: Obj, made: Volume, engine: str, node: str, fs_type: str) -> Obj:
    """``found``: the StorageClass; ``node``: on whose disk it lies, "" for everywhere."""
    name, spec = name_of(claim), claim["spec"]
    policy = found.get("reclaimPolicy") or "Delete"
    metadata: Obj = {"name": name, "annotations": {PROVISIONED_BY: engine}}
    if policy == "Delete":
        metadata["finalizers"] = [FINALIZER]
    source: Obj = {"driver": engine, "volumeHandle": made.handle}
    if fs_type:
        source["fsType"] = fs_type
    if made.attributes:
        source["volumeAttributes"] = dict(made.attributes)
    result: Obj = {
        "capacity": {"storage": size_text(made.capacity, spec["resources"]["requests"]["storage"])},
        "accessModes": spec["accessModes"],
        "persistentVolumeReclaimPolicy": policy,
        "storageClassName": meta.name(found),
        "volumeMode": spec.get("volumeMode") or "Filesystem",
        "claimRef": reference_to(claim),
        "csi": source,
    }
    if found.get("mountOptions"):
        result["mountOptions"] = found["mountOptions"]
    if spec.get("volumeAttributesClassName"):
        result["volumeAttributesClassName"] = spec["volumeAttributesClassName"]
    if node:
        here = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [node]}]}
        result["nodeAffinity"] = {"required": {"nodeSelectorTerms": [here]}}
    return {"metadata": metadata, "spec": result}
