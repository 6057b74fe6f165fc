"""The viewer waits between two looks, whatever happens or does not; time is virtual."""

import os
from collections.abc import Iterator

import pytest

from codexteam.views.live.boards import Board
from codexteam.views.live.keyboard import Keyboard
from codexteam.views.live.lines import Abilities, Line, line
from codexteam.views.live.pages import PageView, help_page
from codexteam.views.live.screen import Screen
from codexteam.views.live.state import BoardRow, Show, ViewState, Wish
from codexteam.views.live.viewer import Viewer


class Minute(Keyboard):
    """A keyboard on which nobody types: a wait takes as long as it says, and after a minute `q` is pressed."""

    def __init__(self) -> None:
        super().__init__(os.open(os.devnull, os.O_RDONLY))
        self.now = 0.0
        self.waits: list[float] = []

    def is_ours(self) -> bool:
        return True

    def wait(self, other: int, seconds: float) -> list[str]:
        self.waits.append(seconds)
        self.now += max(0.0, seconds) + 0.001
        return ["q"] if self.now >= 60 else []


class CountingBoard:
    """Has news as often as it is told to."""

    def __init__(self, *, is_busy: bool) -> None:
        self.is_busy = is_busy
        self.looks = self.drawings = 0

    def refresh(self) -> bool:
        self.looks += 1
        return self.is_busy

    def rows(self) -> list[BoardRow]:
        return []

    def lines(self, state: ViewState, width: int, height: int) -> list[Line]:
        self.drawings += 1
        return [line(str(self.drawings))]

    def open(self, show: Show) -> PageView:
        return help_page()

    def ask(self, wish: Wish) -> str:
        return ""

    def enter(self, name: str) -> Board:
        return self

    def hint(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def screen() -> Iterator[Screen]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield Screen(descriptor, Abilities())
    os.close(descriptor)


@pytest.mark.parametrize("polls", [True, False])
@pytest.mark.parametrize("is_busy", [True, False])
def test_it_looks_a_few_times_a_second_and_never_without_a_wait(screen: Screen, *, polls: bool, is_busy: bool) -> None:
    board, keyboard = CountingBoard(is_busy=is_busy), Minute()

    Viewer(board, screen, keyboard, Abilities(), lambda: keyboard.now, polls=polls).run()

    assert 55 <= board.drawings <= 65 * (4 if is_busy else 1)
    assert board.looks <= 65 * 4
    assert min(keyboard.waits) > 0
