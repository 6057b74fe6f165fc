"""The board without a terminal, at 80 and 160 columns, with and without colours and Unicode."""

from collections.abc import Iterator

import pytest

from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import Progress
from codexteam.views.live.board import BoardFacts, board_lines, rows_of
from codexteam.views.live.lines import Abilities, Line, as_ansi, plain, width_of_line
from codexteam.views.live.state import BoardRow, RowKind, ViewState, press, with_rows

AT = 1_795_000_000.0
EVIL = "\x1b]52;c;aGk=\x07\u202e"


def agent(number: int) -> JSONObject:
    task = f"T{number}"
    return {
        "agent": f"implementer {task}.1",
        "role": "implementer",
        "purpose": "implement",
        "task": task,
        "attempt": 1,
        "model": "gpt-5.4",
    }


def facts(agents: int, tasks: int, merged: int) -> Iterator[RunEvent]:
    yield RunEvent("run.opened", AT, {"run": "r", "goal": f"Add CSV import {EVIL}", "budget": "$5.00"})
    for number in range(1, tasks + 1):
        yield RunEvent(
            "task.added", AT, {"task": f"T{number}", "title": f"Task {number} {EVIL}", "role": "implementer"}
        )
    for number in range(1, agents + 1):
        usage: JSONObject = {"input_tokens": 9_000, "cached_input_tokens": 0, "output_tokens": 1_000}
        yield RunEvent("task.started", AT, {"task": f"T{number}", "attempt": 1})
        yield RunEvent("agent.started", AT, agent(number))
        yield RunEvent(
            "agent.turn", AT, {**agent(number), "turn": 3, "usage": {**usage, "reasoning_tokens": 0}, "usd": 0.01}
        )
        yield RunEvent("agent.acted", AT, {**agent(number), "action": f"pytest -q {EVIL}"})
    for number in range(tasks - merged + 1, tasks + 1):
        yield RunEvent("task.merged", AT, {"task": f"T{number}", "attempt": 1})


def progress_of(*, agents: int = 2, tasks: int = 8, merged: int = 3) -> Progress:
    progress = Progress()
    for fact in facts(agents, tasks, merged):
        progress.take(fact)
    return progress


def drawn(progress: Progress, width: int, height: int, state: ViewState | None = None, **facts: object) -> list[Line]:
    shown = with_rows(state or ViewState(), rows_of(progress))
    return board_lines(progress, shown, BoardFacts(AT + 60, **facts), width, height)  # type: ignore[arg-type]  # by name


def text_of(lines: list[Line]) -> str:
    return "\n".join(plain(line).rstrip() for line in lines)


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (160, 50)])
@pytest.mark.parametrize("agents", [0, 2, 64])
def test_a_board_fills_its_window_exactly(width: int, height: int, agents: int) -> None:
    lines = drawn(progress_of(agents=agents, tasks=max(8, agents)), width, height)

    assert len(lines) == height
    assert max(map(width_of_line, lines)) <= width


@pytest.mark.parametrize("width", [80, 160])
def test_progress_and_cost_come_first(width: int) -> None:
    first = plain(drawn(progress_of(), width, 24)[0])

    assert first.startswith("3 of 8 merged ")
    assert "$0.020, 20.0k tokens" in first
    assert first.endswith("of $5.00  1:00")


@pytest.mark.parametrize("width", [80, 160])
def test_each_agent_has_its_cost_at_any_width(width: int) -> None:
    [row] = [line for line in map(plain, drawn(progress_of(), width, 24)) if "T1.1" in line]

    assert row.endswith("  10.0k $0.010 1:00")


def test_nothing_that_a_terminal_obeys_is_drawn() -> None:
    able = Abilities(colours=False, attributes=False)
    text = "".join(as_ansi(line, able) for line in drawn(progress_of(), 160, 50))

    assert "\\x1b]52" in text
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 or letter == "\u202e" for letter in text)


def test_without_colours_what_is_chosen_and_who_is_stuck_is_seen_in_words() -> None:
    stuck = Activity("implementer T2.1", Doing.MODEL, AT, AT)
    thinks = Activity("implementer T1.1", Doing.MODEL, AT + 50, AT + 55)
    progress = progress_of()
    progress.stalled_seconds = 30.0
    text = text_of(drawn(progress, 80, 24, activities={one.agent: one for one in (stuck, thinks)}))

    assert "> implementer T1.1    3 thinks 0:10" in text
    assert "STALLED, silent for 1:00" in text


