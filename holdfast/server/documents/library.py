"""Documents that are made when first asked for and kept, packed, until what they are derived from changes.

Whoever reads one usually takes gzip, so the packed form is the one kept: an OpenAPI document is a tenth of its size.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    packed: bytes
    size: int
    tag: str
    """Names the content: another content has another tag."""
    media: str

    @classmethod
    def of(cls, data: bytes, media: str) -> Document:
        return cls(gzip.compress(data, 6, mtime=0), len(data), hashlib.sha256(data).hexdigest().upper(), media)

    def data(self) -> bytes:
        return gzip.decompress(self.packed)


class Library:
    """``generation`` is asked before each answer: documents of another generation are made again."""

    def __init__(self, generation: Callable[[], int]) -> None:
        self._generation = generation
        self._kept: dict[str, tuple[int, Document]] = {}
        self._making = asyncio.Lock()

    async def get(self, name: str, media: str, make: Callable[[], bytes]) -> Document:
        """The document of that name; ``make`` runs in a thread, one document at a time."""
        async with self._making:
            generation = self._generation()
            kept = self._kept.get(name)
            if kept is None or kept[0] != generation:
                document = await asyncio.to_thread(lambda: Document.of(make(), media))
                kept = self._kept[name] = (generation, document)
            return kept[1]

    def statistics(self) -> dict[str, int]:
        return {"kept": len(self._kept), "bytes": sum(len(document.packed) for _, document in self._kept.values())}
