"""The server process: store, registry, HTTP, controllers, wired and supervised until TERM.

The order is the order of need: keys, store, registry, what must be there, the port, controllers. Ready is
said when all of it stands. Anything that fails on the way says what, where and what to do, and ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import ENDPOINTS, ENDPOINTSLICES
from holdfast.lib import kubeconfig, pki
from holdfast.lib.clock import Clock, SystemClock
from holdfast.machinery.errors import ApiError
from holdfast.registry.bootstrap import SERVER, bootstrap
from holdfast.registry.local import LocalClient
from holdfast.registry.podsecurity.policy import defaults
from holdfast.registry.registry import Registry
from holdfast.registry.request import User
from holdfast.server.authentication import Authenticator
from holdfast.server.edge import Edge
from holdfast.server.nodes import Nodes
from holdfast.server.pages import Pages
from holdfast.server.tokens import Tokens
from holdfast.store import open_store
from holdfast.system.checks import Checks
from holdfast.system.pidfile import write_pid
from holdfast.system.settings import Settings

log = logging.getLogger("holdfast.server")

DEFAULT_PORT = 6443
SWITCH_SECONDS = 0.0005
"""How long the store's thread waits for the interpreter's lock while the loop is busy: it needs it twice a commit."""
HOSTS = ("localhost", "127.0.0.1", "::1", "10.96.0.1", "10.244.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True)
class Serving:
    """A server that answers. ``join`` waits for its background work, which ends only by failing."""

    registry: Registry
    keys: pki.Pki
    address: str
    controllers: asyncio.Task[None]

    async def join(self) -> None:
        """Raises what ended the registry's work (the store is gone) or the controllers': then nothing true is served any more."""
        working: asyncio.Task[None] = asyncio.create_task(self.registry.join(), name="registry")
        try:
            await asyncio.wait({working, self.controllers}, return_when=asyncio.FIRST_COMPLETED)
            for task in (working, self.controllers):
                if task.done():
                    task.result()
                    raise RuntimeError(f"the {task.get_name()} ended: the server cannot go on; start it again and see its log")
        finally:
            working.cancel()


async def run_server(settings: Settings) -> None:
    """Serves until TERM or INT. Raises RuntimeError or StoreError naming what is in the way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.disable()
    sys.setswitchinterval(SWITCH_SECONDS)
    async with serving(settings, on_synced=_settle) as server:
        failing, stopped = asyncio.create_task(server.join()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({failing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if failing.done() and not stop.is_set():
                failing.result()
        finally:
            failing.cancel()
            stopped.cancel()
            await asyncio.gather(failing, stopped, return_exceptions=True)


def _settle() -> None:
    """What was loaded stays: the cyclic collector need not look at it again, and rarely at what comes, which has no cycles."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, *, clock: Clock | None = None, on_synced: Callable[[], None] = lambda: None
) -> AsyncIterator[Serving]:
    """The whole server, ready to answer, until the block is left. Raises RuntimeError or StoreError as ``run_server``."""
    settings.make_data()
    hosts = [*HOSTS, f"kubernetes.default.svc.{settings.domain}", settings.host]
    keys = await asyncio.to_thread(pki.ensure_pki, settings.pki, hosts)
    store = open_store(settings.store_url)
    await store.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        clock = clock or SystemClock()
        security = defaults(settings.pod_security)
        registry = Registry(store, builtin_table(), clock, service_cidr=settings.service_cidr, pod_security=security)
        tokens = Tokens(keys.token_key, clock, lambda plural, namespace, name: _live(registry, plural, namespace, name))
        registry.issue_token, registry.verify_token = tokens.issue, tokens.verify
        await registry.start()
        stack.push_async_callback(registry.close)
        checks = Checks(registry)
        await bootstrap(registry, ca_pem=keys.ca.certificate.decode())
        checks.bootstrapped = True
        runner, pages = _runner(registry, tokens, pki.client_context(keys.ca.certificate, keys.kubelet_client, settings.pki), settings)
        checks.add_to(pages.health)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = await _listen(runner, settings, pki.server_context(keys.server, keys.ca.certificate, settings.pki))
        address = pages.address = f"https://{settings.host}:{port}"
        _write_files(settings, keys, address)
        await _publish(LocalClient(registry, SERVER, "kube-apiserver"), *settings.advertise)
        stack.push_async_callback(_ended, controllers := _controllers(registry, keys, settings, on_synced))
        checks.controllers = controllers
        stack.callback(checks.stop)
        log.info("API at %s", address)
        yield Serving(registry, keys, address, controllers)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _live(registry: Registry, plural: str, namespace: str, name: str) -> Obj | None:
    found = registry.cache.get(f"/registry/{plural}/{namespace}/{name}" if namespace else f"/registry/{plural}/{name}")
    return found.obj if found else None


def _runner(registry: Registry, tokens: Tokens, backend: ssl.SSLContext, settings: Settings) -> tuple[web.ServerRunner, Pages]:
    pages = Pages(registry, tokens, "")
    edge = Edge(registry, Authenticator(tokens), Nodes(registry, backend), pages, registry.clock, settings.limits)
    return web.ServerRunner(edge.connections, shutdown_timeout=1), pages


async def _listen(runner: web.ServerRunner, settings: Settings, tls: ssl.SSLContext) -> int:
    """Binds the port that was asked for, or the kept one, or 6443, or a free one; and keeps it."""
    kept_file = settings.data / "server.json"
    kept = orjson.loads(kept_file.read_bytes())["port"] if kept_file.exists() else None
    wanted = settings.port if settings.port else kept
    candidates = [wanted] if wanted else [0] if settings.port == 0 else [DEFAULT_PORT, 0]
    for position, candidate in enumerate(candidates):
        site = web.TCPSite(runner, settings.host, candidate, ssl_context=tls, reuse_address=True, backlog=512)
        try:
            await site.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE and position + 1 < len(candidates):
                continue
            if error.errno == errno.EADDRINUSE:
                where = f"port {candidate} on {settings.host} is in use by another program"
                raise RuntimeError(f"{where}: choose another with --listen {settings.host}:PORT") from None
            why = os.strerror(error.errno or 0)
            text = f"cannot listen on {settings.host}:{candidate}: {why}; choose another address with --listen HOST:PORT"
            raise RuntimeError(text) from None
        port = int(runner.addresses[0][1])
        pki.write_private(kept_file, orjson.dumps({"port": port, "host": settings.host}))
        return port
    raise AssertionError("there is always a candidate")


def _write_files(settings: Settings, keys: pki.Pki, address: str) -> None:
    """Kubeconfigs of the administrator and of this machine's node, and the pid file."""
    kubeconfig.write(settings.kubeconfig, kubeconfig.Kubeconfig(address, keys.ca.certificate, keys.admin))
    node = pki.issue_client(keys.ca, f"system:node:{settings.node_name}", ["system:nodes"])
    kubeconfig.write(settings.node_kubeconfig, kubeconfig.Kubeconfig(address, keys.ca.certificate, node), user="node")
    serving = pki.issue_server(keys.ca, f"system:node:{settings.node_name}", ["127.0.0.1", "localhost", settings.node_name])
    pki.save(settings.data / "node" / "pki", "serving", serving)
    pki.write_private(settings.data / "node" / "pki" / "ca.crt", keys.ca.certificate)
    write_pid(settings.pid_file("server"), os.getpid())


async def _publish(client: LocalClient, host: str, port: int) -> None:
    """Where the Service ``kubernetes`` leads: the address at which pods reach the API."""
    ports: list[dict[str, Any]] = [{"name": "https", "port": port, "protocol": "TCP"}]
    endpoints = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": host}], "ports": ports}],
    }
    endpoint_slice = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": ports,
    }
    for resource, obj in ((ENDPOINTS, endpoints), (ENDPOINTSLICES, endpoint_slice)):
        try:
            await client.create(resource, obj, "default")
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            await client.update(resource, obj)


def _controllers(registry: Registry, keys: pki.Pki, settings: Settings, on_synced: Callable[[], None]) -> asyncio.Task[None]:
    from holdfast.controllers import run_all
    from holdfast.volumes.builtin import BuiltinEngine
    from holdfast.volumes.rbd import RbdEngine

    def client(name: str) -> LocalClient:
        if name in ("kube-scheduler", "kube-controller-manager"):
            return LocalClient(registry, User(f"system:{name}", ("system:authenticated",)), name)
        groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
        return LocalClient(registry, User(f"system:serviceaccount:kube-system:{name}", groups), "kube-controller-manager")

    work = run_all(
        client,
        ca_pem=keys.ca.certificate.decode(),
        clock=registry.clock,
        on_synced=on_synced,
        local=(BuiltinEngine.name,),
        network=(RbdEngine(settings.data / "volumes"),),
    )
    return asyncio.create_task(work, name="controllers")
