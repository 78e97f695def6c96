"""Streams end with what they rest on: the account and the pod of the token that opened them, the pod they lead to (SEC-29).

A request is checked once, when it comes; a watch or an exec may last for hours. While one is open the objects
are watched by uid: the first that is gone, or is another under the same name, closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from holdfast.machinery import meta
from holdfast.registry.cache import WatchCache
from holdfast.registry.request import User

_ACCOUNT = "system:serviceaccount:"
_POD = "authentication.kubernetes.io/pod-"


def rests_on(user: User) -> dict[str, str]:
    """Keys and uids of the objects without which the identity of a token is none; nothing for a certificate's."""
    namespace, _, name = user.name.removeprefix(_ACCOUNT).partition(":")
    if not user.name.startswith(_ACCOUNT) or not user.uid:
        return {}
    found = {f"/registry/serviceaccounts/{namespace}/{name}": user.uid}
    for pod, uid in zip(user.extra.get(f"{_POD}name", ()), user.extra.get(f"{_POD}uid", ()), strict=False):
        found[f"/registry/pods/{namespace}/{pod}"] = uid
    return found


@contextlib.asynccontextmanager
async def while_standing(cache: WatchCache, objects: Mapping[str, str], end: Callable[[], None]) -> AsyncIterator[None]:
    """Calls ``end`` when one of ``objects`` (key to uid) goes while the block runs."""
    if not objects:
        yield
        return
    watching = asyncio.ensure_future(_until_gone(cache, objects, end))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _until_gone(cache: WatchCache, objects: Mapping[str, str], end: Callable[[], None]) -> None:
    wake = asyncio.Event()
    subscriptions = [cache.subscribe(key) for key in objects]
    try:
        for subscription in subscriptions:
            subscription.wake = wake
        while all((item := cache.get(key)) is not None and meta.uid(item.obj) == uid for key, uid in objects.items()):
            await wake.wait()
            wake.clear()
            for subscription in subscriptions:
                subscription.events.clear()
        end()
    finally:
        for subscription in subscriptions:
            cache.unsubscribe(subscription)
