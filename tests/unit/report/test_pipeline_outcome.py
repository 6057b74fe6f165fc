"""What a pipeline decides by: the exit code of the run, or that of a limit which was passed."""

import pytest

from codexteam.core.budget_amounts import NANO, Unit
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.pipeline_outcome import ended_outcome
from codexteam.report.progress import Progress
from tests.support_reports import agent, turns


def progress(unknown_usd: float = 0.0) -> Progress:
    """One agent with two turns of a cent each, and maybe a call that nobody answered."""
    made, fields = Progress(), agent("implementer", "T1", "T1")
    counted: JSONObject = {"calls": 1, "tokens": 10, "usd": unknown_usd}
    lost = [RunEvent("agent.unanswered", 90.0, {**fields, "turn": 3, "call": "implement", "counted": counted})]
    for event in (*turns(fields, 0.0, 2, "words"), *(lost if unknown_usd else ())):
        made.take(event)
    return made


@pytest.mark.parametrize(("limit_usd", "code", "ends"), [(0.02, 0, 0), (0.019, 0, 4), (0.019, 3, 3), (0.019, 130, 130)])
def test_a_green_run_over_its_limit_fails_its_job(limit_usd: float, code: int, ends: int) -> None:
    found = ended_outcome("run", "green", code, progress(), limits={Unit.USD: int(limit_usd * NANO)})
    assert (found.exit_code, bool(found.over_limits)) == (ends, limit_usd < 0.02)


def test_a_call_of_unknown_usage_counts_for_the_most_it_can_cost() -> None:
    limits = {Unit.USD: int(0.02 * NANO)}
    assert ended_outcome("run", "green", 0, progress(0.01), limits=limits).over_limits == "$0.03 spent, $0.02 allowed"


def test_a_plan_whose_forecast_is_over_the_limit_fails_its_job() -> None:
    found = ended_outcome("plan", "over_limit", 0, progress(), limits={}, forecast_over="9M expected, 1M allowed")
    assert (found.exit_code, found.as_json()["over_limits"]) == (4, "9M expected, 1M allowed")
