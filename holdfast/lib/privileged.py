"""Acts that need root: mounts, loop devices, and removal that cannot run into either.

They live in one module so that a rootless node can stand in for it (DESIGN, Constants). Everything goes
straight to the kernel: mount(2) and umount2(2) through libc, loop devices through their ioctls. A loop
device is attached with AUTOCLEAR, so it goes away with its last mount or open file, even when we are killed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_OPTION_FLAGS = {
    **{"rw": 0, "defaults": 0, "ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "sync": 16},
    **{"dirsync": 128, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21, "strictatime": 1 << 24, "lazytime": 1 << 25},
}
"""Mount options that mount(2) takes as flags, not as text."""
_UMOUNT_NOFOLLOW = 8
_LOOP_CONTROL = "/dev/loop-control"
_LOOP_SET_FD_FREE, _LOOP_CONFIGURE, _LOOP_GET_STATUS64, _LOOP_SET_CAPACITY = 0x4C82, 0x4C0A, 0x4C05, 0x4C07
_LOOP_CLR_FD, _LOOP_SET_STATUS64 = 0x4C01, 0x4C04
_CAP_SYS_RESOURCE = 24
_LO_READ_ONLY, _LO_AUTOCLEAR, _LO_DIRECT_IO = 1, 4, 16
_INFO = struct.Struct("=5Q4I64s64s32s2Q")
_CONFIG = struct.Struct(f"=2I{_INFO.size}s64x")
_BUSY_SECONDS = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class MountPoint:
    """One line of mountinfo. ``device`` is (major, minor)."""

    target: str
    fstype: str
    source: str
    device: tuple[int, int]


def _unescape(text: str) -> str:
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, plain)
    return text


def mount_points() -> list[MountPoint]:
    """All mounts of this namespace, oldest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        front, _, back = line.partition(" - ")
        fields, rest = front.split(" "), back.split(" ")
        major, _, minor = fields[2].partition(":")
        found.append(MountPoint(_unescape(fields[4]), rest[0], _unescape(rest[1]), (int(major), int(minor))))
    return found


def find_mount(target: str | Path) -> MountPoint | None:
    """The mount on top of exactly this path."""
    path = os.path.realpath(target)
    return next((m for m in reversed(mount_points()) if m.target == path), None)


def mounts_below(directory: str | Path) -> list[str]:
    """Mount points at or below a directory, deepest first: in the order they can be unmounted."""
    path = os.path.realpath(directory)
    found = [m.target for m in mount_points() if m.target == path or m.target.startswith(path.rstrip("/") + "/")]
    return found[::-1]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str | Path, fstype: str, flags: int = 0, options: str = "") -> None:
    where = os.fsencode(str(target))
    result = _libc.mount(os.fsencode(source), where, fstype.encode(), ctypes.c_ulong(flags), options.encode() or None)
    _check(result, f"mount {source} on {target}")


def mount_options(options: Iterable[str]) -> tuple[int, str]:
    """The flags and the text that mount(2) wants for options as mount(8) takes them."""
    names = [option.strip() for text in options for option in text.split(",") if option.strip()]
    flags = 0
    for name in names:
        flags |= _OPTION_FLAGS.get(name, 0)
    return flags, ",".join(name for name in names if name not in _OPTION_FLAGS)


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    mount(str(source), target, "none", MS_BIND)
    if read_only:
        make_read_only(target)


def bind_open(handle: int, target: str | Path, *, read_only: bool = False) -> None:
    """Binds the very file or directory that is open as ``handle``, wherever its name leads by now."""
    bind(f"/proc/self/fd/{handle}", target, read_only=read_only)


def make_read_only(target: str | Path) -> None:
    """This mount alone; the file system under it may be mounted writable elsewhere."""
    mount("none", target, "none", MS_BIND | MS_REMOUNT | MS_RDONLY)


def remount_read_only(target: str | Path) -> None:
    """The file system itself, wherever else it is mounted."""
    mount("none", target, "none", MS_REMOUNT | MS_RDONLY)


def make_private(target: str | Path) -> None:
    """Keeps later mounts below it out of other namespaces, where they would pin devices."""
    mount("none", target, "none", MS_PRIVATE)


def unmount(target: str | Path, *, patience: float = _BUSY_SECONDS) -> None:
    """Blocking. What is just ending may hold it for a moment; after ``patience`` seconds OSError EBUSY is raised."""
    deadline = time.monotonic() + patience
    while True:
        if _libc.umount2(os.fsencode(str(target)), _UMOUNT_NOFOLLOW) == 0:
            return
        number = ctypes.get_errno()
        if number in (errno.EINVAL, errno.ENOENT):
            return
        if number != errno.EBUSY or time.monotonic() > deadline:
            raise OSError(number, f"unmount {target}: {os.strerror(number)}")
        time.sleep(0.02)


def unmount_below(directory: str | Path) -> None:
    """Everything mounted at or below a directory. Raises OSError when something is still used."""
    for target in mounts_below(directory):
        unmount(target)


def _backing(number: int) -> str:
    """The name of the file under a loop device, "" when there is none."""
    try:
        return Path(f"/sys/block/loop{number}/loop/backing_file").read_text().rstrip("\n")
    except OSError:
        return ""


def _loop_numbers(name: str) -> list[int]:
    """Loop devices on files of this name: opening each of many devices to ask would take long."""
    numbers = [int(entry.name[4:]) for entry in os.scandir("/sys/block") if entry.name.startswith("loop")]
    return [number for number in numbers if os.path.basename(_backing(number)) == name]


def _device(number: int) -> str:
    path = f"/dev/loop{number}"
    if not os.path.exists(path):
        os.mknod(path, 0o660 | stat.S_IFBLK, os.makedev(7, number))
    return path


