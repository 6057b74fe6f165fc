"""Joins a board with a terminal: keys in, lines out, and what is wished for done beside it."""

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from codexteam.core.text import clean_line
from codexteam.errors import CodexteamError
from codexteam.views.live.boards import Board
from codexteam.views.live.keyboard import Keyboard
from codexteam.views.live.lines import Abilities, Line, broken, cut, line, sides, window
from codexteam.views.live.pages import PageView, help_page
from codexteam.views.live.screen import Screen
from codexteam.views.live.state import (
    Asking,
    Leave,
    OpenRun,
    Page,
    RowKind,
    Show,
    Typing,
    ViewState,
    Wish,
    press,
    with_rows,
)
from codexteam.views.transcript import escaped_lines

#: Drawn at most so often for what happens in the run; a key is answered at once.
_DRAW_SECONDS = 0.25
#: Ages move, and what is read from other processes is looked at, so often when nothing happens.
_TICK_SECONDS = 1.0
#: A message takes at most so many lines, a question that is answered so many.
_FOOT_LINES, _QUESTION_LINES = 4, 10


class Viewer:
    """One view on a terminal. `run` returns when it was left, closed, or its terminal is gone."""

    def __init__(
        self,
        board: Board,
        screen: Screen,
        keyboard: Keyboard | None,
        able: Abilities,
        clock: Callable[[], float],
        *,
        polls: bool,
    ) -> None:
        """Show `board`; `clock` gives monotonic seconds, `polls` says that facts are read from another process."""
        self._boards = [board]
        self._screen = screen
        self._keyboard = keyboard
        self._able = able
        self._clock = clock
        self._tick = _DRAW_SECONDS * 2 if polls else _TICK_SECONDS
        self._state = ViewState()
        self._page: PageView | None = None
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._woken = False
        self._closing = False
        self._drawing = threading.Lock()
        self._suspended = False
        self.left = threading.Event()
        """Set once a person has left the view, or its terminal is gone."""

    # from other threads

    def wake(self) -> None:
        """Let the viewer look at what is new."""
        if not self._woken:
            self._woken = True
            with suppress(OSError):  # full: it is awake; closed: nobody looks any more
                os.write(self._wake_write, b".")

    def say(self, text: str) -> None:
        """Show a message at the foot of the screen."""
        self._later(lambda: self._tell(text))

    def send(self, sequence: str) -> None:
        """Write what is not drawn, as a bell, between two drawings."""
        self._later(lambda: self._screen.send(sequence))

    def close(self) -> None:
        """Let `run` return."""
        self._closing = True
        self._woken = False
        self.wake()

    def suspend(self) -> None:
        """Give the terminal back, as Ctrl-Z does; from a signal's handler."""
        self._suspended = True
        # a drawing under way ends first; one that hangs on a slow line is not waited for
        held = self._drawing.acquire(timeout=0.5)
        self._give_back()
        if held:
            self._drawing.release()

    def resume(self) -> None:
        """Take the terminal again."""
        self._suspended = False
        self._woken = False
        self.wake()

    # the viewer's thread

    def run(self) -> None:
        """Show the view until it is left."""
        try:
            self._loop()
        except OSError:
            pass  # the terminal is gone: nobody looks any more, and the run continues
        finally:
            self.left.set()
            with self._drawing:
                self._give_back()
            if self._page is not None:
                self._page.close()
            for board in self._boards:
                board.close()
            os.close(self._wake_read)
            write, self._wake_write = self._wake_write, -1
            os.close(write)
            if self._keyboard is not None:
                self._keyboard.close()

    def _loop(self) -> None:
        drawn_at, is_new = -_TICK_SECONDS, True
        self._refresh()
        looked_at = self._clock()
        while not self._closing:
            now = self._clock()
            if not self._take_terminal():
                self._wait(_TICK_SECONDS)  # in the background: the terminal is somebody else's
                is_new = True
                continue
            if is_new and now - drawn_at >= _DRAW_SECONDS:
                self._draw()
                drawn_at, is_new = self._clock(), False
            # what was looked at in vain is looked at again a whole tick later: never without a wait in between
            until = drawn_at + _DRAW_SECONDS if is_new else min(looked_at + self._tick, drawn_at + _TICK_SECONDS)
            keys = self._wait(until - self._clock())
            for key in keys:
                if not self._press(key):
                    return
            is_new = self._refresh() or is_new
            looked_at = self._clock()
            is_new = is_new or looked_at - drawn_at >= _TICK_SECONDS
            if keys or self._do_later():
                drawn_at = -_TICK_SECONDS
                is_new = True

    def _take_terminal(self) -> bool:
        """Take the terminal if it is ours to take; return whether it is."""
        if self._suspended or (self._keyboard is not None and not self._keyboard.is_ours()):
            return False
        if not self._screen.is_entered:
            if self._keyboard is not None:
                self._keyboard.enter()
            self._screen.enter()
        return True

    def _give_back(self) -> None:
        self._screen.leave()
        if self._keyboard is not None:
            self._keyboard.leave()

    def _wait(self, seconds: float) -> list[str]:
        keys: list[str] = []
        if self._keyboard is not None:
            keys = self._keyboard.wait(self._wake_read, seconds)
        else:
            import select

            select.select([self._wake_read], [], [], max(0.0, seconds))
        with suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        self._woken = False
        return keys

    def _refresh(self) -> bool:
        try:
            is_new = self._boards[-1].refresh()
            if self._page is not None:
                is_new = self._page.refresh() or is_new
        except CodexteamError as error:
            self._tell(str(error), failed=True)
            return True
        return is_new

    def _press(self, key: str) -> bool:
        """Do what a key means; return False when the view is left for good."""
        size = self._screen.size()
        height = self._room(size.lines)
        self._state = with_rows(self._state, self._boards[-1].rows())
        lines = len(self._page.lines(size.columns)) if self._page is not None else 0
        self._state, wish = press(self._state, key, height=height, lines=lines)
        if self._state.page is Page.HELP and self._page is None:
            self._page = help_page()
        elif self._state.page is Page.BOARD or (self._state.page is Page.HELP and key == "?"):
            self._leave_page(help_page() if self._state.page is Page.HELP else None)
        if isinstance(wish, Leave):
            return self._leave()
        if wish is not None:
            self._fulfil(wish)
        return True

    def _leave_page(self, instead: PageView | None) -> None:
        if self._page is not None:
            self._page.close()
        self._page = instead

    def _leave(self) -> bool:
        if len(self._boards) == 1:
            return False
        self._boards.pop().close()
        self._state = ViewState()
        return True

    def _fulfil(self, wish: Wish) -> None:
        board = self._boards[-1]
        if isinstance(wish, OpenRun):
            try:
                self._boards.append(board.enter(wish.name))
            except CodexteamError as error:
                self._tell(str(error), failed=True)
            else:
                self._state = ViewState()
            return
        if isinstance(wish, Show):
            self._leave_page(None)
            self._tell("reading")
        else:
            self._tell("asking the run")
        threading.Thread(target=self._work, args=(board, wish), daemon=True, name="view wish").start()

    def _work(self, board: Board, wish: Wish) -> None:
        """Do what takes time, beside the viewer's thread."""
        try:
            if isinstance(wish, Show):
                page = board.open(wish)
                page.refresh()
                self._later(lambda: self._open(wish, page))
            else:
                words = board.ask(wish)
                self._later(lambda: self._tell(words))
        except CodexteamError as error:
            words = f"{error} ({error.hint})" if error.hint else str(error)
            self._later(lambda: self._refused(wish, words))

    def _open(self, show: Show, page: PageView) -> None:
        if self._state.page is not show.page or self._state.shown != show.row:
            page.close()  # left before it was read
            return
        self._leave_page(page)
        self._state = replace(self._state, message="")

    def _refused(self, wish: Wish, words: str) -> None:
        if isinstance(wish, Show) and self._state.page is wish.page:
            self._state = replace(self._state, page=Page.BOARD, shown=None, scroll=None)
        self._tell(words, failed=True)

    def _later(self, work: Callable[[], None]) -> None:
        self._done.put(work)
        self._woken = False
        self.wake()

    def _do_later(self) -> bool:
        done = False
        with suppress(queue.Empty):
            while True:
                self._done.get_nowait()()
                done = True
        return done

    def _tell(self, text: str, *, failed: bool = False) -> None:
        self._state = replace(self._state, message=clean_line(text), failed=failed)

    # drawing

    @staticmethod
    def _room(lines: int) -> int:
        """Return how many lines a page has between its title and the foot."""
        return max(1, lines - 2)

    def _draw(self) -> None:
        size = self._screen.size()
        width, height = size.columns, size.lines
        board = self._boards[-1]
        self._state = with_rows(self._state, board.rows())
        foot = self._foot(board, width)[: max(1, height - 3)]
        room = max(1, height - len(foot))
        page = self._page
        lines = board.lines(self._state, width, room) if page is None else self._page_lines(page, width, room)
        lines += foot
        with self._drawing:
            if not self._suspended:
                self._screen.draw(lines)

    def _page_lines(self, page: PageView, width: int, height: int) -> list[Line]:
        found, room = page.lines(width), max(1, height - 1)
        last = max(0, len(found) - room)
        first = last if self._state.scroll is None else min(self._state.scroll, last)
        end = min(first + room, len(found))
        where = line((f"{end} of {len(found)} lines", "dim"))
        title = sides(line((page.title, "bold")), where, width, self._able.more)
        return [title, *window([cut(one, width, self._able.more) for one in found[first:end]], 0, room)]

    def _foot(self, board: Board, width: int) -> list[Line]:
        """Return what is typed, what became of a wish, or the keys."""
        state = self._state
        if state.typing is not None:
            return _prompt(state.typing, width, self._able.more)
        if state.message:
            style = "bold red" if state.failed else "bold green"
            return [line((piece, style)) for piece in broken(state.message, width)[:_FOOT_LINES]]
        hint = (
            board.hint() if self._page is None else "up, down, space, b scroll  d diff  l log  s say  a answer  q back"
        )
        if self._keyboard is None:
            hint = "no terminal to read keys from; Ctrl-C stops the run"
        return [cut(line((hint, "dim")), width, self._able.more)]


def _prompt(typing: Typing, width: int, more: str) -> list[Line]:
    if typing.asking is Asking.STOP:
        agent = f"a {clean_line(typing.row.name)}, " if typing.row.kind is RowKind.AGENT else ""
        text = f"stop: {agent}r the run (agents finish first), n the run now; any other key: nothing"
        return [line((piece, "bold yellow")) for piece in broken(text, width)]
    above: list[Line] = []
    if typing.asking is Asking.SAY:
        head = f"say to {clean_line(typing.row.task)}: "
    else:
        how = (
            "y approves, n declines, words say what to change"
            if typing.row.approvable
            else "enter sends, escape leaves"
        )
        asked = [piece for text in escaped_lines(typing.row.question) for piece in broken(text, width)]
        above = [line((f"{clean_line(typing.row.name)} ({how})", "bold yellow")), *map(line, asked[:_QUESTION_LINES])]
        above += [line((f"{more} codexteam inbox shows all of it", "dim"))] if len(asked) > _QUESTION_LINES else []
        head = "answer: "
    # the end of what is typed stays in sight
    room = max(4, width - len(head) - 1)
    return [*above, line((head, "bold"), typing.text[-room:], ("_", "reverse"))]
