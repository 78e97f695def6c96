"""The baseline standard: no known way out of the container."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.registry.podsecurity.pod import Check, Finding, Pod, containers, context, plural, quoted

_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD, _SECCOMP_CONTAINER = "seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/"
PROFILES = ("RuntimeDefault", "Localhost")
_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
)
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t")
_SYSCTLS = (
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
)


def type_of(field: str) -> Callable[[Obj], str]:
    """The ``type`` of a profile in a security context; "" where none is set."""
    return lambda given: str((given.get(field) or {}).get("type", "")) if given.get(field) is not None else ""


def wrong_types(pod: Pod, field: str, allowed: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(who sets a profile of another type, those types)."""
    read = type_of(field)
    contexts = [pod.context, *(context(container) for container in pod.containers)]

    def wrong(given: Obj) -> bool:
        return given.get(field) is not None and read(given) not in allowed

    return pod.setters(wrong), sorted({read(given) for given in contexts if wrong(given)})


def _apparmor(pod: Pod) -> Finding | None:
    setters, values = wrong_types(pod, "appArmorProfile", PROFILES)
    wrong = sorted(
        f'{key}="{value}"'
        for key, value in pod.annotations.items()
        if key.startswith(_APPARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )
    if wrong:
        values += wrong
        setters.append(plural("annotation", wrong))
    if not setters:
        return None
    reason = plural("forbidden AppArmor profile", values)
    return reason, f"{' and '.join(setters)} must not set AppArmor profile type to {quoted(values)}"


def added(container: Obj, allowed: frozenset[str]) -> list[str]:
    given = (context(container).get("capabilities") or {}).get("add") or []
    return [name for name in given if name not in allowed]


def _capabilities(pod: Pod) -> Finding | None:
    names = pod.named(lambda c: added(c, _CAPABILITIES))
    wrong = sorted({name for c in pod.containers for name in added(c, _CAPABILITIES)})
    if not names:
        return None
    return "non-default capabilities", f"{containers(names)} must not include {quoted(wrong)} in securityContext.capabilities.add"


def _host_namespaces(pod: Pod) -> Finding | None:
    found = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(name)]
    return ("host namespaces", ", ".join(found)) if found else None


def _host_paths(pod: Pod) -> Finding | None:
    names = [volume["name"] for volume in pod.spec.get("volumes") or [] if volume.get("hostPath") is not None]
    return ("hostPath volumes", f"{plural('volume', names)} {quoted(names)}") if names else None


def _host_ports(pod: Pod) -> Finding | None:
    def ports(container: Obj) -> list[str]:
        return [str(port["hostPort"]) for port in container.get("ports") or [] if port.get("hostPort")]

    names = pod.named(ports)
    found = sorted({port for container in pod.containers for port in ports(container)})
    if not names:
        return None
    return "hostPort", f"{containers(names)} {plural('uses', names, 'use')} {plural('hostPort', found)} {', '.join(found)}"


def _handlers(container: Obj) -> list[str]:
    """Hosts that probes and hooks name: the node would send requests there from its own address."""
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
    named = ((handler or {}).get(action) or {} for handler in handlers for action in ("httpGet", "tcpSocket"))
    return [str(action["host"]) for action in named if action.get("host")]


def _handler_hosts(pod: Pod) -> Finding | None:
    names = sorted(set(pod.named(_handlers)))
    hosts = sorted({host for container in pod.containers for host in _handlers(container)})
    if not names:
        return None
    what = plural("probe or lifecycle host", hosts)
    return "probe or lifecycle host", f"{containers(names)} {plural('uses', names, 'use')} {what} {quoted(hosts)}"


def _privileged(pod: Pod) -> Finding | None:
    names = pod.named(lambda c: context(c).get("privileged"))
    return ("privileged", f"{containers(names)} must not set securityContext.privileged=true") if names else None


def _proc_mount(pod: Pod) -> Finding | None:
    def mount(container: Obj) -> Any:
        return context(container).get("procMount") or "Default"

    names = pod.named(lambda c: mount(c) != "Default")
    wrong = sorted({mount(container) for container in pod.containers} - {"Default"})
    return ("procMount", f"{containers(names)} must not set securityContext.procMount to {quoted(wrong)}") if names else None


def _selinux(pod: Pod) -> Finding | None:
    types = (*_SELINUX_TYPES, "container_engine_t") if pod.version >= 31 else _SELINUX_TYPES

    def options(given: Obj) -> Obj:
        return given.get("seLinuxOptions") or {}

    def wrong(given: Obj) -> bool:
        found = options(given)
        return (found.get("type") or "") not in types or bool(found.get("user") or found.get("role"))

    setters = pod.setters(wrong)
    if not setters:
        return None
    every = [options(given) for given in (pod.context, *(context(c) for c in pod.containers))]
    kinds = sorted({found["type"] for found in every if (found.get("type") or "") not in types})
    said = [f"{plural('type', kinds)} {quoted(kinds)}"] if kinds else []
    said += [f"{name} may not be set" for name in ("user", "role") if any(found.get(name) for found in every)]
    return "seLinuxOptions", f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}"


def _seccomp(pod: Pod) -> Finding | None:
    if pod.version >= 19:
        setters, values = wrong_types(pod, "seccompProfile", PROFILES)
        said = f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {quoted(values)}"
        return ("seccompProfile", said) if setters else None
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + container["name"] for container in pod.containers)]
    good = ("runtime/default", "docker/default")
    given = {key: str(pod.annotations[key]) for key in keys if key in pod.annotations}
    wrong = sorted(f'{key}="{value}"' for key, value in given.items() if value not in good and not value.startswith("localhost/"))
    return ("seccompProfile", f"forbidden {plural('annotation', wrong)} {', '.join(wrong)}") if wrong else None


def _sysctls(pod: Pod) -> Finding | None:
    allowed = {name for since, name in _SYSCTLS if since <= pod.version}
    wrong = [str(entry.get("name")) for entry in pod.context.get("sysctls") or [] if entry.get("name") not in allowed]
    return ("forbidden sysctls", ", ".join(wrong)) if wrong else None


def _host_process(pod: Pod) -> Finding | None:
    setters = pod.setters(lambda given: (given.get("windowsOptions") or {}).get("hostProcess"))
    said = f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true"
    return ("hostProcess", said) if setters else None


CHECKS = (
    Check("appArmorProfile", _apparmor),
    Check("capabilities_baseline", _capabilities),
    Check("hostNamespaces", _host_namespaces),
    Check("hostPathVolumes", _host_paths),
    Check("hostPorts", _host_ports),
    Check("hostProbesAndHostLifecycle", _handler_hosts, since=34),
    Check("privileged", _privileged),
    Check("procMount", _proc_mount),
    Check("seLinuxOptions", _selinux),
    Check("seccompProfile_baseline", _seccomp),
    Check("sysctls", _sysctls),
    Check("windowsHostProcess", _host_process),
)
