"""Claims, volumes and classes in whole clusters in virtual time, by the rows of the acceptance table (H1 to H9, H12)."""

from __future__ import annotations

import pytest

from tests.unit.lab.storage import BUILTIN, DEFAULT, SPACE, Storage, modes, tell

NO_CLASS = "no persistent volumes available for this claim and no storage class is set"
CONSUMER = "waiting for first consumer to be created before binding"


def test_h1_the_smallest_that_fits_and_of_those_that_grant_least() -> None:
    async def story(user: Storage) -> None:
        await user.volume("large", "5Gi")
        await user.volume("fits", "2Gi")
        await user.volume("wide", "1Gi", "RWO,RWX")
        await user.volume("small", "500Mi")
        await user.becomes("pv", "fits", "Available")
        await user.claim("data", "1Gi", storageClassName="")
        await user.bound("data", "fits")
        claim, volume = await user.there("pvc", "data"), await user.there("pv", "fits")
        assert claim["metadata"]["annotations"] == {
            "pv.kubernetes.io/bind-completed": "yes",
            "pv.kubernetes.io/bound-by-controller": "yes",
        }
        assert claim["status"] == {"phase": "Bound", "accessModes": modes("RWO"), "capacity": {"storage": "2Gi"}}
        assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
        assert volume["status"]["lastPhaseTransitionTime"]

    tell(story)


def test_h1_r14_reservations_from_both_sides_win() -> None:
    async def story(user: Storage) -> None:
        await user.volume("small", "1Gi")
        await user.volume("kept", "9Gi", claimRef={"namespace": SPACE, "name": "mine"})
        await user.volume("named", "9Gi")
        await user.claim("mine", storageClassName="")
        await user.bound("mine", "kept")
        await user.claim("asks", storageClassName="", volumeName="named")
        await user.bound("asks", "named")
        await user.claim("other", storageClassName="")
        await user.bound("other", "small")
        assert (await user.there("pv", "kept"))["spec"]["claimRef"]["uid"]

    tell(story)


def test_h1_a_volume_that_is_asked_for_by_name_must_suit() -> None:
    async def story(user: Storage) -> None:
        await user.volume("pv", "1Gi")
        await user.claim("big", "2Gi", storageClassName="", volumeName="pv")
        await user.says("big", "VolumeMismatch", 'Cannot bind to requested volume "pv": requested PV is too small')
        await user.claim("mine", storageClassName="", volumeName="pv")
        await user.bound("mine", "pv")
        await user.says("big", "FailedBinding", 'volume "pv" already bound to a different claim.')
        assert await user.phase("pvc", "big") == "Pending"

    tell(story)


def test_h2_no_class_an_empty_one_and_the_default_one_that_comes_later() -> None:
    async def story(user: Storage) -> None:
        await user.patch("sc", "standard", {"metadata": {"annotations": dict.fromkeys(DEFAULT, "false")}})
        await user.claim("unset")
        await user.claim("empty", storageClassName="")
        for name in ("unset", "empty"):
            await user.says(name, "FailedBinding", NO_CLASS)
        assert "storageClassName" not in (await user.there("pvc", "unset"))["spec"]
        await user.sort("old", default=True)
        await user.calm(2)
        await user.sort("new", default=True)
        await user.claim("later")
        assert (await user.there("pvc", "later"))["spec"]["storageClassName"] == "new", "the newest default wins"

    tell(story)


def test_h2_the_default_class_is_given_to_claims_that_named_none() -> None:
    async def story(user: Storage) -> None:
        await user.patch("sc", "standard", {"metadata": {"annotations": dict.fromkeys(DEFAULT, "false")}})
        await user.claim("unset")
        await user.claim("empty", storageClassName="")
        await user.says("unset", "FailedBinding", NO_CLASS)
        await user.sort("late", default=True)
        volume = await user.bound("unset")
        assert (await user.there("pvc", "unset"))["spec"]["storageClassName"] == "late"
        assert (await user.there("pv", volume))["spec"]["storageClassName"] == "late"
        await user.calm()
        assert await user.phase("pvc", "empty") == "Pending"

    tell(story)


