"""Files out of Debian packages, without a whole Debian: the closure of what they depend on, downloaded and extracted.

No maintainer script runs; what those would do (users, links, directories) stands in the image's spec.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

# Dependencies that only serve installation: their scripts never run here.
NOT_NEEDED = frozenset(
    [
        "adduser",
        "apt",
        "base-files",
        "base-passwd",
        "debconf",
        "debianutils",
        "dpkg",
        "gcc-12-base",
        "gcc-13-base",
        "gcc-14-base",
        "init-system-helpers",
        "install-info",
        "lsb-base",
        "mawk",
        "perl-base",
        "sensible-utils",
        "sysvinit-utils",
        "tar",
        "ucf",
    ]
)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_DROP = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "usr/share/bash-completion")


def cache_directory() -> Path:
    """/var/cache/holdfast as root, else $XDG_CACHE_HOME/holdfast."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "holdfast"
    return Path("/var/cache/holdfast") if os.geteuid() == 0 else Path.home() / ".cache" / "holdfast"


def lists_stamp() -> int:
    """Changes when apt learns of other packages."""
    try:
        return max((entry.stat().st_mtime_ns for entry in os.scandir("/var/lib/apt/lists") if entry.is_file()), default=0)
    except FileNotFoundError:
        return 0


def resolve(packages: list[str]) -> list[tuple[str, str]]:
    """Name and version of each package and of all it needs. Raises RuntimeError."""
    for package in packages:
        if not _NAME.fullmatch(package):
            raise ValueError(f"{package!r} is not a package name")
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RuntimeError("images are built from Debian packages, and this machine has no apt-get; use `holdfast image load`")
    # An empty dpkg status: what this machine has installed is not in the image.
    options = ["-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1", "--no-install-recommends"]
    done = subprocess.run(
        ["apt-get", "install", "-s", *options, "--", *packages], capture_output=True, text=True, check=False, env=_env()
    )
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("E:")), done.stderr.strip())
        raise RuntimeError(f"packages {', '.join(packages)}: {reason} (is `apt-get update` needed?)")
    found = re.findall(r"^Inst (\S+) \((\S+) ", done.stdout, re.MULTILINE)
    return sorted((name, version) for name, version in found if name not in NOT_NEEDED or name in packages)


def download(wanted: list[tuple[str, str]]) -> list[Path]:
    """The packages' files, out of the cache where they are. Raises RuntimeError."""
    cache = cache_directory() / "packages"
    cache.mkdir(parents=True, exist_ok=True)
    missing = [(name, version) for name, version in wanted if _cached(cache, name, version) is None]
    if missing:
        command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *(f"{name}={version}" for name, version in missing)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cache, env=_env())
        if done.returncode:
            raise RuntimeError(f"packages could not be downloaded: {done.stderr.strip()}")
    files = [_cached(cache, name, version) for name, version in wanted]
    return [file for file in files if file is not None]


def _cached(cache: Path, name: str, version: str) -> Path | None:
    escaped = version.replace(":", "%3a")
    return next((path for path in cache.glob(f"{name}_{escaped}_*.deb")), None)


def extract(files: list[Path], root: Path) -> None:
    """Into ``root``, whose /bin, /lib ... are links into /usr."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for file in files:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as unpack:
            tar = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)]
            subprocess.run(tar, stdin=unpack.stdout, check=True)
        if unpack.returncode:
            raise RuntimeError(f"{file.name} is damaged; remove it from {file.parent}")
    for name in _DROP:
        shutil.rmtree(root / name, ignore_errors=True)


def _env() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
