"""Workers: processes of a cluster that run agents, each beside the sandbox of its agent.

What passes between a run and a worker are messages of `run.worker_messages`, which a cluster only carries. Whoever reads
the messages of a worker writes the store; a worker that nobody reads any more can change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorkerNode:
    """One machine of a cluster, as the cluster knows it."""

    name: str
    is_alive: bool
    slots: int
    """How many agents it takes at once."""
    free_slots: int | None = None
    """None where the cluster does not say it."""


class Worker(Protocol):
    """One agent's worker. Owned by who began it, who closes it."""

    @property
    def host(self) -> str:
        """The machine that it is on; empty while it waits for a slot."""
        ...

    async def send(self, message: object) -> None:
        """Send it a message. Messages arrive in order; nothing happens where it has ended.

        Raises:
            HostLost: nothing reaches it any more.
        """
        ...

    async def receive(self) -> object:
        """Return its next message, in order. Cancelling it loses none.

        Raises:
            HostLost: the worker or its machine went away, and all that it said before is received.
            SandboxUnavailable: no machine takes it.
        """
        ...

    async def close(self) -> None:
        """See that it is gone, whatever it does. May be repeated."""
        ...


class Workers(Protocol):
    """A cluster's workers. Owned by who made it, who closes it."""

    @property
    def places(self) -> int | None:
        """How many agents its machines that are up take at once, as far as is known now; None: nobody knows."""
        ...

    async def begin(self, name: str, order: object) -> Worker:
        """Begin a worker as soon as there is a slot for it; `order` is what it gets first."""
        ...

    async def share(self, file: Path) -> object:
        """Let workers read a file that does not change any more; gives the handle that they fetch it by.

        Raises:
            OSError: it cannot be read.
        """
        ...

    async def look(self) -> Sequence[WorkerNode]:
        """Return the machines of the cluster.

        Raises:
            SandboxUnavailable: it does not answer.
        """
        ...

    async def close(self) -> None:
        """Let go of the cluster; workers are closed by their owners before."""
        ...


class RunLink(Protocol):
    """The run, as a worker reaches it."""

    def send(self, message: object) -> None:
        """Send the run a message; messages arrive in order."""
        ...

    async def receive(self) -> object:
        """Return the next message of the run, in order.

        Raises:
            SandboxLost: the run has let go of this worker.
        """
        ...

    async def fetch(self, handle: object) -> Path:
        """Return a copy of a file that the run shares; it is not to be changed."""
        ...
