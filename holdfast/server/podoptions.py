"""What exec, attach and logs ask for: which container, which lines. Checked here, before a node is asked."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import errors, fielderror
from holdfast.machinery.fielderror import FieldError
from holdfast.registry.options import integer

LOG_OPTIONS = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes")
_LEAST = {"tailLines": 0, "limitBytes": 1, "sinceSeconds": 1}


def check_log_options(pod: str, options: Mapping[str, str]) -> None:
    """Raises ApiError: 400 for what is no number or time, 422 for what is out of its range."""
    found: list[FieldError] = []
    since = options.get("sinceTime")
    if since:
        try:
            parse_rfc3339(since)
        except ValueError:
            raise errors.bad_request(f"sinceTime is no RFC 3339 time: {since[:64]}") from None
    for name, least in _LEAST.items():
        value = integer(options, name)
        if name == "sinceSeconds" and value is not None and since:
            text = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            found.append(fielderror.forbidden("[]", text))
        elif value is not None and value < least:
            bound = "greater than 0" if least else "greater than or equal to 0"
            found.append(fielderror.invalid(name, value, f"must be {bound}"))
    if found:
        raise errors.invalid("PodLogOptions", pod, found)


def container_of(pod: Obj, wanted: str) -> str:
    """The container that is asked for, or the one that must be meant. Raises ApiError 400."""
    spec = pod["spec"]
    names = [c["name"] for c in spec.get("containers") or []]
    initial = [c["name"] for c in spec.get("initContainers") or []]
    if wanted:
        ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or []]
        if wanted not in names + initial + ephemeral:
            raise errors.bad_request(f"container {wanted} is not valid for pod {pod['metadata']['name']}")
        return wanted
    if len(names) == 1:
        return str(names[0])
    chosen = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if chosen in names:
        return str(chosen)
    shown = f"[{' '.join(names)}]"
    if initial:
        shown += f" or one of the init containers: [{' '.join(initial)}]"
    raise errors.bad_request(f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: {shown}")
