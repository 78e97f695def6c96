"""What the streams ask of the agent, which knows the pods of this node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from holdfast.node.api import PodNetwork


class Refused(Exception):
    """The request cannot be served: ``status`` is the HTTP status, ``message`` what kubectl shows."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Target:
    """An attempt of a container: its runtime id ("" when its instance was removed) and its log file."""

    instance: str
    log_path: str


class Lookup(Protocol):
    """Implemented by the agent (``node.agent``); all from memory."""

    async def wait_ready(self) -> None:
        """Until the pods of this node are known: a node that was just started again has them a moment later."""

    def instance(self, namespace: str, pod: str, container: str, previous: bool = False) -> Target:
        """The container's newest attempt, or the one before it. "" for the pod's default container.

        Raises Refused: 404 when there is no such pod or container here (``pod "p" not found``), 400 when it has
        not started (``container "c" in pod "p" is waiting to start: ContainerCreating``) or when there is no
        previous attempt (``previous terminated container "c" in pod "p" not found``).
        """

    def network(self, namespace: str, pod: str, uid: str = "") -> PodNetwork:
        """Where the pod is. Raises Refused: 404 when it is not here (or another than ``uid``), 400 when it does not run."""
