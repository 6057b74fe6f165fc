"""The live view in the terminal of the run itself, and `codexteam watch` in another."""

import threading
from collections.abc import Callable, Mapping
from typing import TextIO

from codexteam.app.project import Project
from codexteam.app.signals import at_hard_exit
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.report.progress import Progress
from codexteam.views.live.boards import Board, RunBoard
from codexteam.views.live.keyboard import Keyboard
from codexteam.views.live.lines import Abilities
from codexteam.views.live.screen import Screen, WhileSuspended
from codexteam.views.live.viewer import Viewer

#: Said as the view is left.
LEFT = "the view is left, the run continues; codexteam watch in another terminal shows it again"
#: For how long the end waits for a drawing on a slow line.
_CLOSE_SECONDS = 2.0


def abilities(environment: Mapping[str, str], *, color: str, encoding: str) -> Abilities:
    """Return what a terminal shows, as NO_COLOR, --color and the locale say."""
    colours = color == "always" or (color == "auto" and not environment.get("NO_COLOR"))
    # Python takes the C locale for UTF-8; who sets LANG=C has a terminal that shows ASCII alone
    locale = environment.get("LC_ALL") or environment.get("LANG", "")
    is_plain = locale in {"C", "POSIX"} or "utf" not in encoding.casefold()
    return Abilities(colours, attributes=color != "never", unicode=not is_plain)


class LiveView:
    """The Reporter on a terminal, with a screen of its own until it is left or closed; then it prints lines."""

    def __init__(
        self, board: RunBoard, out: TextIO, able: Abilities, *, clock: Clock, lines: Callable[[], Reporter]
    ) -> None:
        """Begin to show a run of this process on `out`; `lines` makes the reporter for after the view is left."""
        self._board = board
        self._lines = lines
        self._plain: Reporter | None = None
        self._viewer = Viewer(
            board,
            Screen(out.fileno(), able),
            Keyboard.of_terminal(),
            able,
            clock.monotonic_seconds,
            polls=False,
        )
        self._notes: list[str] = []
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._show, name="live view", daemon=True)
        self._suspended = WhileSuspended(self._viewer.suspend, self._viewer.resume)
        self._forget_exit = at_hard_exit(self._viewer.suspend)
        self._thread.start()

    def _show(self) -> None:
        try:
            self._viewer.run()
        except Exception as error:  # noqa: BLE001 - raised where the run hears of it
            self._failure = error

    def report(self, event: RunEvent) -> None:
        """Follow an event; the next drawing shows it."""
        if self._failure is not None:
            raise self._failure
        if self._viewer.left.is_set():
            if self._plain is None:
                self._plain = self._lines()
            self._plain.report(event)
            return
        self._board.take(event)
        self._viewer.wake()

    def note(self, text: str) -> bool:
        """Show a note on the screen, and keep it for when the screen is gone; False when it is already."""
        if self._viewer.left.is_set():
            return False
        self._notes.append(text)
        self._viewer.say(text)
        return True

    def send(self, sequence: str) -> bool:
        """Let the terminal do something beside the screen, as ring; False when the screen is gone."""
        if self._viewer.left.is_set():
            return False
        self._viewer.send(sequence)
        return True

    def close(self) -> None:
        """Stop drawing and leave the terminal as it was."""
        self._forget_exit()
        self._suspended.close()
        self._viewer.close()
        self._thread.join(_CLOSE_SECONDS)
        if self._plain is not None:
            self._plain.close()

    def kept_notes(self) -> list[str]:
        """Return the notes that were shown on the screen alone."""
        notes, self._notes = self._notes, []
        return notes


def show_board(board: Board, out: TextIO, able: Abilities, clock: Clock) -> None:
    """Show a board on a terminal until it is left; Ctrl-C leaves it too."""
    viewer = Viewer(
        board, Screen(out.fileno(), able), Keyboard.of_terminal(), able, clock.monotonic_seconds, polls=True
    )
    suspended = WhileSuspended(viewer.suspend, viewer.resume)
    try:
        viewer.run()
    except KeyboardInterrupt:
        viewer.suspend()
    finally:
        suspended.close()


def own_run(project: Project, run_id: str, progress: Progress, able: Abilities, now: Callable[[], float]) -> RunBoard:
    """Return the board of a run of this process."""
    return RunBoard(project, run_id, able, now, own=progress)
