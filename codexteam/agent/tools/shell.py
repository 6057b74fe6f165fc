"""`exec_command` and `write_stdin`: commands in the sandbox, and those that outlive a tool call."""

import asyncio
import codecs
import hashlib
import posixpath
import re
from copy import copy
from dataclasses import dataclass, field
from typing import Final

from codexteam.agent.patch.invocation import invocation_in
from codexteam.agent.patch.program import functions, installing, wants_program
from codexteam.agent.tools.arguments import flag_argument, number_argument, parse_arguments, text_argument
from codexteam.agent.tools.clip import as_text
from codexteam.agent.tools.dialects import line_of, read_exec
from codexteam.agent.tools.files import patch_workspace
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.core.ids import JSONObject
from codexteam.core.redaction import RedactedStream
from codexteam.ports.sandbox import WORKSPACE, Command, CommandResult, Session, SessionOutput

#: How long a call waits for its command before the model gets it back as a session; Codex's bounds.
_YIELD_DEFAULT_MS: Final = 10_000
_YIELD_LEAST_MS: Final = 250
_YIELD_MOST_MS: Final = 30_000
_POLL_DEFAULT_MS: Final = 5_000
_POLL_MOST_MS: Final = 300_000
_WRITE_DEFAULT_MS: Final = 250

#: Commands that run on at the same time, of one agent.
_MOST_SESSIONS: Final = 16

#: Of more than this that a command has printed, people see how much it is: secrets are looked for in all of it.
_PEEK_BYTES: Final = 256 << 10

_INTERRUPT: Final = "\x03"


#: What a shell says of a patch in the middle of a longer command.
_NO_PATCH_PROGRAM: Final = re.compile(r"\bapply_?patch: (?:command )?not found")

_Decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(slots=True)
class _Running:
    session: Session
    tty: bool
    limit_seconds: float
    printed: RedactedStream
    """What it prints, secrets taken out: one may begin in one look and end in the next."""
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: _Decoder("replace"))
    """For characters that do so."""

    def text_of(self, seen: SessionOutput) -> str:
        """Return what a look brought as text; while the command runs, without what may be the beginning of a secret."""
        ended = seen.result is not None
        text = as_text(self.decoder.decode(seen.output, final=ended))
        return self.printed.finish(text) if ended else self.printed.feed(text)

    def peek(self) -> str:
        """Return what the next look will bring as far as it is there, secrets taken out, and leave it to that look."""
        output = self.session.printed()
        if len(output) > _PEEK_BYTES:
            return f"[{len(output):,} bytes so far]\n"
        decoder = _Decoder("replace")
        decoder.setstate(self.decoder.getstate())
        return copy(self.printed).feed(as_text(decoder.decode(output)))


@dataclass(slots=True)
class Sessions:
    """Commands of one agent that keep running after their tool call. Closed by its creator."""

    running: dict[int, _Running] = field(default_factory=dict)
    last_number: int = 0

    def add(self, running: _Running) -> int:
        """Keep a session; give its number."""
        self.last_number += 1
        self.running[self.last_number] = running
        return self.last_number

    def printed(self) -> str:
        """Return what the commands that run have printed and the agent has not seen yet."""
        return "".join(running.peek() for running in self.running.values())

    async def close(self) -> None:
        """Kill all that still run."""
        left = list(self.running.values())
        self.running.clear()
        await asyncio.gather(*(running.session.kill() for running in left))


