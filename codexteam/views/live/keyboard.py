"""The keys of a terminal, without echo: what is typed does not disturb the screen. Ctrl-C and Ctrl-Z stay signals."""

import os
import select
import termios
from contextlib import suppress

from codexteam.views.live.keys import KeyParser

#: An escape that nothing follows for so long is the key itself; over a slow line its rest may come later.
_ESCAPE_SECONDS = 0.1
_MODES, _CHARACTERS = 3, 6


class Keyboard:
    """Reads keys from a terminal while it is in the foreground. Owned by who made it, who closes it."""

    def __init__(self, descriptor: int) -> None:
        """Take a terminal's descriptor; it is left as it is until `enter`."""
        self._descriptor = descriptor
        self._parser = KeyParser()
        self._before: list[object] | None = None

    @classmethod
    def of_terminal(cls) -> "Keyboard | None":
        """Open the terminal of this process, also where standard input is a file; None where there is none."""
        with suppress(OSError):
            return cls(os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY))
        return None

    def is_ours(self) -> bool:
        """Return whether what is typed is for us: not while we are in the background."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True  # no job control here

    def enter(self) -> None:
        """Take keys as they are typed, and show none of them."""
        if self._before is not None:
            return
        with suppress(termios.error):
            before = termios.tcgetattr(self._descriptor)
            modes = [*before]
            modes[_MODES] &= ~(termios.ICANON | termios.ECHO)
            modes[_CHARACTERS] = [*before[_CHARACTERS]]
            modes[_CHARACTERS][termios.VMIN], modes[_CHARACTERS][termios.VTIME] = 1, 0
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, modes)
            self._before = before

    def leave(self) -> None:
        """Leave the terminal as it was."""
        before, self._before = self._before, None
        if before is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)  # type: ignore[arg-type]  # as it was got

    def wait(self, other: int, seconds: float) -> list[str]:
        """Wait for keys, for `other` to be readable, or for the time to pass; give the keys.

        Raises:
            OSError: the terminal is gone.
        """
        if self._parser.is_waiting:
            seconds = min(seconds, _ESCAPE_SECONDS)
        heard = [self._descriptor, other] if self._before is not None else [other]
        ready, _, _ = select.select(heard, [], [], max(0.0, seconds))
        if self._descriptor in ready:
            data = os.read(self._descriptor, 4096)
            if not data:
                raise OSError("the terminal was closed")
            return self._parser.feed(data)
        return self._parser.feed(b"", complete=True) if self._parser.is_waiting and not ready else []

    def close(self) -> None:
        """Leave the terminal as it was, and let go of it."""
        self.leave()
        os.close(self._descriptor)
