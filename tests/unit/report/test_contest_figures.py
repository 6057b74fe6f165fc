"""Whether several attempts at once paid, by what became of the first of them."""

import pytest

from codexteam.core.contest import ChosenBy, Contender, ContenderPhase, Contest, Trial
from codexteam.core.ids import CommitId, JSONObject, RunId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, RunState, TaskPhase, TaskState
from codexteam.ports.reporter import RunEvent
from codexteam.report.contest_figures import ContestFigures, contest_figures, summed

_T1 = TaskId("T1")


def _state(
    first: ContenderPhase, winner: int, *, phase: TaskPhase = TaskPhase.MERGED, trial: Trial | None = None
) -> RunState:
    contenders = (Contender(1, 1, first, trial=trial), Contender(2, 2, ContenderPhase.TRIED, trial=Trial()))
    contest = Contest(1, CommitId("0" * 40), contenders, winner=winner, chosen=ChosenBy.PASSED)
    known = TaskState(Task(_T1, "Load"), phase, attempt=winner, numbered=2, contest=contest)
    return RunState(RunId("r"), "goal", Rules(), tasks={_T1: known})


def _turn(purpose: str, attempt: int, usd: float) -> RunEvent:
    usage: JSONObject = {"input_tokens": 100, "cached_input_tokens": 0, "output_tokens": 0, "reasoning_tokens": 0}
    fields: JSONObject = {"task": "T1", "purpose": purpose, "attempt": attempt, "turn": 1, "usage": usage, "usd": usd}
    return RunEvent("agent.turn", 1.0, fields)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (_state(ContenderPhase.OUT, 2), (1, 1, 0)),
        (_state(ContenderPhase.TRIED, 2, trial=Trial(hidden_failed=1)), (1, 1, 0)),
        (_state(ContenderPhase.TRIED, 2, trial=Trial(lines=9)), (1, 0, 0)),
        (_state(ContenderPhase.WITHDRAWN, 2), (1, 0, 1)),
        (_state(ContenderPhase.TRIED, 1), (1, 0, 0)),
        (_state(ContenderPhase.OUT, 2, phase=TaskPhase.FAILED), (0, 0, 0)),
    ],
)
def test_it_paid_where_the_first_did_not_hold(state: RunState, expected: tuple[int, int, int]) -> None:
    found = contest_figures(state, [])
    assert (found.tasks, (found.merged, found.paid, found.sooner)) == (1, expected)


def test_what_was_not_taken_and_who_judged_is_its_price() -> None:
    events = [
        _turn("implement", 1, 0.5),
        _turn("implement", 2, 4.0),
        _turn("implement", 3, 4.0),
        _turn("hidden_tests", 1, 0.25),
        _turn("judge", 1, 0.125),
    ]
    found = contest_figures(_state(ContenderPhase.OUT, 2), events)
    assert (found.usd, found.tokens) == (0.875, 300)
    assert summed([found, found]).usd == 1.75
    assert summed([]) == ContestFigures()
