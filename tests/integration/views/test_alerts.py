"""What reaches a terminal when a person should look."""

import io
import os
import pty

import pytest

from codexteam.views.run_view import RunView


def alerted(view: dict[str, bool], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Alert at a terminal of its own, and give what it got."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", environment.get("TERM", "xterm-256color"))
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            shown = RunView(out=terminal, err=io.StringIO(), environment=environment, **view)  # type: ignore[arg-type]  # flags
            shown.alert("waits for you: plan: Work on it?\x1b[2J", "auto")
            terminal.write("!")
            terminal.flush()
            got = b""
            while not got.endswith(b"!"):
                got += os.read(ours, 4096)
            return got
    finally:
        os.close(ours)


def test_a_terminal_rings_and_one_that_can_shows_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert alerted({}, {}, monkeypatch) == b"\a!"
    shown = alerted({}, {"TERM_PROGRAM": "WezTerm"}, monkeypatch)
    assert shown == b"\x1b]9;codexteam: waits for you: plan: Work on it?\\x1b[2J\x07!"


@pytest.mark.parametrize("view", [{"json_lines": True}, {"quiet": True}])
def test_programs_and_the_quiet_are_left_alone(view: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    assert alerted(view, {}, monkeypatch) == b"!"


def test_a_dumb_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert alerted({}, {"TERM": "dumb"}, monkeypatch) == b"!"
