"""Stock kubectl as a tool of tests: one client binary, one running system, one namespace of its own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import select
import struct
import subprocess
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.system import System, kubectl_path


def clients() -> list[str]:
    """The kubectl binaries to try: HOLDFAST_KUBECTLS (colon-separated), else the one on PATH."""
    named = os.environ.get("HOLDFAST_KUBECTLS", "")
    return [path for path in named.split(":") if path] or [kubectl_path()]


@dataclass(frozen=True)
class Kubectl:
    path: str
    system: System
    namespace: str

    @cached_property
    def minor(self) -> int:
        version = json.loads(self("version", "--client", "-o", "json"))["clientVersion"]
        return int(re.sub(r"\D.*", "", version["minor"]))

    def command(self, *arguments: str) -> list[str]:
        return [self.path, "-n", self.namespace, *arguments]

    def run(
        self, *arguments: str, stdin: str | bytes | None = None, timeout: float = 60, **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        whole = self.system.environment | env
        command = self.command(*arguments)
        return subprocess.run(command, env=whole, input=given, capture_output=True, timeout=timeout, check=False)

    def __call__(self, *arguments: str, stdin: str | bytes | None = None, timeout: float = 60, **env: str) -> str:
        """What it printed; it must succeed."""
        done = self.run(*arguments, stdin=stdin, timeout=timeout, **env)
        said = done.stderr.decode()
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {said}{done.stdout.decode()}\n{self.system.logs()}"
        return done.stdout.decode()

    def fails(self, *arguments: str, code: int = 1, **more: Any) -> str:
        """What it said while it failed with that exit code."""
        done = self.run(*arguments, **more)
        said = (done.stderr + done.stdout).decode()
        assert done.returncode == code, f"kubectl {' '.join(arguments)} ended with {done.returncode}: {said}"
        return said

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def rows(self, *arguments: str) -> list[list[str]]:
        """A printed table: its cells, the head first."""
        return [re.split(r"\s{2,}", line.strip()) for line in self(*arguments).splitlines()]

    def field(self, *arguments: str, path: str) -> str:
        return self("get", *arguments, "-o", f"jsonpath={{{path}}}")

    def wait_field(self, path: str, value: str, *objects: str, seconds: float = 60) -> None:
        """As ``kubectl wait --for=jsonpath=PATH=VALUE``, which kubectl before 1.23 has not."""
        for obj in objects:
            self.system.until(
                lambda obj=obj: self.field(obj, path=path.strip("{}")) == value,  # type: ignore[misc]
                f"{obj}: {path} is {value}",
                seconds,
            )

    def here(self, namespace: str) -> Kubectl:
        return replace(self, namespace=namespace)

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[Callable[[str], re.Match[str]]]:
        """kubectl in the background. The value waits for what its output matches (and keeps all the output)."""
        command = self.command(*arguments)
        process = subprocess.Popen(command, env=self.system.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout
        os.set_blocking(process.stdout.fileno(), False)
        output = ""

        def expect(pattern: str, seconds: float = 30) -> re.Match[str]:
            nonlocal output
            deadline = time.monotonic() + seconds
            while (found := re.search(pattern, output, re.MULTILINE)) is None:
                left = deadline - time.monotonic()
                assert left > 0, f"{pattern!r} is not in what kubectl {' '.join(arguments)} printed: {output}"
                assert process.stdout
                if select.select([process.stdout], [], [], left)[0]:
                    chunk = os.read(process.stdout.fileno(), 65536)
                    assert chunk, f"kubectl {' '.join(arguments)} ended before {pattern!r}: {output}"
                    output += chunk.decode()
            return found

        try:
            yield expect
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()

    def typed(self, *arguments: str, keys: str = "", size: tuple[int, int] = (33, 77), seconds: float = 30) -> tuple[int, str]:
        """(exit code, screen) of kubectl on a terminal of that many rows and columns, with these keys pressed."""
        outer, inner = os.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        command = self.command(*arguments)
        process = subprocess.Popen(command, env=self.system.environment, stdin=inner, stdout=inner, stderr=inner)
        os.close(inner)
        screen, deadline = b"", time.monotonic() + seconds
        try:
            os.write(outer, keys.encode())
            while time.monotonic() < deadline:
                if not select.select([outer], [], [], 1)[0]:
                    continue
                try:
                    chunk = os.read(outer, 65536)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    break  # the last holder of the terminal is gone
                if not chunk:
                    break
                screen += chunk
            return process.wait(max(1, deadline - time.monotonic())), screen.decode()
        finally:
            process.kill()
            process.wait()
            os.close(outer)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body.decode()


def manifest(directory: Path, name: str, *objects: dict[str, Any]) -> str:
    path = directory / name
    path.write_text("\n".join(json.dumps(o) for o in objects))
    return str(path)
