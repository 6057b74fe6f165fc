"""What the server says, as values: text and numbers from inside a sandbox, none of them believed further than this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codexteam.adapters.sandbox.named_places import named_places
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.paths import MAX_PATH_BYTES
from codexteam.ports.sandbox import CommandResult, Remark

_MAX_REMARKS = 200
_REMARK_CHARACTERS = 500


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
    """Return the server's first words."""
    return Hello(
        pid=_number(header["pid"]),
        python=str(header["python"]),
        alone=bool(header["alone"]),
        uid=_number(header["uid"]),
        capabilities=_number(header["CapEff"]),
        no_new_privileges=header["NoNewPrivs"] == 1,
        filtered=header.get("Seccomp") == 2,
    )


ReceivedError: TypeAlias = ValueError | PermissionError | OSError | GitInSandboxError


def error_of(header: JSONObject) -> ReceivedError:
    """Return the exception that an error answer stands for."""
    message = str(header["message"])
    match header["error"]:
        case "value":
            return ValueError(message)
        case "permission":
            return PermissionError(message)
        case "os":
            # no `filename`: that distinguishes an error of the host's disk from one in the sandbox
            return OSError(int(str(header.get("errno") or 0)), message)
        case _:
            return GitInSandboxError(message)


def result_of(header: JSONObject, body: bytes) -> CommandResult:
    """Return how a command ended, from the server's words."""
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


def named_json(paths: Sequence[str]) -> list[JSONValue]:
    """Return what globs name, for a snapshot."""
    return [{"prefix": place.prefix, "pattern": place.pattern, "direct": place.direct} for place in named_places(paths)]


def remarks_of(answer: JSONObject) -> tuple[Remark, ...]:
    """Take what the server says of its snapshot: text that an agent may have made up."""
    found = []
    said = answer.get("remarks")
    for entry in said[:_MAX_REMARKS] if isinstance(said, list) else ():
        match entry:
            case [str(path), str(why)]:
                found.append(Remark(path[:MAX_PATH_BYTES], why[:_REMARK_CHARACTERS]))
            case _:
                continue
    return tuple(found)


def _number(value: JSONValue) -> int:
    return int(str(value))


def _integer(value: JSONValue) -> int | None:
    return None if value is None else int(str(value))
