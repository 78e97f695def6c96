"""The small rules that definitions are checked with: names, ports, numbers, quantities, paths.

The problem: dozens of fields obey the same few rules, worded the same way. The idea: one function per
rule, (path, value) in and field errors out; ``fill`` sets defaults the way Go does, where an empty
string or zero counts as absent. The modules beside this one put them together per definition.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from holdfast.machinery import names, quantity
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, key, required

_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_CONFIG_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name',"
    " regex used for validation is '[-._a-zA-Z0-9]+')"
)
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for"
    " validation is '[0-9]+%')"
)
IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
IMMUTABLE = "field is immutable"


def fill(obj: dict[str, Any], **values: Any) -> None:
    """Sets what is absent, null, empty text or zero: fields that are no pointers in Go."""
    for name, value in values.items():
        if obj.get(name) in (None, "", 0) and obj.get(name) is not False:
            obj[name] = copy.deepcopy(value)


def fill_absent(obj: dict[str, Any], **values: Any) -> None:
    """Sets what is absent or null: pointer fields, whose zero is a choice."""
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = copy.deepcopy(value)


def drop_zero(*fields: str) -> Callable[[dict[str, Any]], None]:
    """A defaulter that leaves out what upstream leaves out while it is zero: counts of a status."""

    def run(obj: dict[str, Any]) -> None:
        for name in fields:
            if obj.get(name) == 0:
                del obj[name]

    return run


def unsupported(path: str, value: Any, allowed: Sequence[str]) -> FieldError:
    """Like ``fielderror.not_supported``, listing the values in the order given."""
    return FieldError("FieldValueNotSupported", path, value, "supported values: " + ", ".join(f'"{a}"' for a in allowed))


def one_of(path: str, value: Any, allowed: Sequence[str]) -> list[FieldError]:
    """Nothing when absent: an absent enum was defaulted or is optional."""
    return [] if not value or value in allowed else [unsupported(path, value, allowed)]


def label_texts(name: str) -> list[str]:
    """What is wrong with an object's or container's name that must be a DNS label."""
    if "." in name and len(name) <= 63 and not names.dns1123_subdomain(name):
        return ["must not contain dots"]
    return [text.replace(" bytes", " characters") for text in names.dns1123_label(name)]


def subdomain_texts(name: str) -> list[str]:
    return [text.replace(" bytes", " characters") for text in names.dns1123_subdomain(name)]


def label(path: str, name: Any) -> list[FieldError]:
    return [invalid(path, name, text) for text in label_texts(str(name))]


def subdomain(path: str, name: Any) -> list[FieldError]:
    return [invalid(path, name, text) for text in subdomain_texts(str(name))]


def path_segment(path: str, name: Any) -> list[FieldError]:
    return [invalid(path, name, text) for text in names.path_segment(str(name))]


def qualified_texts(name: str) -> list[str]:
    """An empty name breaks two rules at once, and upstream names both."""
    texts = names.qualified_name(name)
    return [*texts, *names.qualified_name("-")] if texts[-1:] == ["name part must be non-empty"] else texts


def qualified(path: str, name: Any) -> list[FieldError]:
    return [invalid(path, name, text) for text in qualified_texts(str(name))]


def labels(path: str, pairs: Mapping[str, Any] | None) -> list[FieldError]:
    found: list[FieldError] = []
    for name, value in (pairs or {}).items():
        found += qualified(path, name)
        found += [invalid(path, value, text) for text in names.label_value(str(value))]
    return found


def config_keys(path: str, pairs: Mapping[str, Any] | None) -> list[FieldError]:
    found: list[FieldError] = []
    for name in pairs or {}:
        here = key(path, name)
        if len(name) > 253:
            found.append(invalid(here, name, "must be no more than 253 characters"))
        if not _CONFIG_KEY.fullmatch(name):
            found.append(invalid(here, name, _CONFIG_KEY_TEXT))
        elif name == ".":
            found.append(invalid(here, name, "must not be '.'"))
        elif name.startswith(".."):
            found.append(invalid(here, name, "must not be '..'" if name == ".." else "must not start with '..'"))
    return found


def port_name_texts(name: str) -> list[str]:
    """IANA service names: what container and target ports may be called."""
    found = []
    if len(name) > 15:
        found.append("must be no more than 15 characters")
    if not re.fullmatch(r"[-a-z0-9]+", name):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", name):
        found.append("must contain at least one letter (a-z)")
    if "--" in name:
        found.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def port_number(path: str, value: Any) -> list[FieldError]:
    good = isinstance(value, int) and 1 <= value <= 65535
    return [] if good else [invalid(path, value, "must be between 1 and 65535, inclusive")]


def port_number_or_name(path: str, value: Any) -> list[FieldError]:
    if isinstance(value, int):
        return port_number(path, value)
    return [invalid(path, value, text) for text in port_name_texts(str(value))]


def not_negative(path: str, value: Any) -> list[FieldError]:
    bad = isinstance(value, int) and value < 0
    return [invalid(path, value, "must be greater than or equal to 0")] if bad else []


def all_not_negative(obj: Mapping[str, Any], path: str, fields: Iterable[str]) -> list[FieldError]:
    return [error for name in fields for error in not_negative(child(path, name), obj.get(name))]


def percent(value: Any) -> int | None:
    """The number of a text such as ``25%``; None for anything else."""
    text = str(value)
    digits = text.removesuffix("%")
    return int(digits) if isinstance(value, str) and text.endswith("%") and re.fullmatch("[0-9]{1,9}", digits) else None


def portion(value: Any) -> int:
    """A count, or the number of percents: what a comparison with zero needs."""
    share = percent(value)
    return share if share is not None else value if isinstance(value, int) else 0


def share(value: Any, of: int, *, up: bool) -> int:
    """A count as it is; a text such as ``25%`` as a share of ``of``, rounded up or down; 0 for nothing."""
    if isinstance(value, int):
        return value
    part = (percent(value) or 0) * of
    return -(-part // 100) if up else part // 100


def count_or_percent(path: str, value: Any) -> list[FieldError]:
    """Fields such as maxUnavailable: no negative count, no share over the whole."""
    if value is None:
        return []
    if isinstance(value, int):
        return not_negative(path, value)
    share = percent(value)
    if share is None:
        return [invalid(path, value, _PERCENT_TEXT)]
    return [invalid(path, value, "must not be greater than 100%")] if share > 100 else []


def identifier(path: str, value: Any) -> list[FieldError]:
    """User and group ids."""
    bad = isinstance(value, int) and not 0 <= value <= 2147483647
    return [invalid(path, value, "must be between 0 and 2147483647, inclusive")] if bad else []


def ip(path: str, value: Any) -> list[FieldError]:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return [invalid(path, value, IP_TEXT)]
    return []


def canonical_ip(path: str, value: str) -> list[FieldError]:
    """For new fields, where one address has one spelling."""
    found = ip(path, value)
    if found:
        return found
    address = ipaddress.ip_address(value)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return [invalid(path, value, "must not be an IPv4-mapped IPv6 address")]
    return [] if str(address) == value else [invalid(path, value, f'must be in canonical form ("{address}")')]


def cidr(path: str, value: str) -> list[FieldError]:
    """A range, which may be spelt by any of its addresses."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return [invalid(path, value, CIDR_TEXT)]
    return [] if re.fullmatch(r".+/[0-9]+", value) else [invalid(path, value, CIDR_TEXT)]


