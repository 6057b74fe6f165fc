"""How long gate commands took, and where the budget's limit is in the picture of spending."""

import pytest

from codexteam.core.budget import BudgetLimits, run_limit_amounts
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.judgements import rounds_of
from codexteam.report.spending import SpentPoint, spending_of
from codexteam.report.work_time import WorkTime
from codexteam.views.report.drawing import drawn_spending


def ran(commit: str, seconds: float, *, reused: bool = False) -> RunEvent:
    return RunEvent("gate.command", 2.0, {"commit": commit, "command": "t", "wall_seconds": seconds, "reused": reused})


def test_a_gate_command_says_how_long_it_took_on_that_commit() -> None:
    judged: JSONObject = {"gate": "ci_runner", "round": 1, "verdict": "ship", "commit": "b"}
    commands: JSONObject = {"commands": [{"command": "t", "ok": True, "how": "exit code 0"}]}
    done = RunEvent("gate.completed", 3.0, {**judged, **commands})

    def seconds(*before: RunEvent) -> float | None:
        [found] = rounds_of([*before, done])
        return found.verdicts[0].commands[0].seconds

    assert seconds(ran("a", 9.0), ran("b", 1.5)) == 1.5
    assert seconds(ran("b", 1.5), ran("b", 0.0, reused=True)) == 1.5
    assert seconds(ran("a", 9.0)) is None


def test_the_limits_are_those_that_the_newest_session_began_with() -> None:
    said: list[JSONObject] = [{"usd": 2.0}, {"usd": 5, "tokens": 10}]
    opened = [RunEvent("run.opened", 0.0, {"limits": limits}) for limits in said]

    assert spending_of({}, opened, WorkTime()).limits == {"usd": 5.0, "tokens": 10.0}
    assert run_limit_amounts(BudgetLimits(run_usd=2.0)) == {"usd": 2.0}


@pytest.mark.parametrize(("limit", "y"), [(2.0, 0.0), (1.0, 50.0), (0.5, 75.0), (100.0, None), (0.0, None)])
def test_a_limit_is_drawn_where_it_is_in_sight(limit: float, y: float | None) -> None:
    points = [SpentPoint(1.0, 10, 0.5), SpentPoint(2.0, 20, 2.0 if limit < 2 else 1.0)]
    drawn = drawn_spending(points, 4.0, {"usd": limit, "tokens": 1.0})

    assert drawn is not None
    assert drawn.limit_y == y
