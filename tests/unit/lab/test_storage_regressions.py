"""What once went wrong in Kubernetes with claims and volumes, in whole clusters in virtual time: it does not go wrong here.

R-n are the numbers by which those bugs are kept. Those that need a stale picture stand in ``tests/unit/controllers``.
"""

from __future__ import annotations

import pytest

from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import STATEFULSETS
from holdfast.lab.faults import CRASHES, REFUSALS, SERVER, Fault, Faults, OneFault, Storm
from holdfast.machinery import meta
from tests.unit.lab.storage import SPACE, Storage, modes, tell

MANY = 6


async def _one_to_one(user: Storage) -> None:
    """R-13: as many volumes as claims, and each pair says so from both sides."""
    claims, volumes = await user.list("pvc"), {meta.name(v): v for v in await user.list("pv")}
    taken = [claim["spec"]["volumeName"] for claim in claims]
    assert len(set(taken)) == len(claims)
    for claim in claims:
        reference = volumes[claim["spec"]["volumeName"]]["spec"]["claimRef"]
        assert (reference["uid"], reference["name"]) == (meta.uid(claim), meta.name(claim))


async def _many(user: Storage) -> None:
    for number in range(MANY):
        await user.volume(f"pv-{number}", access="RWO,ROX" if number % 2 else "RWO")
    for number in range(MANY):
        await user.claim(f"c-{number}", storageClassName="")
    for number in range(MANY):
        await user.bound(f"c-{number}")
    await _one_to_one(user)


async def _many_local(user: Storage) -> None:
    """The same, chosen by the scheduler for pods."""
    await user.sort("local", "kubernetes.io/no-provisioner", waits=True)
    for number in range(MANY):
        await user.volume(f"pv-{number}", node=f"node-{number % 2}", storageClassName="local")
        await user.claim(f"c-{number}", storageClassName="local")
    for number in range(MANY):
        await user.pod(f"p-{number}", f"c-{number}")
    for number in range(MANY):
        await user.running(f"p-{number}")
    await _one_to_one(user)


async def _dynamic(user: Storage) -> None:
    """R-19: as many volumes as claims were ever made, whatever was answered."""
    await user.sort("now")
    for number in range(3):
        await user.claim(f"c-{number}", storageClassName="now")
    for number in range(3):
        await user.bound(f"c-{number}")
    await _one_to_one(user)
    names = {f"pvc-{meta.uid(claim)}" for claim in await user.list("pvc")}
    assert {meta.name(volume) for volume in await user.list("pv")} == names
    assert set(user.world.disk.volumes) == names


@pytest.mark.parametrize("story", [_many, _many_local, _dynamic])
def test_r13_r19_every_claim_its_own_volume(story: object) -> None:
    tell(story)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [*CRASHES, *SERVER, *REFUSALS], ids=lambda fault: fault.name)
