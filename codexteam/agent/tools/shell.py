"""`exec_command` and `write_stdin`: commands in the sandbox, and those that outlive a tool call."""

import asyncio
import codecs
import hashlib
import posixpath
from dataclasses import dataclass, field
from typing import Final

from codexteam.agent.tools.arguments import flag_argument, number_argument, parse_arguments, text_argument
from codexteam.agent.tools.clip import as_text
from codexteam.agent.tools.tool import ToolOutput, ToolProblem
from codexteam.agent.tools.workplace import Workplace
from codexteam.core.json_types import JSONObject
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

_INTERRUPT: Final = "\x03"


_Decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(slots=True)
class _Running:
    session: Session
    tty: bool
    printed: RedactedStream
    """What it prints, secrets taken out: one may begin in one look and end in the next."""
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: _Decoder("replace"))
    """For characters that do so."""

    def text_of(self, seen: SessionOutput) -> str:
        """Give what a look brought as text; while the command runs, without what may be the beginning of a secret."""
        ended = seen.result is not None
        text = as_text(self.decoder.decode(seen.output, final=ended))
        return self.printed.finish(text) if ended else self.printed.feed(text)


@dataclass(slots=True)
class Sessions:
    """The commands of one agent that run on after their tool call. Whoever made it closes it."""

    running: dict[int, _Running] = field(default_factory=dict)
    last_number: int = 0

    def add(self, running: _Running) -> int:
        """Keep a session; give its number."""
        self.last_number += 1
        self.running[self.last_number] = running
        return self.last_number

    async def close(self) -> None:
        """Kill all that still run."""
        left = list(self.running.values())
        self.running.clear()
        await asyncio.gather(*(running.session.kill() for running in left))


