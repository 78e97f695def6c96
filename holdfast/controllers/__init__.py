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
    informers = InformerSet(make_client("kube-controller-manager"))
    recorders: list[EventRecorder] = []

    def recorder(client: Client, component: str) -> EventRecorder:
        recorders.append(EventRecorder(client, component, now=clock.now))
        return recorders[-1]

    def own(name: str) -> tuple[Client, InformerSet, EventRecorder, Callable[[], float]]:
        """What a controller of that name is made of."""
        client = make_client(name)
        return client, informers, recorder(client, name), clock.now

    binder = make_client("persistent-volume-binder")
    ephemeral = make_client("ephemeral-volume-controller")
    lifecycle = make_client("node-lifecycle-controller")
    scheduler = make_client("kube-scheduler")
    made_here = [engine.name for engine in network]
    jobs = make_client("job-controller")
    disruption = DisruptionController(*own("disruption-controller"))
    volumes = VolumeBinder(binder, informers, recorder(binder, BINDER), clock.now, local=local, served=made_here)
    reconcilers: list[Reconciler] = [
        ServiceAccountController(make_client("service-account-controller"), informers).reconciler,
        RootCaPublisher(make_client("root-ca-cert-publisher"), informers, ca_pem).reconciler,
        ClusterRoleAggregator(make_client("clusterrole-aggregation-controller"), informers).reconciler,
        EndpointSliceController(make_client("endpointslice-controller"), informers).reconciler,
        EndpointsController(make_client("endpoint-controller"), informers).reconciler,
        NodeLifecycle(lifecycle, informers, recorder(lifecycle, "node-lifecycle-controller"), clock).reconciler,
        PodGarbageCollector(make_client("pod-garbage-collector"), informers, clock.monotonic).reconciler,
        Scheduler(scheduler, informers, recorder(scheduler, "default-scheduler"), clock.now).reconciler,
        StatefulSetController(*own("statefulset-controller")).reconciler,
        ReplicaSetController(*own("replicaset-controller")).reconciler,
        ReplicaSetController(*own("replication-controller"), CONTROLLERS).reconciler,
        DeploymentController(*own("deployment-controller")).reconciler,
        JobController(jobs, informers, recorder(jobs, "job-controller"), clock).reconciler,
        JobLeftovers(jobs, informers).reconciler,
        FinishedJobs(make_client("ttl-after-finished-controller"), informers, clock.now).reconciler,
        disruption.reconciler,
        disruption.marks,
        volumes.claims,
        volumes.volumes,
        EphemeralVolumes(ephemeral, informers, recorder(ephemeral, EPHEMERAL)).reconciler,
        ClaimProtection(make_client("pvc-protection-controller"), informers).reconciler,
        VolumeProtection(make_client("pv-protection-controller"), informers).reconciler,
        ClassProtection(make_client("volumeattributesclass-protection-controller"), informers).reconciler,
    ]
    for engine in network:
        client = make_client("persistent-volume-provisioner")
        events = recorder(client, engine.name)
        reconcilers += Provisioner(client, engine, "", events, clock.now, informers).reconcilers
    # Last: what others have not asked for it looks at by its metadata only.
    # An object of events.k8s.io is the core Event under another name, and events own nothing.
    graph = [resource for resource in _resources("list", "watch", "delete") if resource.kind != "Event" and collects(resource)]
    reconcilers.append(GarbageCollector(make_client("generic-garbage-collector"), informers, graph).reconciler)
    # And behind it who is to hear of every kind's changes.
    namespaces = NamespaceController(make_client("namespace-controller"), informers, _resources("list", "delete"), clock.now)
    reconcilers.append(namespaces.reconciler)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(informers.run(), name="informers")
        for events in recorders:
            tasks.create_task(events.run(), name="events")
        for reconciler in reconcilers:
            tasks.create_task(reconciler.run(), name=reconciler.name)
        await informers.wait_synced()
        on_synced()
