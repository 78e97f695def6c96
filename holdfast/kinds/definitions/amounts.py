"""Canonical quantities: ``1000m`` is stored as ``1``, ``1.5Gi`` as ``1536Mi``.

Upstream re-encodes each quantity when it decodes an object, so that equal amounts compare equal as text.
The format (binary, decimal, exponent) is the author's; the suffix is the largest that leaves an integer.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from holdfast.kinds.definitions.overlay import AUTOSCALING, CORE, NODE, STORAGE, overlay
from holdfast.machinery import quantity

_DECIMAL = {18: "E", 15: "P", 12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "u", -9: "n"}
_BINARY = {60: "Ei", 50: "Pi", 40: "Ti", 30: "Gi", 20: "Mi", 10: "Ki"}
LISTS = {
    CORE + "ResourceRequirements": ("limits", "requests"),
    CORE + "VolumeResourceRequirements": ("limits", "requests"),
    CORE + "PersistentVolumeSpec": ("capacity",),
    CORE + "PersistentVolumeClaimStatus": ("capacity", "allocatedResources"),
    CORE + "NodeStatus": ("capacity", "allocatable"),
    CORE + "PodSpec": ("overhead",),
    CORE + "LimitRangeItem": ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"),
    NODE + "Overhead": ("podFixed",),
    CORE + "ResourceQuotaSpec": ("hard",),
    CORE + "ResourceQuotaStatus": ("hard", "used"),
}
SINGLE = {
    STORAGE + "CSIStorageCapacity": ("capacity", "maximumVolumeSize"),
    CORE + "EmptyDirVolumeSource": ("sizeLimit",),
    AUTOSCALING + "MetricTarget": ("value", "averageValue"),
    AUTOSCALING + "MetricValueStatus": ("value", "averageValue"),
}


def canonical(text: Any) -> Any:
    """The canonical form; the value itself when it is no quantity (validation reports it)."""
    return _canonical(text) if isinstance(text, str | int | float) else text


@functools.lru_cache(4096, typed=True)
def _canonical(text: Any) -> Any:
    try:
        number = quantity.parse(text)
    except (ValueError, TypeError):
        return text
    if number == 0:
        return "0"
    nanos = math.ceil(abs(number) * 10**9) * (1 if number > 0 else -1)
    shown = str(text)
    if "i" in shown and abs(number) >= 1024 and nanos % 10**9 == 0:
        whole = nanos // 10**9
        for bits, suffix in _BINARY.items():
            if whole % (1 << bits) == 0:
                return f"{whole >> bits}{suffix}"
        return str(whole)
    for power, suffix in _DECIMAL.items():
        if nanos % 10 ** (power + 9) == 0:
            mantissa = nanos // 10 ** (power + 9)
            exponent = "e" in shown or ("E" in shown and not shown.endswith("E"))
            return f"{mantissa}e{power}" if exponent and power else f"{mantissa}{suffix}"
    return text


def _canonicalise(fields: tuple[str, ...]) -> Any:
    def run(obj: dict[str, Any]) -> None:
        for name in fields:
            amounts = obj.get(name)
            if isinstance(amounts, dict):
                obj[name] = {resource: canonical(value) for resource, value in amounts.items()}

    return run


def _canonicalise_each(fields: tuple[str, ...]) -> Any:
    def run(obj: dict[str, Any]) -> None:
        for name in fields:
            if obj.get(name) is not None:
                obj[name] = canonical(obj[name])

    return run


for _definition, _fields in LISTS.items():
    overlay(_definition, defaulter=_canonicalise(_fields))
for _definition, _fields in SINGLE.items():
    overlay(_definition, defaulter=_canonicalise_each(_fields))

__all__ = ["canonical"]
