"""Stories: what a user does to StatefulSets, step by step. After each step the cluster may have come to rest, or not yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.kinds.resources import DEPLOYMENTS
from holdfast.lab import jobs, replicas, volumes
from holdfast.lab.stage import NAMESPACE, Stage, a_set, template
from holdfast.lab.world import MISSING


async def create(stage: Stage) -> None:
    await stage.begin(a_set())


async def scale(stage: Stage) -> None:
    await stage.begin(a_set())
    await stage.change(replicas=1)
    await stage.change(replicas=3)


async def roll(stage: Stage) -> None:
    await stage.begin(a_set())
    await stage.update("two")


async def roll_partly(stage: Stage) -> None:
    await stage.begin(a_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}))
    await stage.update("two")
    await stage.delete_pod(0)
    await stage.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})


async def on_delete(stage: Stage) -> None:
    await stage.begin(a_set(updateStrategy={"type": "OnDelete"}))
    await stage.update("two")
    for number in (1, 2, 0):
        await stage.delete_pod(number)


async def recreate(stage: Stage) -> None:
    await stage.begin(a_set(updateStrategy={"type": "Recreate"}))
    await stage.update("two")
    await stage.change(replicas=2, template=template(image="three"))


async def parallel(stage: Stage) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    await stage.begin(a_set(4, podManagementPolicy="Parallel", updateStrategy=strategy))
    await stage.update("two")
    await stage.change(replicas=2)


async def broken_image(stage: Stage) -> None:
    """Under Parallel a bad revision mends itself after a revert (#67250 is about OrderedReady)."""
    await stage.begin(a_set(podManagementPolicy="Parallel", claims=False))
    await stage.unsettled(lambda: stage.update(MISSING, claims=False))
    if not stage.hasty:
        await stage.until(lambda: "" if stage.images() & {MISSING} else "nobody has the broken image yet")
    await stage.update("one", claims=False)


async def replace(stage: Stage) -> None:
    """Deleted members, and one by force, come back with their names and claims."""
    await stage.begin(a_set())
    await stage.delete_pod(1)
    await stage.delete_pod(0, force=True)


async def orphans(stage: Stage) -> None:
    """A set deleted without its pods, and made again, takes them up."""
    await stage.begin(a_set(2))
    await stage.unsettled(lambda: stage.delete(propagation="Orphan"))
    await stage.begin(a_set(2))


async def node_loss(stage: Stage) -> None:
    await stage.begin(a_set(3, claims=False))
    await stage.lose_node("node-1")


async def deployment(stage: Stage) -> None:
    """Rolled out, updated, scaled, rolled back, and gone with all that is its."""
    await stage.deploy(replicas.a_deployment(template(claims=False)))
    await stage.alter(template={"spec": template(image="two", claims=False)["spec"]})
    await stage.alter(replicas=2)
    await stage.alter(template={"spec": template(claims=False)["spec"]})
    await stage.do(lambda: stage.world.user.delete(DEPLOYMENTS, "shop", NAMESPACE, propagation="Background"))
    await stage.rest()


async def deployment_anew(stage: Stage) -> None:
    """All old pods end before the first new one begins; of the history nothing is kept."""
    await stage.deploy(replicas.a_deployment(template(claims=False), 2, strategy={"type": "Recreate"}, revisionHistoryLimit=0))
    await stage.alter(template={"spec": template(image="two", claims=False)["spec"]})


def _retention(when_deleted: str, when_scaled: str) -> Callable[[Stage], Awaitable[None]]:
    async def story(stage: Stage) -> None:
        policy = {"whenDeleted": when_deleted, "whenScaled": when_scaled}
        await stage.begin(a_set(2, persistentVolumeClaimRetentionPolicy=policy))
        await stage.delete_pod(1)
        await stage.change(replicas=1)
        await stage.delete()

    return story


Story = Callable[[Stage], Awaitable[None]]
STORIES: dict[str, Story] = {
    "create": create,
    "scale": scale,
    "roll": roll,
    "roll-partly": roll_partly,
    "on-delete": on_delete,
    "recreate": recreate,
    "parallel": parallel,
    "broken-image": broken_image,
    "replace": replace,
    "orphans": orphans,
    "node-loss": node_loss,
    "deployment": deployment,
    "deployment-anew": deployment_anew,
    "job": jobs.job,
    "volumes": volumes.volumes,
    "grows": volumes.grows,
    "given-up": volumes.given_up,
    **{
        f"retention-{deleted}-{scaled}": _retention(deleted, scaled)
        for deleted in ("Retain", "Delete")
        for scaled in ("Retain", "Delete")
    },
}
