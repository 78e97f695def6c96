"""/healthz, /livez and /readyz: named checks, each of which can be asked for, left out or told about.

A check is a coroutine that raises when its part is not well. What is wrong stands in the log: whoever may ask for
health without a name learns only which check failed. The checks are added by who knows the parts (``system.server``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from holdfast.server.answer import Answer

log = logging.getLogger("holdfast.server")
Check = Callable[[], Awaitable[None]]
NAMES = ("healthz", "livez", "readyz")
LIFE = ("healthz", "livez")
READINESS = ("readyz",)
TEXT = "text/plain; charset=utf-8"
SECONDS = 5.0
"""A part that has not answered by then is not well."""


async def _ping() -> None:
    """The server answers, since it runs this."""


class Health:
    def __init__(self) -> None:
        self._checks: dict[str, tuple[Check, Sequence[str]]] = {"ping": (_ping, NAMES)}

    def add(self, name: str, check: Check, pages: Sequence[str] = NAMES) -> None:
        self._checks[name] = (check, pages)

    def named(self, page: str) -> list[str]:
        """The checks of a page."""
        return [name for name, (_, pages) in self._checks.items() if page in pages]

    async def one(self, name: str) -> Answer:
        """``/livez/NAME``: of a check in ``named``."""
        if await self._well(name):
            return Answer(b"ok", media=TEXT)
        return Answer(b"internal server error: reason withheld\n", 500, TEXT)

    async def all(self, page: str, *, verbose: bool, excluded: Sequence[str]) -> Answer:
        """``/livez``; ``excluded`` checks count as passed."""
        lines, well = [], True
        for name in self.named(page):
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif await self._well(name):
                lines.append(f"[+]{name} ok")
            else:
                well = False
                lines.append(f"[-]{name} failed: reason withheld")
        unknown = [f'"{name}"' for name in excluded if name not in self.named(page)]
        if unknown:
            lines.append(f"warn: some health checks cannot be excluded: no matches for {', '.join(unknown)}")
        if well and not verbose:
            return Answer(b"ok", media=TEXT)
        lines.append(f"{page} check {'passed' if well else 'failed'}")
        return Answer(("\n".join(lines) + "\n").encode(), 200 if well else 500, TEXT)

    async def _well(self, name: str) -> bool:
        try:
            async with asyncio.timeout(SECONDS):
                await self._checks[name][0]()
        except Exception as error:
            log.warning("the health check %s failed: %s", name, error or type(error).__name__)
            return False
        return True
