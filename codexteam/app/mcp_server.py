"""`mcp`: other agents' way to the commands; each is a process of its own, in the repository that the server was started for."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from codexteam import __version__
from codexteam.adapters.machine.own_commands import OwnCommands
from codexteam.adapters.mcp_server import CommandFailed, serve, tool_answer
from codexteam.app.project import find_project, live_run
from codexteam.errors import ConfigError

#: How long a run may take to have an id: settings are read and the repository is looked at before.
_BEGIN_SECONDS = 120.0
_LOOK_SECONDS = 0.1
#: What an agent gets to read of one answer.
_ANSWER_CHARS = 200_000
_ERROR_CHARS = 4_000
#: Codes that say how a run stands: the output says it too, and is the answer.
_STANDS = frozenset({0, 3, 4, 5})


def serve_commands(folder: Path, environment: Mapping[str, str], options: Sequence[str]) -> None:
    """Serve until standard input is closed; `options` are what every command gets.

    Raises:
        ConfigError: the package `mcp` is not installed.
    """
    tools = _Tools(folder, environment, OwnCommands(folder, options))
    try:
        serve(tools.call, tools.begin, version=__version__)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "mcp":
            raise
        raise ConfigError(
            "codexteam mcp needs the package `mcp`, which is not installed", hint="pip install 'codexteam[mcp]'"
        ) from error


class _Tools:
    """What tools call."""

    def __init__(self, folder: Path, environment: Mapping[str, str], commands: OwnCommands) -> None:
        self._folder = folder
        self._environment = environment
        self._commands = commands

    async def call(self, words: Sequence[str]) -> str:
        ended = await self._commands.run(words)
        text = ended.out.decode("utf-8", "replace")
        if ended.code in _STANDS and text.strip():
            return _clipped(text)
        if ended.code == 0:
            return tool_answer({"done": True, "said": _clipped(ended.err.decode("utf-8", "replace").strip())})
        raise CommandFailed(_why(words[0], ended.code, ended.err, ended.out))

    async def begin(self, words: Sequence[str]) -> str:
        project = find_project(self._folder, self._environment)
        before = live_run(project)
        with tempfile.TemporaryFile() as said:
            process = await asyncio.to_thread(self._commands.spawn, words, said)
            for _ in range(int(_BEGIN_SECONDS / _LOOK_SECONDS)):
                found = live_run(project)
                if found is not None and found != before:
                    return tool_answer({"run": found, "state": "running"})
                if process.poll() is not None:
                    said.seek(0)
                    raise CommandFailed(_why(words[0], process.returncode, said.read(), b""))
                await asyncio.sleep(_LOOK_SECONDS)
        process.terminate()
        raise CommandFailed(f"the run had not begun after {_BEGIN_SECONDS:.0f} s and was ended: see codexteam doctor")


def _why(command: str, code: int, err: bytes, out: bytes) -> str:
    said = (err.strip() or out.strip()).decode("utf-8", "replace")[-_ERROR_CHARS:]
    return said or f"codexteam {command} ended with exit code {code}"


def _clipped(text: str) -> str:
    """Return the beginning and the end of what is too long: the last line is often the result."""
    if len(text) <= _ANSWER_CHARS:
        return text
    half = _ANSWER_CHARS // 2
    return f"{text[:half]}\n[cut: {len(text) - _ANSWER_CHARS:,} characters]\n{text[-half:]}"