def test_h3_a_claim_is_not_bound_to_a_volume_that_grants_less() -> None:
    async def story(user: Storage) -> None:
        await user.volume("once")
        await user.claim("many", access="RWX", storageClassName="")
        await user.says("many", "FailedBinding", NO_CLASS)
        await user.volume("shared", access="ROX,RWX")
        await user.bound("many", "shared")
        await user.claim("block", storageClassName="", volumeMode="Block")
        await user.calm()
        assert await user.phase("pvc", "block") == "Pending"
        await user.volume("raw", volumeMode="Block")
        await user.bound("block", "raw")

    tell(story)


def test_h3_r10_a_second_pod_on_a_readwriteoncepod_claim_stays_pending() -> None:
    async def story(user: Storage) -> None:
        await user.claim("one", access="RWOP")
        await user.pod("first", "one")
        await user.running("first")
        await user.pod("second", "one")
        why = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
        await user.cannot("second", f"0/2 nodes are available: 2 {why}.")
        await user.delete("pod", "first")
        await user.running("second")

    tell(story)


def test_h4_immediate_and_waiting_for_the_first_consumer() -> None:
    async def story(user: Storage) -> None:
        await user.sort("now")
        await user.claim("soon", storageClassName="now")
        await user.bound("soon")
        await user.claim("waits", storageClassName="standard")
        await user.says("waits", "WaitForFirstConsumer", CONSUMER)
        await user.calm()
        assert await user.phase("pvc", "waits") == "Pending"
        await user.pod("stuck", "waits", nodeSelector={"no": "node"})
        await user.says("waits", "WaitForPodScheduled", "waiting for pod stuck to be scheduled")
        await user.pod("stuck-too", "waits", nodeSelector={"no": "node"})
        await user.says("waits", "WaitForPodScheduled", "waiting for pods stuck,stuck-too to be scheduled")
        await user.delete("pod", "stuck")
        await user.delete("pod", "stuck-too")
        await user.pod("user", "waits")
        node = await user.running("user")
        volume = await user.there("pv", await user.bound("waits"))
        terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert terms[0]["matchExpressions"][0]["values"] == [node]

    tell(story)


@pytest.mark.parametrize("seed", range(1, 9))
def test_h9_a_binding_that_was_asked_for_is_no_reason_against_the_pod(seed: int) -> None:
    """Between the claim's volumeName and its end: upstream's scheduler is waiting for it then, and says nothing."""

    async def story(user: Storage) -> None:
        names = [f"data-{i}" for i in range(6)]
        for name in names:
            await user.claim(name)
            await user.pod(f"p-{name}", name)
        for name in names:
            await user.running(f"p-{name}")
        await user.calm()
        assert [text for name in names for text in await user.told(f"p-{name}", "FailedScheduling")] == []

    tell(story, seed=seed)


def test_what_an_engine_refuses_is_not_asked_for_again_and_again() -> None:
    async def story(user: Storage) -> None:
        await user.claim("shared", access="RWX")
        await user.pod("p", "shared")
        await user.calm(8)
        assert 1 <= await user.times("shared", "ProvisioningFailed") <= 5  # at 0, 1, 3 and 7 seconds

    tell(story)


