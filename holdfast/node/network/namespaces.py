"""Network namespaces: made, entered and removed without touching this process's own.

A namespace belongs to a thread, so every visit runs in a short-lived thread that calls setns and ends
there; sockets made inside keep their namespace when handed back. A namespace lives as long as a bind
mount of it on a file (as ip-netns does), which outlives the node.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MNT_DETACH = 2
_NSFS_MAGIC = 0x6E736673


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter(path: str) -> None:
    """Moves the calling thread into a namespace; only ever from a thread that ends afterwards."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(handle, _CLONE_NEWNET), f"entering network namespace {path}")
    finally:
        os.close(handle)


def visit(path: str, function: Callable[[], T]) -> T:
    """Runs ``function`` in a thread inside the namespace at ``path`` ("" = where this process is) and waits."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            if path:
                enter(path)
            result.append(function())
        except BaseException as error:  # carried over to the caller, whatever it is
            failure.append(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


async def run_in(path: str, function: Callable[[], T]) -> T:
    """``visit`` without blocking the loop. A cancelled caller leaves the thread to finish alone."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            if isinstance(result, socket.socket):
                result.close()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        result, error = None, None
        try:
            if path:
                enter(path)
            result = function()
        except BaseException as caught:
            error = caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has closed meanwhile: nobody waits
            pass

    threading.Thread(target=body, name="netns", daemon=True).start()
    return await future


class _StatFs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


def alive(path: Path) -> bool:
    """Whether the file is a mounted namespace (an unmounted leftover is an empty file)."""
    buffer = _StatFs()
    return bool(_libc.statfs(os.fsencode(path), ctypes.byref(buffer)) == 0 and buffer.f_type == _NSFS_MAGIC)


def create(path: Path) -> None:
    """Makes a namespace held by a mount at ``path``; one that is there already stays."""
    if alive(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o444)

    def body() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), "creating a network namespace (needs root)")
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        _check(_libc.mount(source.encode(), os.fsencode(path), b"none", _MS_BIND, None), f"mounting {path}")

    visit("", body)


def remove(path: Path) -> None:
    """Lets go of the namespace; it ends with its last process and socket."""
    while alive(path):
        _check(_libc.umount2(os.fsencode(path), _MNT_DETACH), f"unmounting {path}")
    path.unlink(missing_ok=True)
