"""What a key makes of the view, and what it wishes for."""

import pytest

from codexteam.views.live.state import (
    Answer,
    Asking,
    BoardRow,
    Leave,
    OpenRun,
    Page,
    Pause,
    RowKind,
    Say,
    Show,
    StopOneAgent,
    StopRun,
    ViewState,
    Wish,
    press,
    with_rows,
)

ITEM = BoardRow(RowKind.ITEM, "plan", "", approvable=True, question="Go?")
QUESTION = BoardRow(RowKind.ITEM, "question.T2.1", "T2")
AGENT = BoardRow(RowKind.AGENT, "implementer T1.1", "T1")
SCOUT = BoardRow(RowKind.AGENT, "explorer scout.1")
TASK = BoardRow(RowKind.TASK, "T1", "T1")


def typed(state: ViewState, keys: list[str], *, height: int = 10, lines: int = 100) -> tuple[ViewState, Wish | None]:
    wish: Wish | None = None
    for key in keys:
        state, wish = press(state, key, height=height, lines=lines)
    return state, wish


def at(*rows: BoardRow) -> ViewState:
    return with_rows(ViewState(), rows)


def test_the_first_row_is_chosen_until_a_person_moves() -> None:
    state = with_rows(at(TASK), [AGENT, TASK])
    assert state.chosen == AGENT

    moved, _ = typed(state, ["down"])
    assert with_rows(moved, [ITEM, AGENT, TASK]).chosen == TASK


def test_a_chosen_row_that_is_gone_gives_way_to_its_neighbour() -> None:
    state, _ = typed(at(ITEM, AGENT, TASK), ["down"])

    assert with_rows(state, [ITEM, TASK]).chosen == TASK
    assert with_rows(state, []).chosen is None


@pytest.mark.parametrize(
    ("keys", "chosen"), [(["k"], ITEM), (["G"], TASK), (["j", "j", "j"], TASK), (["G", "g"], ITEM)]
)
def test_moving_ends_at_the_first_and_the_last_row(keys: list[str], chosen: BoardRow) -> None:
    assert typed(at(ITEM, AGENT, TASK), keys)[0].chosen == chosen


@pytest.mark.parametrize(
    ("row", "keys", "wish"),
    [
        (AGENT, ["enter"], Show(Page.STORY, AGENT)),
        (TASK, ["d"], Show(Page.DIFF, TASK)),
        (AGENT, ["l"], Show(Page.LOG, AGENT)),
        (AGENT, ["p"], Pause()),
        (AGENT, ["q"], Leave()),
        (AGENT, ["s", *"stop it", "enter"], Say("T1", "stop it")),
        (AGENT, ["s", *"xy", "backspace", "enter"], Say("T1", "x")),
        (AGENT, ["s", *"no", "escape"], None),
        (AGENT, ["s", "enter"], None),
        (SCOUT, ["s"], None),
        (AGENT, ["x", "a"], StopOneAgent("implementer T1.1")),
        (AGENT, ["x", "r"], StopRun(now=False)),
        (AGENT, ["x", "n"], StopRun(now=True)),
        (AGENT, ["x", "x"], None),
        (TASK, ["x", "a"], None),
        (ITEM, ["a", "y", "enter"], Answer("plan", approve=True)),
        (ITEM, ["enter", *"no", "enter"], Answer("plan", decline=True)),
        (ITEM, ["a", *"fewer tasks", "enter"], Answer("plan", "fewer tasks")),
        (QUESTION, ["a", *"no", "enter"], Answer("question.T2.1", "no")),
        (BoardRow(RowKind.RUN, "r"), ["enter"], OpenRun("r")),
        (BoardRow(RowKind.RUN, "r"), ["p"], None),
    ],
)
def test_keys_wish_for_what_help_says(row: BoardRow, keys: list[str], wish: Wish | None) -> None:
    assert typed(at(row), keys)[1] == wish


def test_answering_finds_what_waits_for_the_chosen_task() -> None:
    other = BoardRow(RowKind.AGENT, "implementer T2.1", "T2")
    state, _ = typed(at(ITEM, QUESTION, other), ["G", "a"])

    assert state.typing is not None
    assert (state.typing.asking, state.typing.row) == (Asking.ANSWER, QUESTION)


@pytest.mark.parametrize("key", ["q", "escape", "left", "backspace"])
def test_leaving_a_page_leads_back_to_the_board(key: str) -> None:
    state, wish = typed(at(AGENT), ["enter", key])

    assert (state.page, wish) == (Page.BOARD, None)


def test_letters_that_are_typed_are_no_keys() -> None:
    state, wish = typed(at(AGENT), ["s", *"q?pxd"])

    assert wish is None
    assert state.typing is not None
    assert state.typing.text == "q?pxd"


def test_a_story_follows_its_end_until_it_is_scrolled() -> None:
    story, _ = typed(at(AGENT), ["enter"])
    assert story.scroll is None

    up, _ = typed(story, ["up"])
    assert up.scroll == 89
    assert typed(up, ["down"])[0].scroll is None
    assert typed(story, ["g"])[0].scroll == 0


def test_a_page_cannot_be_scrolled_past_its_ends() -> None:
    story, _ = typed(at(AGENT), ["enter"])

    assert typed(story, ["page up"] * 30)[0].scroll == 0
    assert typed(story, ["up"], lines=3)[0].scroll is None
