"""The busybox image, made of this machine's static busybox: always there, and the lowest layer of built images.

Two things differ from a plain busybox. Directories are merged into /usr, so that Debian packages fit on top.
And ``nslookup`` is a script: busybox's own does not try the search domains of resolv.conf, which is what makes
``nslookup web-0.nginx`` work in a pod. busybox runs its applets by name before it looks at PATH, so the copy in
the image has the applet under another name of the same length and place in the alphabet.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from holdfast.node.api import Image
from holdfast.node.images.store import ImageStore, Layer
from holdfast.node.images.tree import write_tar

NAME = "busybox:latest"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_APPLET, _HIDDEN = b"\0nslookup\0", b"\0nslookuq\0"

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""
NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"

NSLOOKUP = r"""#!/bin/sh
# nslookup that tries the search domains of /etc/resolv.conf, as the C library does.
name= options= server=
for argument in "$@"; do
  case "$argument" in
    -*) options="$options $argument" ;;
    *) if [ -z "$name" ]; then name=$argument; else server=$argument; fi ;;
  esac
done
search= ndots=1
while read -r key rest; do
  case "$key" in
    search | domain) search=$rest ;;
    options) for option in $rest; do case "$option" in ndots:*) ndots=${option#ndots:} ;; esac; done ;;
  esac
done </etc/resolv.conf
dots=$(printf %s "$name" | tr -dc . | wc -c)
case "$name" in
  '' | *. | *:* | *[0-9].*[0-9].*[0-9].*[0-9]) tries=$name ;;
  *)
    tries=
    for domain in $search; do tries="$tries $name.$domain"; done
    if [ "$dots" -ge "$ndots" ]; then tries="$name $tries"; else tries="$tries $name"; fi ;;
esac
[ -n "$name" ] || exec /bin/busybox @applet@ "$@"
for try in $tries; do
  if answer=$(/bin/busybox @applet@ $options "$try" $server 2>&1); then
    printf '%s\n' "$answer"
    exit 0
  fi
  case "$answer" in *NXDOMAIN*) ;; *) printf '%s\n' "$answer"; exit 1 ;; esac
done
answer=$(/bin/busybox @applet@ $options "$name" $server 2>&1)
code=$?
printf '%s\n' "$answer"
exit $code
"""


def build_busybox(store: ImageStore) -> Image:
    """The image ``busybox``, made anew only when it is not there. Raises RuntimeError without a static busybox."""
    found = store.find(NAME)
    if found is not None and all(Path(layer).is_dir() for layer in found.layers):
        return found
    with tempfile.TemporaryFile() as layer:
        root_layer(layer)
        layer.seek(0)
        config = {"os": "linux", "config": {"Env": [f"PATH={PATH}"], "Cmd": ["sh"]}}
        return store.add(NAME, config, [Layer(layer)])


def find_binary() -> Path:
    path = shutil.which("busybox", path=f"{PATH}:/usr/lib/busybox")
    if path is None:
        raise RuntimeError("the busybox image is made of a static busybox, which is not installed: apt-get install busybox-static")
    return Path(path)


def root_layer(target: IO[bytes]) -> None:
    """Writes the layer as a tar."""
    binary = find_binary()
    listing = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    body = binary.read_bytes()
    if b"/lib64/ld-linux" in body[:4096] or b"/lib/ld-linux" in body[:4096]:
        raise RuntimeError(f"{binary} is not static: apt-get install busybox-static")
    hidden = body.count(_APPLET) == 1
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "run", "home", "mnt"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in ("var/log", "var/lib", "var/cache", "var/spool", "var/www", "usr/local/bin", "usr/share"):
            (root / name).mkdir(parents=True)
        for name, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)):
            (root / name).mkdir()
            (root / name).chmod(mode)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        (root / "var/run").symlink_to("/run")
        (root / "usr/bin/busybox").write_bytes(body.replace(_APPLET, _HIDDEN) if hidden else body)
        for name in listing:
            if name not in ("busybox", "nslookup"):
                (root / "usr/bin" / name).symlink_to("busybox")
        (root / "usr/bin/nslookup").write_text(NSLOOKUP.replace("@applet@", "nslookuq" if hidden else "nslookup"))
        for name in ("busybox", "nslookup"):
            (root / "usr/bin" / name).chmod(0o755)
        for name, text in (("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", NSSWITCH)):
            (root / "etc" / name).write_text(text)
        for path in (root, *root.rglob("*")):
            if path.is_dir() and not path.is_symlink() and path.name not in ("tmp", "root"):
                path.chmod(0o755)
            elif path.parent == root / "etc":
                path.chmod(0o644)
        write_tar(root, target)
