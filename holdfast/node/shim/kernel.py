"""The system calls that Python's standard library lacks, through ctypes."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_REC, MS_SLAVE = 1, 0x4000, 1 << 19
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare_mounts() -> None:
    """A mount namespace of our own, in which nothing we mount is seen outside."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None), "mount / as slave")


def mount_overlay(layers: list[str], upper: str, work: str, target: str) -> None:
    """Layers lowest first. Relative to the layers' common directory, for a mount's options must fit one page."""
    base = os.path.commonpath([os.path.dirname(layer) for layer in layers])
    os.chdir(base)
    lower = ":".join(_escape(os.path.relpath(layer, base)) for layer in reversed(layers))
    options = f"lowerdir={lower},upperdir={_escape(upper)},workdir={_escape(work)}"
    if len(options) >= os.sysconf("SC_PAGE_SIZE"):
        raise OSError(7, f"an image of {len(layers)} layers has too many for one overlay mount")
    _check(_libc.mount(b"overlay", target.encode(), b"overlay", ctypes.c_ulong(0), options.encode()), f"mount overlay on {target}")
    os.chdir("/")


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def subreaper() -> None:
    """Orphans below this process become its children, so that it learns their exit codes."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def die_with_parent() -> None:
    """The runtime must not finish a start that nobody waits for any more."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl")


def set_name(name: str) -> None:
    """What ps shows as the process's short name."""
    _libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)
