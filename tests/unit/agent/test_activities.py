"""What an agent is said to do, from what it reports."""

import pytest

from codexteam.agent.activities import Activities
from codexteam.agent.event_fields import (
    AgentEvent,
    BudgetAwaited,
    CallRetried,
    CallSent,
    StreamBegan,
    TextStreamed,
    ToolFinished,
    ToolStarted,
    TurnAnswered,
    TurnStarted,
)
from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.core.redaction import Redactor

AGENT = AgentKey(RunId("20261121-0231-7f3a"), "implementer", Purpose.IMPLEMENT, "T1", 1)
MAKE = ToolStarted("c1", "exec_command", '{"cmd":"make"}')
LINT = ToolStarted("c2", "exec_command", '{"cmd":"lint"}')


def after(*events: AgentEvent) -> Activity:
    """Give what the agent does after events that come a second apart, the first at second 1."""
    activities = Activities()
    activities.begins(AGENT, 0.0)
    for second, event in enumerate(events, start=1):
        activities.take(AGENT, event, float(second))
    [activity] = activities
    return activity


@pytest.mark.parametrize(
    ("events", "doing", "since", "detail"),
    [
        ((), Doing.WORKING, 0.0, ""),
        ((TurnStarted(1), CallSent()), Doing.MODEL, 2.0, ""),
        ((TurnStarted(1), CallSent(), StreamBegan(), TextStreamed("a")), Doing.MODEL, 2.0, ""),
        ((CallSent(), CallRetried("503", 1.0, 2)), Doing.MODEL, 2.0, "asked again: 503"),
        ((CallSent(), CallRetried("503", 1.0, 2), CallSent()), Doing.MODEL, 3.0, ""),
        ((TurnStarted(1), BudgetAwaited("waits for 1k")), Doing.LIMIT, 2.0, "waits for 1k"),
        ((BudgetAwaited("waits for 1k"), BudgetAwaited("")), Doing.WORKING, 2.0, ""),
        ((CallSent(), TurnAnswered(1)), Doing.WORKING, 2.0, ""),
        ((MAKE,), Doing.COMMAND, 1.0, "make"),
        ((MAKE, TextStreamed("a"), TurnAnswered(1)), Doing.COMMAND, 1.0, "make"),
        ((MAKE, LINT, ToolFinished("c1", "exec_command", failed=False, seconds=1.0)), Doing.COMMAND, 2.0, "lint"),
        ((MAKE, ToolFinished("c1", "exec_command", failed=False, seconds=1.0)), Doing.WORKING, 2.0, ""),
    ],
)
def test_an_agent_works_or_waits_since(events: tuple[AgentEvent, ...], doing: Doing, since: float, detail: str) -> None:
    found = after(*events)
    assert (found.doing, found.since_seconds, found.detail) == (doing, since, detail)
    assert found.heard_seconds == float(len(events))


def test_each_piece_of_an_answer_is_a_sign_and_silence_is_a_stall() -> None:
    hears = after(CallSent(), StreamBegan(), TextStreamed("a"))
    assert not hears.is_stalled(62.9, after_seconds=60.0)
    assert hears.is_stalled(63.0, after_seconds=60.0)
    assert not after(BudgetAwaited("waits")).is_stalled(9_999.0, after_seconds=60.0), "others are at work meanwhile"


def test_a_secret_in_a_command_or_a_reason_is_taken_out() -> None:
    activities = Activities(Redactor(["hunter2hunter2"]).redact)
    activities.begins(AGENT, 0.0)
    for event in (
        ToolStarted("c1", "exec_command", '{"cmd":"echo hunter2hunter2"}'),
        CallRetried("hunter2hunter2", 1.0, 2),
    ):
        activities.take(AGENT, event, 1.0)
        [now] = activities
        assert "hunter2" not in now.detail
        assert now.detail


def test_who_has_ended_is_at_work_no_more() -> None:
    activities = Activities()
    activities.begins(AGENT, 0.0)
    activities.ends(AGENT)
    activities.take(AGENT, CallSent(), 1.0)
    assert [*activities] == []
