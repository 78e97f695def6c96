"""What a default role or binding looks like after an upgrade, as pure functions of what is there and what is wanted.

As upstream does it: what lacks is added (rules by what they cover, subjects, labels, annotations, the selectors of
an aggregated role), what somebody added stays, and an object whose annotation ``autoupdate`` is "false" is its owner's
alone. Only what an earlier version of ours bound and must not be bound any more is taken away (``roles.WITHDRAWN``).
"""

from __future__ import annotations

from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.registry.authorize.rbac import covers, rights
from holdfast.registry.authorize.roles import WITHDRAWN

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


def role(present: Obj, wanted: Obj) -> Obj:
    """``present`` itself when nothing lacks."""
    if _protected(present):
        return present
    held = present.get("rules") or []
    lacking = [rule for rule in wanted.get("rules") or [] if not all(any(covers(own, r) for own in held) for r in rights(rule))]
    new = _described(present, wanted)
    if lacking:
        new["rules"] = [*held, *lacking]
    if selectors := _selectors(wanted):
        own = _selectors(present)
        new["aggregationRule"] = {"clusterRoleSelectors": own + [one for one in selectors if one not in own]}
    return new


def binding(present: Obj, wanted: Obj) -> Obj:
    """Likewise. Another ``roleRef`` than it had means that it must be made anew."""
    if _protected(present):
        return present
    new = _described(present, wanted)
    if present["roleRef"] != wanted["roleRef"]:
        return new | {"roleRef": wanted["roleRef"], "subjects": wanted["subjects"]}
    withdrawn = WITHDRAWN.get(present["metadata"]["name"], [])
    kept = [one for one in present.get("subjects") or [] if not any(_same(one, gone) for gone in withdrawn)]
    subjects = kept + [one for one in wanted["subjects"] if not any(_same(own, one) for own in kept)]
    if subjects != (present.get("subjects") or []):
        new["subjects"] = subjects
    return new


def _protected(present: Obj) -> bool:
    return (present["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false"


def _described(present: Obj, wanted: Obj) -> Obj:
    metadata = dict(present["metadata"])
    for field in ("labels", "annotations"):
        if described := {**wanted["metadata"].get(field, {}), **(metadata.get(field) or {})}:
            metadata[field] = described
    return present | {"metadata": metadata}


def _selectors(found: Obj) -> list[Any]:
    return list((found.get("aggregationRule") or {}).get("clusterRoleSelectors") or [])


def _same(one: Obj, other: Obj) -> bool:
    return all(one.get(part, "") == other.get(part, "") for part in ("kind", "name", "namespace"))
