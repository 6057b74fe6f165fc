"""The program inside every sandbox as one file: a zipapp of the modules in `server`, and how it is started.

Its bytes depend on those modules alone, so their hash tells whether a checkout was made with the same program. It is
stored uncompressed, which every Python reads with the least of imports; `compile_command` makes it start quicker.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

#: What the file is called wherever it lies.
PROGRAM_NAME = "server.pyz"
#: The oldest time that an archive can say.
_TIME = (1980, 1, 1, 0, 0, 0)
_PACKAGE = "server"
_MAIN = f"from {_PACKAGE}.__main__ import main\n\nmain()\n"
_COMPILE = f"import sys; sys.path.insert(0, sys.argv[1]); from {_PACKAGE}.compiled import main; main()"


@cache
def server_program() -> bytes:
    """Return the program, to be handed to any Python from 3.7 on."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        archive.writestr(_entry("__main__.py"), _MAIN)
        for path in sorted((Path(__file__).parent / _PACKAGE).glob("*.py")):
            archive.writestr(_entry(f"{_PACKAGE}/{path.name}"), path.read_bytes())
    return found.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr = 0o644 << 16
    return entry


def program_hash() -> str:
    """Return what tells this program from those of other versions."""
    return hashlib.sha256(server_program()).hexdigest()


def start_command(python: str, path: str, settings: str) -> Sequence[str]:
    """Return the command that runs the program, a file at `path`, with its one argument."""
    return (python, "-I", "-S", path, settings)


def compile_command(python: str, path: str, target: str) -> Sequence[str]:
    """Return the command that writes the program at `path` to `target`, with compiled code for this Python beside it."""
    return (python, "-I", "-S", "-c", _COMPILE, path, target)


def server_settings(
    *, workspace: str, private: str, base_git: str | None = None, alone: bool, output_cap_bytes: int
) -> str:
    """Return the server's one argument.

    Args:
        workspace: the folder that file requests are confined to.
        private: a folder for the server's own git data; writable, made when missing, kept over a restart.
        base_git: a read-only `.git` folder with the root commit's objects, out of the agent's reach.
        alone: nothing but what the server starts lives in its PID namespace, so all may be killed at once.
        output_cap_bytes: what one command may print before it is killed.
    """
    settings = {"workspace": workspace, "private": private, "base_git": base_git, "alone": alone}
    return json.dumps({**settings, "output_cap_bytes": output_cap_bytes})
