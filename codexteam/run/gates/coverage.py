"""What of a file's lines tests run: measured by the tool that the environment has for the language.

The command runs under all tools that are there: coverage.py for Python, the engine's own counters for JavaScript (what c8
reads), `-coverprofile` for Go. Where there is none, or where a
command fails, nothing is known. The code under test could lie in
what it prints: this finds work that nobody tested, not work that hides.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final

from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import CommitId
from codexteam.core.untested import ExecutedLines
from codexteam.run.command_environments import SetupFailed
from codexteam.run.context import RunContext
from codexteam.run.gates.commands import check_commit, placed

#: Endings that something can measure.
_MEASURED: Final = frozenset((".py", ".js", ".mjs", ".cjs", ".go"))
#: The most of a report that is read.
_REPORT_BYTES: Final = 1 << 20
#: How the script ends where no tool is there; nothing was run then.
_NO_TOOL: Final = 93
_TOOLS: Final = "measuring"


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class NoTool:
    """An environment in which nothing measures some languages."""


async def measure(
    context: RunContext, commit: CommitId, commands: Sequence[str], paths: Iterable[str], *, name: str
) -> dict[str, ExecutedLines]:
    """Return what commands run of files on a commit; a file that nothing measured is left out."""
    wanted = [path for path in paths if PurePosixPath(path).suffix in _MEASURED]
    if not wanted or not commands:
        return {}
    found: dict[str, ExecutedLines] = {}
    for place in await placed(context, commit, commands):
        if not isinstance(place.key, SetupFailed):
            measured = await _measured(context, commit, place.commands, wanted, name=name, key=place.key)
            for path, lines in measured.items():
                _add(found, path, lines)
    return found


async def _measured(
    context: RunContext, commit: CommitId, commands: Sequence[str], wanted: Sequence[str], *, name: str, key: str
) -> dict[str, ExecutedLines]:
    endings = sorted({PurePosixPath(path).suffix for path in wanted})
    tools = f"{context.settings.team.sandbox.image or context.engine.name}+{key}/{' '.join(endings)}"
    if await context.recall(_TOOLS, tools, NoTool) is not None:
        return {}
    line = measuring(commands, wanted)
    team = context.settings.team
    [outcome] = await check_commit(
        context,
        commit,
        [line],
        name=name,
        timeout_seconds=min(team.limits.command_seconds, team.gates.timeout_seconds),
        output_limit_bytes=_REPORT_BYTES,
        environment_key=key,
    )
    if outcome.exit_code == _NO_TOOL:
        await context.remember(_TOOLS, tools, NoTool())
    return read_measured(outcome.output, wanted)


def measuring(commands: Sequence[str], paths: Sequence[str]) -> str:
    """Return the shell line that runs commands and prints what they ran of files."""
    script = files("codexteam.run.gates").joinpath("measure.sh").read_text(encoding="utf-8")
    tests = " &&\n".join(f"( {command}\n)" for command in commands)
    words = " ".join(map(shlex.quote, (tests, *paths)))
    return f"bash -c {shlex.quote(script)} measure {_mark(paths)} {words}"


def read_measured(output: str, paths: Sequence[str]) -> dict[str, ExecutedLines]:
    """Read what the shell line printed; the last word on a file counts, of several tools the sum."""
    found: dict[str, ExecutedLines] = {}
    for line in output.splitlines():
        head, _, text = line.partition(" ")
        if head != _mark(paths):
            continue
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            continue
        match told:
            case [str(path), list(ran), list(missed)] if all(type(each) is int for each in (*ran, *missed)):
                lines = ExecutedLines(frozenset(ran), frozenset(missed))
            case _:
                continue
        if path in paths:
            _add(found, path, lines)
    return found


def _add(found: dict[str, ExecutedLines], path: str, lines: ExecutedLines) -> None:
    known = found.get(path)
    ran_by_any = lines.ran | (known.ran if known else frozenset())
    found[path] = ExecutedLines(ran_by_any, (lines.missed | (known.missed if known else frozenset())) - ran_by_any)


def _mark(paths: Sequence[str]) -> str:
    return "measured-" + hashlib.sha256("\0".join(paths).encode("utf-8", "surrogatepass")).hexdigest()[:16]
