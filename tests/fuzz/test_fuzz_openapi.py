"""The served OpenAPI documents, taken at their word: schemathesis makes requests from them, the server answers."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from urllib.parse import urlencode

import hypothesis
import schemathesis

from tests.fuzz.mutation import TARGETS
from tests.fuzz.test_fuzz_server import SECONDS, ask
from tests.serving import Api, api_server

Case = tuple[str, str, Any]
STREAMS = ("watch", "watchlist")
ROUND = 1
"""Examples of each operation in a slice."""


def cases(document: dict[str, Any], examples: int, seed: int) -> list[Case]:
    """(method, path, body) of requests that the document allows, or nearly so. Streams are named STREAM: nobody reads them out."""
    found: list[Case] = []

    def keep(case: Any) -> None:
        for parameter in set(case.path_parameters) & {"namespace"}:
            case.path_parameters[parameter] = "default"
        body = case.body if isinstance(case.body, dict | list | str | int | float | bool | None) else None
        query = {name: json.dumps(value) if isinstance(value, bool) else value for name, value in (case.query or {}).items()}
        streams = case.operation.definition.raw.get("x-kubernetes-action") in STREAMS or "true" in (
            query.get("watch"),
            query.get("follow"),
        )
        path = case.formatted_path + (f"?{urlencode(query, doseq=True)}" if query else "")
        found.append(("STREAM" if streams else case.method, path, None if body is None else json.dumps(body)))

    for operation in schemathesis.openapi.from_dict(document).get_all_operations():
        run = hypothesis.given(case=operation.ok().as_strategy())(keep)
        run = hypothesis.seed(seed)(run)
        hypothesis.settings(
            max_examples=examples,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )(run)()
    return found


async def begun(api: Api, path: str) -> int:
    """The status of a stream, which is left at once."""
    async with asyncio.timeout(SECONDS), api.open("GET", path) as answer:
        assert answer.status < 500, path
        answer.close()
        return answer.status


async def test_fuzz_requests_made_from_the_served_documents(tmp_path) -> None:
    minutes = float(os.environ.get("FUZZ_MINUTES") or 0)
    clock = asyncio.get_running_loop()
    until = clock.time() + minutes * 60 / TARGETS
    async with api_server(tmp_path) as api:
        index = (await api.get("/openapi/v3")).body["paths"]
        seed, answered = int(os.environ.get("FUZZ_SEED") or 0), set()
        while True:
            for where in index.values():
                document = (await api.get(where["serverRelativeURL"])).body
                for method, path, body in await asyncio.to_thread(cases, document, ROUND, seed):
                    if method == "STREAM":
                        answered.add(await begun(api, path))
                        continue
                    headers = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
                    answer = await ask(api, method, path, body, headers)
                    answered.add(answer.status)
            seed += 1
            if clock.time() >= until:
                break
        assert {200, 400, 404} <= answered
        assert (await api.get("/readyz")).status == 200
