"""Services get their addresses last, when everything else about them is known to be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.machinery import errors

if TYPE_CHECKING:
    from holdfast.registry.pipeline import Write


async def allocate(write: Write) -> None:
    if write.kind.resource.kind != "Service" or write.request.subresource:
        return
    found = write.registry.addresses.assign(write.new, write.old)
    if found:
        raise errors.invalid("Service", write.new["metadata"]["name"], found)
