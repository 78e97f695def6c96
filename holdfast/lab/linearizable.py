"""Is a history linearizable? One compare-and-swap register per key, after Wing and Gong, with Lowe's memory.

Keys are independent (linearizability is local), so each is searched alone: take any operation that was
called before the first pending return, see whether the register allows its answer, go on from there; a
set of operations that led to the same value once is not tried again. Operations that never returned may
take effect at any later moment, or never.
"""

from __future__ import annotations

import math

from holdfast.lab.history import ABSENT, CONFLICT, DONE, EXISTS, UNKNOWN, History, Operation, ViolationError

_ILLEGAL = object()


def check(history: History) -> None:
    """Raises ViolationError with the operations that nothing explains."""
    for key, operations in sorted(history.by_key().items()):
        stuck = search(operations)
        if stuck:
            shown = "\n".join(f"  {operation}" for operation in stuck)
            raise ViolationError(
                f"Linearizable: no order explains the answers about {key}; the furthest one ends before any of\n{shown}"
            )


def after(value: str | None, operation: Operation) -> object:
    """The register's value once the operation took effect; ``_ILLEGAL`` when its answer cannot be true there."""
    act, outcome = operation.act, operation.outcome
    if act == "read":
        return value if operation.value == value else _ILLEGAL
    there = value is not None
    fits = not there if act == "create" else there and operation.expected in (None, value)
    if outcome == UNKNOWN:
        return _written(operation) if fits else value
    if outcome == DONE:
        return _written(operation) if fits else _ILLEGAL
    refused = {
        EXISTS: act == "create" and there,
        ABSENT: act != "create" and not there,
        CONFLICT: act != "create" and there and not fits,
    }
    return value if refused[outcome] else _ILLEGAL


def _written(operation: Operation) -> str | None:
    return None if operation.act == "remove" else operation.value


def search(operations: list[Operation]) -> list[Operation]:
    """Empty when an order exists; else the operations that were next, and impossible, where the search got furthest."""
    ordered = sorted(operations, key=lambda operation: operation.call)
    returning = sum(1 << n for n, operation in enumerate(ordered) if operation.returned != math.inf)
    start: tuple[int, str | None] = (0, None)
    stack, seen = [start], {start}
    furthest, stuck = -1, ordered
    while stack:
        taken, value = stack.pop()
        if taken & returning == returning:
            return []
        candidates = _next(ordered, taken)
        depth = (taken & returning).bit_count()
        if depth > furthest:
            furthest, stuck = depth, [ordered[n] for n in candidates]
        for n in candidates:
            result = after(value, ordered[n])
            if result is _ILLEGAL:
                continue
            state = (taken | 1 << n, result if isinstance(result, str) else None)
            if state not in seen:
                seen.add(state)
                stack.append(state)
    return stuck


def _next(ordered: list[Operation], taken: int) -> list[int]:
    """Those not taken that were called before the first return among them."""
    found: list[int] = []
    first = math.inf
    for n, operation in enumerate(ordered):
        if operation.call > first:
            break
        if not taken >> n & 1:
            found.append(n)
            first = min(first, operation.returned)
    return [n for n in found if ordered[n].call <= first]
