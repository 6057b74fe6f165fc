"""What the two ends of a sandbox's channel say to each other, as values."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.ports.sandbox import CommandResult


class ByteReader(Protocol):
    """What a channel reads from; `asyncio.StreamReader` is one."""

    async def readexactly(self, n: int, /) -> bytes:
        """Give exactly so many bytes.

        Raises:
            asyncio.IncompleteReadError: the stream ended before.
        """
        ...


class ByteWriter(Protocol):
    """What a channel writes to; `asyncio.StreamWriter` is one."""

    def write(self, data: bytes, /) -> None:
        """Take bytes to send."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...

    def close(self) -> None:
        """End the stream."""
        ...


class ChannelClosedError(Exception):
    """The server is gone or does not answer: how a request ended is unknown."""


class GitInSandboxError(Exception):
    """Git in the sandbox failed; the message is hostile text."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server says when it is up."""

    pid: int
    python: str
    alone: bool
    uid: int
    capabilities: int
    """The effective ones, as the kernel's bits."""
    no_new_privileges: bool
    filtered: bool
    """A system call filter is in force."""


def hello_of(header: JSONObject) -> Hello:
    """Give the server's first words."""
    return Hello(
        pid=_number(header["pid"]),
        python=str(header["python"]),
        alone=bool(header["alone"]),
        uid=_number(header["uid"]),
        capabilities=_number(header["CapEff"]),
        no_new_privileges=header["NoNewPrivs"] == 1,
        filtered=header.get("Seccomp") == 2,
    )


def server_source() -> bytes:
    """Give the program that runs inside, to be handed to any Python from 3.7 on."""
    return Path(__file__).with_name("sandbox_server.py").read_bytes()


def server_settings(
    *, workspace: str, private: str, base_git: str | None = None, alone: bool, output_cap_bytes: int
) -> str:
    """Give the server's one argument.

    Args:
        workspace: the folder that file requests are confined to.
        private: a folder for the server's own git data; writable, made when missing, kept over a restart.
        base_git: a read-only `.git` folder with the root commit's objects, out of the agent's reach.
        alone: nothing but what the server starts lives in its PID namespace, so all may be killed at once.
        output_cap_bytes: what one command may print before it is killed.
    """
    settings = {"workspace": workspace, "private": private, "base_git": base_git, "alone": alone}
    return json.dumps({**settings, "output_cap_bytes": output_cap_bytes})


_Failure: TypeAlias = ValueError | PermissionError | OSError | GitInSandboxError


def error_of(header: JSONObject) -> _Failure:
    """Give the exception that an error answer stands for."""
    message = str(header["message"])
    match header["error"]:
        case "value":
            return ValueError(message)
        case "permission":
            return PermissionError(message)
        case "os":
            # no `filename`: that is what tells an error of the host's disk from one in the sandbox
            return OSError(int(str(header.get("errno") or 0)), message)
        case _:
            return GitInSandboxError(message)


def result_of(header: JSONObject, body: bytes) -> CommandResult:
    """Give how a command ended, from the server's words."""
    left = _integer(header["left"]) or 0
    ended = f"{left} process{'es' if left > 1 else ''} that it left running {'were' if left > 1 else 'was'} ended"
    over_cap = bool(header["over_cap"])
    return CommandResult(
        exit_code=_integer(header["exit_code"]),
        signal=_integer(header["signal"]),
        timed_out=bool(header["timed_out"]),
        output=body,
        output_bytes=_integer(header["output_bytes"]) or 0,
        wall_seconds=float(str(header["wall"])),
        killed_for_output=over_cap,
        note=ended if left and not over_cap else "",
    )


def _number(value: JSONValue) -> int:
    return int(str(value))


def _integer(value: JSONValue) -> int | None:
    return None if value is None else int(str(value))
