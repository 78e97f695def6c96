"""All controllers of the server, on shared informers, each with the identity and the rights of its own.

A controller's way: informer event > key in a queue > ``decide`` > API writes. None knows the registry or the
store: they are clients, here in the server's process, and would be the same against any other API server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.accounts.controller import RootCaPublisher, ServiceAccountController
from holdfast.controllers.aggregation.controller import ClusterRoleAggregator
from holdfast.controllers.deployment.controller import DeploymentController
from holdfast.controllers.disruption.controller import DisruptionController
from holdfast.controllers.endpoints.controller import EndpointsController, EndpointSliceController
from holdfast.controllers.garbage.controller import GarbageCollector
from holdfast.controllers.job.controller import JobController
from holdfast.controllers.job.leftovers import JobLeftovers
from holdfast.controllers.job.ttl import FinishedJobs
from holdfast.controllers.namespace.controller import NamespaceController
from holdfast.controllers.nodes.lifecycle import NodeLifecycle
from holdfast.controllers.nodes.pods import PodGarbageCollector
from holdfast.controllers.provisioner import Provisioner
from holdfast.controllers.replicaset.controller import CONTROLLERS, ReplicaSetController
from holdfast.controllers.scheduler.controller import Scheduler
from holdfast.controllers.statefulset.controller import StatefulSetController
from holdfast.controllers.volumes.controller import COMPONENT as BINDER
from holdfast.controllers.volumes.controller import VolumeBinder
from holdfast.controllers.volumes.ephemeral import COMPONENT as EPHEMERAL
from holdfast.controllers.volumes.ephemeral import EphemeralVolumes
from holdfast.controllers.volumes.protection import ClaimProtection, ClassProtection, VolumeProtection
from holdfast.kinds.builtin import BUILTIN
from holdfast.kinds.kind import Resource
from holdfast.lib.clock import Clock
from holdfast.volumes.api import Engine


def _resources(*verbs: str) -> list[Resource]:
    return [kind.resource for kind in BUILTIN if set(verbs) <= set(kind.verbs)]


class _Parts:
    """What controllers are made of: a client for each, informers for all."""

    def __init__(self, make_client: Callable[[str], Client], clock: Clock) -> None:
        self.client = make_client
        self.clock = clock
        self.informers = InformerSet(make_client("kube-controller-manager"))
        self.recorders: list[EventRecorder] = []

    def recorder(self, client: Client, component: str) -> EventRecorder:
        self.recorders.append(EventRecorder(client, component, now=self.clock.now))
        return self.recorders[-1]

    def own(self, name: str) -> tuple[Client, InformerSet, EventRecorder, Callable[[], float]]:
        """Those of a controller of that name."""
        client = self.client(name)
        return client, self.informers, self.recorder(client, name), self.clock.now


def _cluster(parts: _Parts, ca_pem: str) -> list[Reconciler]:
    client, informers, clock = parts.client, parts.informers, parts.clock
    lifecycle, scheduler = client("node-lifecycle-controller"), client("kube-scheduler")
    return [
        ServiceAccountController(client("service-account-controller"), informers).reconciler,
        RootCaPublisher(client("root-ca-cert-publisher"), informers, ca_pem).reconciler,
        ClusterRoleAggregator(client("clusterrole-aggregation-controller"), informers).reconciler,
        EndpointSliceController(client("endpointslice-controller"), informers).reconciler,
        EndpointsController(client("endpoint-controller"), informers).reconciler,
        NodeLifecycle(lifecycle, informers, parts.recorder(lifecycle, "node-lifecycle-controller"), clock).reconciler,
        PodGarbageCollector(client("pod-garbage-collector"), informers, clock.monotonic).reconciler,
        Scheduler(scheduler, informers, parts.recorder(scheduler, "default-scheduler"), clock.now).reconciler,
    ]


def _workloads(parts: _Parts) -> list[Reconciler]:
    informers, clock = parts.informers, parts.clock
    jobs = parts.client("job-controller")
    disruption = DisruptionController(*parts.own("disruption-controller"))
    return [
        StatefulSetController(*parts.own("statefulset-controller")).reconciler,
        ReplicaSetController(*parts.own("replicaset-controller")).reconciler,
        ReplicaSetController(*parts.own("replication-controller"), CONTROLLERS).reconciler,
        DeploymentController(*parts.own("deployment-controller")).reconciler,
        JobController(jobs, informers, parts.recorder(jobs, "job-controller"), clock).reconciler,
        JobLeftovers(jobs, informers).reconciler,
        FinishedJobs(parts.client("ttl-after-finished-controller"), informers, clock.now).reconciler,
        disruption.reconciler,
        disruption.marks,
    ]


def _storage(parts: _Parts, local: Collection[str], network: Collection[Engine]) -> list[Reconciler]:
    client, informers, clock = parts.client, parts.informers, parts.clock
    binder, ephemeral = client("persistent-volume-binder"), client("ephemeral-volume-controller")
    made_here = [engine.name for engine in network]
    volumes = VolumeBinder(binder, informers, parts.recorder(binder, BINDER), clock.now, local=local, served=made_here)
    found = [
        volumes.claims,
        volumes.volumes,
        EphemeralVolumes(ephemeral, informers, parts.recorder(ephemeral, EPHEMERAL)).reconciler,
        ClaimProtection(client("pvc-protection-controller"), informers).reconciler,
        VolumeProtection(client("pv-protection-controller"), informers).reconciler,
        ClassProtection(client("volumeattributesclass-protection-controller"), informers).reconciler,
    ]
    for engine in network:
        provisioner = client("persistent-volume-provisioner")
        events = parts.recorder(provisioner, engine.name)
        found += Provisioner(provisioner, engine, "", events, clock.now, informers).reconcilers
    return found


def _of_every_kind(parts: _Parts, collects: Callable[[Resource], bool]) -> list[Reconciler]:
    """Last: what others have not asked for, the garbage collector looks at by its metadata only."""
    # An object of events.k8s.io is the core Event under another name, and events own nothing.
    graph = [resource for resource in _resources("list", "watch", "delete") if resource.kind != "Event" and collects(resource)]
    garbage = GarbageCollector(parts.client("generic-garbage-collector"), parts.informers, graph)
    # Behind it, who is to hear of every kind's changes.
    emptied = _resources("list", "delete")
    namespaces = NamespaceController(parts.client("namespace-controller"), parts.informers, emptied, parts.clock.now)
    return [garbage.reconciler, namespaces.reconciler]


async def run_all(
    make_client: Callable[[str], Client],
    *,
    ca_pem: str,
    clock: Clock,
    on_synced: Callable[[], None] = lambda: None,
    collects: Callable[[Resource], bool] = lambda resource: True,
    local: Collection[str] = (),
    network: Collection[Engine] = (),
) -> None:
    """Until cancelled. ``make_client`` gives a client that acts as the named controller; ``on_synced`` is called once all see;
    ``collects`` says which kinds the garbage collector minds; ``local`` are provisioners whose volumes lie on one node;
    for the engines of ``network`` the volumes are made and removed here."""
    parts = _Parts(make_client, clock)
    reconcilers = [
        *_cluster(parts, ca_pem),
        *_workloads(parts),
        *_storage(parts, local, network),
        *_of_every_kind(parts, collects),
    ]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.informers.run(), name="informers")
        for events in parts.recorders:
            tasks.create_task(events.run(), name="events")
        for reconciler in reconcilers:
            tasks.create_task(reconciler.run(), name=reconciler.name)
        await parts.informers.wait_synced()
        on_synced()
