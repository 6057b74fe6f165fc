import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from codexteam.core.budget_amounts import Usage
from codexteam.core.facts import KINDS
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import Progress, describe
from codexteam.report.spent import Bound
from codexteam.views.formatting import elapsed, money, share, tokens
from codexteam.views.live.board import BoardFacts, board_lines, rows_of
from codexteam.views.live.lines import plain
from codexteam.views.live.state import ViewState, with_rows
from codexteam.views.plain import PlainLines
from codexteam.views.summary import next_commands, print_summary

HOSTILE = "\x1b]52;c;aGk=\x07[bold]x[/bold]\u202e"


def events() -> Iterator[RunEvent]:
    at = 1_795_000_000.0
    rows: list[tuple[str, JSONObject]] = [
        ("run.opened", {"run": "20261118-1106-aaaa", "goal": "Add CSV import", "budget": "$5.00"}),
        ("plan.created", {"tasks": 2, "summary": "s", "questions": []}),
        ("task.added", {"task": "T1", "title": "Load the CSV", "role": "implementer"}),
        ("task.added", {"task": "T2", "title": f"Report {HOSTILE}", "role": "implementer"}),
        (
            "task.started",
            {"task": "T1", "attempt": 1, "purpose": "implement", "title": "Load the CSV", "role": "implementer"},
        ),
        ("agent.started", agent()),
        ("agent.turn", {**agent(), "turn": 1, "usage": usage(1000, 500, 100), "usd": 0.5}),
        ("agent.acted", {**agent(), "action": f"exec_command pytest {HOSTILE}"}),
        ("agent.turn", {**agent(), "turn": 2, "usage": usage(2000, 1900, 50), "usd": 0.25}),
        ("gate.started", {"gate": "ci_runner", "round": 1, "commit": "a" * 40}),
        (
            "gate.completed",
            {"gate": "ci_runner", "round": 1, "commit": "a" * 40, "verdict": "block", "note": "", "findings": 1},
        ),
        ("finding.opened", {"finding": "F1", "title": "off by one", "severity": "must_fix", "file": "a.py", "line": 3}),
        ("person.asked", {"item": "question.T1.1", "question": f"which? {HOSTILE}", "task": "T1"}),
    ]
    for number, (kind, fields) in enumerate(rows):
        yield RunEvent(kind, at + number, fields)


def agent() -> JSONObject:
    name = "implementer T1.1"
    return {
        "agent": name,
        "role": "implementer",
        "purpose": "implement",
        "task": "T1",
        "attempt": 1,
        "model": "gpt-5.4",
    }


def usage(fresh: int, cached: int, out: int) -> JSONObject:
    return {"input_tokens": fresh, "cached_input_tokens": cached, "output_tokens": out, "reasoning_tokens": 0}


@pytest.fixture
def progress() -> Progress:
    made = Progress()
    for event in events():
        made.take(event)
    return made


def shown(progress: Progress, *, width: int, height: int = 24) -> str:
    state = with_rows(ViewState(), rows_of(progress))
    facts = BoardFacts(progress.started_at_seconds + 75)
    return "\n".join(plain(line).rstrip() for line in board_lines(progress, state, facts, width, height))


def test_a_board_adds_up_what_its_agents_used(progress: Progress) -> None:
    assert progress.usage == Usage(3000, 2400, 150, 0)
    assert (progress.usd, progress.cached_share) == (0.75, 0.8)


def test_a_cost_that_is_unknown_is_not_0(progress: Progress) -> None:
    progress.take(RunEvent("agent.turn", 1.0, {**agent(), "turn": 3, "usage": None, "usd": None}))

    assert progress.usd is None
    assert progress.agents["implementer T1.1"].unknown.bound.calls == 1


def test_an_agent_that_goes_on_after_a_resume_keeps_what_it_cost(progress: Progress) -> None:
    progress.take(RunEvent("agent.started", 2.0, agent()))

    assert progress.usage.input_tokens == 3000


@pytest.mark.parametrize("width", [80, 200])
def test_the_view_fits_its_window_and_shows_what_waits_first(progress: Progress, width: int) -> None:
    lines = shown(progress, width=width).splitlines()

    assert max(map(len, lines)) <= width
    assert lines[0].startswith("0 of 2 merged ")
    assert "$0.750, 3.1k tokens" in lines[0]
    assert lines[0].endswith("of $5.00  1:15")
    assert lines[1] == "Add CSV import"
    assert lines[2].startswith("> waits for you question.T1.1: which?")
    assert any("implementer" in line and "T1.1" in line and "exec_command pytest" in line for line in lines)
    assert any("F1 off by one a.py:3" in line for line in lines)
    assert len(lines) <= 24


