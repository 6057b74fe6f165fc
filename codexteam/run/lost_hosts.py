"""What becomes of work whose host dies under it: it is done again elsewhere, and is nobody's failure, but not for ever."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from codexteam.errors import HostLost, SandboxLost

_T = TypeVar("_T")


async def despite_lost_hosts(work: Callable[[], Awaitable[_T]], told: Callable[[HostLost], None], *, most: int) -> _T:
    """Do something again where its host dies; `told` hears of each that died before the last try.

    Args:
        work: what is done, as often as it takes.
        told: gets what became of a host.
        most: how many hosts may die.

    Raises:
        HostLost: one more did.
    """
    for _ in range(most):
        try:
            return await work()
        except HostLost as error:
            told(error)
    return await work()


@dataclass(slots=True)
class Losses:
    """What one agent lost since the last turn of it that is stored."""

    turn: int = 0
    sandboxes: int = 0
    hosts: int = 0
    """Not counted among the sandboxes: that a host died is nobody's attempt."""

    def count(self, error: SandboxLost, *, turn: int) -> None:
        """Count a loss, after so many stored turns."""
        if turn != self.turn:
            self.turn, self.sandboxes, self.hosts = turn, 0, 0
        if isinstance(error, HostLost):
            self.hosts += 1
        else:
            self.sandboxes += 1