def test_h4_unbound_immediate_and_missing_claims_hold_a_pod() -> None:
    async def story(user: Storage) -> None:
        await user.pod("p", "data")
        await user.cannot("p", '0/2 nodes are available: persistentvolumeclaim "data" not found.')
        await user.sort("by-hand", "example.com/nobody")
        await user.claim("data", storageClassName="by-hand")
        await user.cannot("p", "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
        text = (
            "Waiting for a volume to be created either by the external provisioner 'example.com/nobody' or manually by the system"
            " administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        )
        await user.says("data", "ExternalProvisioning", text)
        annotations = (await user.there("pvc", "data"))["metadata"]["annotations"]
        assert annotations["volume.kubernetes.io/storage-provisioner"] == "example.com/nobody"
        assert annotations["volume.beta.kubernetes.io/storage-provisioner"] == "example.com/nobody"
        assert "volume.kubernetes.io/selected-node" not in annotations
        await user.volume("by-an-admin", storageClassName="by-hand")
        await user.bound("data", "by-an-admin")
        await user.running("p")

    tell(story)


def test_h5_a_volume_is_made_for_the_claim() -> None:
    async def story(user: Storage) -> None:
        await user.sort("now", mountOptions=["noatime"])
        claim = await user.claim("data", "1500Mi", storageClassName="now")
        name = await user.bound("data", f"pvc-{claim['metadata']['uid']}")
        await user.says("data", "Provisioning", f'External provisioner is provisioning volume for claim "{SPACE}/data"')
        await user.says("data", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
        volume = await user.there("pv", name)
        spec = volume["spec"]
        assert (spec["persistentVolumeReclaimPolicy"], spec["storageClassName"]) == ("Delete", "now")
        assert (spec["capacity"], spec["csi"]["driver"], spec["mountOptions"]) == ({"storage": "1500Mi"}, BUILTIN, ["noatime"])
        assert volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == BUILTIN
        assert sorted(volume["metadata"]["finalizers"]) == [
            "external-provisioner.volume.kubernetes.io/finalizer",
            "kubernetes.io/pv-protection",
        ]

    tell(story)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"access": "RWX"}, "accessModes: ReadWriteMany is not offered by builtin.holdfast.io"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "claim Selector is not supported"),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "other"}}, "dataSource: builtin.holdfast.io does not make volumes"),
    ],
)
def test_h5_what_is_not_offered_is_refused_in_words(spec: dict[str, object], why: str) -> None:
    async def story(user: Storage) -> None:
        await user.sort("now")
        await user.claim("data", storageClassName="now", **spec)  # type: ignore[arg-type]

        async def said() -> bool:
            lead = f'failed to provision volume with StorageClass "now": {why}'
            return any(message.startswith(lead) for message in await user.told("data", "ProvisioningFailed"))

        await user.until(said, why, 60)

    tell(story)


def test_h5_classes_that_are_not_there_or_make_nothing() -> None:
    async def story(user: Storage) -> None:
        await user.claim("lost", storageClassName="none")
        await user.says("lost", "ProvisioningFailed", 'storageclass.storage.k8s.io "none" not found')
        await user.sort("local", "kubernetes.io/no-provisioner")
        await user.claim("local", storageClassName="local")
        await user.says("local", "ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner")

    tell(story)


def test_h6_retain_keeps_the_data_until_somebody_gives_it_away() -> None:
    async def story(user: Storage) -> None:
        await user.sort("kept", reclaimPolicy="Retain")
        first = await user.claim("data", storageClassName="kept")
        name = await user.bound("data")
        await user.pod("writer", "data")
        await user.running("writer")
        await user.delete("pod", "writer")
        await user.gone("pod", "writer")
        await user.delete("pvc", "data")
        await user.gone("pvc", "data")
        volume = await user.becomes("pv", name, "Released")
        assert volume["spec"]["claimRef"]["uid"] == first["metadata"]["uid"]
        await user.claim("next", storageClassName="kept")
        assert await user.bound("next") != name, "a released volume is nobody's"
        await user.patch("pv", name, {"spec": {"claimRef": None}})
        await user.becomes("pv", name, "Available")
        await user.claim("again", storageClassName="kept", volumeName=name)
        await user.bound("again", name)
        assert len(user.world.disk.volumes[name]) == 1, "what was written is still there"

    tell(story)