def test_in_a_narrow_window_numbers_and_the_phase_are_not_cut_off(progress: Progress) -> None:
    for gate in ("reviewer", "security_reviewer"):
        progress.take(RunEvent("gate.started", 1.0, {"gate": gate, "round": 1, "commit": "a" * 40}))
    progress.now_seconds = 1_795_000_012.0
    text = shown(progress, width=50)
    console = Console(file=io.StringIO(), width=50, color_system=None, force_terminal=True)
    with console.capture() as capture:
        print_summary(console, progress, folder="/somewhere/runs/x")

    assert "judging" in text
    assert "$0.750, 3.1k tokens of $5.00  1:15" in text
    [costs] = [line for line in capture.get().splitlines() if line.startswith("        implementer")]
    assert costs.split() == ["implementer", "3.0k", "150", "$0.750"], "whole numbers, or none"


def test_what_ended_a_run_is_said_once_and_not_for_each_task(progress: Progress) -> None:
    spent = "the budget of the run does not hold another call"
    failed: JSONObject = {"task": "T1", "attempt": 1, "reason": spent, "final": False}
    progress.take(RunEvent("task.attempt_failed", 1.0, failed))
    progress.take(RunEvent("run.finished", 2.0, {"result": "limit", "reason": spent, "exit_code": 4}))
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as capture:
        print_summary(console, progress, folder="/somewhere/runs/x")

    assert capture.get().count(spent) == 1


def test_the_time_between_sessions_is_no_time_at_work(progress: Progress) -> None:
    progress.take(RunEvent("run.opened", 1_795_086_400.0, {"run": "20261118-1106-aaaa", "goal": "Add CSV import"}))
    progress.take(RunEvent("run.continued", 1_795_086_403.0, {}))

    assert progress.worked_seconds(progress.now_seconds) == 12 + 3
    assert progress.tail[-1] == (15.0, "run continued")


def test_a_clock_that_is_put_back_takes_no_time_at_work_away(progress: Progress) -> None:
    progress.take(RunEvent("run.opened", 1_794_900_000.0, {"run": "20261118-1106-aaaa", "goal": "Add CSV import"}))
    progress.take(RunEvent("run.continued", 1_794_900_003.0, {}))
    assert progress.worked_seconds(progress.now_seconds) == 12 + 3

    progress.take(RunEvent("run.paused", 1_794_800_000.0, {}))
    progress.take(RunEvent("run.continued", 1_794_800_004.0, {}))

    assert progress.worked_seconds(progress.now_seconds) == 12 + 3 + 4
    assert progress.tail[-1] == (19.0, "run continued")


def test_no_foreign_text_reaches_the_terminal_live(progress: Progress) -> None:
    text = shown(progress, width=200)
    out = io.StringIO()
    for event in events():
        PlainLines(out, Progress()).report(event)

    for raw in ("\x1b", "\x07", "\u202e"):
        assert raw not in text
        assert raw not in out.getvalue()
    assert "[bold]x[/bold]" in text, "markup is text"


def test_plain_lines_have_a_time_and_one_event_each() -> None:
    out = io.StringIO()
    reporter = PlainLines(out, Progress())
    for event in events():
        reporter.report(event)

    assert "11:06:40 run 20261118-1106-aaaa: Add CSV import\n" in out.getvalue()
    assert "11:06:44 T1.1 implement: Load the CSV\n" in out.getvalue()
    assert "ci_runner judges aaaaaaa (round 1)" in out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_last_screen_says_result_cost_and_what_to_type_next(progress: Progress, width: int) -> None:
    progress.take(RunEvent("task.merged", 1_795_000_100.0, {"task": "T1", "attempt": 1, "title": "Load the CSV"}))
    progress.take(RunEvent("branch.landed", 1_795_000_100.0, {"ref": "refs/heads/codexteam/x", "commit": "b" * 40}))
    finished: JSONObject = {"result": "not_green", "reason": "open findings: F1", "exit_code": 3}
    progress.take(RunEvent("run.finished", 1_795_000_100.0, finished))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        print_summary(console, progress, folder="/somewhere/runs/x")
    text = capture.get()

    assert "not green: open findings: F1" in text
    assert "tasks   1 of 2 merged" in text
    assert "F1 must_fix: off by one a.py:3" in text
    assert "branch  codexteam/x at bbbbbbbbbbbb" in text
    assert "cost    $0.750, 3.0k in (80% cached), 150 out" in text
    assert "implementer" in text
    assert "gpt-5.4" in text
    assert "next    codexteam status" in text
    assert "\x1b" not in text


