"""What a run does about the windows of its user's plan."""

from dataclasses import replace

from codexteam.app.plan_limits import window_reached
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.effects import AttemptKind, Work
from codexteam.core.events import Rules
from codexteam.core.ids import CommitId, RunId, TaskId
from codexteam.core.state import RunState, Shelved

_WORK = Work(TaskId("T1"), 1, AttemptKind.IMPLEMENT, CommitId("1" * 40))
_WEEKLY = BudgetScope(spent=20, needed=30, limit=20, window="weekly", resets_at_seconds=1e9)


def stopped(*scopes: BudgetScope) -> RunState:
    state = RunState(RunId("20261121-0231-7f3a"), "Write a poem", Rules())
    return replace(state, shelved={str(number): Shelved(_WORK, "", scope) for number, scope in enumerate(scopes)})


def test_a_share_of_a_window_that_is_used_up_is_a_limit_that_resets() -> None:
    reached = window_reached(stopped(_WEEKLY, replace(_WEEKLY, window="5h", resets_at_seconds=1e8)))
    assert reached is not None
    assert reached.resets_at_seconds == 1e9
    assert "weekly window is used up (20 % of 20 %)" in str(reached)


def test_a_limit_that_never_resets_is_not_waited_for() -> None:
    assert window_reached(stopped()) is None
    assert window_reached(stopped(_WEEKLY, BudgetScope(needed=1_000))) is None
