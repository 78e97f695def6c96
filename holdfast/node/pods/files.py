"""Files the node gives each pod: /etc/hosts, /etc/hostname, /etc/resolv.conf and the termination log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.kinds.kind import Obj

TERMINATION_LIMIT = 4096
FALLBACK_LIMIT = 2048
FALLBACK_LINES = 80


@dataclass(frozen=True)
class Cluster:
    """What names mean to pods."""

    dns_address: str
    domain: str
    host_resolv_conf: Path = Path("/etc/resolv.conf")


def hostname(pod: Obj, domain: str) -> str:
    spec = pod["spec"]
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"])[:64]
    short = str(spec.get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")
    name = fqdn(pod, domain)
    return name if spec.get("setHostnameAsFQDN") and name else short


def fqdn(pod: Obj, domain: str) -> str:
    """The pod's own DNS name; "" without a subdomain."""
    spec, metadata = pod["spec"], pod["metadata"]
    if not spec.get("subdomain"):
        return ""
    short = spec.get("hostname") or metadata["name"]
    return f"{short}.{spec['subdomain']}.{metadata.get('namespace', '')}.svc.{domain}"


def hosts(pod: Obj, ip: str, domain: str) -> str:
    """The text of /etc/hosts."""
    lines = [
        "# Managed by holdfast.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    full, short = fqdn(pod, domain), pod["spec"].get("hostname") or pod["metadata"]["name"]
    lines.append(f"{ip}\t{full}\t{short}" if full else f"{ip}\t{short}")
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        lines.append("\n# Entries added by HostAliases.")
        lines += ["\t".join([alias["ip"], *(alias.get("hostnames") or ())]) for alias in aliases]
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Obj, cluster: Cluster) -> str:
    """The text of /etc/resolv.conf, by dnsPolicy and dnsConfig."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    servers: list[str] = []
    search: list[str] = []
    options: dict[str, str | None] = {}
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        namespace = pod["metadata"].get("namespace", "")
        servers = [cluster.dns_address]
        search = [f"{namespace}.svc.{cluster.domain}", f"svc.{cluster.domain}", cluster.domain]
        options = {"ndots": "5"}
    elif policy == "Default":
        servers, search, options = _host(cluster.host_resolv_conf)
    config = spec.get("dnsConfig") or {}
    servers = list(dict.fromkeys([*servers, *(config.get("nameservers") or ())]))
    search = list(dict.fromkeys([*search, *(config.get("searches") or ())]))
    for option in config.get("options") or ():
        options[option["name"]] = option.get("value")
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append("options " + " ".join(name if value is None else f"{name}:{value}" for name, value in options.items()))
    return "\n".join(lines) + "\n"


def _host(path: Path) -> tuple[list[str], list[str], dict[str, str | None]]:
    servers: list[str] = []
    search: list[str] = []
    options: dict[str, str | None] = {}
    try:
        text = path.read_text()
    except OSError:
        text = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif len(words) > 1 and words[0] in ("search", "domain"):
            search = words[1:]
        elif words[:1] == ["options"]:
            options |= {name: value or None for name, _, value in (word.partition(":") for word in words[1:])}
    return servers, search, options


def write_pod_files(directory: Path, pod: Obj, ip: str, cluster: Cluster) -> dict[str, str]:
    """Writes them and returns target path > host path."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "/etc/hosts": hosts(pod, ip, cluster.domain),
        "/etc/hostname": hostname(pod, cluster.domain) + "\n",
        "/etc/resolv.conf": resolv_conf(pod, cluster),
    }
    out = {}
    for target, text in texts.items():
        path = directory / target.rpartition("/")[2]
        # once per address: a container may have edited its copy, and all containers share the inode
        if not path.exists() or (target == "/etc/hosts" and ip not in path.read_text().split()):
            path.write_text(text)
            path.chmod(0o644)
        out[target] = str(path)
    return out


def termination_file(directory: Path, container: str, attempt: int) -> Path:
    """An empty file that anyone in the container may write."""
    path = directory / "termination" / f"{container}-{attempt}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o666)
    return path


def termination_message(path: Path, log: Path, container: Obj, exit_code: int) -> str:
    """What the container said on its way out."""
    text = read_end(path, TERMINATION_LIMIT)
    if not text and exit_code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        lines = read_end(log, FALLBACK_LIMIT * 2).splitlines()[-FALLBACK_LINES:]
        text = "\n".join(_message(lines))[-FALLBACK_LIMIT:]
    return text


def _message(lines: Sequence[str]) -> list[str]:
    """Log lines without time and stream."""
    return [parts[3] for parts in (line.split(" ", 3) for line in lines) if len(parts) == 4]


def read_end(path: Path, limit: int) -> str:
    """The last ``limit`` bytes of a plain file; "" when it cannot be read or is something else."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as file:
        try:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return file.read(limit).decode("utf-8", "replace")
        except OSError:
            return ""
