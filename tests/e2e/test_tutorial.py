"""The tutorial, as stock kubectl sees it: order, names, records, claims and data through deletion."""

from __future__ import annotations

from tests.system import TUTORIAL, System, ready


def test_headless_service_shows_none(system: System) -> None:
    system.kubectl("create", "-f", str(TUTORIAL / "service.yaml"))
    line = system.kubectl("get", "service", "nginx").splitlines()[1].split()
    assert line[:5] == ["nginx", "ClusterIP", "None", "<none>", "80/TCP"]


def test_members_start_in_order(system: System) -> None:
    system.kubectl("create", "-f", str(TUTORIAL / "statefulset.yaml"))
    system.wait_ready("web-0", "web-1")
    first, second = system.get("pod", "web-0"), system.get("pod", "web-1")
    became_ready = next(c for c in first["status"]["conditions"] if c["type"] == "Ready")["lastTransitionTime"]
    assert second["metadata"]["creationTimestamp"] >= became_ready


def test_claims_are_bound_by_name(system: System) -> None:
    claims = {c["metadata"]["name"]: c["status"]["phase"] for c in system.get("pvc", "-l", "app=nginx")["items"]}
    assert claims == {"www-web-0": "Bound", "www-web-1": "Bound"}


def test_hostnames(system: System) -> None:
    for member in ("web-0", "web-1"):
        assert system.kubectl("exec", member, "--", "sh", "-c", "hostname").strip() == member


def test_names_records_and_data_come_back(system: System) -> None:
    members = ("web-0", "web-1")
    before = {m: system.get("pod", m)["metadata"]["uid"] for m in members}
    volumes = {m: system.get("pvc", f"www-{m}")["spec"]["volumeName"] for m in members}
    for member in members:
        system.kubectl("exec", member, "--", "sh", "-c", "hostname > /usr/share/nginx/html/index.html")
    system.kubectl("delete", "pod", "-l", "app=nginx")

    def back() -> bool:
        pods = {m: system.get("pod", m) for m in members}
        return all(ready(pod) and pod["metadata"]["uid"] != before[m] for m, pod in pods.items())

    system.until(back, "both members are back", 90)
    for member, other in (members, members[::-1]):
        assert system.kubectl("exec", member, "--", "hostname").strip() == member
        assert system.get("pvc", f"www-{member}")["spec"]["volumeName"] == volumes[member]
        address = system.get("pod", member)["status"]["podIP"]
        fqdn = f"{member}.nginx.default.svc.cluster.local"
        system.until(lambda a=address, o=other, f=fqdn: a in system.kubectl("exec", o, "--", "nslookup", f, check=False), f"{fqdn}", 5)  # type: ignore[misc]
        assert system.kubectl("exec", other, "--", "wget", "-q", "-O", "-", f"http://{member}.nginx/").strip() == member


def test_vip_reaches_both_members_by_name(system: System) -> None:
    system.kubectl("create", "-f", str(TUTORIAL / "vip-service.yaml"))
    seen: set[str] = set()

    def asked() -> bool:
        page = system.kubectl("exec", "web-0", "--", "wget", "-q", "-O", "-", "http://web-vip/", check=False)
        seen.add(page.strip())
        return {"web-0", "web-1"} <= seen

    system.until(asked, "the VIP reaches both members", 30)


def test_nslookup_as_the_guides_show(system: System) -> None:
    address = system.get("pod", "web-0")["status"]["podIP"]
    command = ("run", "-i", "--rm", "--restart=Never", "--image=busybox", "t", "--", "nslookup", "web-0.nginx")
    assert address in system.kubectl(*command)


def test_scale_up_and_down_keeps_claims(system: System) -> None:
    system.kubectl("scale", "sts", "web", "--replicas=3")
    system.wait_ready("web-2")
    system.kubectl("scale", "sts", "web", "--replicas=2")
    system.until(lambda: system.get("pod", "web-2") is None, "web-2 is gone")
    assert system.get("pvc", "www-web-2")["status"]["phase"] == "Bound"
