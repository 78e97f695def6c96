"""The recorded answers of a real API server, asked of ours again: requests in their order, answers compared field by field.

A record's placeholders (``<uid:3>``, ``<rv:7>``) are bound when they first appear in an answer and expected or sent from
then on. What may differ, where, and why stands in ``golden/differences.yaml`` and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.serving import Api

Record = dict[str, Any]
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
AREAS = ("read", "watch", "write", "patch", "subresources", "invalid", "defaults", "discovery")
"""Files replayed over HTTP. ``tables`` and ``statefulset`` have objects that nobody made through the API: see their own tests."""

_KINDS = {
    "uid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "rv": r"\d+",
    "continue": r"[A-Za-z0-9_=-]+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "rand": r"[a-z0-9.]+",
    "ip": r"[0-9a-f.:]+",
    "nodeport": r"\d+",
}
_PLACEHOLDER = re.compile(r"<(uid|rv|continue|time|rand|ip|nodeport|cert|token|host|path|hash|string|present)(:\d+)?>")
_ACCOUNT = re.compile(r"Bearer <token of serviceaccount ([^/]+)/([^>]+)>")
_TOKEN = re.compile(r"<token of serviceaccount ([^/>]+)/([^>]+)>")
_AGE = re.compile(r"(\d+[smhdy])+")
_REPEATED = re.compile(r"<(\d+) times (.*)>")
_BIG = re.compile(r"<(\w+) big,(?: revision 1,)? ([\w.]+) = (\d+) x>")
_DEEP = re.compile(r"<ControllerRevision deep, data = \{\"a\": nested (\d+) times\}>")
_MOMENTS = {"watch-059": "1463"}
"""Revisions that the recording left literal in requests: those of the moment before a record."""
_COMPARED_HEADERS = ("Content-Type", "Retry-After", "Cache-Control", "Vary", "X-Content-Type-Options", "Allow", "Location")
_PRESENT_HEADERS = ("Audit-Id", "Etag")
_SOME = {"<ip>": "10.96.200.200", "<time>": "2001-01-01T00:00:00Z"}
"""What goes out for a placeholder that stands for anything."""
_PATIENCE = 10.0


@dataclass(frozen=True)
class Difference:
    record: str
    path: str
    want: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.record} {self.path}: want {_short(self.want)} got {_short(self.got)}"


def _short(value: Any) -> str:
    return json.dumps(value)[:400]


@cache
def records(area: str) -> list[Record]:
    loaded: list[Record] = json.loads((GOLDEN / f"{area}.json").read_text())
    return loaded


@cache
def allowed() -> list[dict[str, Any]]:
    """Entries ``{records: [glob], paths: [glob], reason: text}``; ``without: [glob]`` instead of ``paths`` names members of
    a set that are not compared, on either side."""
    found: list[dict[str, Any]] = yaml.safe_load((GOLDEN / "differences.yaml").read_text()) or []
    return found


def reason_for(difference: Difference) -> str:
    """Why this difference is meant; "" when it is not."""
    for entry in allowed():
        if any(fnmatchcase(difference.record, glob) for glob in entry["records"]) and any(
            fnmatchcase(difference.path, glob) for glob in entry.get("paths", ())
        ):
            return str(entry["reason"])
    return ""


def _uncompared(record: str) -> list[str]:
    return [
        glob for entry in allowed() for glob in entry.get("without", ()) if any(fnmatchcase(record, each) for each in entry["records"])
    ]


def _without(value: Any, globs: list[str]) -> Any:
    """Members of objects and lists, known by their key, their text or their name, left out where a glob fits."""
    if isinstance(value, dict):
        return {name: _without(each, globs) for name, each in value.items() if not _fits(name, globs)}
    if isinstance(value, list):
        return [_without(each, globs) for each in value if not _fits(_named(each), globs)]
    return value


def _named(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name") or (value.get("metadata") or {}).get("name") or "")
    return value if isinstance(value, str) else ""


def _fits(name: str, globs: list[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


class Replay:
    """One file against one server."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._bound: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._literal: dict[str, str] = {}

    async def run(self, area: str, leave_out: Collection[str] = ()) -> list[Difference]:
        found: list[Difference] = []
        background: dict[str, asyncio.Task[list[Difference]]] = {}
        inner = [r for r in records(area) if "during_requests" in r]  # begun before the first of those requests, below
        waiting = [r for r in records(area) if r not in inner and r["id"] not in leave_out]
        while waiting:
            together = self._together(waiting)
            del waiting[: len(together)]
            if len(together) > 1:
                found += [d for found in await asyncio.gather(*map(self.one, together)) for d in found]
                continue
            record = together[0]
            starting = [r for r in inner if r["during_requests"][0] == record["id"]]
            for each in starting:
                background[each["id"]] = asyncio.create_task(self.one(each))
                await asyncio.sleep(0.4)
            if record["id"] in _MOMENTS:
                self._literal[f"resourceVersion={_MOMENTS[record['id']]}"] = f"resourceVersion={self._api.registry.cache.revision}"
            found += await self.one(record)
        for task in background.values():
            found += await task
        return found

    def _together(self, waiting: list[Record]) -> list[Record]:
        """The next record; where it is a watch, which mostly waits for its end, all watches up to the next that needs an answer."""
        count = 0
        while count < len(waiting) and "events" in waiting[count]["response"] and self._ready(waiting[count]):
            count += 1
        return waiting[: max(count, 1)]

    def _ready(self, record: Record) -> bool:
        return record["id"] not in _MOMENTS and not _PLACEHOLDER.search(self._filled(record["request"]["path"]))

    async def one(self, record: Record) -> list[Difference]:
        """Differences between the recorded answer and ours. A record that waited is asked until it agrees or time is over."""
        deadline = asyncio.get_running_loop().time() + (_PATIENCE if "wait" in record else 0)
        while True:
            bound = dict(self._bound)
            got = await self._answer(record)
            found = self._compare(record, got)
            if not found or asyncio.get_running_loop().time() >= deadline:
                return found
            if record["request"]["method"] == "GET":
                self._bound = bound
            await asyncio.sleep(0.05)

    async def _answer(self, record: Record) -> dict[str, Any]:
        request = record["request"]
        headers = {name: self._filled(value) for name, value in request.get("headers", {}).items()}
        api = self._api
        if (account := _ACCOUNT.fullmatch(headers.get("Authorization", ""))) is not None:
            del headers["Authorization"]
            api = api.with_token(await self._token(account[1], account[2]))
        elif "Authorization" in headers:
            api = api.with_token(headers.pop("Authorization").partition(" ")[2])
        body = request.get("body")
        if isinstance(body, str):
            body = _made(self._filled(body))
        elif body is not None:
            text = self._filled(json.dumps(body))
            for token in set(_TOKEN.findall(text)):
                text = text.replace(f"<token of serviceaccount {'/'.join(token)}>", await self._token(*token))
            body = json.dumps(json.loads(text))
        plain = Api(api.server, api.session, api.tls, {k: v for k, v in api.headers.items() if k == "Authorization"})
        plain.headers.setdefault("Accept", "")
        if "Accept" in headers:
            plain.headers.pop("Accept")
        if record["response"].get("end") == "cut by client":
            return await self._cut(plain, request, body, headers, len(record["response"]["events"]))
        answer = await plain.call(request["method"], self._filled(request["path"]), body, headers)
        got = {"status": answer.status, "headers": answer.headers, "body": answer.body, "warnings": answer.warnings}
        if "events" in record["response"]:
            got["events"] = [json.loads(line) for line in answer.raw.splitlines() if line.strip()] if answer.status == 200 else []
        return got

    async def _cut(self, api: Api, request: Record, body: Any, headers: dict[str, str], count: int) -> dict[str, Any]:
        events: list[Any] = []
        async with api.open(request["method"], self._filled(request["path"]), body, headers) as answer:
            try:
                async with asyncio.timeout(3):
                    while len(events) < count and (line := await answer.content.readline()):
                        events.append(json.loads(line))
            except TimeoutError:
                pass
            answer.close()
            warnings = answer.headers.getall("Warning", [])
            return {"status": answer.status, "headers": answer.headers, "body": None, "warnings": warnings, "events": events}

    async def _token(self, namespace: str, name: str) -> str:
        key = f"{namespace}/{name}"
        if key not in self._tokens:
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
            answer = await self._api.post(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
            self._tokens[key] = answer.body["status"]["token"]
        return self._tokens[key]

    def _filled(self, text: str) -> str:
        for literal, ours in self._literal.items():
            text = text.replace(literal, ours)
        return _PLACEHOLDER.sub(lambda match: self._bound.get(match[0], _SOME.get(match[0], match[0])), text)

    # Comparison.

    def _compare(self, record: Record, got: dict[str, Any]) -> list[Difference]:
        want = record["response"]
        found = self._values(record["id"], "status", want["status"], got["status"])
        for name, value in (want.get("headers") or {}).items():
            if name in _COMPARED_HEADERS:
                found += self._values(record["id"], f"headers.{name}", value, got["headers"].get(name, ""))
            elif name in _PRESENT_HEADERS and name not in got["headers"]:
                found.append(Difference(record["id"], f"headers.{name}", value, ""))
        if isinstance(want.get("body"), str) and want["body"].startswith("<"):
            pass  # described, not kept
        elif "body" in want:
            globs = _uncompared(record["id"])
            wanted, given = (_without(body, globs) if globs else body for body in (want["body"], got["body"]))
            wanted = self._at_its_moment(record, wanted, given)
            found += self._values(record["id"], "body", _loose(wanted), _loose(given))
        if "events" in want:
            found += self._values(record["id"], "events", _loose(want["events"]), _loose(got["events"]))
        return found + self._values(record["id"], "warnings", (want.get("headers") or {}).get("Warning", []), got["warnings"])

    def _at_its_moment(self, record: Record, want: Any, got: Any) -> Any:
        """A list's revision is the whole log's, and controllers write too: the first page may be of a later one than recorded."""
        recorded, ours = _list_revision(want), _list_revision(got)
        bound = self._bound.get(recorded, "")
        if not (bound and ours.isdigit()) or "continue=" in record["request"]["path"] or int(ours) <= int(bound):
            return want
        return want | {"metadata": want["metadata"] | {"resourceVersion": ours}}

    def _values(self, record: str, path: str, want: Any, got: Any) -> list[Difference]:
        if isinstance(want, dict) and isinstance(got, dict):
            found = []
            want = {self._filled(name): value for name, value in want.items()}
            for name in dict.fromkeys((*want, *got)):
                found += self._values(record, f"{path}.{name}", want.get(name), got.get(name))
            return found
        if isinstance(want, list) and isinstance(got, list):
            if len(want) != len(got):
                return [Difference(record, path, want, got)]
            return [d for i, (w, g) in enumerate(zip(want, got, strict=True)) for d in self._values(record, f"{path}.{i}", w, g)]
        if isinstance(want, str) and _PLACEHOLDER.search(want) and got is not None:
            return [] if self._matches(want, str(got)) else [Difference(record, path, self._filled(want), got)]
        return [] if want == got and isinstance(want, bool) == isinstance(got, bool) else [Difference(record, path, want, got)]

    def _matches(self, want: str, got: str) -> bool:
        """Whether a text with placeholders fits; binds the numbered ones that it saw first."""
        pattern, names, at = "", [], 0
        for match in _PLACEHOLDER.finditer(want):
            pattern += re.escape(want[at : match.start()])
            at = match.end()
            if match[0] in self._bound:
                pattern += re.escape(self._bound[match[0]])
            else:
                pattern += f"({_KINDS.get(match[1], '.*')})"
                names.append(match[0])
        fit = re.fullmatch(pattern + re.escape(want[at:]), got, re.DOTALL)
        if fit is None:
            return False
        for name, value in zip(names, fit.groups(), strict=True):
            if ":" in name:
                self._bound[name] = value
        return True


def _list_revision(body: Any) -> str:
    """Empty for what is no list."""
    if not isinstance(body, dict) or "items" not in body:
        return ""
    return str((body.get("metadata") or {}).get("resourceVersion", ""))


def _made(body: str) -> str:
    """A body that was too long to keep, made from its description."""
    if repeated := _REPEATED.fullmatch(body):
        return f"[{','.join([repeated[2]] * int(repeated[1]))}]"
    if big := _BIG.fullmatch(body):
        kind, way, size = big[1], big[2].split("."), int(big[3])
        made: dict[str, Any] = {"apiVersion": "v1" if kind == "ConfigMap" else "apps/v1", "kind": kind, "metadata": {"name": "big"}}
        if kind == "ControllerRevision":
            made["revision"] = 1
        place = made
        for step in way[:-1]:
            place = place.setdefault(step, {})
        place[way[-1]] = "x" * size
        return json.dumps(made)
    if deep := _DEEP.fullmatch(body):
        depth = int(deep[1])
        head = '{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"deep"},"revision":1,"data":{"a":'
        return head + '{"a":' * depth + "1" + "}" * depth + "}}"
    return body


def _in_any_order(status: dict[str, Any]) -> dict[str, Any]:
    """A 422 reports a set of faults; upstream lists it as its code walks, we as the schema does. Its text repeats the causes."""
    causes = (status.get("details") or {}).get("causes") or []
    if status.get("reason") != "Invalid" or len(causes) < 2:
        return status
    ordered = sorted(causes, key=lambda cause: (cause.get("field", ""), cause.get("message", "")))
    texts = [f"{cause.get('field')}: {cause.get('message')}" for cause in causes]
    message = str(status.get("message"))
    lead, bracket, rest = message.partition(" is invalid: [")
    if bracket and rest.removesuffix("]") == ", ".join(dict.fromkeys(texts)):
        message = f"{lead}{bracket}{', '.join(dict.fromkeys(sorted(texts)))}]"
    return status | {"message": message, "details": status["details"] | {"causes": ordered}}


def _loose(value: Any) -> Any:
    """Times, ages in table cells, the order of managedFields and that of several faults do not count."""
    if isinstance(value, list):
        return [_loose(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = _in_any_order({name: _loose(item) for name, item in value.items()})
    if isinstance(out.get("cells"), list):
        out["cells"] = ["<age>" if isinstance(cell, str) and _AGE.fullmatch(cell) else cell for cell in out["cells"]]
    if isinstance(out.get("managedFields"), list):
        entries = [{n: v for n, v in entry.items() if n != "time"} for entry in out["managedFields"]]
        out["managedFields"] = sorted(entries, key=lambda e: (e.get("manager", ""), e.get("operation", ""), e.get("subresource", "")))
    return out
