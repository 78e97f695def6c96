"""Unpacks a layer's tar into a directory, trusting nothing in it.

Only tarfile's header reading is used. Every path is walked from a descriptor of the root, component by component,
never through a symlink, so no name, link or order of entries reaches outside. Whiteouts become overlay's own.
Device nodes are left out: a container gets its devices from the runtime.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from pathlib import Path
from typing import IO

MAX_ENTRIES = 1_000_000
MAX_BYTES = 32 << 30
MAX_DEPTH = 256
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_CAPABILITY = "SCHILY.xattr.security.capability"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BadLayer(ValueError):
    """The archive is damaged or wants to write where it must not."""


def unpack(stream: IO[bytes], root: Path, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> int:
    """Bytes of files written into ``root``, an empty directory. Raises BadLayer."""
    fd = os.open(root, _DIRECTORY)
    try:
        return _Unpacker(fd, max_entries, max_bytes).run(stream)
    except tarfile.TarError as error:
        raise BadLayer(f"the layer is not a sound tar archive: {error}") from error
    finally:
        os.close(fd)


class _Unpacker:
    def __init__(self, root: int, max_entries: int, max_bytes: int) -> None:
        self.root = root
        self.max_entries = max_entries
        self.left = max_bytes
        self.owner = os.geteuid() == 0
        self.times: list[tuple[list[str], int]] = []

    def run(self, stream: IO[bytes]) -> int:
        before = self.left
        count = 0
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=1) as archive:
            while (entry := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else tarfile remembers every entry
                count += 1
                if count > self.max_entries:
                    raise BadLayer(f"the layer has more than {self.max_entries} entries")
                self._entry(archive, entry)
        for parts, when in reversed(self.times):
            self._touch(parts, when)
        return before - self.left

    def _entry(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        parts = _parts(entry.name)
        if not parts:
            if entry.isdir():
                self._own(self.root, entry)
            return
        parent = self._parent(parts)
        try:
            name = parts[-1]
            if name.startswith(_WHITEOUT):
                self._whiteout(parent, name)
            elif entry.isdir():
                self._directory(parent, name, entry)
                self.times.append((parts, int(entry.mtime)))
            elif entry.isreg():
                self._file(parent, name, archive, entry)
            elif entry.issym():
                self._clear(parent, name)
                os.symlink(entry.linkname, name, dir_fd=parent)
                self._own_link(parent, name, entry)
            elif entry.islnk():
                self._hard_link(parent, name, entry)
            elif entry.isfifo():
                self._clear(parent, name)
                os.mkfifo(name, 0o600, dir_fd=parent)
                self._own_link(parent, name, entry)
                os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
            elif not entry.isdev():
                raise BadLayer(f"{entry.name}: entries of type {entry.type!r} are not supported")
        except (ValueError, OSError) as error:
            if isinstance(error, BadLayer) or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            raise BadLayer(f"{entry.name}: {error}") from error
        finally:
            os.close(parent)

    def _parent(self, parts: list[str]) -> int:
        """A descriptor of the directory an entry lies in; missing ones are made."""
        fd = os.dup(self.root)
        for part in parts[:-1]:
            try:
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=fd)
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                raise BadLayer(f"{'/'.join(parts)}: {part} is not a directory of this layer") from error
            finally:
                os.close(fd)
            fd = below
        return fd

    def _clear(self, parent: int, name: str) -> None:
        """A later entry replaces an earlier one."""
        try:
            mode = os.lstat(name, dir_fd=parent).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)

    def _directory(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o755, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            self._own(fd, entry)
        finally:
            os.close(fd)

    def _file(self, parent: int, name: str, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        if entry.issparse():
            raise BadLayer(f"{entry.name}: sparse files are not supported")
        self._take(entry.size, entry.name)
        self._clear(parent, name)
        source = archive.extractfile(entry)
        assert source is not None, "a regular file has content"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            left = entry.size
            while left:
                data = source.read(min(left, 1 << 20))
                if not data:
                    raise BadLayer(f"{entry.name}: the archive ends in the middle of it")
                left -= len(data)
                while data:
                    data = data[os.write(fd, data) :]
            self._own(fd, entry)
            if value := entry.pax_headers.get(_CAPABILITY):
                os.setxattr(fd, "security.capability", value.encode("utf-8", "surrogateescape"))
            os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _take(self, size: int, name: str) -> None:
        self.left -= size
        if size < 0 or self.left < 0:
            raise BadLayer(f"{name}: the layer holds too many bytes")

    def _hard_link(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        target = _parts(entry.linkname)
        if not target:
            raise BadLayer(f"{entry.name}: a hard link to the root")
        other = self._parent(target)
        try:
            found = os.lstat(target[-1], dir_fd=other)
            if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
                raise BadLayer(f"{entry.name}: a hard link to something that is not a file")
            if target == _parts(entry.name):
                return
            self._clear(parent, name)
            os.link(target[-1], name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as error:
            raise BadLayer(f"{entry.name}: a hard link to {entry.linkname}, which is not in the layer") from error
        finally:
            os.close(other)

    def _whiteout(self, parent: int, name: str) -> None:
        if name == _OPAQUE:
            os.setxattr(parent, "trusted.overlay.opaque", b"y")
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden.startswith(_WHITEOUT):
            return  # bookkeeping of other union file systems
        if hidden in ("", ".", ".."):
            raise BadLayer(f"{name}: a whiteout of nothing")
        self._clear(parent, hidden)
        os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)

    def _own(self, fd: int, entry: tarfile.TarInfo) -> None:
        if self.owner:
            os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode & 0o7777)

    def _own_link(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        if self.owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)

    def _touch(self, parts: list[str], when: int) -> None:
        try:
            parent = self._parent(parts)
        except BadLayer:
            return
        try:
            os.utime(parts[-1], (when, when), dir_fd=parent, follow_symlinks=False)
        except OSError:
            pass
        finally:
            os.close(parent)


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise BadLayer(f"{name!r} leads out of the layer")
    if len(parts) > MAX_DEPTH:
        raise BadLayer(f"{name[:100]!r}... lies too deep")
    return parts
