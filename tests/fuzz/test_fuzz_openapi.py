"""The served OpenAPI documents, taken at their word: schemathesis makes requests from them, the server answers."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import hypothesis
import schemathesis

from tests.fuzz.mutation import TARGETS
from tests.fuzz.test_fuzz_server import ask
from tests.serving import api_server

Case = tuple[str, str, Any]
ROUND = 2
"""Examples of each operation in a slice."""


def cases(document: dict[str, Any], examples: int, seed: int) -> list[Case]:
    """(method, path, body) of requests that the document allows, or nearly so."""
    found: list[Case] = []

    def keep(case: Any) -> None:
        for parameter in set(case.path_parameters) & {"namespace"}:
            case.path_parameters[parameter] = "default"
        body = case.body if isinstance(case.body, dict | list | str | int | float | bool | None) else None
        found.append((case.method, case.formatted_path, None if body is None else json.dumps(body)))

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
                for method, path, body in await asyncio.to_thread(cases, document, ROUND if not minutes else 10, seed):
                    headers = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
                    answer = await ask(api, method, path, body, headers)
                    answered.add(answer.status)
            seed += 1
            if clock.time() >= until:
                break
        assert {200, 400, 404} <= answered
        assert (await api.get("/readyz")).status == 200
