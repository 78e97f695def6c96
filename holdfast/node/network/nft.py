"""nftables: a ruleset text applied atomically, in the namespace of the calling thread.

Through libnftables when it is there (0.8 ms), else through nft(8): a child inherits the namespace of
the thread that starts it, so both work in ``namespaces.visit``.
"""

from __future__ import annotations

import ctypes
import subprocess
from functools import cache
from typing import Any

_OUTPUT_JSON = 1 << 4


class NftError(Exception):
    """The kernel or the parser refused; the text is nft's own."""


@cache
def _library() -> Any:
    for name in ("libnftables.so.1", "libnftables.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
        for function in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, function).restype = ctypes.c_char_p
            getattr(library, function).argtypes = (ctypes.c_void_p,)
        for function in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, function).argtypes = (ctypes.c_void_p,)
        library.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)
        library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        return library
    return None


def run(commands: str, *, json: bool = False) -> str:
    """Runs commands as one transaction and returns what they print. Raises NftError."""
    library = _library()
    if library is None:
        return _run_program(commands, json=json)
    context = library.nft_ctx_new(0)
    if not context:
        raise NftError("libnftables gave no context")
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if json:
            library.nft_ctx_output_set_flags(context, _OUTPUT_JSON)
        code = library.nft_run_cmd_from_buffer(context, commands.encode())
        if code != 0:
            raise NftError((library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace").strip())
        return (library.nft_ctx_get_output_buffer(context) or b"").decode()
    finally:
        library.nft_ctx_free(context)


def _run_program(commands: str, *, json: bool) -> str:
    arguments = ["nft", "-j", "-f", "-"] if json else ["nft", "-f", "-"]
    try:
        done = subprocess.run(arguments, input=commands, capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        raise NftError(f"nftables is missing ({error}): install nftables") from None
    if done.returncode != 0:
        raise NftError(done.stderr.strip())
    return done.stdout
