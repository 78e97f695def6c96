"""Aggregated ClusterRoles: their rules are those of the roles whose labels they select, of aggregated ones in turn."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.kinds.kind import Obj
from holdfast.machinery import selectors
from holdfast.machinery.errors import ApiError


def rules_of(role: Obj, roles: Mapping[str, Obj]) -> list[Obj]:
    """A ClusterRole's rules. ``roles``: all ClusterRoles by name."""
    return _collect(role, roles, frozenset())


def _collect(role: Obj, roles: Mapping[str, Obj], within: frozenset[str]) -> list[Obj]:
    wanted = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
    if not wanted:
        return list(role.get("rules") or [])
    within |= {role["metadata"]["name"]}
    found: list[Obj] = []
    for selector in wanted:
        try:
            chosen = selectors.from_object(selector)
        except ApiError:
            continue  # what cannot be read selects nothing
        for name in sorted(roles):
            if name not in within and chosen.matches(roles[name]["metadata"].get("labels") or {}):
                found += [rule for rule in _collect(roles[name], roles, within) if rule not in found]
    return found
