"""The driver of a controller: keys from a queue to a sync, with retries; no sync before the picture is whole (SCEN-20)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from holdfast.client.informer import Informer
from holdfast.client.queue import FIRST_DELAY, LAST_DELAY, WorkQueue
from holdfast.machinery.errors import ApiError, UnknownOutcomeError, is_namespace_terminating

log = logging.getLogger("holdfast.controllers")

Sync = Callable[[str], Awaitable[None]]


class Reconciler:
    """``sync(key)`` may raise: the key comes back later, the sooner the fewer times it has failed."""

    def __init__(
        self,
        name: str,
        informers: Iterable[Informer],
        sync: Sync,
        *,
        workers: int = 2,
        longest: float = LAST_DELAY,
        first: float = FIRST_DELAY,
    ) -> None:
        self.name = name
        self.queue = WorkQueue(longest, first)
        self._informers = [*informers]
        self._sync = sync
        self._workers = workers

    async def run(self) -> None:
        for informer in self._informers:
            await informer.wait_synced()
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._workers):
                tasks.create_task(self._work(), name=f"{self.name} {number}")

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._sync(key)
            except ApiError as error:
                if is_namespace_terminating(error):
                    self.queue.forget(key)
                    continue
                # Conflicts and "being created twice" are the way of optimistic concurrency, not news.
                level = logging.DEBUG if error.code in (404, 409) else logging.WARNING
                log.log(level, "%s %s: %s", self.name, key, error.message)
                self.queue.add_rate_limited(key)
            except (UnknownOutcomeError, OSError, TimeoutError) as error:
                log.info("%s %s: %s", self.name, key, error)
                self.queue.add_rate_limited(key)
            except Exception:
                log.exception("%s %s", self.name, key)
                self.queue.add_rate_limited(key)
            else:
                self.queue.forget(key)
            finally:
                self.queue.done(key)
