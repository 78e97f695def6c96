"""A pod as the checks look at it: its containers of every sort, its security contexts, and the words of findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.kinds.kind import Obj

Finding = tuple[str, str]
"""(reason, detail)."""


@dataclass(frozen=True)
class Pod:
    metadata: Obj
    spec: Obj
    version: int
    """Minor of the standard that is checked."""

    @property
    def containers(self) -> Iterator[Obj]:
        for part in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(part) or []

    @property
    def context(self) -> Obj:
        return self.spec.get("securityContext") or {}

    @property
    def annotations(self) -> Obj:
        return self.metadata.get("annotations") or {}

    @property
    def is_windows(self) -> bool:
        return self.version >= 25 and (self.spec.get("os") or {}).get("name") == "windows"

    def named(self, wrong: Callable[[Obj], Any]) -> list[str]:
        """Names of the containers for which ``wrong`` holds."""
        return [container["name"] for container in self.containers if wrong(container)]

    def setters(self, wrong: Callable[[Obj], Any]) -> list[str]:
        """Who sets something wrong in a security context: "pod", and the containers in one phrase."""
        found = ["pod"] if wrong(self.context) else []
        names = self.named(lambda container: wrong(context(container)))
        return [*found, f"{plural('container', names)} {quoted(names)}"] if names else found


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable[[Pod], Finding | None]
    since: int = 0
    overrides: tuple[str, ...] = ()
    """Baseline checks that it makes superfluous."""


def context(container: Obj) -> Obj:
    return container.get("securityContext") or {}


def plural(word: str, items: Iterable[Any], many: str = "") -> str:
    return word if len(list(items)) == 1 else many or f"{word}s"


def quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def containers(names: list[str]) -> str:
    return f"{plural('container', names)} {quoted(names)}"