def test_without_unicode_only_ascii_is_drawn() -> None:
    able = Abilities(unicode=False)
    lines = drawn(progress_of(), 80, 24, more=able.more, bar="#.")

    assert "".join(as_ansi(line, able) for line in lines).isascii()
    assert "[#" not in plain(lines[0])
    assert "###" in plain(lines[0])


def test_a_working_agent_and_a_stalled_one_have_different_colours() -> None:
    progress = progress_of()
    progress.stalled_seconds = 30.0
    doing = [
        Activity("implementer T1.1", Doing.MODEL, AT + 50, AT + 55),
        Activity("implementer T2.1", Doing.MODEL, AT, AT),
    ]
    lines = drawn(progress, 80, 24, activities={one.agent: one for one in doing})
    [thinks] = [line for line in lines if "thinks" in plain(line)]
    [stalled] = [line for line in lines if "STALLED" in plain(line)]
    assert any("cyan" in style for _, style in thinks)
    assert any("yellow" in style for _, style in stalled)


def test_what_is_chosen_stays_in_sight_among_64_agents() -> None:
    progress = progress_of(agents=64, tasks=64, merged=0)
    state = with_rows(ViewState(), rows_of(progress))
    for _ in range(50):
        state, _ = press(state, "down", height=10, lines=0)
        text = text_of(drawn(progress, 80, 24, state))
        assert state.chosen is not None
        chosen = state.chosen.name.removeprefix("implementer ")
        assert any(line.startswith(">") and chosen in line for line in text.splitlines())


def test_what_waits_is_shown_above_agents_and_can_be_chosen() -> None:
    progress = progress_of()
    progress.take(RunEvent("person.asked", AT, {"item": "question.T1.1", "question": "which?", "task": "T1"}))
    lines = text_of(drawn(progress, 80, 24)).splitlines()

    assert rows_of(progress)[0] == BoardRow(RowKind.ITEM, "question.T1.1", "T1", question="which?")
    assert lines[2] == "> waits for you question.T1.1: which?"


@pytest.mark.parametrize(
    ("stopping", "is_ours", "said"),
    [
        ("finish", True, "stopping: 2 agents to finish; Ctrl-C cuts them off, their work is saved"),
        ("finish", False, "stopping: 2 agents to finish; x n cuts them off"),
        ("now", True, "stopping: agents are cut off, their work is saved; Ctrl-C ends the process at once"),
    ],
)
def test_while_stopping_the_top_says_what_ctrl_c_does_next(stopping: str, is_ours: bool, said: str) -> None:
    progress = progress_of()
    progress.stopping = stopping

    assert text_of(drawn(progress, 120, 24, is_ours=is_ours)).splitlines()[2].startswith(said)


def test_a_suspended_run_is_called_so_and_its_time_stands_still() -> None:
    shown = text_of(drawn(progress_of(), 120, 24, word="suspended", trouble="its process is suspended"))

    assert "suspended" in shown.splitlines()[0]
    assert shown.splitlines()[0].endswith("0:00")
    assert text_of(drawn(progress_of(), 120, 24)).splitlines()[0].endswith("1:00")


def test_a_run_that_nobody_works_on_says_so() -> None:
    text = text_of(drawn(progress_of(), 100, 24, is_at_work=False))

    assert "nobody works on it; codexteam resume continues" in text


def test_waiting_for_a_person_is_no_time_at_work() -> None:
    progress = Progress()
    for kind, at, more in (
        ("run.opened", AT, {"run": "r", "goal": "g"}),
        ("agent.started", AT + 10, agent(1)),
        ("person.asked", AT + 20, {"item": "plan", "question": "Go?"}),
        ("agent.finished", AT + 30, {**agent(1), "outcome": "Submitted"}),
    ):
        progress.take(RunEvent(kind, at, dict(more)))

    assert progress.worked_seconds(AT + 500) == 30
    progress.take(RunEvent("person.answered", AT + 600, {"item": "plan", "text": ""}))
    assert progress.worked_seconds(AT + 605) == 35


def test_a_stop_is_followed_from_its_facts() -> None:
    progress = progress_of()
    progress.take(RunEvent("run.stopping", AT, {"reason": "by Ctrl-C", "exit_code": 130}))
    assert progress.stopping == "finish"
    progress.take(RunEvent("notice", AT, {"text": "cutting off", "cuts_off": True}))
    assert progress.stopping == "now"
    progress.take(RunEvent("run.finished", AT, {"result": "interrupted", "reason": "by Ctrl-C", "exit_code": 130}))
    assert progress.stopping == ""
