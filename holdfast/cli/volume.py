"""``holdfast volume``: the volumes on this machine's disk, and the trash of removed ones.

It works on DATA/volumes itself, under the lock that a running node takes too; only the PersistentVolume of a restored volume
goes through the API. Restoring is: data back in its place, PersistentVolume made, trash entry forgotten; whatever of it was
cut off is done by saying it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click
import orjson

from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube, Refused, Unreachable
from holdfast.kinds.core.claims import BIND_COMPLETED, BOUND_BY_CONTROLLER
from holdfast.lib import privileged
from holdfast.lib.clock import rfc3339
from holdfast.system.settings import Settings
from holdfast.volumes import trash as trashes
from holdfast.volumes.api import VolumeError
from holdfast.volumes.builtin.pool import Pool
from holdfast.volumes.trash import Removed, Trash

_VOLUMES = "/api/v1/persistentvolumes"
_OF_THE_BINDING = (BOUND_BY_CONTROLLER, BIND_COMPLETED)


class _Shelf:
    """Where volumes of one kind lie, with their trash. ``pool``: None for plain directories."""

    def __init__(self, trash: Trash, pool: Pool | None) -> None:
        self.trash = trash
        self.pool = pool

    def admit(self, item: Removed) -> None:
        """Raises VolumeError when the disk has no room for what the volume may yet take."""
        if self.pool is not None and item.has_data:
            state = self.trash.kept(item.handle).stat()
            self.pool.admit(max(0, state.st_size - state.st_blocks * 512), item.handle)


@contextlib.contextmanager
def _shelves(settings: Settings) -> Iterator[list[_Shelf]]:
    """What there is, with the pool mounted for as long as this takes. Raises UserError."""
    root = settings.data / "volumes"
    found, pool, mounted = [], Pool(root, owner=False), False
    try:
        if pool.exists():
            mounted = privileged.find_mount(pool.directory) is not None
            pool.open()
            found.append(_Shelf(pool.trash, pool))
        if (root / "directories").is_dir():
            found.append(_Shelf(Trash(root / "directories", ""), None))
        yield found
    except VolumeError as error:
        raise UserError(str(error)) from error
    except PermissionError as error:
        raise UserError(f"{error.filename or root}: {error.strerror}: volumes belong to root; say it as root") from error
    finally:
        if pool.exists() and not mounted:
            with contextlib.suppress(VolumeError):  # a node that was started meanwhile needs it now
                pool.close()


def _record(item: Removed) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(item.record) if item.record else {}
    return found


def _claim_of(volume: dict[str, Any]) -> str:
    reference = (volume.get("spec") or {}).get("claimRef") or {}
    return f"{reference.get('namespace')}/{reference.get('name')}" if reference.get("name") else "-"


def _capacity_of(volume: dict[str, Any]) -> str:
    return str(((volume.get("spec") or {}).get("capacity") or {}).get("storage") or "-")


def list_volumes(settings: Settings, *, trash: bool) -> None:
    with _shelves(settings) as shelves:
        _show(_removed(shelves) if trash else _present(settings, shelves))


def _removed(shelves: list[_Shelf]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAME", "CLAIM", "CAPACITY", "ON DISK", "REMOVED", "ERASED AT")]
    for shelf in shelves:
        for item in shelf.trash.items():
            volume = _record(item)
            end = rfc3339(item.until) if item.has_data else "half restored: say restore again"
            size = _mib(item.size)
            rows.append((item.handle, _claim_of(volume), _capacity_of(volume), size, rfc3339(item.removed), end))
    return rows


def _present(settings: Settings, shelves: list[_Shelf]) -> list[tuple[str, ...]]:
    known: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(UserError):  # without the API, what the disk says
        for volume in _kube(settings).request("GET", _VOLUMES)["items"]:
            known[(volume["spec"].get("csi") or {}).get("volumeHandle", "")] = volume
    rows: list[tuple[str, ...]] = [("NAME", "CLAIM", "CAPACITY", "ON DISK", "STATUS")]
    for shelf in shelves:
        for handle in shelf.trash.present():
            volume = known.get(handle, {})
            status = (volume.get("status") or {}).get("phase") or ("no PersistentVolume" if known else "unknown: no API")
            size = _mib(shelf.trash.size(handle))
            rows.append((handle, _claim_of(volume), _capacity_of(volume), size, status))
    return rows


def _mib(size: int) -> str:
    return f"{-(-size // 2**20)}Mi"


def _show(rows: list[tuple[str, ...]]) -> None:
    if len(rows) == 1:
        click.echo("none")
        return
    widths = [max(len(row[column]) for row in rows) + 3 for column in range(len(rows[0]))]
    for row in rows:
        click.echo("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _kube(settings: Settings) -> Kube:
    if not settings.kubeconfig.exists():
        raise UserError(f"{settings.data} has no kubeconfig: the system was never started; holdfast up --data {settings.data}")
    return Kube(settings.kubeconfig)


def _find(shelves: list[_Shelf], name: str) -> tuple[_Shelf, Removed]:
    """By the volume's name, or by its claim's as NAMESPACE/NAME: then the one removed last. Raises UserError."""
    found = [(shelf, item) for shelf in shelves for item in shelf.trash.items()]
    matching = [(shelf, item) for shelf, item in found if name in (item.handle, _claim_of(_record(item)))]
    if not matching:
        raise UserError(f"{name} is not in the trash; holdfast volume list --trash shows what is")
    return max(matching, key=lambda pair: pair[1].removed)


def restore(settings: Settings, name: str, claim: str) -> None:
    """Raises UserError."""
    if claim and claim.count("/") != 1:
        raise UserError(f"--claim {claim}: NAMESPACE/NAME is wanted")
    kube = _kube(settings)
    with _shelves(settings) as shelves:
        shelf, item = _find(shelves, name)
        if not item.record:
            text = f"nobody knew the PersistentVolume of {item.handle} when it was removed"
            raise UserError(f"{text}: its data lies in {shelf.trash.kept(item.handle)}")
        volume = _anew(_record(item), claim)
        try:
            whole = _is_restored(kube, item, volume)
            if not whole:
                _refuse_taken(kube, volume)
        except Unreachable as error:
            raise UserError(f"{error.text}, and restoring needs it: holdfast up --data {settings.data}") from error
        if not whole:
            with trashes.lock(settings.data / "volumes"):
                shelf.admit(item)
                shelf.trash.take_back(item.handle)
            kube.request("POST", _VOLUMES, volume)
        shelf.trash.forget(item.handle)
    click.echo(f"restored {item.handle}: the next claim {_claim_of(volume)} gets it")


def _anew(record: dict[str, Any], claim: str) -> dict[str, Any]:
    """The PersistentVolume as it was, kept for a claim of the same name and whatever uid."""
    old, spec = record["metadata"], record["spec"]
    namespace, _, name = (claim or _claim_of(record)).partition("/")
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name}
    annotations = {key: value for key, value in (old.get("annotations") or {}).items() if key not in _OF_THE_BINDING}
    metadata = {"name": old["name"], "annotations": annotations, "labels": old.get("labels") or {}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": {**spec, "claimRef": reference}}


def _is_restored(kube: Kube, item: Removed, volume: dict[str, Any]) -> bool:
    """Whether all but the end was done when it was said before: data and PersistentVolume are there, and nobody is removing them."""
    there = None if item.has_data else _get(kube, f"{_VOLUMES}/{volume['metadata']['name']}")
    if there is None or there["metadata"].get("deletionTimestamp"):
        return False
    return (there.get("status") or {}).get("phase") not in ("Released", "Failed")


def _refuse_taken(kube: Kube, volume: dict[str, Any]) -> None:
    """Raises UserError when the volume or its claim is there."""
    name, reference = volume["metadata"]["name"], volume["spec"]["claimRef"]
    if _get(kube, f"{_VOLUMES}/{name}") is not None:
        raise UserError(f"PersistentVolume {name} is there (still): say it again when it is gone")
    claim = _get(kube, f"/api/v1/namespaces/{reference['namespace']}/persistentvolumeclaims/{reference['name']}")
    if claim is not None and claim["spec"].get("volumeName"):
        key, taken = f"{reference['namespace']}/{reference['name']}", claim["spec"]["volumeName"]
        text = f"claim {key} exists and has volume {taken}; delete that claim first (its data goes to the trash), with what uses it"
        raise UserError(f"{text}, or restore for another claim: --claim NAMESPACE/NAME")


def _get(kube: Kube, path: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = kube.request("GET", path)
    except Refused as error:
        if error.status.get("code") == 404:
            return None
        raise
    return found


def purge(settings: Settings, name: str, *, everything: bool) -> None:
    """Raises UserError."""
    with _shelves(settings) as shelves:
        if everything:
            chosen = [(shelf, item) for shelf in shelves for item in shelf.trash.items() if item.has_data]
        else:
            chosen = [_find(shelves, name)]
        with trashes.lock(settings.data / "volumes"):
            for shelf, item in chosen:
                shelf.trash.purge(item.handle)
                click.echo(f"erased {item.handle}")
    if not chosen:
        click.echo("the trash is empty")
