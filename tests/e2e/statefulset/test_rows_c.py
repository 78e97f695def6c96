"""C: identity."""

from __future__ import annotations

from tests.e2e.statefulset.rows import Rows, owners, refused, statefulset, uids


def _labels(pod: dict[str, dict[str, dict[str, str]]]) -> dict[str, str]:
    return pod["metadata"]["labels"]


def test_c1_names_and_labels(rows: Rows) -> None:
    """Upstream: should provide basic identity."""
    rows.create(statefulset(replicas=2, claims=True))
    for number, (name, pod) in enumerate(sorted(rows.wait("web-0", "web-1").items())):
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == (name, "web")
        revision = rows.set()["status"]["updateRevision"]
        wanted = {
            "app": "web",
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(number),
            "controller-revision-hash": revision,
        }
        assert _labels(pod) == wanted
        claim = {"name": "www", "persistentVolumeClaim": {"claimName": f"www-{name}"}}
        assert claim in pod["spec"]["volumes"]
        assert owners(pod) == [("StatefulSet", "web")]


def test_c2_a_deleted_member_comes_back_as_it_was(rows: Rows) -> None:
    rows.create(statefulset(replicas=2, claims=True))
    before, claims = uids(rows.wait("web-0", "web-1")), uids(rows.all("persistentvolumeclaims"))
    rows.kubectl("delete", "pod", "web-1")
    rows.until(lambda: uids(rows.pods()).get("web-1", before["web-1"]) != before["web-1"], "another web-1")
    after = uids(rows.wait("web-0", "web-1"))
    assert after["web-0"] == before["web-0"]
    assert uids(rows.all("persistentvolumeclaims")) == claims
    assert rows.pods()["web-1"]["spec"]["hostname"] == "web-1"


def test_c3_c4_hostname_and_index_inside(rows: Rows) -> None:
    made = statefulset(replicas=1)
    index = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "INDEX", "valueFrom": index}]
    made["spec"]["ordinals"] = {"start": 3}
    rows.create(made)
    spec = rows.wait("web-3")["web-3"]["spec"]
    if rows.runtime == "simulated":  # nothing runs inside: what would say it is in the pod
        assert (spec["hostname"], spec["subdomain"], spec["containers"][0]["env"][0]["name"]) == ("web-3", "web", "INDEX")
        assert _labels(rows.pods()["web-3"])["apps.kubernetes.io/pod-index"] == "3"
        assert refused(rows.kubectl.run("exec", "web-3", "--", "hostname"))
        return
    assert rows.kubectl("exec", "web-3", "--", "hostname") == "web-3\n"
    assert rows.kubectl("exec", "web-3", "--", "hostname", "-f") == f"web-3.web.{rows.namespace}.svc.cluster.local\n"
    assert rows.kubectl("exec", "web-3", "--", "sh", "-c", "echo $INDEX") == "3\n"


def test_c5_adoption_and_c6_release(rows: Rows) -> None:
    """Upstream: should adopt matching orphans and release non-matching pods."""
    rows.create(statefulset(replicas=1))
    uid = uids(rows.wait("web-0"))["web-0"]
    rows.patch("pods", "web-0", {"metadata": {"ownerReferences": None}})
    rows.until(lambda: owners(rows.get("pods", "web-0")) == [("StatefulSet", "web")], "it is adopted again")
    assert uids(rows.pods())["web-0"] == uid
    rows.patch("pods", "web-0", {"metadata": {"labels": {"app": "other"}}})
    rows.until(lambda: owners(rows.get("pods", "web-0")) == [], "it is released")
    rows.until(lambda: any(reason == "FailedCreate" for _, reason, _ in rows.events()), "its name is taken")
    assert uids(rows.pods())["web-0"] == uid
    rows.patch("pods", "web-0", {"metadata": {"labels": {"app": "web"}}})
    rows.until(lambda: owners(rows.get("pods", "web-0")) == [("StatefulSet", "web")], "it is adopted once more")
    assert uids(rows.pods())["web-0"] == uid
    rows.patch("pods", "web-0", {"metadata": {"labels": {"app": "other"}}})
    rows.until(lambda: owners(rows.get("pods", "web-0")) == [], "it is released again")
    rows.kubectl("delete", "pod", "web-0", "--wait=false")
    rows.until(lambda: uids(rows.pods()).get("web-0", uid) != uid, "once the name is free there is another web-0")
    assert owners(rows.wait("web-0")["web-0"]) == [("StatefulSet", "web")]


def test_c7_orphans_are_taken_up_again(rows: Rows) -> None:
    rows.create(statefulset(replicas=2))
    before = uids(rows.wait("web-0", "web-1"))
    old = rows.set()["metadata"]["uid"]
    rows.kubectl("delete", "statefulset", "web", "--cascade=orphan")
    rows.until(lambda: "web" not in rows.all("statefulsets"), "the set is gone")
    assert all(owners(pod) == [] for pod in rows.pods().values())
    rows.create(statefulset(replicas=2))
    assert rows.set()["metadata"]["uid"] != old
    rows.until(lambda: all(owners(pod) for pod in rows.pods().values()), "both are adopted")
    rows.rest()
    assert uids(rows.wait("web-0", "web-1")) == before


def test_c8_a_foreign_pod_of_a_members_name_is_left_alone(rows: Rows) -> None:
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"]}
    foreign = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"}, "spec": {"containers": [container]}}
    rows.create(foreign)
    uid = rows.get("pods", "web-1")["metadata"]["uid"]
    rows.create(statefulset(replicas=2))
    rows.until(lambda: any((kind, reason) == ("Warning", "FailedCreate") for kind, reason, _ in rows.events()), "it is told")
    told = next(message for _, reason, message in rows.events() if reason == "FailedCreate")
    assert told == 'create Pod web-1 in StatefulSet web failed error: pods "web-1" already exists'
    assert rows.get("pods", "web-1")["metadata"]["uid"] == uid
    assert owners(rows.get("pods", "web-1")) == []


def test_c9_identity_is_repaired(rows: Rows) -> None:
    rows.create(statefulset(replicas=1))
    uid = uids(rows.wait("web-0"))["web-0"]
    label = "statefulset.kubernetes.io/pod-name"
    rows.patch("pods", "web-0", {"metadata": {"labels": {label: None, "apps.kubernetes.io/pod-index": "7"}}})
    rows.until(lambda: _labels(rows.pods()["web-0"]).get(label) == "web-0", "the label is back")
    assert _labels(rows.pods()["web-0"])["apps.kubernetes.io/pod-index"] == "0"
    assert uids(rows.pods())["web-0"] == uid
