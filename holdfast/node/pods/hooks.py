"""Life-cycle hooks: postStart after the start, preStop before the stop signal; a command, an HTTP GET, or a pause."""

from __future__ import annotations

import asyncio

from holdfast.kinds.kind import Obj
from holdfast.node.pods.probes import Prober, Target
from holdfast.node.runtimes.api import RuntimeFailure


class HookError(Exception):
    """The hook failed; the text says how."""


def post_start(container: Obj) -> Obj | None:
    hook: Obj | None = (container.get("lifecycle") or {}).get("postStart")
    return hook


def pre_stop(container: Obj) -> Obj | None:
    hook: Obj | None = (container.get("lifecycle") or {}).get("preStop")
    return hook


async def run_hook(prober: Prober, hook: Obj, container: Obj, target: Target) -> None:
    """Raises HookError. The caller bounds the time."""
    try:
        if "exec" in hook:
            result = await prober.run(target.instance, list(hook["exec"].get("command") or ()))
            if not result.ok:
                raise HookError(f"command '{' '.join(hook['exec'].get('command') or ())}' failed: {result.output.strip()}")
        elif "httpGet" in hook:
            status, _ = await prober.http_get(hook["httpGet"], container, target)
            if not 200 <= status < 400:
                raise HookError(f"HTTP hook answered {status}")
        elif "sleep" in hook:
            await asyncio.sleep(float(hook["sleep"].get("seconds") or 0))
        elif "tcpSocket" in hook:
            raise HookError("tcpSocket is not a hook that runs")
    except (RuntimeFailure, OSError, ValueError, EOFError) as error:
        raise HookError(str(error) or type(error).__name__) from error
