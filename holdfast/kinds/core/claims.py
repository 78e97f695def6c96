"""Questions about claims, their volumes and the pods that use them, which server, controllers and nodes ask alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

HOSTNAME = "kubernetes.io/hostname"
LEGACY_CLASS = "volume.beta.kubernetes.io/storage-class"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Annotation of a claim: where its first consumer goes."""
PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
"""Annotations of a claim: who is asked to make its volume, said twice."""
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
"""Annotation of claim and volume: nobody but the binder chose the other."""


def claims_of(pod: Obj) -> dict[str, str]:
    """Names of the claims that a pod uses, by its name for the volume; those of ephemeral volumes among them."""
    found: dict[str, str] = {}
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        if volume.get("persistentVolumeClaim"):
            found[volume["name"]] = str(volume["persistentVolumeClaim"].get("claimName") or "")
        elif volume.get("ephemeral"):
            found[volume["name"]] = f"{meta.name(pod)}-{volume['name']}"
    return found


def ephemeral(pod: Obj) -> dict[str, str]:
    """As ``claims_of``, of ephemeral volumes alone: claims that must be owned by the pod."""
    names = {volume["name"] for volume in (pod.get("spec") or {}).get("volumes") or [] if volume.get("ephemeral")}
    return {volume: claim for volume, claim in claims_of(pod).items() if volume in names}


def foreign(pod: Obj, claim: Obj) -> str:
    """Why a claim may not serve as a pod's ephemeral volume; "" when it was made for this very pod."""
    if meta.namespace(pod) == meta.namespace(claim) and meta.is_controlled_by(claim, pod):
        return ""
    return f"PVC {meta.key(claim)} was not created for pod {meta.key(pod)} (pod is not owner)"


def class_of(obj: Obj) -> str:
    """The StorageClass of a claim or volume; "" for none, and for a claim that may yet be given the default one."""
    legacy = meta.annotations_of(obj).get(LEGACY_CLASS)
    return legacy if legacy is not None else str(obj["spec"].get("storageClassName") or "")


def reference_to(claim: Obj) -> Obj:
    """A volume's claimRef: this very claim, by its uid."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace(claim),
        "name": meta.name(claim),
        "uid": meta.uid(claim),
        "resourceVersion": claim["metadata"]["resourceVersion"],
    }


def pinned_to(volume: Obj) -> str:
    """The one node that a volume can be used on; "" where there is no such node."""
    terms = (((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    if len(terms) != 1:
        return ""
    for expression in terms[0].get("matchExpressions") or []:
        values = expression.get("values") or []
        if expression.get("key") == HOSTNAME and expression.get("operator") == "In" and len(values) == 1:
            return str(values[0])
    return ""


def newest_default(classes: Iterable[Obj], marks: Iterable[str]) -> str:
    """The name of the class marked as the default: of several the newest, then the first by name; "" when none is."""
    wanted = tuple(marks)
    chosen = sorted((c for c in classes if any(meta.annotations_of(c).get(mark) == "true" for mark in wanted)), key=meta.name)
    newest = max((c["metadata"].get("creationTimestamp", "") for c in chosen), default="")
    return next((meta.name(c) for c in chosen if c["metadata"].get("creationTimestamp", "") == newest), "")
