"""The programs that scan: those of our own installation, never one that a repository could bring.

They run over hostile files: each reads them, and can do nothing else for long. The files have names of ours, so that no
scanner takes one for its configuration. It gets no environment, little memory, time and output, and, where bubblewrap
works, sees of this machine the system's libraries and these files alone, without network.
"""

import asyncio
import contextlib
import os
import signal
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.launch_plan import find_binaries
from codexteam.ports.scanner import ScanFailed


@dataclass(frozen=True, slots=True)
class ScanPrograms:
    """Where the scanners are, and which."""

    ruff: Path
    ast_grep: Path
    names: tuple[str, ...]
    """With their versions."""


def find_programs() -> ScanPrograms | None:
    """Return the scanners that `codexteam[scan]` installs; None if one of them is missing."""
    folder = Path(sysconfig.get_path("scripts"))
    ruff, ast_grep = folder / "ruff", folder / "ast-grep"
    if not (ruff.is_file() and ast_grep.is_file()):
        return None
    try:
        names = (f"ruff {version('ruff')}", f"ast-grep {version('ast-grep-cli')}")
    except PackageNotFoundError:
        return None
    return ScanPrograms(ruff, ast_grep, names)


_LIMIT_SECONDS = 60
_MEMORY_KIB = 4 << 20
#: `ulimit -f` counts blocks of 512 bytes.
_OUTPUT_BYTES = 32 << 20
_LIMITS = (
    f'ulimit -c 0; ulimit -v {_MEMORY_KIB}; ulimit -t {_LIMIT_SECONDS}; ulimit -f {_OUTPUT_BYTES // 512}; exec "$@"'
)
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache")
_FILES = "/scan/files"


async def run_scanner(program: Path, arguments: Sequence[str], folder: Path) -> str | ScanFailed:
    """Return what a scanner prints about the files of a folder, which it works in.

    Its exit code says nothing: scanners end with 1 where they found something.
    """
    output = folder.parent / f"{program.name}.out"
    for bwrap in (*(str(binary.path) for binary in find_binaries()), None):
        command = [str(program)] if bwrap is None else [*_confined(bwrap, program, folder), f"/scan/bin/{program.name}"]
        ended = await _run([*command, *arguments], folder, output)
        if isinstance(ended, ScanFailed):
            return ScanFailed(f"{program.name} {ended.reason}")
        if bwrap is not None and ended.startswith("bwrap:"):
            continue  # no namespaces here
        return output.read_text(encoding="utf-8", errors="replace")
    return ScanFailed(f"{program.name} could not be started")


def _confined(bwrap: str, program: Path, folder: Path) -> list[str]:
    system = [word for path in _SYSTEM for word in ("--ro-bind-try", path, path)]
    own = ["--ro-bind", str(program), f"/scan/bin/{program.name}", "--ro-bind", str(folder), _FILES]
    return [
        *(bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *system,
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 - the sandbox's own
        *own,
        *("--chdir", _FILES, "--"),
    ]


async def _run(command: Sequence[str], folder: Path, output: Path) -> str | ScanFailed:
    """Run a command with limits; return what it said on standard error."""
    errors = output.with_suffix(".err")
    with output.open("wb") as out, errors.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _LIMITS, "sh", *command),
            cwd=folder,
            env={"NO_COLOR": "1", "RAYON_NUM_THREADS": "2"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                code = await process.wait()
        except TimeoutError:
            return ScanFailed(f"took longer than {_LIMIT_SECONDS} seconds")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code < 0 or code > 128:
        return ScanFailed(f"was ended by signal {signal.Signals(-code if code < 0 else code - 128).name}")
    return errors.read_text(encoding="utf-8", errors="replace")
