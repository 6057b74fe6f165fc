"""What the live view is at, and what a key does to it: pure, so that every key can be tried without a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias


class Page(StrEnum):
    """What fills the screen."""

    BOARD = "board"
    STORY = "story"
    """One agent, or one task, from its prompt on."""
    DIFF = "diff"
    LOG = "log"
    HELP = "help"


class RowKind(StrEnum):
    """What can be chosen on the board."""

    ITEM = "item"
    """What waits for a person."""
    AGENT = "agent"
    TASK = "task"
    RUN = "run"
    """Where all runs are shown."""


@dataclass(frozen=True, slots=True)
class BoardRow:
    """Something that can be chosen, as the board knows it."""

    kind: RowKind
    name: str
    task: str = ""
    """The task that it belongs to, if it does to one."""
    approvable: bool = False
    """Of an item: it can be approved without words."""
    question: str = ""
    """Of an item; foreign."""


class Asking(StrEnum):
    """What a line is being typed for."""

    SAY = "say"
    ANSWER = "answer"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Typing:
    """A line that is being typed at the foot of the screen."""

    asking: Asking
    row: BoardRow
    text: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """Send words to the agent of a task."""

    task: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer something that waits; without words it is approved or declined."""

    item: str
    text: str = ""
    approve: bool = False
    decline: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Start no new agents, or start them again."""


@dataclass(frozen=True, slots=True)
class StopRun:
    """Stop the run: agents finish first, or are cut off."""

    now: bool


@dataclass(frozen=True, slots=True)
class StopOneAgent:
    """End one agent; its attempt fails."""

    agent: str


@dataclass(frozen=True, slots=True)
class Show:
    """Get what a page needs."""

    page: Page
    row: BoardRow | None


@dataclass(frozen=True, slots=True)
class OpenRun:
    """Open a run of the list of all runs."""

    name: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave the view; the run continues."""


Wish: TypeAlias = Say | Answer | Pause | StopRun | StopOneAgent | Show | OpenRun | Leave


@dataclass(frozen=True, slots=True)
class ViewState:
    """What the view is at. `rows` change as the run does; what is chosen stays chosen by its name."""

    page: Page = Page.BOARD
    rows: tuple[BoardRow, ...] = ()
    chosen: BoardRow | None = None
    is_moved: bool = False
    """A person has chosen; until then the first row is."""
    shown: BoardRow | None = None
    """What a page other than the board is about."""
    scroll: int | None = None
    """The first line that is shown; None follows the end."""
    typing: Typing | None = None
    message: str = ""
    failed: bool = False
    """The message says that something did not work."""


def with_rows(state: ViewState, rows: Sequence[BoardRow]) -> ViewState:
    """Take over what can be chosen now; a row that is gone gives way to its neighbour."""
    found = tuple(rows)
    chosen = state.chosen
    if chosen is not None:
        same = next((row for row in found if (row.kind, row.name) == (chosen.kind, chosen.name)), None)
        if same is None and found:
            before = [(row.kind, row.name) for row in state.rows]
            place = before.index((chosen.kind, chosen.name)) if (chosen.kind, chosen.name) in before else 0
            same = found[min(place, len(found) - 1)]
        chosen = same
    if chosen is None or not state.is_moved:
        chosen = found[0] if found else None
    return replace(state, rows=found, chosen=chosen)


def press(state: ViewState, key: str, *, height: int, lines: int) -> tuple[ViewState, Wish | None]:
    """Return what a key makes of the view, and what is wished for.

    Args:
        state: what the view is at.
        key: the key, as `keys` names it.
        height: how many lines of a page fit on the screen.
        lines: how many lines the page has.
    """
    state = replace(state, message="", failed=False)
    if state.typing is not None:
        return _type(state, state.typing, key)
    if key in {"q", "escape", "left", "backspace"} and state.page is not Page.BOARD:
        return replace(state, page=Page.BOARD, shown=None, scroll=None), None
    if key == "q":
        return state, Leave()
    if key == "?":
        return replace(state, page=Page.HELP, scroll=0), None
    if (asked := _asked(state, key)) is not None:
        return asked
    if state.page is Page.BOARD:
        return _move(state, key, height)
    return _scroll(state, key, height, lines), None