def counted(tokens: int, usd: float | None) -> JSONObject:
    return {"tokens": tokens, "usd": usd, "credits": None}


def test_what_calls_of_unknown_usage_may_cost_stands_beside_what_is_known(progress: Progress) -> None:
    again: JSONObject = {**agent(), "turn": 3, "call": "implement"}
    for kind, fields in (
        ("agent.unanswered", {**again, "counted": counted(10_000, 0.5)}),
        ("agent.unanswered", {**again, "counted": counted(15_000, 0.75)}),  # with the one before
        ("agent.turn", {**agent(), "turn": 3, "usage": None, "usd": None, "counted": counted(5_000, 0.25)}),
        ("agent.started", agent()),  # it continues in a later session
    ):
        progress.take(RunEvent(kind, 1_795_000_100.0, fields))

    row = progress.agents["implementer T1.1"]
    assert row.unknown.bound == progress.unknown == Bound(2, 20_000, 1.0)
    assert (progress.usd, progress.usage.total_tokens) == (0.75, 3_150)
    console = Console(file=io.StringIO(), width=120, color_system=None)
    with console.capture() as capture:
        print_summary(console, progress, folder="/somewhere")
    text = capture.get()
    assert "2 calls without a usage report: not in it, at most 20.0k tokens and $1.00 more" in text
    assert "$0.750 to $1.75" in text
    assert "3.1k to 23.1k tokens" in shown(progress, width=120)


def test_a_call_that_is_asked_again_is_shown_as_such_whatever_it_may_cost(progress: Progress) -> None:
    progress.take(
        RunEvent("agent.waiting", 1_795_000_100.0, {**agent(), "reason": "reset", "wait_seconds": 5, "tries": 2})
    )
    progress.take(RunEvent("agent.unanswered", 1_795_000_100.0, {**agent(), "turn": 3, "call": "implement"}))

    assert [row.tries for row in progress.retrying] == [2]


def test_every_decision_is_told_in_words_or_left_out_on_purpose() -> None:
    silent = {kind for kind in KINDS if not describe(RunEvent(kind, 0.0, {}))}

    assert silent == {
        "run.started",
        "task.added",
        "task.merging",
        "task.unblocked",
        "finding.noted",
        "branch.landing",
    }


def retry(agent_name: str, *, tries: int) -> JSONObject:
    more: JSONObject = {"reason": f"the connection dropped {HOSTILE}", "wait_seconds": 12.0, "tries": tries}
    return {**agent(), "agent": agent_name, **more, "limit": "given up after 6 broken streams"}


def test_the_view_says_that_calls_are_asked_again_why_and_until_when(progress: Progress) -> None:
    progress.take(RunEvent("agent.waiting", progress.started_at_seconds + 70, retry("implementer T1.1", tries=3)))
    progress.take(RunEvent("agent.waiting", progress.started_at_seconds + 71, retry("reviewer", tries=2)))

    text = shown(progress, width=200)
    assert "2 calls are asked again (try 2): the connection dropped" in text
    assert "; given up after 6 broken streams" in text
    assert "try 3 in 7 s: the connection dropped" in text
    assert "\x1b" not in text

    for name in ("implementer T1.1", "reviewer"):
        progress.take(RunEvent("agent.turn", progress.now_seconds, {**agent(), "agent": name, "turn": 3}))
    assert "asked again" not in shown(progress, width=200)


def test_plain_lines_leave_the_error_of_a_session_to_the_command() -> None:
    out, progress = io.StringIO(), Progress()
    PlainLines(out, progress).report(RunEvent("run.broken_off", 1_795_000_000.0, {"reason": "no room", "exit_code": 6}))

    assert out.getvalue() == ""
    assert progress.tail[-1][1] == "error: no room"


def test_plain_lines_say_now_and_then_that_calls_are_asked_again() -> None:
    out = io.StringIO()
    lines = PlainLines(out, Progress())
    for second in range(25):
        lines.report(RunEvent("agent.waiting", 1_795_000_000.0 + second, retry(f"implementer T{second}.1", tries=2)))

    said = out.getvalue().splitlines()
    assert [line.split()[0] for line in said] == ["11:06:40", "11:06:50", "11:07:00"]
    assert said[0].startswith("11:06:40 a call is asked again (try 2): the connection dropped ")
    assert said[2].startswith("11:07:00 21 calls are asked again")
    assert said[2].endswith("; given up after 6 broken streams")


