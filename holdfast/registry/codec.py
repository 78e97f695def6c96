"""Objects to stored bytes and back. Bytes carry no resourceVersion: it is spliced in once the store has given it.

kind, apiVersion and metadata come first, so the first ``"metadata":{`` is the object's own. Characters that mean something
in HTML are escaped, as Go's encoder does: ``kubectl rollout undo`` compares bytes.
"""

from __future__ import annotations

import orjson

from holdfast.kinds.kind import Kind, Obj
from holdfast.registry.request import Stored
from holdfast.store.api import Record

_NEVER_STORED = ("resourceVersion", "selfLink")
_MARK = b'"metadata":{'
_ESCAPES = tuple((c.encode(), f"\\u{ord(c):04x}".encode()) for c in "<>&\u2028\u2029")


def encode(kind: Kind, obj: Obj) -> bytes:
    """Stored form of an object in its served form. ``obj`` is not changed."""
    stored = kind.to_storage(obj) if kind.to_storage else obj
    metadata = {name: value for name, value in stored["metadata"].items() if name not in _NEVER_STORED}
    head = {"kind": stored["kind"], "apiVersion": stored["apiVersion"], "metadata": metadata}
    text = orjson.dumps(head | {name: value for name, value in stored.items() if name not in head})
    for character, escape in _ESCAPES:
        if character in text:
            text = text.replace(character, escape)  # outside of strings JSON has none of them
    return text


def copy(obj: Obj) -> Obj:
    """A deep copy; faster than copy.deepcopy by far."""
    found: Obj = orjson.loads(orjson.dumps(obj))
    return found


def splice(value: bytes, revision: int) -> bytes:
    at = value.index(_MARK) + len(_MARK)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def at_revision(item: Stored, revision: int) -> Stored:
    """The same object as shown at another revision (a watcher's last sight of an object that left its selector)."""
    at = item.raw.index(_MARK) + len(_MARK)
    old = b'"resourceVersion":"%d",' % item.revision
    return Stored(b'%b"resourceVersion":"%d",%b' % (item.raw[:at], revision, item.raw[at + len(old) :]), revision)


def revised(kind: Kind, obj: Obj, revision: int) -> Stored:
    """An object in its served form, shown at a revision, that was not stored."""
    return serve(kind, Stored(splice(encode(kind, obj), revision), revision))


def unversioned(value: bytes) -> Stored:
    """An object that was not stored (a dry run's): without a resourceVersion."""
    return Stored(value, 0)


def stored(record: Record) -> Stored:
    return Stored(splice(record.value, record.revision), record.revision)


def serve(kind: Kind, item: Stored) -> Stored:
    """The same object in ``kind``'s served form."""
    if kind.from_storage is None:
        return item
    return Stored(orjson.dumps(kind.from_storage(item.obj)), item.revision)


def prefix(kind: Kind, namespace: str = "") -> str:
    base = f"/registry/{kind.storage}/"
    return f"{base}{namespace}/" if namespace else base


def key(kind: Kind, namespace: str, name: str) -> str:
    return f"/registry/{kind.storage}/{namespace}/{name}" if kind.resource.namespaced else f"/registry/{kind.storage}/{name}"
