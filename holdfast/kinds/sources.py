"""The source of a volume that a storage engine serves, in a pod's volume or in a PersistentVolume, and the other way round.

API objects and engines meet here: an engine knows a name, a handle and attributes, all strings; the API has one shape for CSI
drivers and one for each type of its own (``rbd``, ``nfs``, ``glusterfs``).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.kinds.kind import Obj

RBD, NFS, GLUSTERFS = "kubernetes.io/rbd", "kubernetes.io/nfs", "kubernetes.io/glusterfs"
SHARED = {NFS, GLUSTERFS}
"""Whose files have the owners that others gave them: no pod's fsGroup is put on them."""
_RBD_FIELDS = ("pool", "image", "user", "keyring")


@dataclass(frozen=True)
class Backend:
    driver: str
    handle: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    secret: tuple[str, str] | None = None
    """(namespace, name) of the Secret with which it is mounted."""
    fs_type: str = ""
    read_only: bool = False


def read(source: Obj, namespace: str) -> Backend | None:
    """``source``: a pod's volume or a PersistentVolume's spec. ``namespace``: of the pod, for secrets named without one.

    None for sources that need no engine.
    """
    if source.get("csi"):
        csi = source["csi"]
        attributes = csi.get("volumeAttributes") or {}
        secret = _secret(csi.get("nodeStageSecretRef"), namespace)
        return Backend(csi["driver"], csi.get("volumeHandle") or "", attributes, secret, *_mounted(csi))
    if source.get("rbd"):
        rbd = source["rbd"]
        attributes = {name: str(rbd[name]) for name in _RBD_FIELDS if rbd.get(name)}
        attributes["monitors"] = ",".join(rbd.get("monitors") or [])
        handle = f"{rbd.get('pool') or 'rbd'}/{rbd.get('image')}"
        return Backend(RBD, handle, attributes, _secret(rbd.get("secretRef"), namespace), *_mounted(rbd))
    if source.get("nfs"):
        nfs = source["nfs"]
        place = {"server": nfs["server"], "path": nfs["path"]}
        return Backend(NFS, f"{nfs['server']}:{nfs['path']}", place, read_only=bool(nfs.get("readOnly")))
    if source.get("glusterfs"):
        volume = source["glusterfs"]
        where = {"endpoints": volume["endpoints"], "namespace": volume.get("endpointsNamespace") or namespace, "path": volume["path"]}
        return Backend(GLUSTERFS, volume["path"], where, read_only=bool(volume.get("readOnly")))
    return None


def _mounted(source: Obj) -> tuple[str, bool]:
    return source.get("fsType") or "", bool(source.get("readOnly"))


def _secret(reference: Obj | None, namespace: str) -> tuple[str, str] | None:
    return (reference.get("namespace") or namespace, reference["name"]) if reference and reference.get("name") else None


def secret_data(secret: Obj) -> dict[str, str]:
    """A Secret's data as an engine wants it. What is not text is not a key: whose it is refuses that by name."""
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.get("data") or {}).items()}


def write(backend: Backend) -> Obj:
    """What ``read`` reads: the part of a PersistentVolume's spec that says where its data is. For engines that make volumes."""
    secret = {"namespace": backend.secret[0], "name": backend.secret[1]} if backend.secret else None
    mounted: Obj = {}
    if backend.fs_type:
        mounted["fsType"] = backend.fs_type
    if backend.read_only:
        mounted["readOnly"] = True
    if backend.driver == RBD:
        rbd: Obj = {name: backend.attributes[name] for name in _RBD_FIELDS if backend.attributes.get(name)}
        rbd["monitors"] = backend.attributes["monitors"].split(",")
        return {"rbd": {**rbd, **mounted, **({"secretRef": secret} if secret else {})}}
    csi: Obj = {"driver": backend.driver, "volumeHandle": backend.handle, **mounted}
    if backend.attributes:
        csi["volumeAttributes"] = dict(backend.attributes)
    if secret:
        csi["nodeStageSecretRef"] = secret
    return {"csi": csi}
