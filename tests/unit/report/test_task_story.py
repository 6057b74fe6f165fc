"""A task's story, from what its run reported."""

from codexteam.core.ids import JSONObject, RunId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, RunState, TaskState
from codexteam.ports.reporter import RunEvent
from codexteam.report.spent import Bound
from codexteam.report.task_story import task_story

AGENT: JSONObject = {"agent": "implementer T1.1", "task": "T1", "attempt": 1}


def test_an_attempt_says_what_its_calls_of_unknown_usage_may_cost() -> None:
    known = TaskState(Task(TaskId("T1"), "Load the CSV"))
    most: JSONObject = {"tokens": 9_000, "usd": 0.5, "credits": None}
    usage: JSONObject = {"input_tokens": 1_000, "cached_input_tokens": 0, "output_tokens": 100, "reasoning_tokens": 0}
    events = [
        RunEvent("agent.turn", 1.0, {**AGENT, "turn": 1, "usage": usage, "usd": 0.25}),
        RunEvent("agent.unanswered", 2.0, {**AGENT, "turn": 2, "call": "implement", "counted": most}),
    ]

    story = task_story(known, RunState(RunId("r"), "goal", Rules()), events, accepted={}, receipts={})

    [attempt] = story.attempts
    assert (attempt.turns, attempt.usage.total_tokens, attempt.usd) == (1, 1_100, 0.25)
    assert attempt.unknown.bound == Bound(1, 9_000, 0.5)
    assert story.as_json()["attempts"] == [{**_json(story.as_json()), "at_most_more": Bound(1, 9_000, 0.5).as_json()}]


def _json(story: JSONObject) -> JSONObject:
    attempts = story["attempts"]
    assert isinstance(attempts, list)
    assert isinstance(attempts[0], dict)
    return attempts[0]


def test_what_an_attempt_asked_explorers_is_on_its_bill_alone() -> None:
    known = TaskState(Task(TaskId("T1"), "Load the CSV"))
    usage: JSONObject = {"input_tokens": 1_000, "cached_input_tokens": 0, "output_tokens": 100, "reasoning_tokens": 0}
    asked: JSONObject = {"agent": "explorer lookup.7", "purpose": "lookup", "task": "T1", "attempt": 7}
    events = [
        RunEvent("agent.turn", 1.0, {**AGENT, "turn": 1, "usage": usage, "usd": 0.25}),
        RunEvent("agent.started", 2.0, asked),
        RunEvent("agent.turn", 3.0, {**asked, "turn": 1, "usage": usage, "usd": 0.5}),
        RunEvent("agent.finished", 4.0, {**asked, "outcome": "OutOfTurns", "reason": "no answer"}),
    ]

    story = task_story(known, RunState(RunId("r"), "goal", Rules()), events, accepted={}, receipts={})

    [attempt] = story.attempts
    assert (attempt.number, attempt.turns, attempt.usage.total_tokens, attempt.usd) == (1, 1, 2_200, 0.75)
