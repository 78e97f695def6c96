"""PodSpec, in Pods and in templates: defaults and the checks that look across its parts."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, duplicate, forbidden, index, invalid, required

Obj = dict[str, Any]
NOT_SOURCES = {"name"}


def _defaults(spec: Obj) -> None:
    """The deprecated serviceAccount mirrors serviceAccountName; host ports follow hostNetwork."""
    spec.setdefault("securityContext", {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("hostNetwork"):
        for container in (spec.get("containers") or []) + (spec.get("initContainers") or []):
            for port in container.get("ports") or []:
                port.setdefault("hostPort", port.get("containerPort"))


def _check(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    volumes = {v.get("name") for v in new.get("volumes") or []}
    seen: set[str] = set()
    for field in ("initContainers", "containers"):
        for position, container in enumerate(new.get(field) or []):
            here = index(child(path, field), position)
            name = container.get("name") or ""
            if name and name in seen:
                found.append(duplicate(child(here, "name"), name))
            seen.add(name)
            for place, mount in enumerate(container.get("volumeMounts") or []):
                if mount.get("name") and mount["name"] not in volumes:
                    found.append(
                        FieldError("FieldValueNotFound", child(index(child(here, "volumeMounts"), place), "name"), mount["name"])
                    )
            if field == "initContainers" and container.get("restartPolicy") != "Always":
                found += [
                    forbidden(child(here, probe), "may not be set for init containers without restartPolicy=Always")
                    for probe in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle")
                    if container.get(probe)
                ]
    for field in ("hostname", "subdomain"):
        if new.get(field):
            found += [invalid(child(path, field), new[field], t) for t in names.dns1123_label(new[field])]
    if new.get("serviceAccountName"):
        found += [
            invalid(child(path, "serviceAccountName"), new["serviceAccountName"], t)
            for t in names.dns1123_subdomain(new["serviceAccountName"])
        ]
    return found + _volumes(new.get("volumes") or [], child(path, "volumes"))


def _volumes(volumes: list[Obj], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for position, volume in enumerate(volumes):
        here = index(path, position)
        name = volume.get("name") or ""
        found += [invalid(child(here, "name"), name, t) for t in (names.dns1123_label(name) if name else [])]
        if name and name in seen:
            found.append(duplicate(child(here, "name"), name))
        seen.add(name)
        sources = [source for source in volume if source not in NOT_SOURCES]
        if not sources:
            found.append(required(here, "must specify a volume type"))
        found += [forbidden(child(here, source), "may not specify more than 1 volume type") for source in sources[1:]]
    return found


overlay(
    CORE + "PodSpec",
    defaults={
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
    },
    defaulter=_defaults,
    checks=(_check,),
    fields={
        "restartPolicy": {"enum": ("Always", "OnFailure", "Never")},
        "dnsPolicy": {"enum": ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")},
        "terminationGracePeriodSeconds": {"minimum": 0},
        "activeDeadlineSeconds": {"minimum": 1, "maximum": 2**31 - 1},
    },
)
overlay(CORE + "ConfigMapVolumeSource", defaults={"defaultMode": 420}, fields={"defaultMode": {"minimum": 0, "maximum": 511}})
overlay(CORE + "SecretVolumeSource", defaults={"defaultMode": 420}, fields={"defaultMode": {"minimum": 0, "maximum": 511}})
overlay(CORE + "ProjectedVolumeSource", defaults={"defaultMode": 420})
overlay(CORE + "DownwardAPIVolumeSource", defaults={"defaultMode": 420})
overlay(CORE + "ServiceAccountTokenProjection", defaults={"expirationSeconds": 3600}, fields={"expirationSeconds": {"minimum": 600}})
overlay(CORE + "HostPathVolumeSource", defaults={"type": ""})
overlay(CORE + "RBDVolumeSource", defaults={"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"})
