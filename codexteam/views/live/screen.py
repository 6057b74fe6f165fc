"""A terminal as a screen of lines: only lines that changed are written, and the terminal is left as it was, by Ctrl-Z too."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from codexteam.views.live.lines import Abilities, Line, as_ansi, width_of_line

#: The other screen, without a cursor and without wrapping at the edge; and back.
ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J\x1b[H"
LEAVE = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_FALLBACK = os.terminal_size((80, 24))


class Screen:
    """Draws on a terminal's descriptor, which belongs to the caller."""

    def __init__(self, descriptor: int, able: Abilities) -> None:
        """Take a terminal; nothing is written yet."""
        self._descriptor = descriptor
        self._able = able
        self._shown: list[str] = []
        self._size = _FALLBACK
        self.is_entered = False

    def size(self) -> os.terminal_size:
        """Return columns and lines as they are now."""
        with suppress(OSError):
            found = os.get_terminal_size(self._descriptor)
            if found.columns > 0 and found.lines > 0:
                return found
        return _FALLBACK

    def enter(self) -> None:
        """Switch to a screen of our own."""
        if not self.is_entered:
            self.is_entered = True
            self._shown = []
            self._write(ENTER)

    def leave(self) -> None:
        """Go back to what was there before; a terminal that was closed has nothing to go back to."""
        if self.is_entered:
            self.is_entered = False
            with suppress(OSError):
                self._write(LEAVE)

    def draw(self, lines: Sequence[Line]) -> None:
        """Show lines; those that are there already are not written again.

        Raises:
            OSError: the terminal is gone.
        """
        size = self.size()
        wanted = [as_ansi(one, self._able) for one in lines[: size.lines]]
        parts = []
        if size != self._size or not self._shown:
            self._size, self._shown = size, []
            parts.append("\x1b[2J")
        before = self._shown
        for number, text in enumerate(wanted):
            if number >= len(before) or before[number] != text:
                # at the edge there is nothing behind the line to clear: its last letter would go
                rest = "" if width_of_line(lines[number]) >= size.columns else "\x1b[K"
                parts.append(f"\x1b[{number + 1};1H{text}{rest}")
        if parts:
            self._write("".join(parts).encode("utf-8", "replace"))
        self._shown = wanted

    def send(self, sequence: str) -> None:
        """Write what changes nothing on the screen, as a bell.

        Raises:
            OSError: the terminal is gone.
        """
        self._write(sequence.encode("utf-8", "replace"))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


class WhileSuspended:
    """Gives the terminal back while Ctrl-Z has stopped us, and takes it when we continue."""

    def __init__(self, give_back: Callable[[], None], take_again: Callable[[], None]) -> None:
        """Take Ctrl-Z over, unless it is ignored here or this is not the main thread, which alone may."""
        self._give_back = give_back
        self._take_again = take_again
        self._ours = (
            threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
        )
        if self._ours:
            signal.signal(signal.SIGTSTP, self._suspend)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # stopped here, until SIGCONT
        signal.signal(signal.SIGTSTP, self._suspend)
        self._take_again()

    def close(self) -> None:
        """Leave Ctrl-Z to the system again."""
        if self._ours:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
