"""How a terminal is made to draw attention: its bell, or a notification that it shows itself."""

from collections.abc import Mapping

from codexteam.core.text import clean_line

_BELL = "\a"
#: The longest text of a notification.
_SHOWN_CHARS = 200
#: Terminals that show what `OSC 9` says, by TERM_PROGRAM and TERM.
_OSC9_PROGRAMS = frozenset({"WezTerm", "ghostty", "iTerm.app"})
_OSC9_TERMS = frozenset({"xterm-kitty", "xterm-ghostty", "wezterm", "wezterm-mux"})


def alert_sequence(text: str, method: str, environment: Mapping[str, str]) -> str:
    """Return what is written to the terminal; with the method `auto` it is the bell where nothing better is known."""
    if method == "auto":
        method = "osc9" if _shows_osc9(environment) else "bel"
    said = clean_line(text)[:_SHOWN_CHARS]
    match method:
        case "osc9":
            return f"\x1b]9;codexteam: {said}\x07"
        case "osc777":
            return f"\x1b]777;notify;codexteam;{said.replace(';', ',')}\x07"
        case _:
            return _BELL


def _shows_osc9(environment: Mapping[str, str]) -> bool:
    # a multiplexer passes on the bell, and swallows the rest; Windows Terminal takes OSC 9 for progress
    if environment.get("TMUX") or environment.get("STY") or environment.get("WT_SESSION"):
        return False
    return (
        bool(environment.get("ITERM_SESSION_ID"))
        or environment.get("TERM_PROGRAM") in _OSC9_PROGRAMS
        or environment.get("TERM") in _OSC9_TERMS
    )
