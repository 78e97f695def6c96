"""Random UUIDs (RFC 9562, version 4), many at a time: a call of the kernel for each is dear where calls are slow."""

from __future__ import annotations

import os

_BATCH = 256
_pool: list[str] = []


def new_uuid() -> str:
    """``xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx``."""
    if not _pool:
        raw = os.urandom(16 * _BATCH).hex()
        for start in range(0, len(raw), 32):
            digits = raw[start : start + 32]
            variant = "89ab"[int(digits[16], 16) & 3]
            _pool.append(f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}")
    return _pool.pop()
