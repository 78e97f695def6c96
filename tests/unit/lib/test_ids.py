"""Random UUIDs."""

from __future__ import annotations

import uuid

from holdfast.lib.ids import new_uuid


def test_each_is_a_version_4_uuid_of_its_own() -> None:
    found = [new_uuid() for _ in range(1000)]
    assert len(set(found)) == 1000
    assert all(
        uuid.UUID(text).version == 4 and uuid.UUID(text).variant == uuid.RFC_4122 and str(uuid.UUID(text)) == text for text in found
    )
