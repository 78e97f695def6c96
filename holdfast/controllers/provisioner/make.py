"""What an engine is asked for on behalf of a claim, and the PersistentVolume that comes of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from holdfast.kinds import sources
from holdfast.kinds.core.claims import HOSTNAME, PROVISIONED_BY, reference_to
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, quantity
from holdfast.volumes.api import Engine, Volume

FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name"
SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace"
ADMIN = "holdfast.io/provisioner-attributes"
"""What the engine needs beside the volume's source to expand and delete it, wherever its class has gone."""
_ONE_WRITER = {"ReadWriteOnce", "ReadWriteOncePod"}

PREFIX = "pvc-"


def name_of(claim: Obj) -> str:
    """Made of the claim's uid, so that doing it twice does it once."""
    return f"{PREFIX}{meta.uid(claim)}"


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


def secret_of(names: tuple[str, str], parameters: Mapping[str, str], namespace: str) -> tuple[str, str] | None:
    """(namespace, name) of the Secret that class parameters with these names name. ``namespace``: where none is given."""
    name, where = (parameters.get(parameter, "") for parameter in names)
    return (where or namespace, name) if name else None


def volume(claim: Obj, found: Obj, made: Volume, engine: Engine, node: str, fs_type: str) -> Obj:
    """``found``: the StorageClass; ``node``: on whose disk it lies, "" for everywhere."""
    name, spec, parameters = name_of(claim), claim["spec"], found.get("parameters") or {}
    policy = found.get("reclaimPolicy") or "Delete"
    annotations = {PROVISIONED_BY: engine.name}
    if secret := secret_of(engine.provisioner_secret, parameters, "default"):
        annotations |= {SECRET_NAMESPACE: secret[0], SECRET_NAME: secret[1]}
    if made.admin:
        annotations[ADMIN] = json.dumps(dict(made.admin), separators=(",", ":"))
    metadata: Obj = {"name": name, "annotations": annotations}
    if policy == "Delete":
        metadata["finalizers"] = [FINALIZER]
    mounts_with = secret_of(engine.node_secret, parameters, meta.namespace(claim))
    result: Obj = {
        "capacity": {"storage": size_text(made.capacity, spec["resources"]["requests"]["storage"])},
        "accessModes": spec["accessModes"],
        "persistentVolumeReclaimPolicy": policy,
        "storageClassName": meta.name(found),
        "volumeMode": spec.get("volumeMode") or "Filesystem",
        "claimRef": reference_to(claim),
        **sources.write(sources.Backend(engine.name, made.handle, made.attributes, mounts_with, fs_type)),
    }
    if found.get("mountOptions"):
        result["mountOptions"] = found["mountOptions"]
    if spec.get("volumeAttributesClassName"):
        result["volumeAttributesClassName"] = spec["volumeAttributesClassName"]
    if node:
        here = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [node]}]}
        result["nodeAffinity"] = {"required": {"nodeSelectorTerms": [here]}}
    return {"metadata": metadata, "spec": result}
