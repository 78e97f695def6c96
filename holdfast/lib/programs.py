"""Programs of the host, found where an administrator's shell finds them, by processes that were started without a PATH too."""

from __future__ import annotations

import os
import shutil
import subprocess

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MODULE_SECONDS = 30.0


def find(name: str) -> str | None:
    """The path of a program; None when it is not installed."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH]))


def load_module(name: str) -> None:
    """Asks for a module of the kernel. Blocking; whether it came is to be seen in the kernel, not here: containers cannot load any."""
    modprobe = find("modprobe") if os.path.isdir("/lib/modules") else None
    if modprobe is not None:
        try:
            command = [modprobe, "--quiet", "--", name]
            subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=_MODULE_SECONDS)
        except subprocess.TimeoutExpired:
            return
