"""A small client of our own for the command line: one HTTPS connection, the standard library only.

``up -f`` sends manifests with it, ``status`` and ``demo`` read with it, and ``demo`` falls back to it
where there is no kubectl. Tables are the server's own (``as=Table``), so what it prints is what
kubectl prints. ``exec`` speaks WebSocket (``v4.channel.k8s.io``) through aiohttp, imported when used.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from holdfast.cli.errors import UserError
from holdfast.cli.kubeconfig import Access, load

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Refused(UserError):
    """The server refused a request; ``status`` is its Status object."""

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__(str(status.get("message") or status))
        self.status = status


class Unreachable(UserError):
    """Nobody answered; ``text`` says who and why, the message also what to do."""

    def __init__(self, server: str, error: Exception) -> None:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self.text = f"the API at {server} does not answer ({why})"
        super().__init__(f"{self.text}; `holdfast status` shows what runs, `holdfast up` starts it")


class Kube:
    """Talks to the server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path | Access) -> None:
        access = kubeconfig if isinstance(kubeconfig, Access) else load([kubeconfig])
        self.server, self.tls, self.namespace = access.server, access.tls, access.namespace
        self._headers = access.headers
        self._connection: http.client.HTTPConnection | None = None
        self._paths: dict[tuple[str, str], tuple[str, bool]] = {}

    def _open(self, timeout: float | None = 70) -> http.client.HTTPConnection:
        where = urlsplit(self.server)
        if self.tls is None:
            return http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
        return http.client.HTTPSConnection(where.hostname or "", where.port, context=self.tls, timeout=timeout)

    def _path(self, path: str) -> str:
        """A server may live below a path (a proxy's)."""
        return urlsplit(self.server).path + path

    def raw(
        self, method: str, path: str, body: Any = None, *, accept: str = "application/json", content: str = ""
    ) -> tuple[int, bytes]:
        """One request; a kept connection that the server closed meanwhile is opened anew (reads only)."""
        headers = {"Accept": accept, "User-Agent": "holdfast-cli", **self._headers}
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = content or "application/json"
        for attempt in (0, 1):
            connection = self._connection or self._open()
            self._connection = connection
            try:
                connection.request(method, self._path(path), data, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, ConnectionResetError, BrokenPipeError):
                connection.close()
                self._connection = None
                if attempt or method != "GET":
                    raise
        raise AssertionError("unreachable")

    def request(self, method: str, path: str, body: Any = None, *, accept: str = "application/json", content: str = "") -> Any:
        """What the server answers, decoded. Raises Refused, Unreachable."""
        try:
            code, answer = self.raw(method, path, body, accept=accept, content=content)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self.server, error) from error
        try:
            decoded = orjson.loads(answer)
        except ValueError:
            decoded = {"message": answer.decode(errors="replace").strip()}
        if code >= 400:
            raise Refused(decoded)
        return decoded

    def ready(self) -> bool:
        try:
            return self.raw("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def collection(self, api_version: str, kind: str, namespace: str) -> str:
        """The URL path where objects of a kind live. Raises UserError for a kind that is not served."""
        found = self._paths.get((api_version, kind))
        if found is None:
            root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            try:
                served = self.request("GET", root)["resources"]
            except Refused:
                served = []
            for entry in served:
                if "/" not in entry["name"]:
                    self._paths[(api_version, entry["kind"])] = (f"{root}/{{}}{entry['name']}", entry["namespaced"])
            found = self._paths.get((api_version, kind))
            if found is None:
                raise UserError(f"this server has no kind {kind} in {api_version}")
        pattern, namespaced = found
        return pattern.format(f"namespaces/{namespace}/" if namespaced else "")

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        namespace = obj.get("metadata", {}).get("namespace") or "default"
        path = self.collection(obj["apiVersion"], obj["kind"], namespace) + "?fieldValidation=Strict"
        created: dict[str, Any] = self.request("POST", path, obj)
        return created

    def watch(self, path: str, **options: str) -> Iterator[dict[str, Any]]:
        """Watch events of a collection until the caller stops; opens a connection of its own."""
        connection = self._open(timeout=None)
        try:
            where = self._path(f"{path}?{urlencode({'watch': '1', **options})}")
            connection.request("GET", where, headers={"Accept": "application/json", **self._headers})
            answer = connection.getresponse()
            while line := answer.readline():
                yield orjson.loads(line)
        finally:
            connection.close()

    def table(self, path: str) -> str:
        """A collection as kubectl would print it (narrow columns)."""
        table = self.request("GET", path, accept=_TABLE)
        columns = [i for i, column in enumerate(table["columnDefinitions"]) if not column["priority"]]
        rows = [[table["columnDefinitions"][i]["name"].upper() for i in columns]]
        rows += [[str(row["cells"][i]) for i in columns] for row in table["rows"]]
        widths = [max(len(row[i]) for row in rows) + 3 for i in range(len(columns))]
        return "\n".join("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)

    def exec(self, pod: str, command: list[str], namespace: str = "default", stdin: bytes = b"") -> tuple[int, str]:
        """Runs a command in a pod; (exit code, stdout and stderr together)."""
        return asyncio.run(self._exec(pod, command, namespace, stdin))

    async def _exec(self, pod: str, command: list[str], namespace: str, stdin: bytes) -> tuple[int, str]:
        import aiohttp

        query = "&".join(["stdout=1", "stderr=1", *(["stdin=1"] if stdin else []), *(f"command={quote(c)}" for c in command)])
        url = f"{self.server}/api/v1/namespaces/{namespace}/pods/{pod}/exec?{query}"
        output: list[bytes] = []
        code = 0
        async with aiohttp.ClientSession() as session:
            try:
                socket = await session.ws_connect(url, ssl=self.tls or False, headers=self._headers, protocols=("v4.channel.k8s.io",))
            except aiohttp.WSServerHandshakeError as error:
                raise UserError(f"exec in {pod}: {error.message}") from error
            async with socket:
                if stdin:
                    await socket.send_bytes(b"\x00" + stdin)
                async for message in socket:
                    data: bytes = message.data
                    if data[:1] in (b"\x01", b"\x02"):
                        output.append(data[1:])
                    elif data[:1] == b"\x03":
                        code = exit_code(orjson.loads(data[1:]))
        return code, b"".join(output).decode(errors="replace")


def exit_code(status: dict[str, Any]) -> int:
    """The exit code that an exec's final Status carries."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    return 1