def test_h6_a_released_volume_whose_uid_is_cleared_waits_for_the_claim_of_that_name() -> None:
    async def story(user: Storage) -> None:
        await user.volume("pv", storageClassName="")
        await user.claim("data", storageClassName="")
        await user.bound("data", "pv")
        await user.delete("pvc", "data")
        await user.becomes("pv", "pv", "Released")
        await user.patch("pv", "pv", {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})
        await user.becomes("pv", "pv", "Available")
        await user.claim("other", storageClassName="")
        await user.calm()
        assert await user.phase("pvc", "other") == "Pending"
        await user.claim("data", storageClassName="")
        await user.bound("data", "pv")

    tell(story)


def test_h6_delete_removes_the_data() -> None:
    async def story(user: Storage) -> None:
        await user.sort("now")
        await user.claim("data", storageClassName="now")
        name = await user.bound("data")
        assert name in user.world.disk.volumes
        await user.delete("pvc", "data")
        await user.gone("pv", name)
        assert name not in user.world.disk.volumes

    tell(story)


def test_h7_a_claim_in_use_stays_until_its_pod_is_gone() -> None:
    async def story(user: Storage) -> None:
        await user.claim("data")
        await user.pod("user", "data")
        await user.running("user")
        await user.delete("pvc", "data")
        await user.calm()
        claim = await user.there("pvc", "data")
        assert claim["metadata"]["deletionTimestamp"]
        assert await user.phase("pod", "user") == "Running"
        await user.pod("late", "data")
        await user.cannot("late", '0/2 nodes are available: persistentvolumeclaim "data" is being deleted.')
        await user.delete("pod", "user")
        await user.gone("pvc", "data")
        await user.cannot("late", '0/2 nodes are available: persistentvolumeclaim "data" not found.')

    tell(story)


def test_h8_r16_a_claim_whose_volume_is_gone_is_lost_and_never_another_ones() -> None:
    async def story(user: Storage) -> None:
        await user.volume("pv")
        first = await user.claim("data", storageClassName="")
        await user.bound("data", "pv")
        await user.delete("pv", "pv")
        await user.calm(5)
        assert await user.phase("pv", "pv") == "Bound", "a volume in use stays"
        await user.patch("pv", "pv", {"metadata": {"finalizers": None}})
        await user.gone("pv", "pv")
        await user.becomes("pvc", "data", "Lost")
        await user.says("data", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
        await user.pod("p", "data")
        await user.cannot("p", '0/2 nodes are available: persistentvolumeclaim "data" bound to non-existent persistentvolume "pv".')

        await user.volume("pv")
        await user.claim("new", storageClassName="")
        await user.bound("new", "pv")
        await user.calm()
        assert await user.phase("pvc", "data") == "Lost"
        volume = await user.there("pv", "pv")
        assert volume["spec"]["claimRef"]["uid"] != first["metadata"]["uid"]

    tell(story)


def test_h8_a_volume_restored_for_its_claim_ends_the_loss() -> None:
    async def story(user: Storage) -> None:
        await user.volume("pv")
        await user.claim("data", storageClassName="")
        await user.bound("data", "pv")
        await user.delete("pv", "pv")
        await user.patch("pv", "pv", {"metadata": {"finalizers": None}})
        await user.becomes("pvc", "data", "Lost")
        await user.volume("pv", claimRef={"namespace": SPACE, "name": "data"})
        await user.bound("data", "pv")
        await user.pod("p", "data")
        await user.running("p")

    tell(story)


def test_h9_static_volumes_are_chosen_with_the_node() -> None:
    async def story(user: Storage) -> None:
        await user.sort("local", "kubernetes.io/no-provisioner", waits=True)
        for number in range(2):
            await user.volume(f"disk-{number}", "1Gi", node=f"node-{number}", storageClassName="local")
        await user.claim("data", storageClassName="local")
        await user.says("data", "WaitForFirstConsumer", CONSUMER)
        await user.pod("p", "data", nodeSelector={"kubernetes.io/hostname": "node-1"})
        assert await user.running("p") == "node-1"
        await user.bound("data", "disk-1")
        await user.claim("more", storageClassName="local")
        await user.pod("q", "more", nodeSelector={"kubernetes.io/hostname": "node-1"})
        why = "1 node(s) didn't find available persistent volumes to bind, 1 node(s) didn't match Pod's node affinity/selector"
        await user.cannot("q", f"0/2 nodes are available: {why}.")
        await user.volume("disk-2", "1Gi", node="node-1", storageClassName="local")
        await user.running("q")

    tell(story)


def test_h9_a_pod_follows_its_volume_and_waits_for_its_node() -> None:
    async def story(user: Storage) -> None:
        await user.volume("disk", node="node-1")
        await user.claim("data", storageClassName="")
        await user.bound("data", "disk")
        await user.pod("p", "data")
        assert await user.running("p") == "node-1"
        await user.delete("pod", "p")
        await user.gone("pod", "p")
        await user.world.processes["node-1"].halt()
        await user.delete("node", "node-1")
        await user.pod("p", "data")
        await user.cannot("p", "0/1 nodes are available: 1 node(s) had volume node affinity conflict.")

    tell(story)


def test_h9_topologies_that_a_class_allows() -> None:
    async def story(user: Storage) -> None:
        allowed = [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["node-1"]}]}]
        await user.sort("there", waits=True, allowedTopologies=allowed)
        await user.sort("there-now", allowedTopologies=allowed)
        await user.claim("data", storageClassName="there")
        await user.pod("p", "data")
        assert await user.running("p") == "node-1"
        await user.claim("more", storageClassName="there-now")
        await user.bound("more")
        await user.pod("q", "more")
        assert await user.running("q") == "node-1"

    tell(story)


