"""What people say reaches each attempt at a task that is at work, and it is told which of them does not read it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from codexteam.app.steered_agents import follow_steering
from codexteam.core.effects import AttemptKind, Work
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId, TaskId
from codexteam.core.plan_graph import Task, graph_of
from codexteam.core.state import Rules, RunState
from codexteam.core.steering_events import MessageLeft, PriorityRequested
from codexteam.run.reachable_agents import ReachableAgents

if TYPE_CHECKING:
    from codexteam.run.agents import SandboxAgentRunner

RUN = RunId("20261121-0231-7f3a")


class _Ranked:
    """Notes what is to stand elsewhere."""

    def __init__(self) -> None:
        self.ranks: list[tuple[str, tuple[int, ...]]] = []

    def rank(self, task_id: str, rank: tuple[int, ...]) -> None:
        self.ranks.append((task_id, rank))


@dataclass
class _Agents:
    reachable: ReachableAgents = field(default_factory=ReachableAgents)
    places: _Ranked = field(default_factory=_Ranked)
    gate: _Ranked = field(default_factory=_Ranked)


def test_a_priority_counts_for_who_waits_for_a_place_or_for_budget() -> None:
    agents = _Agents()
    graph = graph_of([Task(TaskId("T1"), "one"), Task(TaskId("T2"), "two", priority=5)])
    state = RunState(RUN, "goal", Rules(), graph=graph)

    follow_steering(
        PriorityRequested(TaskId("T2"), 5), state, cast("SandboxAgentRunner", agents), lambda _kind, _fields: None
    )

    assert agents.places.ranks == agents.gate.ranks == [("T2", (0, *graph.priority(TaskId("T2"))))]
    assert graph.priority(TaskId("T2")) < graph.priority(TaskId("T1"))


def test_a_message_is_unread_by_the_attempts_alone_that_have_ended() -> None:
    agents = _Agents()
    tries = [Work(TaskId("T1"), number, AttemptKind.IMPLEMENT, CommitId("0" * 40)) for number in (1, 2)]
    state = RunState(RUN, "goal", Rules(), in_flight={each.key: each for each in tries})
    with agents.reachable.reached(AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)):
        pass  # and has had its last turn, though its work is not judged yet
    told: list[tuple[str, JSONObject]] = []

    with agents.reachable.reached(AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 2)) as (mailbox, _):
        follow_steering(
            MessageLeft("T1", "leave the name"),
            state,
            cast("SandboxAgentRunner", agents),
            lambda kind, fields: told.append((kind, fields)),
        )
        assert mailbox.waiting() == ("leave the name",)
    assert told == [("person.unread", {"to": "T1", "attempt": 1, "messages": ["leave the name"]})]