def _kernel_device(device: int) -> int:
    """st_dev in the form the loop driver reports."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def loops_of(file: str | Path) -> list[str]:
    """Loop devices that stand on this very file (by device and inode, as losetup -j)."""
    wanted = os.stat(file)
    found = []
    for number in _loop_numbers(os.path.basename(os.path.realpath(file))):
        path = _device(number)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            info = bytearray(_INFO.size)
            fcntl.ioctl(handle, _LOOP_GET_STATUS64, info)
        except OSError:
            continue
        finally:
            os.close(handle)
        device, inode = _INFO.unpack(info)[:2]
        if inode == wanted.st_ino and device == _kernel_device(wanted.st_dev):
            found.append(path)
    return found


def wait_without_loop(file: str | Path, seconds: float) -> bool:
    """Blocking. Whether within that time no loop device stands on the file any more."""
    deadline = time.monotonic() + seconds
    while loops_of(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def refresh_loop(device: str) -> None:
    """Makes a loop device see that its file has grown."""
    handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _LOOP_SET_CAPACITY)
    finally:
        os.close(handle)


def _configure(backing: int, name: str, flags: int, block_size: int) -> tuple[int, str]:
    """Takes a free loop device; another process may be quicker, then the next one is tried."""
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, os.fsencode(name)[:63], b"", b"", 0, 0)
    control = os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(64):
            path = _device(fcntl.ioctl(control, _LOOP_SET_FD_FREE))
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(handle, _LOOP_CONFIGURE, _CONFIG.pack(backing, block_size, info))
                return handle, path
            except OSError as error:
                os.close(handle)
                if error.errno != errno.EBUSY:
                    raise
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, f"no free loop device for {name}")


@contextmanager
def loop_device(file: str | Path, *, block_size: int = 4096, read_only: bool = False, direct: bool = False) -> Iterator[str]:
    """The loop device of a file, an existing one or a new one. What is not mounted inside the block is detached at its end.

    ``direct``: past the page cache of the file, so that a write that fails is told to who wrote it, and to nobody after.
    """
    access = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC
    for path in loops_of(file):
        try:
            handle = os.open(path, access)
        except OSError:
            continue
        try:
            # Between the look and the open the last user may have gone, and the device with it.
            if path in loops_of(file):
                yield path
                return
        finally:
            os.close(handle)
    backing = os.open(file, access)
    try:
        flags = _LO_AUTOCLEAR | (_LO_READ_ONLY if read_only else 0) | (_LO_DIRECT_IO if direct else 0)
        handle, path = _configure(backing, str(file), flags, block_size)
    finally:
        os.close(backing)
    try:
        yield path
    finally:
        os.close(handle)


def attach_loop(file: str | Path, *, block_size: int = 512, read_only: bool = False) -> str:
    """A loop device that stays without a mount until ``detach_loop``; an existing one of the file is kept. Idempotent."""
    for path in loops_of(file):
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            info = bytearray(_INFO.size)
            fcntl.ioctl(handle, _LOOP_GET_STATUS64, info)
            fields = list(_INFO.unpack(info))
            if fields[8] & _LO_AUTOCLEAR:
                # A detach found it in use and left it to go with its last user: it has a user again.
                fields[8] &= ~_LO_AUTOCLEAR
                fcntl.ioctl(handle, _LOOP_SET_STATUS64, _INFO.pack(*fields))
            return path
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        finally:
            os.close(handle)
    backing = os.open(file, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    try:
        handle, path = _configure(backing, str(file), _LO_DIRECT_IO | (_LO_READ_ONLY if read_only else 0), block_size)
    finally:
        os.close(backing)
    os.close(handle)
    return path


def detach_loop(file: str | Path) -> None:
    """Idempotent. Raises OSError EBUSY while something has the device open; it then goes with its last user."""
    for path in loops_of(file):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(handle, _LOOP_CLR_FD)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        finally:
            os.close(handle)
    if left := loops_of(file):
        raise OSError(errno.EBUSY, f"{left[0]} is still open")


def has_loops() -> bool:
    """Whether loop devices are to be had here, and mounts with them."""
    if os.geteuid() != 0:
        return False
    try:
        os.close(os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def may_exceed_limits() -> bool:
    """CAP_SYS_RESOURCE: without it the kernel refuses to enlarge a mounted ext4."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def remove_tree(path: str | Path) -> None:
    """Deletes a directory tree that holds no mount; idempotent. Raises OSError EBUSY rather than crossing one (P-6).

    Mounts are looked for by name first and by device on the way; symlinks are removed, never followed.
    """
    try:
        top = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(top.st_mode):
        os.unlink(path)
        return
    mounted = mounts_below(path)
    if mounted:
        raise OSError(errno.EBUSY, f"{path} is not removed: {mounted[0]} is mounted below it")
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _empty(handle, top.st_dev, str(path))
    finally:
        os.close(handle)
    os.rmdir(path)


def _empty(top: int, device: int, name: str) -> None:
    """Depth first with one open directory a level, and no recursion: depth is chosen by whoever filled the tree."""
    stack = [(top, os.listdir(top), "")]
    while stack:
        handle, names, own = stack[-1]
        if not names:
            stack.pop()
            if stack:
                os.close(handle)
                os.rmdir(own, dir_fd=stack[-1][0])
            continue
        entry = names.pop()
        state = os.lstat(entry, dir_fd=handle)
        if not stat.S_ISDIR(state.st_mode):
            os.unlink(entry, dir_fd=handle)
        elif state.st_dev != device:
            for opened, _, _ in stack[1:]:
                os.close(opened)
            raise OSError(errno.EBUSY, f"{name} is not removed: {entry} in it is another file system")
        else:
            below = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            stack.append((below, os.listdir(below), entry))