def test_h4_a_claim_whose_chosen_node_is_gone_gets_another() -> None:
    async def story(user: Storage) -> None:
        await user.world.processes["node-1"].halt()
        await user.claim("data")
        metadata = {"annotations": {"volume.kubernetes.io/selected-node": "node-1"}}
        await user.patch("pvc", "data", {"metadata": metadata})
        await user.pod("p", "data")
        await user.calm()
        assert await user.phase("pod", "p") == "Pending"
        await user.delete("node", "node-1")
        assert await user.running("p") == "node-0"

    tell(story)


# Ephemeral volumes


def template(**spec: object) -> dict[str, object]:
    wanted = {"accessModes": modes("RWO"), "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"volumeClaimTemplate": {"metadata": {"labels": {"app": "x"}}, "spec": wanted}}


def test_h17_an_ephemeral_volume_is_a_claim_of_the_pod_and_goes_with_it() -> None:
    async def story(user: Storage) -> None:
        pod = await user.pod("p", volumes=[{"name": "scratch", "ephemeral": template()}])
        await user.running("p")
        volume = await user.bound("p-scratch")
        claim = await user.there("pvc", "p-scratch")
        (owner,) = claim["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Pod", pod["metadata"]["uid"], True)
        assert claim["metadata"]["labels"] == {"app": "x"}
        await user.delete("pod", "p")
        await user.gone("pvc", "p-scratch")
        await user.gone("pv", volume)

    tell(story)


def test_h17_another_claim_of_that_name_is_not_taken() -> None:
    async def story(user: Storage) -> None:
        await user.claim("p-scratch")
        await user.pod("p", volumes=[{"name": "scratch", "ephemeral": template()}])
        why = f"PVC {SPACE}/p-scratch was not created for pod {SPACE}/p (pod is not owner)"
        await user.says("p", "FailedBinding", f"ephemeral volume scratch: {why}")
        await user.cannot("p", f"0/2 nodes are available: {why}.")
        await user.delete("pvc", "p-scratch")
        await user.running("p")

    tell(story)
