"""Records of members while they are deleted and come back, asked every 20 ms; the VIP with and without anybody ready."""

from __future__ import annotations

import threading
import time

import dns.message
import dns.query
import dns.rdatatype

from tests.system import TUTORIAL, System, ready

NAME = "web-0.nginx.default.svc.cluster.local"
ROUNDS = 10


class Asker:
    """Asks for a name every 20 ms from a thread of its own; (time, addresses) of each answer."""

    def __init__(self, port: int, name: str) -> None:
        self._port, self._query = port, dns.message.make_query(name, dns.rdatatype.A)
        self.answers: list[tuple[float, set[str]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.wait(0.02):
            answer = dns.query.udp(self._query, "127.0.0.1", port=self._port, timeout=2)
            self.answers.append((time.monotonic(), {item.to_text() for group in answer.answer for item in group}))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_r49_no_old_address_is_answered_for_long(system: System) -> None:
    system.kubectl("create", "-f", str(TUTORIAL / "service.yaml"), "-f", str(TUTORIAL / "statefulset.yaml"))
    system.wait_ready("web-0", "web-1")
    asker = Asker(int((system.data / "node" / "dns.port").read_text()), NAME)
    deleted: list[tuple[str, float]] = []
    try:
        for _ in range(ROUNDS):
            old = system.get("pod", "web-0")
            system.kubectl("delete", "pod", "web-0")
            deleted.append((old["status"]["podIP"], time.monotonic()))

            def back(uid: str = old["metadata"]["uid"]) -> bool:
                pod = system.get("pod", "web-0")
                return ready(pod) and pod["metadata"]["uid"] != uid

            system.until(back, "web-0 is back", 30)
            address = {system.get("pod", "web-0")["status"]["podIP"]}
            system.until(lambda a=address: asker.answers[-1][1] == a, "its record is back", 5)  # type: ignore[misc]
    finally:
        asker.stop()
    assert len(asker.answers) > 50
    for position, (address, moment) in enumerate(deleted):
        later = {a for a, _ in deleted[position + 1 :]} | {system.get("pod", "web-0")["status"]["podIP"]}
        assert address not in later, "addresses are not used again at once"
        stale = [when - moment for when, found in asker.answers if address in found and when > moment + 1]
        assert stale == [], f"{address} was still answered {max(stale):.2f} s after its pod was gone"


def test_the_service_address_answers_from_inside_and_refuses_at_once_with_nobody_ready(system: System) -> None:
    system.kubectl("create", "-f", str(TUTORIAL / "vip-service.yaml"))
    for member in ("web-0", "web-1"):
        system.kubectl("exec", member, "--", "sh", "-c", "hostname > /usr/share/nginx/html/index.html")
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    system.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inside"}, "spec": spec})
    system.wait_ready("inside")
    address = system.get("service", "web-vip")["spec"]["clusterIP"]
    for host in (address, "web-vip", "web-vip.default.svc.cluster.local"):
        seen: set[str] = set()

        def both(host: str = host, seen: set[str] = seen) -> bool:
            seen.add(system.kubectl("exec", "inside", "--", "wget", "-q", "-O", "-", f"http://{host}/", check=False).strip())
            return {"web-0", "web-1"} <= seen

        system.until(both, f"{host} leads to both members", 30)
        assert seen == {"web-0", "web-1"}, "no request failed"
    system.kubectl("scale", "statefulset", "web", "--replicas=0")
    system.until(lambda: len(system.get("pods")["items"]) == 1, "the members are gone", 60)
    begun = time.monotonic()
    answer = system.kubectl("exec", "inside", "--", "wget", "-q", "-O", "-", f"http://{address}/", check=False)
    assert "Connection refused" in answer
    assert time.monotonic() - begun < 5, "a client that is not refused waits for minutes"