def _asked(state: ViewState, key: str) -> tuple[ViewState, Wish | None] | None:
    """Return what the keys do that mean the same on the board and on a page; None for other keys."""
    row = state.chosen if state.page is Page.BOARD else state.shown or state.chosen
    if row is not None and row.kind is RowKind.RUN:
        return (state, OpenRun(row.name)) if key in {"enter", "right"} else None
    match key:
        case "d" | "l":
            page = Page.DIFF if key == "d" else Page.LOG
            return replace(state, page=page, shown=row, scroll=0 if key == "d" else None), Show(page, row)
        case "enter" | "right" if state.page is Page.BOARD and row is not None:
            if row.kind is RowKind.ITEM:
                return replace(state, typing=Typing(Asking.ANSWER, row)), None
            return replace(state, page=Page.STORY, shown=row, scroll=None), Show(Page.STORY, row)
        case "s":
            return _say(state, row)
        case "a":
            return _answer(state, row)
        case "p":
            return state, Pause()
        case "x":
            return replace(state, typing=Typing(Asking.STOP, row or BoardRow(RowKind.TASK, ""))), None
        case _:
            return None


def _say(state: ViewState, row: BoardRow | None) -> tuple[ViewState, Wish | None]:
    if row is None or not row.task:
        return replace(state, message="choose an agent or a task that somebody works on", failed=True), None
    return replace(state, typing=Typing(Asking.SAY, row)), None


def _answer(state: ViewState, row: BoardRow | None) -> tuple[ViewState, Wish | None]:
    items = [one for one in state.rows if one.kind is RowKind.ITEM]
    of_task = [one for one in items if row is not None and one.task and one.task == row.task]
    item = row if row is not None and row.kind is RowKind.ITEM else next(iter((*of_task, *items)), None)
    if item is None:
        return replace(state, message="nothing waits for you", failed=True), None
    return replace(state, typing=Typing(Asking.ANSWER, item)), None


def _type(state: ViewState, typing: Typing, key: str) -> tuple[ViewState, Wish | None]:
    if typing.asking is Asking.STOP:
        return replace(state, typing=None), _stop(typing, key)
    if key == "escape":
        return replace(state, typing=None), None
    if key == "enter":
        return replace(state, typing=None), _typed(typing)
    text = typing.text
    if key == "backspace":
        text = text[:-1]
    elif key == "clear":
        text = ""
    elif len(key) == 1:
        text += key
    return replace(state, typing=replace(typing, text=text)), None


def _stop(typing: Typing, key: str) -> Wish | None:
    """Return what is stopped: any other key stops nothing."""
    match key:
        case "r":
            return StopRun(now=False)
        case "n":
            return StopRun(now=True)
        case "a" if typing.row.kind is RowKind.AGENT:
            return StopOneAgent(typing.row.name)
        case _:
            return None


def _typed(typing: Typing) -> Wish | None:
    text = typing.text.strip()
    if not text:
        return None
    if typing.asking is Asking.SAY:
        return Say(typing.row.task, text)
    word = text.casefold()
    if typing.row.approvable and word in {"y", "yes"}:
        return Answer(typing.row.name, approve=True)
    if typing.row.approvable and word in {"n", "no"}:
        return Answer(typing.row.name, decline=True)
    return Answer(typing.row.name, text)


def _move(state: ViewState, key: str, height: int) -> tuple[ViewState, Wish | None]:
    if not state.rows:
        return state, None
    place = state.rows.index(state.chosen) if state.chosen in state.rows else 0
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -height, "page down": height, "tab": 1}
    if key in steps:
        place = min(max(0, place + steps[key]), len(state.rows) - 1)
    elif key in {"home", "g"}:
        place = 0
    elif key in {"end", "G"}:
        place = len(state.rows) - 1
    return replace(state, chosen=state.rows[place], is_moved=True), None


def _scroll(state: ViewState, key: str, height: int, lines: int) -> ViewState:
    last = max(0, lines - height)
    first = last if state.scroll is None else min(state.scroll, last)
    match key:
        case "up" | "k":
            first -= 1
        case "down" | "j" | "enter":
            first += 1
        case "page up" | "b":
            first -= max(1, height - 1)
        case "page down" | " ":
            first += max(1, height - 1)
        case "home" | "g":
            first = 0
        case "end" | "G":
            first = last
        case _:
            return state
    first = min(max(0, first), last)
    # at the end of what still grows, it follows
    follows = first == last and state.page in {Page.STORY, Page.LOG}
    return replace(state, scroll=None if follows else first)
