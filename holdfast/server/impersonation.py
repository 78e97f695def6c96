"""Acting as somebody else (``kubectl --as``): allowed to whom RBAC grants the verb ``impersonate`` on each part.

Every part that is asked for (user or service account, groups, uid, extra) is authorized by itself, before the
request; from then on the request has that identity alone and none of the caller's rights (SEC-28).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import unquote

from holdfast.machinery import errors
from holdfast.registry.authorize import Attributes
from holdfast.registry.request import User

_ACCOUNT = "system:serviceaccount:"
_EXTRA = "impersonate-extra-"
_PLAIN = ("impersonate-user", "impersonate-group", "impersonate-uid")


def impersonated(user: User, headers: Iterable[tuple[str, str]], authorize: Callable[[User, Attributes], None]) -> User:
    """The identity to go on with: ``user``, or whom the headers name. Raises ApiError 400 or 403."""
    found = [(name.lower(), value) for name, value in headers if name.lower().startswith("impersonate-")]
    if not found:
        return user
    names = [value for name, value in found if name == _PLAIN[0] and value]
    groups = tuple(value for name, value in found if name == _PLAIN[1])
    uid = next((value for name, value in found if name == _PLAIN[2]), "")
    extra: dict[str, tuple[str, ...]] = {}
    for name, value in found:
        if name.startswith(_EXTRA):
            key = unquote(name.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
        elif name not in _PLAIN:
            raise errors.bad_request(f"unknown impersonation header {name}")
    if len(names) != 1:
        raise errors.bad_request("impersonation needs exactly one Impersonate-User header")
    account = _account(names[0])
    authorize(user, account or Attributes("impersonate", "", "users", name=names[0]))
    for group in groups:
        authorize(user, Attributes("impersonate", "", "groups", name=group))
    if uid:
        authorize(user, Attributes("impersonate", "authentication.k8s.io", "uids", name=uid))
    for key, values in extra.items():
        for value in values:
            authorize(user, Attributes("impersonate", "authentication.k8s.io", "userextras", key, name=value))
    if account and not groups:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{account.namespace}")
    joined = "system:unauthenticated" if names[0] == "system:anonymous" else "system:authenticated"
    return User(names[0], groups if joined in groups else (*groups, joined), uid, extra)


def _account(name: str) -> Attributes | None:
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if not name.startswith(_ACCOUNT) or not namespace or not account or ":" in account:
        return None
    return Attributes("impersonate", "", "serviceaccounts", namespace=namespace, name=account)