def canonical_cidr(path: str, value: str) -> list[FieldError]:
    found = cidr(path, value)
    if found:
        return found
    network = ipaddress.ip_network(value, strict=False)
    if ipaddress.ip_interface(value).ip != network.network_address:
        return [invalid(path, value, "must not have bits set beyond the prefix length")]
    return [] if str(network) == value else [invalid(path, value, f'must be in canonical form ("{network}")')]


def endpoint_ip(path: str, value: Any) -> list[FieldError]:
    """An address others may be sent to: no loopback, link-local, multicast or unspecified one."""
    found = ip(path, value)
    if found:
        return found
    address = ipaddress.ip_address(str(value))
    rules = (
        (address.is_unspecified, "may not be unspecified (0.0.0.0 or ::)"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (address.is_multicast, "may not be in the multicast range (224.0.0.0/4, ff00::/10)"),
    )
    return [invalid(path, value, text) for broken, text in rules if broken]


def relative_path(path: str, value: str) -> list[FieldError]:
    if value.startswith("/"):
        return [invalid(path, value, "must be a relative path")]
    return no_backsteps(path, value)


def no_backsteps(path: str, value: str) -> list[FieldError]:
    return [invalid(path, value, "must not contain '..'")] if ".." in value.split("/") else []


def absolute_path(path: str, value: str) -> list[FieldError]:
    return [] if value.startswith("/") else [invalid(path, value, "must be an absolute path")]


def amount(value: Any) -> Fraction | None:
    """A quantity's number; None when it is none (the walker reports that)."""
    try:
        return quantity.parse(value)
    except (ValueError, TypeError):
        return None


def positive_quantity(path: str, value: Any) -> list[FieldError]:
    number = amount(value)
    return [invalid(path, value, "must be greater than zero")] if number is not None and number <= 0 else []


def exactly_one(path: str, given: Sequence[str], kind: str, missing: list[FieldError]) -> list[FieldError]:
    """Unions: ``missing`` when none is given, Forbidden for every one behind the first."""
    if not given:
        return missing
    return [forbidden(child(path, name), f"may not specify more than 1 {kind} type") for name in given[1:]]


def immutable(obj: Mapping[str, Any], old: Mapping[str, Any], path: str, fields: Iterable[str]) -> list[FieldError]:
    return [
        invalid(child(path, name), obj.get(name), IMMUTABLE) for name in fields if (obj.get(name) or None) != (old.get(name) or None)
    ]


def required_fields(obj: Mapping[str, Any], path: str, fields: Iterable[str]) -> list[FieldError]:
    return [required(child(path, name)) for name in fields if not obj.get(name)]


def items(obj: Mapping[str, Any], path: str, name: str) -> list[tuple[dict[str, Any], str]]:
    """The entries of a list field, each with its path."""
    return [(item, index(child(path, name), at)) for at, item in enumerate(obj.get(name) or []) if isinstance(item, dict)]
