"""``holdfast status``: what runs, where, and how to reach it."""

from __future__ import annotations

import click

from holdfast.cli import processes
from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube
from holdfast.system.settings import Settings


def run(settings: Settings, *, only_kubeconfig: bool) -> None:
    if only_kubeconfig:
        if not settings.kubeconfig.exists():
            raise UserError(f"{settings.data} has no kubeconfig yet: holdfast up --data {settings.data}")
        click.echo(settings.kubeconfig)
        return
    click.echo(f"data        {settings.data}")
    for role in processes.ROLES:
        pid = processes.find(settings.data, role)
        click.echo(f"{role:<11} {f'pid {pid}' if pid else 'stopped'}")
    if not processes.find(settings.data, "server"):
        return
    kube = Kube(settings.kubeconfig)
    click.echo(f"API         {kube.server}")
    click.echo(f"kubeconfig  {settings.kubeconfig}")
    dns = settings.data / "node" / "dns.port"
    if dns.exists():
        click.echo(f"DNS         127.0.0.1:{dns.read_text().strip()}")
    for title, path in (("nodes", "/api/v1/nodes"), ("pods", "/api/v1/pods")):
        click.echo(f"\n{title}\n{kube.table(path)}")
