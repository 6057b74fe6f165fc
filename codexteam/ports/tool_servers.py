"""Servers that offer tools over the Model Context Protocol: in an agent's sandbox, or outside and shared by all agents."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from codexteam.core.ids import JSONObject
from codexteam.ports.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class ServerTool:
    """One tool of one server, as the server describes it: foreign text."""

    server_id: str
    name: str
    description: str
    input_schema: JSONObject
    only_reads: bool = False
    """The server's own word (`readOnlyHint`)."""


@dataclass(frozen=True, slots=True)
class ServerFailure:
    """A server that could not be started and is not required; the user gets a notice."""

    server_id: str
    message: str


@dataclass(frozen=True, slots=True)
class StartedServers:
    """What became of the servers that were asked for."""

    tools: tuple[ServerTool, ...] = ()
    """In the order of the servers asked for, then by name: the same in every request."""
    failures: tuple[ServerFailure, ...] = ()
    instructions: Mapping[str, str] = field(default_factory=dict)
    """What servers say of themselves, by id: foreign text."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text that a tool gave."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image that a tool gave."""

    base64_data: str
    mime_type: str


ContentPart: TypeAlias = TextPart | ImagePart


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a tool gave; `failed` is the tool's own word that it could not do it."""

    parts: tuple[ContentPart, ...]
    failed: bool = False


@dataclass(frozen=True, slots=True)
class NoServerAnswer:
    """No answer: the time was up, the server is gone, or it refused the call. The reason is for the model."""

    reason: str


class ToolServers(Protocol):
    """The servers of a run's configuration, or those that one agent may use."""

    def inside(self, sandbox: Callable[[], Awaitable[Sandbox]]) -> "ToolServers":
        """Return the servers as the agent of a sandbox has them: those outside are shared, the others run inside.

        They are started there, and end with `close` of what this gives, before the sandbox does. One whose tools are
        known from another sandbox is started by the first call of one of them.
        """
        ...

    async def start(self, server_ids: Sequence[str]) -> StartedServers:
        """Start those servers that do not run yet, side by side, and give the tools of all of them.

        Disabled servers have no tools. May be called by many agents at once; each server is started once. A server
        that could not be started is not tried again.

        Raises:
            SurroundingsError: a required server could not be started.
        """
        ...

    async def call(self, server_id: str, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        """Call a tool that `start` gave. A server that went away since is started once more for it."""
        ...

    async def close(self) -> None:
        """Stop all servers and their processes. May be repeated."""
        ...
