"""A patch in the clothes that models put it in: in a command's heredoc, in a list of words, in JSON, between fences."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from codexteam.core.ids import JSONValue

PATCH_COMMANDS: Final = ("apply_patch", "applypatch")
_SHELLS = frozenset({"bash", "sh", "zsh"})
_SHELL_FLAGS = frozenset({"-c", "-lc"})
#: The one statement of a script; anything beside it is the shell's to run.
_HEREDOC = re.compile(
    r"""\s*(?:cd[ \t]+(?:'(?P<raw>[^']*)'|"(?P<quoted>[^"$`\\]*)"|(?P<word>[^\s'"$`\\;&|<>()]+))[ \t]*&&\s*)?
    (?:apply_patch|applypatch)[ \t]*<<-?[ \t]*(?P<quote>['"]?)(?P<end>\w+)(?P=quote)[ \t]*\r?\n
    (?P<body>.*?)\r?\n?(?<=\n)[ \t]*(?P=end)\s*""",
    re.DOTALL | re.VERBOSE,
)
_FENCE = re.compile(r"```[\w-]*[ \t]*\r?\n(?P<body>.*?)\r?\n```", re.DOTALL)
#: What models call the patch in an object.
_PATCH_KEYS = ("input", "patch", "patch_text", "diff", "command", "cmd")
#: A patch in JSON in JSON is still meant; deeper is not a patch.
_MOST_LAYERS = 4


@dataclass(frozen=True, slots=True)
class Invocation:
    """A patch that a command line would apply, and the folder it would do so in."""

    patch: str
    folder: str = ""


def invocation_in(argv: Sequence[str]) -> Invocation | None:
    """Return the patch of a command that is nothing but its application, as Codex takes it; None for any other command."""
    match list(argv):
        case [name, patch] if name in PATCH_COMMANDS:
            return Invocation(patch)
        case [shell, flag, script] if shell.rpartition("/")[2] in _SHELLS and flag in _SHELL_FLAGS:
            return invocation_in_script(script)
    return None


def invocation_in_script(script: str) -> Invocation | None:
    """Return the patch of a script that is one `apply_patch <<'EOF'`, behind `cd FOLDER &&` or not."""
    found = _HEREDOC.fullmatch(script)
    if found is None:
        return None
    return Invocation(found["body"], found["raw"] or found["quoted"] or found["word"] or "")


def patch_in(text: str) -> Invocation | None:
    """Return the patch in what a tool was called with; None where there is JSON without one."""
    folder = ""
    for _ in range(_MOST_LAYERS):
        stripped = text.strip()
        inner = _in_json(stripped) if stripped[:1] in {"{", "[", '"'} else stripped
        if inner is None:
            return None
        if fenced := _FENCE.fullmatch(inner):
            inner = fenced["body"]
        elif command := invocation_in_script(inner):
            inner, folder = command.patch, command.folder
        elif "\n" not in inner and "\\n" in inner:
            inner = _unescaped(inner)
        if inner == stripped:
            break
        text = inner
    return Invocation(text, folder)


def _in_json(text: str) -> str | None:
    try:
        value: JSONValue = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict):
        value = next((value[key] for key in _PATCH_KEYS if key in value), None)
    if isinstance(value, list):
        words = [word for word in value if isinstance(word, str)]
        found = invocation_in(words)
        # the folder of a command in JSON in a patch is nobody's
        return found.patch if found is not None and len(words) == len(value) else None
    return value if isinstance(value, str) else None


def _unescaped(text: str) -> str:
    try:
        value: JSONValue = json.loads(f'"{text}"')
    except ValueError:
        return text
    return value if isinstance(value, str) else text


_NUMBERS = re.compile(r"Failed to find context '-\d+(?:,\d+)? \+\d+(?:,\d+)?(?: @@.*)?'")
_DIFF_START = re.compile(r"(?:diff --git |--- |Index: )")
_FORM = (
    "a line each: `*** Begin Patch`, `*** Update File: PATH`, `@@`, the lines with space, - or + before them, "
    "`*** End Patch`"
)


def advice(patch: str, message: str) -> str:
    """Say the right form where a patch nearly has it; empty where the message says all."""
    if message.startswith("Invalid patch: ") and _DIFF_START.match(patch.lstrip()):
        return f"This is a unified diff; send {_FORM}."
    if _NUMBERS.match(message):
        return "Line numbers mean nothing here: write `@@` alone, or `@@ ` and a line that stands before the change."
    if "is outside the workspace" in message:
        return "Name files relative to the workspace."
    if re.search(r"^\*\*\* (?:Update|Delete) File: [ab]/", patch, re.MULTILINE) and "No such file" in message:
        return "Paths have no a/ or b/ before them."
    if "invalid utf-8" in message:
        return "The file is not UTF-8: change it with a command."
    return ""
