"""Sources of volumes: what is written is what is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.kinds import sources
from holdfast.kinds.sources import RBD, Backend

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
secrets = st.none() | st.tuples(names, names)
mounted = {"fs_type": st.sampled_from(["", "ext4", "xfs"]), "read_only": st.booleans()}
monitors = st.lists(st.sampled_from(["10.0.0.1:6789", "[::1]:6789", "ceph"]), min_size=1, max_size=3).map(",".join)
rbd = st.fixed_dictionaries({"monitors": monitors, "pool": names, "image": names}, optional={"user": names, "keyring": names})
backends = st.builds(Backend, names, names, st.dictionaries(names, names, max_size=2), secrets, **mounted) | st.builds(
    lambda given, secret, fs_type, read_only: Backend(RBD, f"{given['pool']}/{given['image']}", given, secret, fs_type, read_only),
    rbd,
    secrets,
    *mounted.values(),
)


@given(backends)
def test_what_is_written_is_what_is_read(backend: Backend) -> None:
    assert sources.read(sources.write(backend), "elsewhere") == backend


def test_a_secret_that_is_no_text_is_left_to_the_engine() -> None:
    assert sources.secret_data({"data": {"key": "QVFBQQ==", "odd": "/w=="}}) == {"key": "AQAA", "odd": "\ufffd"}
    assert sources.secret_data({}) == {}


def test_what_an_administrator_writes() -> None:
    spec = {"rbd": {"monitors": ["a:1", "b:2"], "image": "foo", "pool": "kube", "user": "u", "secretRef": {"name": "s"}}}
    found = sources.read(spec, "of-the-claim")
    assert found == Backend(
        RBD, "kube/foo", {"monitors": "a:1,b:2", "image": "foo", "pool": "kube", "user": "u"}, ("of-the-claim", "s"), "", False
    )
    assert sources.read({"emptyDir": {}}, "n") is None
    assert sources.read({"hostPath": {"path": "/x"}}, "n") is None
