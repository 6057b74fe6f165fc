"""Ctrl-Z in a real terminal: the shell gets it as it was, and the screen comes back once the run continues."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support_terminal import Terminal

_LIVE = """
import sys, time
from pathlib import Path
from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.project import Project
from codexteam.report.progress import Progress
from codexteam.views.live.lines import Abilities
from codexteam.views.live.live_view import LiveView, own_run
from codexteam.views.plain import Quiet
able, clock = Abilities(), SystemClock()
board = own_run(Project(None, Path("."), Path("."), {}), "run", Progress(), able, clock.wall_seconds)
view = LiveView(board, sys.stdout, able, clock=clock, lines=lambda: Quiet(board.progress))
time.sleep(30)
"""
_SHOW, _HIDE = b"\x1b[?25h", b"\x1b[?25l"
_MAIN_SCREEN = b"\x1b[?1049l"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "live.py").write_text(_LIVE)
    shell = Terminal(tmp_path)
    yield shell
    shell.close()


def test_a_suspended_run_leaves_the_cursor_visible(terminal: Terminal) -> None:
    terminal.type(f"{sys.executable} live.py\n")
    terminal.until(b"enter open")  # the keys, at the foot of the screen

    terminal.type("\x1a")
    stopped = terminal.until(b"Stopped")
    assert stopped.rfind(_SHOW) > stopped.rfind(_HIDE)
    assert _MAIN_SCREEN in stopped

    terminal.type("stty -a\n")
    modes = terminal.until(b"echoke")
    assert b" icanon" in modes
    assert b"-echo " not in modes

    terminal.type("fg\n")
    terminal.until(_HIDE)
    terminal.until(b"enter open")
