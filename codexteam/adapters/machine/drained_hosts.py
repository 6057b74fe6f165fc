"""The hosts on which no new agent is to start: a file in the state folder, which a run at work reads too."""

import contextlib
from pathlib import Path

from codexteam.adapters.machine.run_files import replace_file
from codexteam.core.text import clean_line

_NAME = "drained-hosts"


class DrainedHosts:
    """Their names, one a line. Any process may change them; whoever asks again sees it."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / _NAME
        self._seen: tuple[int, int] | None = None
        self._names: frozenset[str] = frozenset()

    def names(self) -> frozenset[str]:
        """Return them as they are now; the file is read only where it has changed."""
        try:
            found = self._path.stat()
            mark = found.st_ino, found.st_mtime_ns
            if mark != self._seen:
                lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
                self._names, self._seen = frozenset(filter(None, map(clean_line, lines))), mark
        except OSError:  # nothing was ever drained, or the folder is going away with its run
            self._names, self._seen = frozenset(), None
        return self._names

    def drain(self, name: str) -> bool:
        """Let no new agent start on a host; False where that is so already.

        Raises:
            StoreError: the state folder cannot be written.
        """
        return self._write(self.names() | {name})

    def undrain(self, name: str) -> bool:
        """Let agents start on a host again; False where they do already.

        Raises:
            StoreError: the state folder cannot be written.
        """
        return self._write(self.names() - {name})

    def _write(self, names: frozenset[str]) -> bool:
        if names == self.names():
            return False
        with contextlib.suppress(OSError):  # that it is missing is said by what writes into it
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._path, "".join(f"{name}\n" for name in sorted(names)), mode=0o600)
        return True
