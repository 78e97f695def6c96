"""Decoders, patches, selectors, quantities and frames, fed with crooked input: a refusal in our own words, or a result; never else.

Inputs that once broke something are tests of their own, below the target that found them.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from holdfast.kinds.builtin import builtin_table
from holdfast.lib import spdy
from holdfast.machinery import patch, quantity, selectors, wire
from holdfast.machinery.decode import decode, duplicate_fields, parse_json
from holdfast.machinery.default import apply_defaults
from holdfast.machinery.errors import ApiError
from holdfast.machinery.strategic import strategic_merge
from holdfast.machinery.validate import validate
from holdfast.server import bodies
from holdfast.server.deadlines import duration
from holdfast.server.routes import segments
from tests.fuzz.mutation import SECONDS, crooked, damaged, rounds, tree

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "d", "labels": {"a": "b"}, "finalizers": ["x/y"]},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "env": [{"name": "A", "value": "b"}],
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 1}],
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": []}]}}
        },
    },
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
NAMES = sorted(
    {name for name in orjson.dumps(POD).decode().replace('"', " ").split() if name.isalnum()}
    | {"$patch", "$retainKeys", "$deleteFromPrimitiveList/finalizers", "$setElementOrder/containers"}
)


def survives(work: Callable[[], object], what: object, *refusals: type[Exception]) -> None:
    """``work`` returns or refuses, soon."""
    begun = time.monotonic()
    try:
        work()
    except ApiError as error:
        if error.code >= 500:
            raise AssertionError(f"{error} from {what!r}"[:2000]) from error
        orjson.dumps(error.status())
    except refusals:
        pass
    except Exception as error:
        raise AssertionError(f"{error!r} from {what!r}"[:2000]) from error
    assert time.monotonic() - begun < SECONDS, what


def test_sec_34_fuzz_json() -> None:
    for rng in rounds(4000):
        raw = damaged(rng, orjson.dumps(tree(rng, NAMES)))

        def work(raw: bytes = raw) -> None:
            duplicate_fields(raw, parse_json(raw))

        survives(work, raw)


def test_sec_33_fuzz_yaml() -> None:
    sample = b'a: {b: [1, 2.5, yes, ~, !!int 7, 0x1f, 1:30, .5, 2001-01-01]}\nc:\n- |\n  text\n- &x {<<: {d: e}}\n? f\n: "g\\n"\n'
    for rng in rounds(1500):
        raw = damaged(rng, sample)
        survives(lambda raw=raw: bodies.parse_yaml(raw), raw)


def test_sec_34_fuzz_protobuf() -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    meta = field(1, field(1, b"name") + field(3, b"default") + field(11, field(1, b"a") + field(2, b"b")))
    for kind in (b"ConfigMap", b"Secret"):
        sample = b"k8s\0" + field(1, field(1, b"v1") + field(2, kind)) + field(2, meta + field(2, field(1, b"k") + field(2, b"v")))
        assert wire.decode_body(sample)["metadata"]["name"] == "name"
        for rng in rounds(1500):
            raw = sample[:4] + damaged(rng, sample[4:])
            survives(lambda raw=raw: wire.decode_body(raw), raw)


@pytest.mark.parametrize("kind", ["json", "merge", "strategic"])
def test_sec_35_fuzz_patches(kind: str) -> None:
    schema = builtin_table().lookup("", "v1", "pods").schema
    paths = [
        "",
        "/",
        "/metadata",
        "/metadata/labels/a",
        "/spec/containers/0",
        "/spec/containers/-",
        "/spec/containers/9",
        "/a~1b",
        "/~",
        "x",
        "/spec/volumes",
    ]
    for rng in rounds(2500):
        if kind == "json":
            given: Any = [
                crooked(
                    rng,
                    {
                        "op": rng.choice(("add", "remove", "replace", "move", "copy", "test")),
                        "path": rng.choice(paths),
                        "from": rng.choice(paths),
                        "value": tree(rng, NAMES, 2),
                    },
                    NAMES,
                )
                for _ in range(rng.randrange(6))
            ]
            survives(lambda given=given: patch.json_patch(POD, given), given)
        else:
            given = crooked(rng, {name: POD[name] for name in rng.sample(sorted(POD), 3)}, NAMES)
            apply = patch.merge_patch if kind == "merge" else lambda old, new: strategic_merge(schema, old, new)
            if isinstance(given, dict):
                survives(lambda given=given, apply=apply: apply(POD, given), given)


def test_fuzz_objects_through_decode_default_and_validate() -> None:
    schema = builtin_table().lookup("", "v1", "pods").schema
    for rng in rounds(3000):
        given = crooked(rng, POD, NAMES)

        def work(given: Any = given) -> None:
            body, _ = decode(schema, given)
            if isinstance(body, dict):
                apply_defaults(schema, body)
                validate(schema, body)

        survives(work, given)


def test_sec_36_fuzz_selectors_quantities_durations_and_paths() -> None:
    parsers: list[tuple[Callable[[str], object], bytes]] = [
        (selectors.parse_label_selector, b"a=b,c!=d,e in (f,g),h notin (i),!j,k>1,l < 2,x.y/z==w"),
        (selectors.parse_field_selector, b"metadata.name=a,spec.nodeName!=b,status.phase==c"),
        (quantity.parse, b"-12.5Gi"),
        (quantity.to_millis, b"1e3"),
        (duration, b"1h30m1.5s"),
        (segments, b"/api/v1/namespaces/a%2fb/pods"),
    ]
    for rng in rounds(1500):
        for parse, sample in parsers:
            text = damaged(rng, sample).decode(errors="replace")
            survives(lambda parse=parse, text=text: parse(text), (parse.__name__, text), ValueError)


def test_fuzz_spdy_frames() -> None:
    async def drain() -> None:
        return None

    sent = bytearray()
    client = spdy.Session(sent.extend, drain, client=True)
    for number in range(3):
        stream = client.open({"streamtype": "data", "port": str(number)})
        client.send_data(stream.id, b"hello")
        client.send_control(spdy.PING, struct.pack(">I", 1))
        client.send_control(spdy.WINDOW_UPDATE, struct.pack(">II", stream.id, 100))
        client.send_control(spdy.SETTINGS, struct.pack(">III", 1, spdy._SETTING_INITIAL_WINDOW, 1000))
    client.send_control(spdy.RST_STREAM, struct.pack(">II", 1, 5))
    client.close()
    for rng in rounds(4000):
        raw = damaged(rng, bytes(sent))

        def work(raw: bytes = raw) -> None:
            session = spdy.Session(lambda data: None, drain)
            for at in range(0, len(raw), 37):
                session.feed(raw[at : at + 37])

        survives(work, raw, spdy.SpdyError)


def test_sec_36_long_lists_cost_no_more_than_their_length() -> None:
    schema = builtin_table().lookup("", "v1", "pods").schema

    def pod(letter: str) -> dict[str, Any]:
        env = [{"name": f"{letter}{number}", "value": "x"} for number in range(10_000)]
        return {"spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}

    live, given = pod("A"), pod("B")
    given["spec"]["containers"][0]["$setElementOrder/env"] = [{"name": f"B{number}"} for number in range(10_000)]
    merged: list[Any] = []
    survives(lambda: merged.append(strategic_merge(schema, live, given)), "strategic merge")
    assert len(merged[0]["spec"]["containers"][0]["env"]) == 20_000
    survives(lambda: validate(schema, merged[0], live), "validation")
