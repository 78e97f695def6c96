"""``holdfast demo``: the StatefulSet tutorial, told step by step, on the real system.

Every step runs a command, shows it and its answer, and checks the answer; the first one that is not
as told ends the demo with exit code 1. With kubectl on the machine the commands are kubectl's own;
without it a small client of ours does the same requests and says so. Unless told to keep it, the
system and its data are removed at the end, whatever happened.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import click

from holdfast.cli import down, starting
from holdfast.cli.errors import UserError
from holdfast.cli.hands import Hands, Kubectl, OwnClient
from holdfast.system.settings import Settings

MEMBERS = ("web-0", "web-1")
FQDN = "{}.nginx.default.svc.cluster.local"
DEADLINE = 120


def run(data: Path | None, *, keep: bool) -> None:
    begun = time.monotonic()
    home = data or Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    settings = replace(Settings(home), port=0)
    try:
        _tell(settings)
        click.echo(f"\nThe tutorial is over after {time.monotonic() - begun:.0f} s: names, records and data were kept.")
        if keep:
            click.echo(
                f"Still running; use it with\nexport KUBECONFIG={settings.kubeconfig}\nand end it with holdfast down --data {home}"
            )
    finally:
        if not keep:
            down.stop(settings)
            if data is None:
                down.reset(settings)


def _tell(settings: Settings) -> None:
    _title("Starting the API server and the node")
    kube = starting.start(settings)
    click.echo(f"API at {kube.server}, data in {settings.data}")
    tutorial = tutorial_directory()
    _title("The image: nginx from Debian's package, named nginx:1.9.1")
    from holdfast.cli import image

    image.build(settings, tutorial.parent / "nginx.image.yaml", [])
    found = shutil.which("kubectl")
    hands: Hands = Kubectl(found, settings.kubeconfig) if found else OwnClient(kube)
    if not found:
        click.echo("(there is no kubectl on this machine: a small client of holdfast does the same requests)")
    try:
        _topology(hands, tutorial)
        _storage(hands)
        _replacement(hands)
    except UserError:
        click.echo("\nwhat the system says about it:\n" + kube.table("/api/v1/events"), err=True)
        raise
    finally:
        hands.close()


def _topology(hands: Hands, tutorial: Path) -> None:
    _title("A headless Service: DNS records for each member, no VIP")
    hands.create(tutorial / "service.yaml")
    _expect("None" in hands.get("service", "nginx"), "the Service shows no cluster IP")
    _title("A StatefulSet: web-1 starts only when web-0 is Ready")
    hands.watch_pods()
    hands.create(tutorial / "statefulset.yaml")
    hands.get("statefulset", "web")
    _until(lambda: all(_ready(hands, member) for member in MEMBERS), "web-0 and web-1 are Ready")
    click.echo("\n$ kubectl get pods -w -l app=nginx")
    seen = hands.watched()
    click.echo("\n".join(seen))
    order = [line.split()[0] for line in seen if " 1/1 " in line or line.split()[0] == "web-1"]
    _expect(order[:1] == ["web-0"], "web-0 was Ready before web-1 existed")
    _title("Each member knows its own name, and DNS knows it too")
    _names(hands)


def _names(hands: Hands) -> None:
    for member in MEMBERS:
        _expect(hands.exec(member, "hostname").strip() == member, f"the hostname in {member} is {member}")
    for member in MEMBERS:
        address = hands.pod(member)["status"]["podIP"]
        other = MEMBERS[1 - MEMBERS.index(member)]
        _until_quiet(lambda a=address, m=member, o=other: a in hands.exec(o, f"nslookup {FQDN.format(m)}", show=False))  # type: ignore[misc]
        _expect(address in hands.exec(other, f"nslookup {FQDN.format(member)}"), f"{FQDN.format(member)} is {address}")


def _storage(hands: Hands) -> None:
    _title("Each member has a claim and a volume of its own")
    _expect(hands.get("pvc", "", "app=nginx").count("Bound") == 2, "www-web-0 and www-web-1 are Bound")
    _title("Something to keep: each member writes its name into its volume")
    for member in MEMBERS:
        hands.exec(member, 'echo "hello from $(hostname)" > /usr/share/nginx/html/index.html')
    _pages(hands)


def _pages(hands: Hands) -> None:
    for member in MEMBERS:
        other = MEMBERS[1 - MEMBERS.index(member)]
        page = hands.exec(other, f"wget -q -O - http://{member}.nginx/")
        _expect(page.strip() == f"hello from {member}", f"nginx in {member} serves its own file, asked by name from {other}")


def _replacement(hands: Hands) -> None:
    _title("Both members are deleted; they come back in order, with other UIDs and the same names")
    before = {member: hands.pod(member)["metadata"]["uid"] for member in MEMBERS}
    hands.delete_pods("app=nginx")
    _until(lambda: all(_ready(hands, m) and hands.pod(m)["metadata"]["uid"] != before[m] for m in MEMBERS), "both are back and Ready")
    hands.get("pods", "", "app=nginx")
    _names(hands)
    _title("And the data is there")
    _pages(hands)


def _ready(hands: Hands, member: str) -> bool:
    pod = hands.pod(member)
    if not pod or pod["metadata"].get("deletionTimestamp"):
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or [])


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise UserError(f"demo: after {DEADLINE} s still not true: {what}")
        time.sleep(0.1)
    click.echo(f"  ✓ {what}")


def _until_quiet(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def _expect(true: bool, what: str) -> None:
    if not true:
        raise UserError(f"demo: not as told: {what}")
    click.echo(f"  ✓ {what}")


def _title(text: str) -> None:
    click.echo(click.style(f"\n== {text}", bold=True))


def tutorial_directory() -> Path:
    """The tutorial's manifests: beside a checkout, or as the package carries them."""
    checkout = Path(__file__).resolve().parents[2] / "examples" / "tutorial"
    if checkout.is_dir():
        return checkout
    return Path(str(resources.files("holdfast") / "examples" / "tutorial"))
