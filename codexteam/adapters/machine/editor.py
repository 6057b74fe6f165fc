"""The user's editor, on the user's terminal."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from codexteam.errors import UsageError

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
