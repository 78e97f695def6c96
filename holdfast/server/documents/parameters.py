"""What a request's query may say, as OpenAPI v2 parameters: name, type, and one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

_KNOWN: dict[str, tuple[str, str]] = {
    "allowWatchBookmarks": ("boolean", "A watch may send BOOKMARK events, which say how far it has come."),
    "command": ("string", "What to run, without a shell; given once for each word."),
    "container": ("string", "Of which container; a pod's only one may go without a name."),
    "continue": ("string", "Goes on with a list where the page that gave this token ended, at the same revision."),
    "dryRun": ("string", "All: do everything except store it."),
    "fieldManager": ("string", "The name under which the written fields are remembered. An apply needs one."),
    "fieldSelector": ("string", "Only objects whose fields are so (metadata.name=web-0)."),
    "fieldValidation": (
        "string",
        "Of unknown and doubled fields: Ignore them, Warn about them (as without this), or refuse them (Strict).",
    ),
    "follow": ("boolean", "Go on with what is written from now on."),
    "force": ("boolean", "An apply takes over fields that others manage, instead of reporting a conflict."),
    "gracePeriodSeconds": ("integer", "How long the object may take to end by itself; 0 is at once."),
    "insecureSkipTLSVerifyBackend": ("boolean", "Take the log from the node without checking its certificate."),
    "labelSelector": ("string", "Only objects whose labels are so (app=web,tier!=cache)."),
    "limit": ("integer", "At most so many objects; the answer has a token to go on with."),
    "limitBytes": ("integer", "At most so many bytes of the log."),
    "orphanDependents": ("boolean", "Former way to say propagationPolicy=Orphan."),
    "path": ("string", "What is asked for behind the proxy."),
    "ports": ("integer", "The port of the pod; WebSocket clients name them here."),
    "pretty": ("string", "true: the answer is indented."),
    "previous": ("boolean", "The log of the container before the last restart."),
    "propagationPolicy": ("string", "What becomes of the objects that this one owns: Orphan, Background or Foreground."),
    "resourceVersion": ("string", "How fresh the answer must be; a watch tells what happened since then."),
    "resourceVersionMatch": ("string", "How a list takes resourceVersion: Exact or NotOlderThan."),
    "sendInitialEvents": ("boolean", "A watch begins with what is there, then a bookmark."),
    "sinceSeconds": ("integer", "The log of the last so many seconds."),
    "sinceTime": ("string", "The log since that time (RFC 3339)."),
    "stderr": ("boolean", "Pass on standard error."),
    "stdin": ("boolean", "Pass on standard input."),
    "stdout": ("boolean", "Pass on standard output."),
    "stream": ("string", "Which of the container's streams: All, Stdout or Stderr."),
    "tailLines": ("integer", "The last so many lines of the log."),
    "timeoutSeconds": ("integer", "A list or watch ends after so many seconds."),
    "timestamps": ("boolean", "Each line of the log begins with its time."),
    "tty": ("boolean", "The process gets a terminal."),
    "watch": ("boolean", "Instead of the list, the events from now on."),
}

LISTING = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch",
    "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
WRITING = ("dryRun", "fieldManager", "fieldValidation")
DELETING = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_SELECTING = tuple(name for name in LISTING if name not in ("allowWatchBookmarks", "watch"))
OF_VERB: dict[str, tuple[str, ...]] = {
    "create": WRITING,
    "update": WRITING,
    "patch": (*WRITING, "force"),
    "delete": DELETING,
    "deletecollection": tuple(sorted({*DELETING, *_SELECTING})),
    "list": LISTING,
}
OF_SUBRESOURCE: dict[str, tuple[str, ...]] = {
    "exec": ("command", "container", "stderr", "stdin", "stdout", "tty"),
    "attach": ("container", "stderr", "stdin", "stdout", "tty"),
    "portforward": ("ports",),
    "proxy": ("path",),
    "log": (
        "container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous", "sinceSeconds", "sinceTime", "stream",
        "tailLines", "timestamps",
    ),
}  # fmt: skip


def query(names: Iterable[str]) -> list[Json]:
    found = []
    for name in names:
        kind, description = _KNOWN[name]
        found.append({"description": description, "in": "query", "name": name, "type": kind, "uniqueItems": True})
    return found


def in_path(name: str, description: str) -> Json:
    base: Json = {"description": description, "in": "path", "name": name}
    return base | {"required": True, "type": "string", "uniqueItems": True}


def body(schema: Json, *, required: bool) -> Json:
    found: Json = {"in": "body", "name": "body", "schema": schema}
    return found | {"required": True} if required else found
