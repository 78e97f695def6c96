"""The revisioned log: SQLite or memory behind one interface (``store.api``)."""

from __future__ import annotations

from pathlib import Path

from holdfast.store.api import Store


def open_store(url: str) -> Store:
    """A store by URL: ``sqlite:///PATH`` or ``memory://``; it still has to be started. Raises ValueError."""
    if url == "memory://":
        from holdfast.store.memory import MemoryStore

        return MemoryStore()
    if url.startswith("sqlite:///"):
        from holdfast.store.sqlite import SqliteStore

        return SqliteStore(Path("/" + url.removeprefix("sqlite:///").lstrip("/")))
    raise ValueError(f"store {url!r}: sqlite:///PATH or memory:// is wanted")
