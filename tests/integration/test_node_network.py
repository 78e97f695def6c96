"""Real namespaces: pods reach each other and Services, refused at once without endpoints; DNS answers; nothing is left."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import dns.query
import dns.rcode
import pytest

from holdfast.node.api import PodNetwork
from holdfast.node.nameserver import Nameserver, Zone
from holdfast.node.network import BridgeNetwork, namespaces
from holdfast.node.proxy import ServiceProxy

ID = "7e57ab1e"
RUN = Path("/run/holdfast") / ID


def traces() -> list[str]:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if ID in line]
    return [*[line.split(":")[1] for line in links.splitlines() if ID in line], *[r for r in rules.splitlines() if ID in r], *mounts]


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[BridgeNetwork]:
    net = BridgeNetwork(RUN, ID, tmp_path)
    await net.start()
    try:
        yield net
    finally:
        await net.close(remove=True)
        assert traces() == []


async def serve(pod: PodNetwork, port: int = 8080) -> asyncio.Server:
    """A server in the pod that tells its own address and the peer's."""

    def listen() -> socket.socket:
        sock = socket.socket()
        sock.bind((pod.ip, port))
        sock.listen()
        sock.setblocking(False)
        return sock

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{pod.ip} {writer.get_extra_info('peername')[0]}".encode())
        writer.close()

    return await asyncio.start_server(answer, sock=await namespaces.run_in(pod.netns, listen))


async def ask(network: BridgeNetwork, netns: str, host: str, port: int) -> list[str]:
    async with asyncio.timeout(3):
        reader, writer = await network.connect(netns, host, port)
        text = (await reader.read()).decode()
        writer.close()
        return text.split()


def service(ip: str = "10.96.0.7", **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec}}


def endpoints(*ips: str) -> dict[str, Any]:
    metadata = {"name": "web-a", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    made = [{"addresses": [ip], "conditions": {"ready": True}, "hostname": f"web-{n}"} for n, ip in enumerate(ips)]
    return {"metadata": metadata, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": made}


async def test_pods_reach_each_other_and_are_found_again(network: BridgeNetwork, tmp_path: Path) -> None:
    a, b = await network.add("uid-a", "default", "a"), await network.add("uid-b", "default", "b")
    assert a.ip != b.ip
    server = await serve(b)
    assert await ask(network, a.netns, b.ip, 8080) == [b.ip, a.ip]
    assert await ask(network, "", b.ip, 8080) == [b.ip, network.gateway]
    again = BridgeNetwork(RUN, ID, tmp_path)
    await again.start()
    assert (again.get("uid-a"), again.get("uid-b")) == (a, b)
    assert await again.add("uid-a", "default", "a") == a
    assert await ask(again, a.netns, b.ip, 8080) == [b.ip, a.ip]
    server.close()
    await network.remove("uid-b")
    c = await network.add("uid-c", "default", "c")
    assert c.ip not in (a.ip, b.ip), "an address rests before it is given out again"


async def test_service_addresses(network: BridgeNetwork) -> None:
    pods = [await network.add(f"uid-{n}", "default", f"p{n}") for n in range(3)]
    servers = [await serve(pod) for pod in pods[:2]]
    objects: dict[str, Any] = {"service": service(), "slice": endpoints(pods[0].ip, pods[1].ip)}
    proxy = ServiceProxy(network.node_netns, "10.96.0.0/12", lambda: [objects["service"]], lambda: [objects["slice"]])
    await proxy.apply()
    client = pods[2]
    seen = {tuple(await ask(network, client.netns, "10.96.0.7", 80)) for _ in range(30)}
    assert seen == {(pods[0].ip, client.ip), (pods[1].ip, client.ip)}, "both are reached and see who asks"
    own = {(await ask(network, pods[0].netns, "10.96.0.7", 80))[0] for _ in range(30)}
    assert pods[0].ip in own, "a pod reaches itself through a Service"
    objects["service"] = service(sessionAffinity="ClientIP")
    await proxy.apply()
    assert len({(await ask(network, client.netns, "10.96.0.7", 80))[0] for _ in range(12)}) == 1
    kept = await ask(network, client.netns, "10.96.0.7", 80)
    objects["slice"] = endpoints(*(pod.ip for pod in pods))
    await proxy.apply()
    assert await ask(network, client.netns, "10.96.0.7", 80) == kept, "affinity survives a change of endpoints"
    objects["slice"] = endpoints()
    await proxy.apply()
    with pytest.raises(ConnectionRefusedError):
        await ask(network, client.netns, "10.96.0.7", 80)
    fresh = ServiceProxy(network.node_netns, "10.96.0.0/12", lambda: [], lambda: [])
    await fresh.apply()
    for server in servers:
        server.close()


async def test_the_api_is_reached_from_pods(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"api " + await reader.readexactly(2))
        writer.close()

    api = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = api.sockets[0].getsockname()
    network = BridgeNetwork(RUN, ID, tmp_path, api_address=lambda: (address[0], address[1]))
    await network.start()
    try:
        pod = await network.add("uid-a", "default", "a")
        async with asyncio.timeout(3):
            reader, writer = await network.connect(pod.netns, network.gateway, 6443)
            writer.write(b"hi")
            assert await reader.read() == b"api hi"
            writer.close()
    finally:
        await network.close(remove=True)
        api.close()
    assert traces() == []


async def test_dns_from_pods_and_from_the_host(network: BridgeNetwork, tmp_path: Path) -> None:
    zone = Zone("cluster.local", network.dns_address, ("10.244.0.0/16",))
    zone.set_service("default", "web", service("None"))
    zone.set_slice("default", "web-a", endpoints("10.244.0.5"))
    server = Nameserver(zone, network.dns_address, network.listen_udp, network.listen_tcp, tmp_path / "dns.port")
    pod = await network.add("uid-a", "default", "a")
    started = asyncio.Event()
    question = dns.message.make_query("web-0.web.default.svc.cluster.local", "A")

    def from_pod() -> dns.message.Message:
        return dns.query.udp(question, "10.96.0.10", timeout=3)

    def from_pod_tcp() -> dns.message.Message:
        return dns.query.tcp(question, "10.96.0.10", timeout=3)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run(started))
        await started.wait()
        unsynced = await dns.asyncquery.udp(question, "127.0.0.1", port=server.host_port, timeout=3)
        assert unsynced.rcode() == dns.rcode.SERVFAIL, "an empty cache denies nothing"
        server.synced = True
        answers = [await namespaces.run_in(pod.netns, ask) for ask in (from_pod, from_pod_tcp)]
        answers.append(await dns.asyncquery.udp(question, "127.0.0.1", port=server.host_port, timeout=3))
        answers.append(await dns.asyncquery.tcp(question, "127.0.0.1", port=server.host_port, timeout=3))
        assert {answer.answer[0][0].to_text() for answer in answers} == {"10.244.0.5"}
        zone.set_slice("default", "web-a", None)
        gone = await dns.asyncquery.udp(question, "127.0.0.1", port=server.host_port, timeout=3)
        assert gone.rcode() == dns.rcode.NXDOMAIN
        task.cancel()
