"""The environments of one engine: what a set-up left, kept under a key and laid beneath workspaces.

An environment has two parts. `HOME` of `environment.plan` holds what lies outside the repository: virtual environments,
toolchains, programs. The *layer* holds what the set-up wrote inside its checkout and git does not track (`node_modules`,
`target`, generated files); it is there in every workspace, copy-on-write, and in no commit. Neither is writable for an
agent, and package caches are not even visible to one: whoever can write them reaches every later run.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from codexteam.config.settings import NetworkPolicy, SandboxLimits
from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import AgentKey
from codexteam.environment.plan import Service, ServiceCommand
from codexteam.ports.sandbox import BaseSource, Sandbox

#: In a sandbox: what `service_commands` printed.
SERVICES_LOG = "/tmp/codexteam-services.log"  # noqa: S108 - inside a sandbox


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one step of a set-up ended."""

    command: str
    source: str
    """The file that asked for it."""
    exit_code: int | None
    """None when it was left out, killed, or its end is unknown; `note` says which."""
    wall_seconds: float
    note: str = ""


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class Environment:
    """One that was built and is kept, and what commands in it find."""

    key: str
    """`environment.key.environment_key`."""
    made_from: str
    """In a few words: an image and why it was chosen, or the host."""
    made_at_seconds: int
    """Since the epoch."""
    wall_seconds: float
    """What the set-up took."""
    size_bytes: int = 0
    """On disk, both parts; what an engine cannot tell is 0."""
    sources: tuple[str, ...] = ()
    """Who asked for it, strongest first, one line each."""
    steps: tuple[StepOutcome, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for every command."""
    offline_variables: Mapping[str, str] = field(default_factory=dict)
    """Set for commands where there is no network."""
    paths: tuple[str, ...] = ()
    """In front of PATH, first one first; absolute, inside."""
    services: tuple[Service, ...] = ()
    """Servers that commands reach on loopback, where the engine can start them."""
    service_commands: tuple[ServiceCommand, ...] = ()
    """Run in each sandbox once its services are ready; what they print is in `SERVICES_LOG` there."""
    notices: tuple[str, ...] = ()
    """One line each: what is missing or was left out; may hold the repository's words."""


@dataclass(frozen=True, slots=True)
class SetupOrder:
    """What a set-up's sandbox is made of."""

    key: str
    agent: AgentKey
    """Names and labels are computed from this."""
    base: BaseSource
    """What is checked out; its commit may be a task's or a candidate's, where that changes a manifest."""
    network: NetworkPolicy
    limits: SandboxLimits
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Set for every step and kept nowhere; may hold credentials of registries."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files under /run/secrets, by name; kept nowhere."""
    folders: tuple[Path, ...] = ()
    """The host's, visible at the same paths and read-only: certificates, local indexes."""
    paths: tuple[str, ...] = ()
    """In front of PATH."""
    user: str = ""
    """Who runs the steps inside a container; empty: the engine's choice."""
    services: tuple[Service, ...] = ()
    """Servers that steps reach on loopback, where the engine can start them. What steps do to them is not kept."""


class SetupSandbox(Sandbox, Protocol):
    """A sandbox in which an environment is made: `HOME`, the package caches and the checkout are writable."""

    @property
    def has_root(self) -> bool:
        """Whether steps may install packages of the distribution."""
        ...

    async def keep(self, made: Environment) -> Environment:
        """Keep what the steps left, under the order's key, and return it with its size.

        It counts once it is whole; a process that is killed before leaves nothing that `find` gives. Tracked files are
        kept as they are in the commit. The sandbox must be closed all the same.

        Raises:
            SandboxUnavailable: it cannot be kept, such as for want of room; says what to do.
            SandboxLost: the sandbox went away.
        """
        ...


class Environments(Protocol):
    """What one engine keeps. Several processes may use the same."""

    @property
    def uses_images(self) -> bool:
        """Whether sandboxes are made from images, so that `image` and `dockerfile` of the settings count."""
        ...

    @property
    def starts_services(self) -> bool:
        """Whether sandboxes get the services of their environment, each its own."""
        ...

    async def identity(self, base: BaseSource) -> str:
        """Return what an environment is built upon: the image's id, or what tells this host from another.

        Raises:
            SandboxUnavailable: the image cannot be had; says what to do.
        """
        ...

    async def find(self, key: str) -> Environment | None:
        """Return the environment of that key and mark it as used; None when there is none that is whole."""
        ...

    def claim(self, key: str) -> AbstractAsyncContextManager[None]:
        """Wait until nobody else builds that key, here or in another process; look for it again then."""
        ...

    async def set_up(self, order: SetupOrder) -> SetupSandbox:
        """Start the sandbox of a set-up, under a claim of its key; removes what a killed one left. Owned by the caller.

        Raises:
            SandboxUnavailable: it cannot be started; says what to do.
        """
        ...

    async def list(self) -> Sequence[tuple[Environment, int]]:
        """Return all that are kept and when each was last used, in seconds since the epoch; last used first."""
        ...

    async def remove(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove environments that nobody uses and that no claim holds; return the keys of those that are gone."""
        ...

    async def pack(self, key: str, destination: Path) -> None:
        """Write a copy of an environment into a file, for an engine of the same kind on another machine.

        Raises:
            SandboxUnavailable: there is none of that key, or it cannot be copied; says what to do.
        """
        ...

    async def unpack(self, key: str, source: Path) -> Environment:
        """Take in what `pack` wrote, under a claim of its key; one that is there already stays.

        Raises:
            SandboxUnavailable: it is not of that key, or cannot be taken in; says what to do.
        """
        ...
