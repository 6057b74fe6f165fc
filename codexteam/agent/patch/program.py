"""`apply_patch` as a program of the sandbox, for a patch in the middle of a longer command. Codex has one on its path.

The shell gets a function of that name, which runs the same code as the tool with the sandbox's own Python. It is put
there when a command first wants it; what it may write is what the agent's commands may.
"""

import io
import re
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Final

from codexteam.agent.patch.invocation import PATCH_COMMANDS, invocation_in
from codexteam.ports.sandbox import Command

_FOLDER: Final = "/tmp/.codexteam"  # noqa: S108 - in the sandbox, where it is the agent's own
_ARCHIVE: Final = f"{_FOLDER}/apply_patch.pyz"
#: Where a command can begin; what follows in a text or another command's arguments does no harm.
_WANTED = re.compile(rf"(?:^|[;&|(\n]|\b(?:then|do|else|exec|xargs)\b)\s*(?:{'|'.join(PATCH_COMMANDS)})\b")
_FUNCTION = (
    "() {{ if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; "
    'then python3 {archive} "$@"; '
    "else echo 'apply_patch: command not found' >&2; return 127; fi; }}"
)
_MODULES = ("core/text.py", "agent/patch/apply.py", "agent/patch/parse.py", "agent/patch/text.py")
_MAIN = """
import os
import sys

from codexteam.agent.patch.apply import AppliedPatch, Unreadable, apply_hunks, paths_of, resolve_path
from codexteam.agent.patch.parse import NotAPatch, UpdateFile, parse_patch
from dataclasses import replace


def state_of(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Unreadable(error.strerror or "")


def placed(hunk):
    path = os.path.join(os.getcwd(), hunk.path)
    if isinstance(hunk, UpdateFile) and hunk.move_to is not None:
        return replace(hunk, path=path, move_to=os.path.join(os.getcwd(), hunk.move_to))
    return replace(hunk, path=path)


def main(words):
    if len(words) > 1:
        return "apply_patch accepts exactly one argument, or the patch as its input."
    text = words[0] if words else sys.stdin.read()
    hunks = parse_patch(text)
    if isinstance(hunks, NotAPatch):
        return hunks.message
    hunks = [placed(hunk) for hunk in hunks]
    files = {resolve_path(path, root=""): state_of(path) for path in paths_of(hunks)}
    applied = apply_hunks(hunks, files, root="")
    if not isinstance(applied, AppliedPatch):
        return applied.message
    for path, data in applied.writes.items():
        if data is None:
            os.unlink("/" + path)
            continue
        os.makedirs(os.path.dirname("/" + path), exist_ok=True)
        with open("/" + path, "wb") as file:
            file.write(data)
    sys.stdout.write(applied.text.replace(" " + os.getcwd() + "/", " "))
    return 0


try:
    sys.exit(main(sys.argv[1:]))
except OSError as error:
    sys.exit("apply_patch: {}: {}".format(error.filename, error.strerror))
"""


def wants_program(argv: Sequence[str]) -> bool:
    """Return whether a command runs `apply_patch` beside other things, so that the shell must find it."""
    return invocation_in(argv) is None and any(_WANTED.search(word) for word in argv)


def functions() -> dict[str, str]:
    """Return the shell's functions, as bash takes them from its environment."""
    return {f"BASH_FUNC_{name}%%": _FUNCTION.format(archive=_ARCHIVE) for name in PATCH_COMMANDS}


def installing() -> Command:
    """Return the command that puts the program in place."""
    line = f"mkdir -p {_FOLDER} && cat > {_ARCHIVE}.new && mv {_ARCHIVE}.new {_ARCHIVE}"
    return Command(("sh", "-c", line), cwd="/", stdin=_archive(), timeout_seconds=30.0)


@lru_cache(maxsize=1)
def _archive() -> bytes:
    """Pack the patch code, which is pure and of the standard library alone."""
    package = resources.files("codexteam")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in ("codexteam", "codexteam/core", "codexteam/agent", "codexteam/agent/patch"):
            archive.writestr(f"{folder}/__init__.py", "")
        for module in _MODULES:
            archive.writestr(f"codexteam/{module}", package.joinpath(module).read_bytes())
        archive.writestr("__main__.py", _MAIN)
    return packed.getvalue()
