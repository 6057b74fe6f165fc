"""What an agent's commands print while they run, for who looks at it: files in the run's folder, only for as long.

Who looks at an agent touches a file again and again; the run's process writes what its commands have printed beside it while
that file is fresh. Of an agent that nobody looks at nothing is written, nor is anything read of its commands.
"""

import hashlib
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: In the run's folder.
_FOLDER = "looked-at"
_OUTPUT = ".out"
#: A look that was not repeated for so long is over; longer than the pause between two heartbeats.
_FRESH_SECONDS = 12.0


class LookedAt:
    """The run's side: at whom somebody looks, and what that one gets to see."""

    def __init__(self, run_folder: Path) -> None:
        """Use a folder in the run's, which the first who looks makes."""
        self._folder = run_folder / _FOLDER
        self._written: dict[str, str] = {}

    def among(self, agents: Iterable[str], now_seconds: float) -> list[str]:
        """Return those agents at whom somebody looks; `now_seconds` is the machine's time."""
        names: set[str] = set()
        with suppress(OSError):
            for entry in self._folder.iterdir():
                with suppress(OSError):
                    if not entry.suffix and now_seconds - entry.stat().st_mtime < _FRESH_SECONDS:
                        names.add(entry.name)
        return [agent for agent in agents if _name(agent) in names] if names else []

    def write(self, agent: str, text: str) -> None:
        """Let who looks at an agent see a text; on a disk that takes nothing it is not seen."""
        name = _name(agent)
        if self._written.get(name, "") != text:
            self._written[name] = text
            with suppress(OSError):
                new = self._folder / f"{name}.new"
                new.touch(mode=0o600)
                new.write_text(text, encoding="utf-8", errors="backslashreplace")
                new.replace(self._folder / f"{name}{_OUTPUT}")

    def close(self) -> None:
        """Leave nothing behind. May be repeated."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Look:
    """The side of who looks at one agent."""

    def __init__(self, run_folder: Path, agent: str) -> None:
        """Look at an agent from the first `read` on."""
        self._file = run_folder / _FOLDER / _name(agent)

    def read(self) -> str:
        """Return what its commands have printed, as far as the run has written it; foreign text without secrets."""
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            self._file.touch(mode=0o600)
            return self._file.with_suffix(_OUTPUT).read_text(encoding="utf-8", errors="replace")
        return ""

    def close(self) -> None:
        """Look no longer. May be repeated."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)


def _name(agent: str) -> str:
    """Return the name of an agent's file: a role may be called anything."""
    return hashlib.sha256(agent.encode("utf-8", "surrogatepass")).hexdigest()[:16]
