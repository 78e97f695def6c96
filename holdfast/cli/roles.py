"""``holdfast server`` and ``holdfast node``: one role in this process, until TERM or INT.

``up`` starts both of them this way; on several machines they are started by hand.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

from holdfast.cli import starting
from holdfast.cli.errors import UserError
from holdfast.system.settings import Settings

log = logging.getLogger("holdfast.cli")


def _run(name: str, main: Coroutine[Any, Any, None]) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname).1s %(name)s %(message)s")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except KeyboardInterrupt:
        log.info("%s: interrupted", name)
    except Exception as error:
        from holdfast.system.failures import words

        log.debug("%s failed", name, exc_info=True)
        raise UserError(f"{name}: {words(error)}") from None


def server(settings: Settings) -> None:
    from holdfast.system.server import run_server

    starting.refuse_foreign(settings)
    _run("server", run_server(settings))


def node(settings: Settings) -> None:
    from holdfast.system.node import run_node

    _run("node", run_node(settings))
