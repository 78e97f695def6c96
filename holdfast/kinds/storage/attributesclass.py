"""VolumeAttributesClass: qualities of a volume that may change while it is used."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.overlay import STORAGE
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import VOLUMEATTRIBUTESCLASSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    fields = ("driverName", "parameters") if old is not None else ()
    return [forbidden(name, f"updates to {name} are forbidden.") for name in fields if new.get(name) != (old or {}).get(name)]


KIND = Kind(
    resource=VOLUMEATTRIBUTESCLASSES,
    schema=schema_of(STORAGE + "VolumeAttributesClass"),
    singular="volumeattributesclass",
    short_names=("vac",),
    storage="volumeattributesclasses",
    checks=(_check,),
    columns=(NAME, Column("DriverName", at("driverName"), description="Who changes its volumes."), AGE),
    has_status=False,
    has_generation=False,
    acted_on=False,
)