@dataclass(frozen=True, slots=True)
class ExecCommand:
    """Runs a shell line. What takes longer than the call waits becomes a session."""

    place: ToolContext
    sessions: Sessions

    @property
    def name(self) -> str:
        return "exec_command"

    @property
    def only_reads(self) -> bool:
        """Whether the sandbox is read-only."""
        return self.place.read_only

    @property
    def definition(self) -> JSONObject:
        """Codex's tool, without the arguments that ask for rights: here nothing is granted on request."""
        return function_definition(
            self.name,
            "Runs a command, returning output or a session ID for ongoing interaction.",
            {
                "cmd": {"type": "string"},
                "workdir": _parameter("string", f"Default {WORKSPACE}, the workspace."),
                "yield_time_ms": _parameter("number", f"Wait before yielding; default {_YIELD_DEFAULT_MS}."),
                "max_output_tokens": _parameter("number", "Excess is cut in the middle."),
                "tty": _parameter("boolean", "Default false: no terminal, stdin closed."),
                "shell": _parameter("string", "Default bash."),
                "login": _parameter("boolean", "Default true."),
            },
            ["cmd"],
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        """Start the command and wait for it, at most as long as the model said."""
        asked = read_exec(arguments)
        given = asked.given
        workdir = posixpath.normpath(posixpath.join(WORKSPACE, asked.workdir))
        patch = invocation_in(asked.argv)
        if patch is not None:
            text = await patch_workspace(patch.patch, self.place, folder=posixpath.join(workdir, patch.folder))
            return ToolOutput(f"{text}(apply_patch is a tool: next time call it instead of exec_command.)\n")
        if line_of(asked.argv).lstrip().startswith("*** Begin Patch"):
            raise ToolProblem("that is a patch, not a command: call apply_patch with it.")
        wait_ms = number_argument(
            given,
            "yield_time_ms",
            # a caller that gives a time limit expects the end of its command
            default=max(_YIELD_DEFAULT_MS, asked.timeout_ms or 0),
            least=_YIELD_LEAST_MS,
            most=_YIELD_MOST_MS,
        )
        limit_tokens = _output_limit(given, self.place)
        tty = flag_argument(given, "tty", default=False)
        limit_seconds = min(self.place.limits.command_seconds, (asked.timeout_ms or float("inf")) / 1000)
        if len(self.sessions.running) >= _MOST_SESSIONS:
            numbers = ", ".join(map(str, self.sessions.running))
            raise ToolProblem(f"{_MOST_SESSIONS} commands run already (sessions {numbers}); end one of them first.")
        patches = wants_program(asked.argv)
        command = Command(
            argv=asked.argv,
            cwd=workdir,
            environment={**asked.environment, **functions()} if patches else asked.environment,
            timeout_seconds=limit_seconds,
            output_limit_bytes=self.place.limits.output_bytes,
            tty=tty,
        )
        sandbox = await self.place.enter()
        self.place.wrote = self.place.wrote or not self.place.read_only
        if patches:
            await sandbox.run(installing())
        started_at = self.place.clock.monotonic_seconds()
        try:
            session = await sandbox.open(command)
        except (OSError, ValueError) as error:
            raise ToolProblem(f"the command could not be started in {workdir}: {error}") from error
        running = _Running(session, tty, limit_seconds, self.place.redactor.stream())
        number = self.sessions.add(running)
        try:
            seen = await session.read(wait_seconds=wait_ms / 1000)
        except asyncio.CancelledError:
            # a read of a void stream, or the whole agent: nobody will ask for this command again
            self.sessions.running.pop(number, None)
            await session.kill()
            raise
        seconds = self.place.clock.monotonic_seconds() - started_at
        if seen.result is not None:
            self.sessions.running.pop(number, None)
        return await _output_so_far(self.place, _Look(number, running, seen, seconds, limit_tokens, call_id))


@dataclass(frozen=True, slots=True)
class WriteStdin:
    """Talks to a session, or just looks in."""

    place: ToolContext
    sessions: Sessions

    @property
    def name(self) -> str:
        return "write_stdin"

    @property
    def only_reads(self) -> bool:
        """Never: what was typed stays typed."""
        return False

    @property
    def definition(self) -> JSONObject:
        """Codex's tool."""
        return function_definition(
            self.name,
            "Writes characters to an existing session and returns recent output.",
            {
                "session_id": _parameter("number", "Session of a running command."),
                "chars": _parameter("string", "Bytes to write; empty to poll; \\u0003 interrupts."),
                "yield_time_ms": _parameter("number", "Wait for output before returning."),
                "max_output_tokens": {"type": "number"},
            },
            ["session_id"],
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        """Write, wait and give what was printed since the last look."""
        given = parse_arguments(self.name, arguments, known=_WRITE_ARGUMENTS)
        number = int(number_argument(given, "session_id", default=-1, least=-1, most=2**31))
        chars = text_argument(given, "chars", default="")
        default_ms, most_ms = (_WRITE_DEFAULT_MS, _YIELD_MOST_MS) if chars else (_POLL_DEFAULT_MS, _POLL_MOST_MS)
        wait_ms = number_argument(given, "yield_time_ms", default=default_ms, least=_YIELD_LEAST_MS, most=most_ms)
        limit_tokens = _output_limit(given, self.place)
        running = self.sessions.running.get(number)
        if running is None:
            known = ", ".join(map(str, self.sessions.running)) or "none"
            raise ToolProblem(f"no session {number} is running; running: {known}. Start it again with exec_command.")
        started_at = self.place.clock.monotonic_seconds()
        self.place.wrote = self.place.wrote or not self.place.read_only
        if chars == _INTERRUPT and not running.tty:
            await running.session.kill()
        elif chars:
            if not running.tty:
                raise ToolProblem("stdin is closed for this session; run exec_command again with tty=true.")
            await running.session.write(chars.encode())
        seen = await running.session.read(wait_seconds=wait_ms / 1000)
        seconds = self.place.clock.monotonic_seconds() - started_at
        if seen.result is not None:
            self.sessions.running.pop(number, None)
        return await _output_so_far(self.place, _Look(number, running, seen, seconds, limit_tokens, call_id))


@dataclass(frozen=True, slots=True)
class _Look:
    """What one call saw of a session."""

    session_number: int
    running: _Running
    seen: SessionOutput
    seconds: float
    limit_tokens: int
    call_id: str


async def _output_so_far(place: ToolContext, look: _Look) -> ToolOutput:
    """Put an output into Codex's words."""
    chunk = hashlib.sha256(look.call_id.encode("utf-8", errors="replace")).hexdigest()[:6]
    text, tokens = await place.shorten(look.running.text_of(look.seen), look.limit_tokens, name=f"{chunk}.txt")
    result = look.seen.result
    state = (
        f"Process running with session ID {look.session_number}"
        if result is None
        else _ending(result, look.running.limit_seconds)
    )
    head = [f"Chunk ID: {chunk}", f"Wall time: {look.seconds:.4f} seconds", state, f"Original token count: {tokens}"]
    if result is not None and result.note:
        head.insert(3, result.note)
    if _NO_PATCH_PROGRAM.search(text):
        text += (
            "apply_patch is a tool, not a program here: call it, or make `apply_patch <<'EOF'` (behind `cd DIR &&` or not) the "
            "whole command.\n"
        )
    return ToolOutput("\n".join([*head, "Output:", text]))


def _ending(result: CommandResult, limit_seconds: float) -> str:
    if result.timed_out:
        return f"Process killed after {limit_seconds:g} seconds, its time limit"
    if result.killed_for_output:
        return f"Process killed for printing too much ({result.output_bytes:,} bytes)"
    if result.exit_code is not None:
        return f"Process exited with code {result.exit_code}"
    if result.signal is not None:
        # as a shell reports it
        return f"Process exited with code {128 + result.signal}"
    return "Process ended; its exit code is not known"


def _output_limit(given: JSONObject, place: ToolContext) -> int:
    most = place.limits.output_tokens
    return int(number_argument(given, "max_output_tokens", default=most, least=1, most=most))


def _parameter(type_name: str, description: str) -> JSONObject:
    return {"type": type_name, "description": description}


_WRITE_ARGUMENTS = ("session_id", "chars", "yield_time_ms", "max_output_tokens")