@pytest.mark.parametrize("story", [_many, _many_local, _dynamic])
def test_r13_r19_whatever_goes_wrong_at_a_write(story: object, fault: Fault) -> None:
    calm = Faults()
    tell(story, calm)  # type: ignore[arg-type]
    ours = [n for n, (process, site) in enumerate(calm.writes) if process != "user" and "persistentvolume" in site]
    for number in ours[:: max(len(ours) // 5, 1)]:
        plan = OneFault(number=number, fault=fault)
        tell(story, plan)  # type: ignore[arg-type]
        assert plan.fired


@pytest.mark.parametrize("seed", [*range(10, 22), 103, 118])
@pytest.mark.parametrize("story", [_many, _many_local, _dynamic])
def test_r13_r19_in_storms(story: object, seed: int) -> None:
    tell(story, Storm.of(seed), seed=seed)  # type: ignore[arg-type]


# Deletions, in every order (KEP-2644)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
@pytest.mark.parametrize("first", ["pv", "pvc", "both"])
def test_h6_r25_whichever_is_deleted_first(policy: str, first: str) -> None:
    async def story(user: Storage) -> None:
        await user.sort("now", reclaimPolicy=policy)
        await user.claim("data", storageClassName="now")
        name = await user.bound("data")
        await user.pod("p", "data")
        await user.running("p")
        if first in ("pv", "both"):
            await user.delete("pv", name)
        if first in ("pvc", "both"):
            await user.delete("pvc", "data")
        await user.calm()
        assert await user.phase("pod", "p") == "Running"
        assert name in user.world.disk.volumes
        assert await user.phase("pv", name) == "Bound"
        await user.delete("pod", "p")
        await user.delete("pvc", "data")
        await user.gone("pvc", "data")
        if policy == "Delete":
            await user.gone("pv", name)
            assert name not in user.world.disk.volumes, "removed once, and only now"
        elif first == "pvc":
            await user.becomes("pv", name, "Released")
        else:
            await user.gone("pv", name)
        if policy == "Retain":
            await user.calm()
            assert len(user.world.disk.volumes[name]) == 1, "data outlives its records"

    tell(story)


@pytest.mark.parametrize("seed", range(30, 40))
def test_r25_in_storms_nothing_is_removed_too_early_and_all_in_the_end(seed: int) -> None:
    faults = Storm.of(seed)

    async def story(user: Storage) -> None:
        await user.sort("now")
        names = {}
        for number in range(3):
            await user.claim(f"c-{number}", storageClassName="now")
            names[number] = await user.bound(f"c-{number}")
        await user.delete("pv", names[0])
        await user.delete("pvc", "c-1")
        for kind, name in (("pvc", "c-2"), ("pv", names[2])):
            await user.delete(kind, name)
        await user.calm(60)
        assert names[0] in user.world.disk.volumes
        await user.delete("pvc", "c-0")
        await user.world.heal()
        for name in names.values():
            await user.gone("pv", name)
        assert not user.world.disk.volumes

    tell(story, faults, seed=seed)


def test_r25_the_policy_may_change_at_any_time() -> None:
    async def story(user: Storage) -> None:
        await user.sort("now")
        await user.claim("data", storageClassName="now")
        name = await user.bound("data")
        await user.patch("pv", name, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})

        async def unguarded() -> bool:
            volume = await user.there("pv", name)
            return volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]

        await user.until(unguarded, "the provisioner lets go")
        await user.delete("pvc", "data")
        await user.becomes("pv", name, "Released")
        await user.calm()
        assert name in user.world.disk.volumes
        await user.patch("pv", name, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
        await user.gone("pv", name)
        assert name not in user.world.disk.volumes

    tell(story)


def test_r26_a_claim_made_anew_under_its_name_gets_a_volume_of_its_own() -> None:
    async def story(user: Storage) -> None:
        await user.sort("kept", reclaimPolicy="Retain")
        await user.claim("data", storageClassName="kept")
        before = await user.bound("data")
        await user.delete("pvc", "data")
        await user.gone("pvc", "data")
        await user.claim("data", storageClassName="kept")
        after = await user.bound("data")
        assert after != before
        assert await user.phase("pv", before) == "Released"

    tell(story)


def test_h6_r27_recycle_is_not_done_and_never_makes_a_volume_available() -> None:
    async def story(user: Storage) -> None:
        await user.volume("pv", persistentVolumeReclaimPolicy="Recycle")
        await user.pod("recycler-for-pv", "other")
        await user.claim("data", storageClassName="")
        await user.bound("data", "pv")
        await user.delete("pvc", "data")
        volume = await user.becomes("pv", "pv", "Failed")
        assert volume["status"]["message"] == "No recycler plugin found for the volume!"
        await user.says("pv", "VolumeFailedRecycle", "No recycler plugin found for the volume!")
        await user.delete("pod", "recycler-for-pv")
        await user.calm()
        assert await user.phase("pv", "pv") == "Failed"

    tell(story)


def test_h6_a_volume_that_nobody_can_delete_fails() -> None:
    async def story(user: Storage) -> None:
        await user.volume("pv", persistentVolumeReclaimPolicy="Delete")
        await user.claim("data", storageClassName="")
        await user.bound("data", "pv")
        await user.delete("pvc", "data")
        why = 'error getting deleter volume plugin for volume "pv": no deletable volume plugin matched'
        volume = await user.becomes("pv", "pv", "Failed")
        assert volume["status"]["message"] == why
        await user.says("pv", "VolumeFailedDelete", why)

    tell(story)


def test_h6_data_that_cannot_be_deleted_yet_is_deleted_later() -> None:
    async def story(user: Storage) -> None:
        await user.sort("now")
        await user.claim("data", storageClassName="now")
        name = await user.bound("data")
        where = user.world.machines[_node(await user.there("pv", name))]
        where.staged["/left/behind"] = name
        await user.delete("pvc", "data")
        volume = await user.becomes("pv", name, "Failed")
        assert "is mounted" in volume["status"]["message"]
        await user.says(name, "VolumeFailedDelete", volume["status"]["message"])
        del where.staged["/left/behind"]
        await user.gone("pv", name)
        assert name not in user.world.disk.volumes

    tell(story)


def _node(volume: Obj) -> str:
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    return str(terms[0]["matchExpressions"][0]["values"][0])


# Protection


def test_r22_r23_a_claim_is_let_go_however_its_pods_end_was_heard_of() -> None:
    """Its last user is deleted and made anew with another claim, all while the controllers are away."""

    async def story(user: Storage) -> None:
        await user.claim("data")
        await user.claim("more")
        await user.pod("p", "data")
        await user.running("p")
        await user.delete("pvc", "data")
        await user.calm(5)
        controllers = user.world.processes["controllers"]
        user.world.partition("controllers")
        await user.delete("pod", "p")
        await user.gone("pod", "p")
        await user.pod("p", "more")
        await user.calm(5)
        user.world.join("controllers")
        await user.gone("pvc", "data")
        assert controllers.lives == 1
        await user.running("p")

    tell(story)


def test_h13_r24_no_member_starts_on_a_claim_that_is_going() -> None:
    """kubernetes#74374: first the claim is gone, then there is a new one, then the member."""

    async def story(user: Storage) -> None:
        await user.ask(lambda client: client.create(STATEFULSETS, _set(1), SPACE))
        await user.running("web-0")
        before = await user.there("pvc", "www-web-0")
        await user.delete("pvc", "www-web-0")
        await user.calm(5)
        await user.delete("pod", "web-0")

        async def anew() -> bool:
            claim = await user.get("pvc", "www-web-0")
            return claim is not None and meta.uid(claim) != meta.uid(before)

        await user.until(anew, "a new claim")
        await user.running("web-0")
        pod, claim = await user.there("pod", "web-0"), await user.there("pvc", "www-web-0")
        assert not meta.is_terminating(claim)
        assert pod["metadata"]["creationTimestamp"] >= claim["metadata"]["creationTimestamp"]

    tell(story)


def _set(replicas: int, **policy: str) -> Obj:
    claim = {"accessModes": modes("RWO"), "resources": {"requests": {"storage": "1Gi"}}}
    container = {"name": "c", "image": "i", "volumeMounts": [{"name": "www", "mountPath": "/www"}]}
    spec: Obj = {
        "replicas": replicas,
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": claim}],
    }
    if policy:
        spec["persistentVolumeClaimRetentionPolicy"] = policy
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize("number", range(0, 12, 2))
def test_h12_r28_a_member_scaled_down_and_wanted_again_never_starts_on_a_dying_claim(number: int) -> None:
    """KEP-1847: whoever crashes between the owner of a claim and the end of its pod."""
    calm = Faults()

    async def story(user: Storage) -> None:
        faults = user.world.faults
        policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
        await user.ask(lambda client: client.create(STATEFULSETS, _set(3, **policy), SPACE))
        for member in range(3):
            await user.running(f"web-{member}")
        kept = meta.uid(await user.there("pvc", "www-web-0"))
        if isinstance(faults, OneFault):
            faults.number = len(faults.writes) + number
        for replicas in (1, 3):
            spec = {"spec": {"replicas": replicas}}
            await user.ask(lambda client, spec=spec: client.patch(STATEFULSETS, "web", SPACE, spec))  # type: ignore[misc]
            await user.calm(0.3)
        await user.calm(60)
        for member in range(3):
            await user.running(f"web-{member}")
            assert not meta.is_terminating(await user.there("pvc", f"www-web-{member}"))
        assert meta.uid(await user.there("pvc", "www-web-0")) == kept

    tell(story, calm)
    plan = OneFault(number=10**9, fault=Fault.CRASH_AFTER)
    tell(story, plan)
    assert plan.fired
