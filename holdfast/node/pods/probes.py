"""Probes: a task per instance and probe asks the container how it is and reports changes of opinion.

Upstream's rules: the first answer after initialDelaySeconds, then each period; success and failure count
only in a row; while a startup probe has not passed, the other two wait. An error of the machinery (not an
answer of the container) counts as failure, as there.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdfast.kinds.kind import Obj
from holdfast.node.api import Network
from holdfast.node.runtimes.api import Runtime, RuntimeFailure

log = logging.getLogger("holdfast.node.pods")

_OUTPUT_LIMIT = 10 * 1024


@dataclass(frozen=True)
class Target:
    """Where a container is asked: its instance, and its pod's namespace and address."""

    instance: str
    netns: str
    ip: str


@dataclass(frozen=True)
class Result:
    ok: bool
    output: str = ""


class Prober:
    """Asks once. ``netns`` of connections is the node's own, as the kubelet probes from outside the pod."""

    def __init__(self, runtime: Runtime, network: Network) -> None:
        self._runtime = runtime
        self._network = network

    async def ask(self, probe: Obj, container: Obj, target: Target) -> Result:
        timeout = float(probe.get("timeoutSeconds") or 1)
        try:
            async with asyncio.timeout(timeout):
                if "exec" in probe:
                    return await self.run(target.instance, list(probe["exec"].get("command") or ()))
                if "httpGet" in probe:
                    return await self._http(probe["httpGet"], container, target)
                if "tcpSocket" in probe:
                    return await self._tcp(probe["tcpSocket"], container, target)
        except TimeoutError:
            return Result(False, f"command timed out after {timeout:g}s" if "exec" in probe else "context deadline exceeded")
        except (OSError, EOFError, RuntimeFailure, ValueError, ssl.SSLError) as error:
            return Result(False, str(error) or type(error).__name__)
        return Result(False, "this node does not know this kind of probe (grpc is not offered)")

    async def run(self, instance: str, command: list[str]) -> Result:
        """A command in the container; its output, cut, and whether it ended with 0."""
        streams = await self._runtime.exec(instance, command)
        try:
            output = bytearray()
            async with asyncio.TaskGroup() as group:
                group.create_task(_drain(streams.read_stdout, output))
                group.create_task(_drain(streams.read_stderr, output))
            code = await streams.wait()
        finally:
            await streams.close()
        return Result(code == 0, output.decode("utf-8", "replace"))

    async def _tcp(self, action: Obj, container: Obj, target: Target) -> Result:
        host, port = action.get("host") or target.ip, port_number(action.get("port"), container)
        _, writer = await self._network.connect("", host, port)
        writer.close()
        return Result(True)

    async def _http(self, action: Obj, container: Obj, target: Target) -> Result:
        status, body = await self.http_get(action, container, target)
        if 200 <= status < 400:
            return Result(True, body)
        return Result(False, f"HTTP probe failed with statuscode: {status}")

    async def http_get(self, action: Obj, container: Obj, target: Target) -> tuple[int, str]:
        """One GET over a fresh connection; (status, start of the body)."""
        host, port = action.get("host") or target.ip, port_number(action.get("port"), container)
        reader, writer = await self._network.connect("", host, port)
        try:
            if str(action.get("scheme") or "HTTP").upper() == "HTTPS":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as upstream: probes do not judge certificates
                await writer.start_tls(context)
            headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
            for header in action.get("httpHeaders") or ():
                headers[header["name"]] = header.get("value") or ""
            path = action.get("path") or "/"
            lines = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
            if any("\r" in line or "\n" in line for line in lines):
                raise ValueError("line break in a probe's path or header")
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            await writer.drain()
            first = (await reader.readline()).decode("latin-1").split(" ", 2)
            if len(first) < 2 or not first[0].startswith("HTTP/") or not first[1].strip().isdigit():
                raise ValueError("malformed HTTP response")
            return int(first[1]), ""
        finally:
            writer.close()


async def _drain(read: Callable[[], object], output: bytearray) -> None:
    while chunk := await read():  # type: ignore[misc]
        if len(output) < _OUTPUT_LIMIT:
            output += chunk[: _OUTPUT_LIMIT - len(output)]


def port_number(port: object, container: Obj) -> int:
    """A number, or a named port of the container. Raises ValueError."""
    if isinstance(port, int) or (isinstance(port, str) and port.isdigit()):
        return int(port)
    for item in container.get("ports") or ():
        if item.get("name") == port:
            return int(item["containerPort"])
    raise ValueError(f"couldn't find port: {port!r}")


class ProbeLoop:
    """The answers for one instance. ``opinion`` maps startup, liveness, readiness to the present opinion."""

    def __init__(
        self,
        prober: Prober,
        container: Obj,
        target: Target,
        changed: Callable[[str, bool], None],
        unhealthy: Callable[[str, str], None],
        *,
        age: float = 0.0,
        started: bool = False,
        ready: bool = False,
    ) -> None:
        self._prober = prober
        self._container = container
        self._target = target
        self._changed = changed
        self._unhealthy = unhealthy
        self._age = age
        self.opinion: dict[str, bool] = {
            "startup": started or not container.get("startupProbe"),
            "liveness": True,
            "readiness": ready or not container.get("readinessProbe"),
        }

    async def run(self) -> None:
        """Until cancelled."""
        if not self.opinion["startup"]:
            await self._loop("startup", self._container["startupProbe"], until=True)
        async with asyncio.TaskGroup() as group:
            for kind in ("liveness", "readiness"):
                if probe := self._container.get(f"{kind}Probe"):
                    group.create_task(self._loop(kind, probe, until=None))

    async def _loop(self, kind: str, probe: Mapping[str, object], *, until: bool | None) -> None:
        loop = asyncio.get_running_loop()
        period = float(str(probe.get("periodSeconds") or 10))
        needed = {True: int(str(probe.get("successThreshold") or 1)), False: int(str(probe.get("failureThreshold") or 3))}
        delay = float(str(probe.get("initialDelaySeconds") or 0)) - self._age
        if delay > 0:
            await asyncio.sleep(delay)
        last, run = None, 0
        while True:
            begun = loop.time()
            result = await self._prober.ask(dict(probe), self._container, self._target)
            run = run + 1 if result.ok == last else 1
            last = result.ok
            if not result.ok:
                self._unhealthy(kind, result.output)
            # the first answers after a start must not report what is assumed anyway
            if run >= needed[result.ok] and (self.opinion[kind] != result.ok or (kind == "startup" and not result.ok)):
                self.opinion[kind] = result.ok
                self._changed(kind, result.ok)
            if until is not None and self.opinion[kind] == until:
                return
            # a member that has just started is asked again soon, so that readiness is not late by a whole period
            pause = period if kind != "readiness" or result.ok else min(period, 1.0 if run == 1 else period)
            await asyncio.sleep(max(0.0, pause - (loop.time() - begun)))
