"""What starts sandboxes and keeps environments: Docker, bubblewrap, or the tests' fake."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from codexteam.core.ids import AgentKey
from codexteam.ports.environments import Environments
from codexteam.ports.sandbox import BaseSource, Sandbox, SandboxSpec


@dataclass(frozen=True, slots=True)
class EngineReport:
    """Whether an engine can be used, and how well."""

    name: str
    usable: bool
    version: str = ""
    problem: str = ""
    """Why it cannot be used, and what to do; empty when it can."""
    unlimited: tuple[str, ...] = ()


class SandboxEngine(Protocol):
    """What starts sandboxes."""

    @property
    def name(self) -> str:
        """`docker`, `bubblewrap` or the fake's name."""
        ...

    @property
    def places(self) -> int | None:
        """How many sandboxes it may hold at once, as far as is known now; None where nothing but the machine limits it."""
        ...

    async def check(self) -> EngineReport:
        """Really start something, and say whether it worked."""
        ...

    @property
    def environments(self) -> Environments:
        """What it keeps of set-ups."""
        ...

    async def prepare(
        self, base: BaseSource, *, environment_key: str = "", on_progress: Callable[[str], None] | None = None
    ) -> None:
        """Make the image, the environment and the read-only base ready, so that `start` is quick. May be repeated.

        Raises:
            SandboxUnavailable: they cannot be had, or there is no environment of that key; says what to do.
        """
        ...

    async def made_from(self, base: BaseSource) -> str:
        """Say in a few words what sandboxes on a base are made from: an image and why it was chosen, or the host."""
        ...

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox with its workspace in place; removes what an earlier try under the same name left.

        Raises:
            SandboxUnavailable: it cannot be started; says what to do.
        """
        ...

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Remove everything labelled as ours of that run (None: of every run) but for `keep`; give what was removed."""
        ...

    async def close(self) -> None:
        """Let go of the engine. Sandboxes are closed by their owners before."""
        ...
