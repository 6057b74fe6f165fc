"""What a model sees of a command that runs on, look by look."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from codexteam.agent.tools.shell import ExecCommand, Sessions, WriteStdin
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.config.settings import SandboxMode
from codexteam.core.redaction import Redactor
from codexteam.ports.sandbox import Command, CommandResult, Sandbox, Session, SessionOutput
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_sandbox import FakeSandbox

_ENDED = CommandResult(0, None, timed_out=False, output=b"", output_bytes=0, wall_seconds=1.0)


class _InPieces:
    """A command that prints one piece between two looks, and ends with the last."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def read(self, *, wait_seconds: float) -> SessionOutput:
        piece = self._pieces.pop(0)
        return SessionOutput(piece, len(piece), None if self._pieces else _ENDED)

    def printed(self) -> bytes:
        return self._pieces[0] if self._pieces else b""

    async def write(self, data: bytes) -> None:
        raise AssertionError(f"nothing is typed here: {data!r}")

    async def kill(self) -> None:
        self._pieces.clear()


class _Sandbox(FakeSandbox):
    def __init__(self, session: Session) -> None:
        self._session = session

    async def open(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> Session:
        return self._session


async def _looks(tmp_path: Path, pieces: list[bytes]) -> list[str]:
    """Give what each look shows of a command that prints these pieces."""
    starting: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
    starting.set_result(_Sandbox(_InPieces(list(pieces))))
    redactor = Redactor(["correct horse battery staple"])
    place = ToolContext(starting, SandboxMode.WORKSPACE_WRITE, tmp_path, FakeClock(), redactor=redactor)
    sessions = Sessions()
    told = [await ExecCommand(place, sessions).call(json.dumps({"cmd": "print"}), call_id="c0")]
    told += [
        await WriteStdin(place, sessions).call(json.dumps({"session_id": 1}), call_id=f"c{number}")
        for number in range(1, len(pieces))
    ]
    return [str(output.content).partition("Output:\n")[2] for output in told]


async def test_a_secret_that_is_printed_in_two_looks_is_seen_in_neither(tmp_path: Path) -> None:
    assert await _looks(tmp_path, [b"pass: correct horse", b" battery staple\nok\n", b""]) == [
        "pass: ",
        "[redacted]\nok\n",
        "",
    ]
    shown = await _looks(tmp_path, [b"key: sk-proj-a1B2a1B2", b"a1B2a1B2a1B2a1B2", b"a1B2\n"])
    assert "".join(shown) == "key: [redacted]\n"
    assert shown[0] == "key: "


async def test_what_is_no_secret_is_seen_at_once_and_whole_in_the_end(tmp_path: Path) -> None:
    assert await _looks(tmp_path, [b"Continue? [y/N] ", b"it is correct", b""]) == [
        "Continue? [y/N] ",
        "it is ",
        "correct",
    ]


async def test_a_character_that_comes_in_two_looks_is_one(tmp_path: Path) -> None:
    whole = "schön\n".encode()
    assert "".join(await _looks(tmp_path, [whole[:4], whole[4:], b"\xff"])) == "schön\n\ufffd"
    assert await _looks(tmp_path, [b"ok \xe2", b"\x82"]) == ["ok ", "\ufffd"]


async def test_people_see_what_a_command_has_printed_before_its_agent_does(tmp_path: Path) -> None:
    starting: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
    pieces = [b"pass: correct hor", b"se battery staple\nok\ncorr", b"ect\n"]
    starting.set_result(_Sandbox(_InPieces(pieces)))
    redactor = Redactor(["correct horse battery staple"])
    place = ToolContext(starting, SandboxMode.WORKSPACE_WRITE, tmp_path, FakeClock(), redactor=redactor)
    sessions = Sessions()

    first = await ExecCommand(place, sessions).call(json.dumps({"cmd": "print"}), call_id="c0")
    seen = sessions.printed()
    second = await WriteStdin(place, sessions).call(json.dumps({"session_id": 1}), call_id="c1")

    assert "correct" not in f"{first.content}{seen}"
    assert seen.endswith("\nok\n")
    # the look of the agent is what it would have been
    assert str(second.content).partition("Output:\n")[2] == seen
    assert sessions.printed() == "correct\n"