@dataclass(frozen=True, slots=True)
class ExecCommand:
    """Runs a shell line. What takes longer than the call waits becomes a session."""

    place: Workplace
    sessions: Sessions

    @property
    def name(self) -> str:
        """`exec_command`."""
        return "exec_command"

    @property
    def only_reads(self) -> bool:
        """Whether the sandbox is read-only."""
        return self.place.read_only

    @property
    def definition(self) -> JSONObject:
        """Codex's tool, without the arguments that ask for rights: here nothing is granted on request."""
        return _function(
            self.name,
            "Runs a command, returning output or a session ID for ongoing interaction.",
            {
                "cmd": _parameter("string", "Shell command to execute."),
                "workdir": _parameter("string", f"Working directory; defaults to {WORKSPACE}, the workspace."),
                "yield_time_ms": _parameter("number", f"Wait before yielding; default {_YIELD_DEFAULT_MS}."),
                "max_output_tokens": _parameter("number", "Excess output is truncated in the middle."),
                "tty": _parameter("boolean", "Allocate a terminal; default false, stdin stays closed."),
                "shell": _parameter("string", "Shell binary; default bash."),
                "login": _parameter("boolean", "Run the shell with -l; default true."),
            },
            ["cmd"],
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        """Start the command and wait for it, at most as long as the model said."""
        given = parse_arguments(self.name, arguments, known=_EXEC_ARGUMENTS)
        line = text_argument(given, "cmd")
        if not line.strip():
            raise ToolProblem("cmd is empty.")
        wait_ms = number_argument(
            given, "yield_time_ms", default=_YIELD_DEFAULT_MS, least=_YIELD_LEAST_MS, most=_YIELD_MOST_MS
        )
        limit_tokens = _output_limit(given, self.place)
        tty = flag_argument(given, "tty", default=False)
        shell = text_argument(given, "shell", default="") or "bash"
        login = flag_argument(given, "login", default=True)
        workdir = posixpath.normpath(posixpath.join(WORKSPACE, text_argument(given, "workdir", default="")))
        if len(self.sessions.running) >= _MOST_SESSIONS:
            numbers = ", ".join(map(str, self.sessions.running))
            raise ToolProblem(f"{_MOST_SESSIONS} commands run already (sessions {numbers}); end one of them first.")
        command = Command(
            argv=(shell, "-lc" if login else "-c", line),
            cwd=workdir,
            timeout_seconds=self.place.limits.command_seconds,
            output_limit_bytes=self.place.limits.output_bytes,
            tty=tty,
        )
        sandbox = await self.place.enter()
        self.place.wrote = self.place.wrote or not self.place.read_only
        started_at = self.place.clock.monotonic_seconds()
        try:
            session = await sandbox.open(command)
        except (OSError, ValueError) as error:
            raise ToolProblem(f"the command could not be started in {workdir}: {error}") from error
        running = _Running(session, tty, self.place.redactor.stream())
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
        return await _told(self.place, _Look(number, seen, running.text_of(seen), seconds, limit_tokens, call_id))


@dataclass(frozen=True, slots=True)
class WriteStdin:
    """Talks to a session, or just looks in."""

    place: Workplace
    sessions: Sessions

    @property
    def name(self) -> str:
        """`write_stdin`."""
        return "write_stdin"

    @property
    def only_reads(self) -> bool:
        """Never: what was typed stays typed."""
        return False

    @property
    def definition(self) -> JSONObject:
        """Codex's tool."""
        return _function(
            self.name,
            "Writes characters to an existing session and returns recent output.",
            {
                "session_id": _parameter("number", "Session of a running command."),
                "chars": _parameter("string", "Bytes to write; empty to poll; \\u0003 interrupts."),
                "yield_time_ms": _parameter("number", "Wait for output before returning."),
                "max_output_tokens": _parameter("number", "Excess output is truncated in the middle."),
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
        return await _told(self.place, _Look(number, seen, running.text_of(seen), seconds, limit_tokens, call_id))


@dataclass(frozen=True, slots=True)
class _Look:
    """What one call saw of a session."""

    session_number: int
    seen: SessionOutput
    text: str
    """What it printed, secrets taken out."""
    seconds: float
    limit_tokens: int
    call_id: str


async def _told(place: Workplace, look: _Look) -> ToolOutput:
    """Put an output into Codex's words."""
    chunk = hashlib.sha256(look.call_id.encode("utf-8", errors="replace")).hexdigest()[:6]
    text, tokens = await place.shorten(look.text, look.limit_tokens, name=f"{chunk}.txt")
    result = look.seen.result
    state = (
        f"Process running with session ID {look.session_number}"
        if result is None
        else _ending(result, place.limits.command_seconds)
    )
    head = [f"Chunk ID: {chunk}", f"Wall time: {look.seconds:.4f} seconds", state, f"Original token count: {tokens}"]
    if result is not None and result.note:
        head.insert(3, result.note)
    return ToolOutput("\n".join([*head, "Output:", text]))


def _ending(result: CommandResult, limit_seconds: float) -> str:
    if result.timed_out:
        return f"Process killed after {limit_seconds:g} seconds, the longest a command may run"
    if result.killed_for_output:
        return f"Process killed for printing too much ({result.output_bytes:,} bytes)"
    if result.exit_code is not None:
        return f"Process exited with code {result.exit_code}"
    if result.signal is not None:
        # as a shell reports it
        return f"Process exited with code {128 + result.signal}"
    return "Process ended; its exit code is not known"


def _output_limit(given: JSONObject, place: Workplace) -> int:
    most = place.limits.output_tokens
    return int(number_argument(given, "max_output_tokens", default=most, least=1, most=most))


def _function(name: str, description: str, properties: JSONObject, required: list[str]) -> JSONObject:
    parameters: JSONObject = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "description": description, "strict": False, "parameters": parameters}


def _parameter(type_name: str, description: str) -> JSONObject:
    return {"type": type_name, "description": description}


#: What models trained on Codex may send as well: rights that a sandbox of their own makes pointless.
_IGNORED = ("sandbox_permissions", "justification", "prefix_rule")
_EXEC_ARGUMENTS = ("cmd", "workdir", "yield_time_ms", "max_output_tokens", "tty", "shell", "login", *_IGNORED)
_WRITE_ARGUMENTS = ("session_id", "chars", "yield_time_ms", "max_output_tokens")
