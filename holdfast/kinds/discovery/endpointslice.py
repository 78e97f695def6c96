"""EndpointSlice: the addresses behind a Service, with their conditions."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at, joined
from holdfast.kinds.definitions.endpoints import DISCOVERY
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import ENDPOINTSLICES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, invalid

UNSET = "<unset>"


def _ports(obj: Obj, _now: float) -> str:
    return joined((str(p["port"]) if p.get("port") else "*" for p in obj.get("ports") or []), UNSET)


def _addresses(obj: Obj, _now: float) -> str:
    found = [address for endpoint in obj.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return joined(found[:3], UNSET) + more


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is not None and new.get("addressType") != old.get("addressType"):
        return [invalid("addressType", new.get("addressType"), "field is immutable")]
    return []


KIND = Kind(
    resource=ENDPOINTSLICES,
    schema=schema_of(DISCOVERY + "EndpointSlice"),
    singular="endpointslice",
    storage="endpointslices",
    read_by="view",
    checks=(_check,),
    columns=(
        NAME,
        Column("AddressType", at("addressType", default=""), description="IPv4, IPv6 or FQDN."),
        Column("Ports", _ports, description="Its ports."),
        Column("Endpoints", _addresses, description="Its addresses."),
        AGE,
    ),
    has_status=False,
    has_generation=True,
)
