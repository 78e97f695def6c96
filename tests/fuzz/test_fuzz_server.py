"""A whole server under crooked requests: every verb on every kind, options, continue tokens, patches, raw bytes.

No answer of 500 or more but the ones that were asked for (504 after a timeout), none later than two seconds, every
refusal a Status, and no more memory afterwards than before.
"""

from __future__ import annotations

import base64
import random
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from tests.fuzz.mutation import SECONDS, crooked, damaged, rounds, tree
from tests.fuzz.test_fuzz_parts import NAMES, POD
from tests.serving import Answer, Api, api_server

MEMORY = 96 << 20
"""What a run may add: caches, the objects that were really stored, the allocator's slack."""
OPTIONS = {
    "limit": ["1", "0", "-1", "x", "9" * 30],
    "continue": ["x", "e30=", "A" * 50],
    "resourceVersion": ["0", "1", "x", "-1", "9" * 30],
    "resourceVersionMatch": ["Exact", "NotOlderThan", "x"],
    "labelSelector": ["a=b", "a in (b", "!", "a>1,b"],
    "fieldSelector": ["metadata.name=a", "x", "="],
    "dryRun": ["All", "x"],
    "fieldValidation": ["Strict", "Warn", "Ignore", "x"],
    "fieldManager": ["m", "x" * 200, "\n"],
    "force": ["true", "x"],
    "propagationPolicy": ["Orphan", "Foreground", "x"],
    "gracePeriodSeconds": ["0", "-1", "x"],
    "timeout": ["1s", "x"],
    "pretty": ["true"],
    "orphanDependents": ["true", "x"],
    "watch": ["0", "false"],
}
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
ACCEPTS = (
    "application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "x/y",
)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def ask(api: Api, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
    begun = time.monotonic()
    answer = await api.call(method, path, body, headers)
    what = (method, path, body, headers)
    assert time.monotonic() - begun < SECONDS + 1.5, what  # a revision that is to come is waited for
    nobody_there = "/proxy" in path  # as upstream: a Service without endpoints, a Node without an address
    assert answer.status < 500 or nobody_there or answer.body["reason"] == "Timeout", (what, answer.raw[:500])
    if answer.status >= 400:
        assert answer.body["kind"] == "Status", what
    return answer


def sample(kind: Any, name: str) -> dict[str, Any]:
    """An object that is nearly one of its kind: its schema's own field names, a pod's contents where they fit."""
    resource = kind.resource
    fields = {field: POD["spec"] if field == "spec" else {} for field in kind.schema.properties if field in ("spec", "data")}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]}
    if "spec" in fields and resource.plural != "pods":
        fields["spec"] = {
            "selector": {"matchLabels": {"a": "b"}},
            "template": template,
            "replicas": 1,
            "serviceName": "s",
            "ports": [{"port": 80}],
        }
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **fields}


def options(rng: random.Random, token: str) -> str:
    chosen = rng.sample(sorted(OPTIONS), rng.randrange(4))
    pairs = [(name, rng.choice(OPTIONS[name])) for name in chosen]
    if token and rng.random() < 0.1:
        pairs.append(("continue", damaged(rng, token.encode()).decode(errors="replace")))
    return "&".join(f"{name}={quote(value)}" for name, value in pairs)


async def one_round(api: Api, rng: random.Random, kind: Any, token: str) -> Answer:
    resource = kind.resource
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    collection = f"{base}/namespaces/default/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"
    name = rng.choice(("a", "b", "c"))
    subresource = rng.choice(["", "", "", *kind.subresources])
    path = rng.choice((collection, f"{collection}/{name}", f"{collection}/{name}/{subresource}".rstrip("/")))
    method = rng.choice(("GET", "POST", "PUT", "PATCH", "DELETE"))
    if method == "DELETE" and resource.plural in ("clusterroles", "clusterrolebindings", "namespaces", "serviceaccounts"):
        path = f"{collection}/{name}"
    headers = {
        "Accept": rng.choice(ACCEPTS),
        "Content-Type": rng.choice(("application/json",) * 6 + PATCHES + ("application/yaml", "x/y")),
    }
    if method == "PATCH" and rng.random() < 0.9:
        headers["Content-Type"] = rng.choice(PATCHES)
    given = sample(kind, name)
    names = sorted({*NAMES, *kind.schema.properties})
    body: Any = crooked(rng, given, names)
    if headers["Content-Type"] == PATCHES[0]:
        body = [crooked(rng, {"op": "add", "path": f"/{rng.choice(names)}", "value": tree(rng, names, 2)}, names)]
    if method == "DELETE":
        body = rng.choice((None, crooked(rng, {"kind": "DeleteOptions", "preconditions": {"uid": "x"}, "dryRun": ["All"]}, names)))
    if method == "GET":
        body = None
    elif rng.random() < 0.1:
        body = damaged(rng, orjson.dumps(body))
    return await ask(api, method, f"{path}?{options(rng, token)}", body, headers)


async def test_fuzz_every_verb_on_every_kind(tmp_path) -> None:
    async with api_server(tmp_path) as api:
        kinds = [kind for kind in api.registry.kinds if not kind.resource.plural.endswith("reviews")]
        before, statuses, token = 0, set(), ""
        for number, rng in enumerate(rounds(2500)):
            answer = await one_round(api, rng, rng.choice(kinds), token)
            statuses.add(answer.status)
            found = answer.body.get("metadata") if isinstance(answer.body, dict) else None
            token = (found or {}).get("continue") or token
            if number == 800:
                before = resident()
        assert {200, 201, 400, 404, 405, 409, 415, 422} <= statuses
        assert resident() - before < MEMORY
        assert (await api.get("/readyz")).status == 200


async def test_what_once_broke_the_server_is_refused(tmp_path) -> None:
    """Found by the targets above, each with its mechanism mended."""
    async with api_server(tmp_path) as api:
        for query in ("x=%00", "x=a%0D%0AY:%20z"):
            answer = await api.get(f"/api/v1/nodes/n/proxy?{query}")
            assert (answer.status, answer.headers["Location"]) == (301, f"/api/v1/nodes/n/proxy/?{query}")
        endless = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: m, generation: " + b"9" * 309 + b"}\n"
        answer = await api.call("POST", "/api/v1/namespaces/default/configmaps", endless, {"Content-Type": "application/yaml"})
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
        bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        given = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": ["x"]}
        assert (await api.put(bindings + "/c", given)).status == 400
        assert (await api.get(f"/api/v1/pods?resourceVersion={'9' * 5000}")).status == 400
        huge = base64.urlsafe_b64encode(b'{"v":"meta.k8s.io/v1","rv":18446744073709551615,"start":"a"}').decode()
        lone = base64.urlsafe_b64encode(b'{"v":"meta.k8s.io/v1","rv":1,"start":"\\ud800"}').decode()
        for token in ("%EF%BF%BD", "%00", "A", huge, lone):
            assert (await api.get(f"/api/v1/pods?continue={token}")).status == 400, token
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        await api.post("/api/v1/namespaces/default/pods", pod)
        for directive in ({"$retainKeys": -1}, {"$setElementOrder/containers": 1}, {"$deleteFromPrimitiveList/finalizers": "x"}):
            answer = await api.patch("/api/v1/namespaces/default/pods/p", {"spec": directive}, PATCHES[2])
            assert answer.status == 400, directive
        pod["spec"]["containers"][0]["volumeMounts"] = [None]  # type: ignore[index]
        assert (await api.post("/api/v1/namespaces/default/pods", pod)).status in (409, 422)
