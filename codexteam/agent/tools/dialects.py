"""What models trained for other harnesses call a tool, and the shapes they give its arguments."""

import json
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from codexteam.agent.patch.invocation import PATCH_COMMANDS
from codexteam.agent.tools.arguments import flag_argument, parse_arguments, text_argument
from codexteam.agent.tools.tool import ToolProblem
from codexteam.core.ids import JSONObject, JSONValue

#: Codex's older shell tools, and those of open models.
_SHELL_NAMES = frozenset({"shell", "shell_command", "local_shell", "container.exec", "unified_exec", "bash", "exec"})
_NAMESPACES = ("functions.", "tools.")
_LINE_NAMES = ("cmd", "command")
_FOLDER_NAMES = ("workdir", "cwd", "working_directory")
_TIMEOUT_NAMES = ("timeout_ms", "timeout")
#: Rights that a sandbox of one's own makes pointless, and what only has one value here.
_IGNORED = (
    *("sandbox_permissions", "justification", "prefix_rule", "with_escalated_permissions", "additional_permissions"),
    *("environment_id", "type", "user", "env"),
)
#: What the tool offers, and what is taken without being offered.
EXEC_ARGUMENTS: Final = ("cmd", "workdir", "yield_time_ms", "max_output_tokens", "tty", "shell", "login")
_TAKEN = (*EXEC_ARGUMENTS, *_LINE_NAMES, *_FOLDER_NAMES, *_TIMEOUT_NAMES, *_IGNORED)


def our_name(name: str, known: Collection[str]) -> str:
    """Return the tool of ours that a name stands for, or the name as it is."""
    if name in known:
        return name
    # open models leave their channel's mark behind a name
    plain = name.partition("<|")[0].strip()
    for namespace in _NAMESPACES:
        plain = plain.removeprefix(namespace)
    for names, tool in ((_SHELL_NAMES, "exec_command"), (PATCH_COMMANDS, "apply_patch")):
        if plain in names and tool in known:
            return tool
    return plain if plain in known else name


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command as a model asked for it."""

    argv: tuple[str, ...]
    workdir: str
    given: JSONObject
    """All arguments, for those that every dialect has alike."""
    environment: dict[str, str] = field(default_factory=dict)
    timeout_ms: float | None = None


def read_exec(arguments: str) -> ExecRequest:
    """Read the arguments of a shell call.

    Raises:
        ToolProblem: they cannot be used.
    """
    given = parse_arguments("exec_command", arguments)
    unknown = sorted(set(given) - set(_TAKEN))
    if unknown:
        offered = ", ".join(EXEC_ARGUMENTS)
        raise ToolProblem(f"exec_command has no argument {', '.join(unknown)[:200]}; it takes {offered}.")
    workdir = text_argument(given, next((name for name in _FOLDER_NAMES if name in given), "workdir"), default="")
    return ExecRequest(_argv(given), workdir, given, _environment(given.get("env")), _timeout_ms(given))


def _argv(given: JSONObject) -> tuple[str, ...]:
    name = next((name for name in _LINE_NAMES if name in given), "cmd")
    words = _words(given.get(name))
    if words is not None:
        for word in words:
            text_argument({name: word}, name)
        if not words or not words[0].strip():
            raise ToolProblem(f"{name} is empty.")
        return words
    line = text_argument(given, name)
    if not line.strip():
        raise ToolProblem(f"{name} is empty.")
    shell = text_argument(given, "shell", default="") or "bash"
    return (shell, "-lc" if flag_argument(given, "login", default=True) else "-c", line)


def _words(value: JSONValue) -> tuple[str, ...] | None:
    """Return a command that is a list of words, also one written as JSON in a string."""
    if isinstance(value, str) and value.lstrip().startswith('["'):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, list):
        return None
    words = tuple(word for word in value if isinstance(word, str))
    if len(words) != len(value):
        raise ToolProblem('cmd must be a string, or a list of strings such as ["bash", "-lc", "ls"].')
    return words


def _environment(value: JSONValue) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ToolProblem("the argument env must be an object of strings.")
    return {name: text_argument({name: text}, name) for name, text in value.items()}


def _timeout_ms(given: JSONObject) -> float | None:
    for name in _TIMEOUT_NAMES:
        value = given.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return None


def line_of(argv: Sequence[str]) -> str:
    """Return a command as a line for a message."""
    if len(argv) == 3 and PurePosixPath(argv[0]).name in {"bash", "sh", "zsh"} and argv[1].startswith("-"):
        return argv[2]
    return shlex.join(argv)