@pytest.mark.parametrize(
    ("item", "commands"),
    [
        ("plan", ["codexteam approve plan", "codexteam inbox  # other answers"]),
        ("merge.T1.2", ["codexteam approve merge.T1.2", "codexteam inbox  # other answers"]),
        ("question.T1.1", ['codexteam answer question.T1.1 "TEXT"']),
    ],
)
def test_the_next_command_fits_what_waits(item: str, commands: list[str]) -> None:
    progress = Progress(result="waiting", waiting={item: "?"})

    assert next_commands(progress) == [*commands, "codexteam resume"]


def test_a_table_in_a_file_has_no_spaces_at_the_ends_of_lines(progress: Progress) -> None:
    progress.waiting["plan"], progress.reason = "Work on this plan?", "a person is asked"
    console = Console(file=io.StringIO(), width=80, force_terminal=False, color_system=None)
    with console.capture() as capture:
        print_summary(console, progress, folder="/somewhere")
    lines = capture.get().splitlines()

    assert any(line.lstrip().startswith("role") for line in lines)
    assert [line for line in lines if line.endswith(" ")] == []


def test_numbers_are_short_and_unknown_is_said() -> None:
    assert [tokens(n) for n in (999, 1_500, 123_456, 2_345_678)] == ["999", "1.5k", "123k", "2.35M"]
    assert [money(n) for n in (None, 0.0, 0.01234, 12.345)] == ["price unknown", "$0.00", "$0.012", "$12.35"]
    assert [elapsed(n) for n in (-1, 75, 3_700)] == ["0:00", "1:15", "1:01:40"]
    assert [share(None), share(0.5)] == ["-", "50%"]


def test_agents_of_an_interrupted_session_are_not_shown_at_work_later() -> None:
    progress = Progress()
    for event in events():
        progress.take(event)
    progress.begin_again()
    assert [row.done for row in progress.agents.values()] == [True]
    progress.take(RunEvent("agent.started", 1_795_000_100.0, agent()))
    [row] = progress.agents.values()
    assert (row.done, row.turn, row.usd) == (False, 2, 0.75)


def test_a_command_that_runs_for_long_is_shown_until_it_ends() -> None:
    check: JSONObject = {"command": "tail -f /dev/null", "check": "accept.T1.1"}
    running = RunEvent("command.running", 100.0, {**check, "seconds": 10.0, "limit_seconds": 300.0})
    progress, lines = Progress(), io.StringIO()
    reporter = PlainLines(lines, progress)
    for event in (RunEvent("run.opened", 80.0, {"run": "r", "goal": "g"}), running):
        reporter.report(event)
    said = "`tail -f /dev/null` (accept.T1.1) runs for 10.0 s now; it is ended after 300.0 s"
    assert lines.getvalue().endswith(f"{said}\n")

    def drawn() -> str:
        return "\n".join(map(plain, board_lines(progress, ViewState(), BoardFacts(125.0), 120, 40)))

    now = "runs `tail -f /dev/null` (accept.T1.1) for 0:35, ended in 4:25 at the latest"
    assert now in drawn()
    reporter.report(RunEvent("command.ended", 126.0, check))
    assert now not in drawn()
    assert progress.commands == {}


def test_waiting_for_an_answer_between_sessions_is_no_time_at_work() -> None:
    progress = Progress()
    for kind, at in (
        ("run.opened", 1.0),
        ("run.finished", 11.0),
        ("person.answered", 4_000.0),
        ("run.opened", 5_000.0),
    ):
        progress.take(RunEvent(kind, at, {}))
    progress.take(RunEvent("notice", 5_003.0, {"text": "x"}))

    assert progress.at_work_seconds == 13.0


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("person.answered", {"item": "plan", "by": "ann"}, "plan is answered, by ann"),
        ("person.answered", {"item": "plan"}, "plan is answered"),
        ("person.said", {"to": "T1", "text": "faster", "by": "ann"}, "ann says to T1: faster"),
        ("person.said", {"to": "T1", "text": "faster"}, "you say to T1: faster"),
        ("task.retried", {"task": "T1", "by": "ann"}, "T1 is tried again, as ann asked"),
        ("budget.changed", {"scope": "the run", "budget": "$9", "by": "ann"}, "the run may use $9 now, by ann"),
        ("run.opened", {"run": "r", "goal": "g", "by": "ann"}, "run r: g"),
    ],
)
def test_what_a_person_asked_for_has_their_name(kind: str, fields: JSONObject, expected: str) -> None:
    assert describe(RunEvent(kind, 1.0, fields)) == expected
