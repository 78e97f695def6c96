"""Words for what ended a role: the innermost cause of an exception group, without a traceback."""

from __future__ import annotations


def words(error: BaseException) -> str:
    """One line: the first real cause in ``error``, its type named when it is none of ours."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    if isinstance(error, (RuntimeError, OSError, ValueError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
