"""The user's terminal: a shell in a sandbox attached to it, and the user's editor on it."""

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import termios
import tty
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.errors import UsageError
from codexteam.ports.sandbox import Command, CommandResult, Sandbox, Session
from codexteam.system.cancellation import stopped

_LONGEST_SECONDS = 7 * 86_400.0
_READ_BYTES = 64 * 1024
#: Inside: where the name of the shell's terminal stands, for whoever tells it of a new size.
_NAME = "/tmp/.terminal"  # noqa: S108 - inside a sandbox
_LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Terminal:
    """The ends of a terminal: what is typed, and what is shown."""

    keys: int
    screen: int

    def write(self, data: bytes) -> None:
        """Show all of it."""
        while data:
            data = data[os.write(self.screen, data) :]


async def attached(terminal: Terminal, sandbox: Sandbox, *, cwd: str, environment: Mapping[str, str]) -> int:
    """Run an interactive shell on the user's terminal until it ends, and return its exit code.

    Keys go to the shell as they are typed, Ctrl-C among them, and a terminal that changes its size tells it so.

    Raises:
        SandboxLost: the sandbox went away.
    """
    columns, rows = shutil.get_terminal_size()
    line = f'{_size(columns, rows)}; tty > {_NAME}; exec "$(command -v bash || command -v sh)" -i'
    variables = {name: environment[name] for name in ("TERM", "COLORTERM", "LANG") if environment.get(name)}
    command = Command(("sh", "-c", line), cwd=cwd, environment=variables, timeout_seconds=_LONGEST_SECONDS, tty=True)
    with _raw(terminal.keys):
        session = await sandbox.open(command, on_output=terminal.write)
        keys = _Keys(session, terminal.keys)
        loop = asyncio.get_running_loop()
        loop.add_reader(terminal.keys, keys.arrived)
        loop.add_signal_handler(signal.SIGWINCH, lambda: keys.resized(sandbox))
        try:
            result: CommandResult | None = None
            while result is None:
                result = (await session.read(wait_seconds=_LOOK_SECONDS)).result
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            loop.remove_reader(terminal.keys)
            await keys.close()
    if result.exit_code is not None:
        return result.exit_code
    return 1 if result.signal is None else 128 + result.signal


def _size(columns: int, rows: int) -> str:
    return f"stty cols {columns} rows {rows} 2>/dev/null"


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    # The default, TCSAFLUSH, would drop what was typed while the shell was started.
    tty.setraw(terminal, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@dataclass(slots=True)
class _Keys:
    """What is typed, on its way to the shell in order."""

    session: Session
    typed: int
    _waiting: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._begin(self._send)

    def _begin(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def arrived(self) -> None:
        data = os.read(self.typed, _READ_BYTES)
        if data:
            self._waiting.put_nowait(data)
        else:
            asyncio.get_running_loop().remove_reader(self.typed)

    async def _send(self) -> None:
        while True:
            await self.session.write(await self._waiting.get())

    def resized(self, sandbox: Sandbox) -> None:
        """Tell the shell's terminal of the new size; the system inside tells the programs on it."""
        columns, rows = shutil.get_terminal_size()

        async def pass_size() -> None:
            line = f'stty cols {columns} rows {rows} < "$(cat {_NAME})"'
            await sandbox.run(Command(("sh", "-c", line), timeout_seconds=5.0))

        self._begin(pass_size)

    async def close(self) -> None:
        await asyncio.gather(*map(stopped, list(self._tasks)))


#: Tried in this order where the environment names none.
_USUAL = ("sensible-editor", "editor", "nano", "vi")


def open_editor(path: Path, environment: Mapping[str, str]) -> None:
    """Let the user edit a file, and return when the editor ends: `$VISUAL`, `$EDITOR`, or one that is usual.

    Raises:
        UsageError: there is none, or it says that it failed.
    """
    typed = environment.get("VISUAL") or environment.get("EDITOR") or ""
    try:
        command = shlex.split(typed)
    except ValueError as error:
        raise UsageError(f"$VISUAL or $EDITOR cannot be read: {typed!r}: {error}", hint="export EDITOR=nano") from error
    if not command:
        found = next((name for name in _USUAL if shutil.which(name, path=environment.get("PATH"))), None)
        if found is None:
            raise UsageError("there is no editor", hint=f"export EDITOR=..., or edit {path} in another window")
        command = [found]
    try:
        code = subprocess.run([*command, str(path)], env=dict(environment), check=False).returncode
    except OSError as error:
        raise UsageError(f"{command[0]}: it cannot be started: {error.strerror}", hint="export EDITOR=nano") from error
    if code:
        raise UsageError(
            f"{command[0]} ended with exit code {code}", hint=f"what you saved in {path.name} is still there"
        )
