"""A terminal gets only what changed, and nothing at all when nothing did."""

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator

import pytest

from codexteam.views.live.lines import Abilities, as_ansi, broken, cut, line, plain, sides, width_of_line
from codexteam.views.live.live_view import abilities
from codexteam.views.live.screen import Screen


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pipe, which has a size of 80 and 24 by default and keeps the order of bytes."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 65_536).decode()
    except BlockingIOError:
        return ""


def test_only_lines_that_changed_are_written(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    screen = Screen(theirs, Abilities(colours=False, attributes=False))
    screen.enter()
    screen.draw([line("one"), line("two")])
    assert "one" in read(ours)

    screen.draw([line("one"), line("TWO")])
    assert read(ours) == "\x1b[2;1HTWO\x1b[K"
    screen.draw([line("one"), line("TWO")])
    assert read(ours) == ""


def test_a_new_size_draws_everything_anew() -> None:
    ours, theirs = pty.openpty()
    screen = Screen(theirs, Abilities())
    screen.draw([line("one")])
    read(ours)

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    assert screen.size() == (100, 30)
    screen.draw([line("one")])
    assert "one" in read(ours)
    os.close(ours)
    os.close(theirs)


def test_a_line_that_ends_at_the_edge_keeps_its_last_letter(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    screen = Screen(theirs, Abilities())
    screen.draw([line("x" * 80)])

    assert read(ours).endswith("x" * 80)


def test_the_terminal_is_left_as_it_was(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    screen = Screen(theirs, Abilities())
    screen.enter()
    screen.leave()
    screen.leave()

    assert read(ours).count("\x1b[?1049l") == 1


@pytest.mark.parametrize(
    ("environment", "color", "expected"),
    [
        ({"LANG": "en_US.UTF-8"}, "auto", Abilities()),
        ({"LANG": "en_US.UTF-8", "NO_COLOR": "1"}, "auto", Abilities(colours=False)),
        ({"LANG": "en_US.UTF-8", "NO_COLOR": "1"}, "always", Abilities()),
        ({"LANG": "en_US.UTF-8"}, "never", Abilities(colours=False, attributes=False)),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "auto", Abilities(unicode=False)),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, "auto", Abilities()),
        ({}, "auto", Abilities()),
    ],
)
def test_what_a_terminal_shows_follows_its_environment(
    environment: dict[str, str], color: str, expected: Abilities
) -> None:
    assert abilities(environment, color=color, encoding="utf-8") == expected


def test_wide_letters_count_for_two_columns() -> None:
    shown = cut(line("漢字漢字"), 5, "…")

    assert width_of_line(shown) <= 5
    assert plain(shown).endswith("…")
    assert broken("漢字漢字", 4) == ["漢字", "漢字"]


def test_a_text_that_is_broken_loses_nothing() -> None:
    text = "    indented " + "x" * 30

    assert "".join(broken(text, 8)) == text


def test_the_right_side_of_a_line_is_never_cut() -> None:
    shown = sides(line("a long left side"), line("$5.00"), 12, "…")

    assert plain(shown) == "a lon… $5.00"
    assert as_ansi(shown, Abilities(colours=False, attributes=False)) == "a lon… $5.00"
