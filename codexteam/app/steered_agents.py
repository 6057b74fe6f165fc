"""What a person's request means to the agents that are at work, once it is part of the run's state."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from codexteam.app.requests import AgentRequest, HoldAgent, LetAgentGo, StopAgent
from codexteam.core.budget_queue import work_rank
from codexteam.core.effects import MakePlan, Replan, Work
from codexteam.core.ids import JSONObject, TaskId
from codexteam.core.state import RunState
from codexteam.core.steering_events import (
    PLANNER,
    MessageLeft,
    PriorityRequested,
    RunBudgetSet,
    Steering,
    TaskBudgetSet,
)
from codexteam.errors import UsageError

if TYPE_CHECKING:
    from codexteam.run.agents import SandboxAgentRunner


def ask_agent(asked: AgentRequest, agents: "SandboxAgentRunner") -> None:
    """Do what is asked of one agent at work.

    Raises:
        UsageError: no agent of that name is at work.
    """
    match asked:
        case StopAgent(name):
            if not agents.reachable.stop(name):
                raise _absent(name)
        case HoldAgent(name, pid, mark):
            if not agents.reachable.hold(name, pid, mark):
                raise _absent(name)
        case LetAgentGo(name, pid):
            agents.reachable.let_go(name, pid)


def _absent(name: str) -> UsageError:
    return UsageError(f"no agent of that name is at work: {name}", hint="codexteam status lists them")


def follow_steering(
    event: Steering, state: RunState, agents: "SandboxAgentRunner", report: Callable[[str, JSONObject], None]
) -> None:
    """Let agents at work hear of it; those that begin later find it in the state.

    `report` records the fact that an agent has had its last turn and does not read a message any more.
    """
    match event:
        case MessageLeft(to=to, text=text) if to == PLANNER:
            if any(isinstance(effect, MakePlan | Replan) for effect in state.in_flight.values()):
                agents.reachable.say(PLANNER, text)
        case MessageLeft(to=to, text=text):
            task_id = TaskId(to)
            # there may be several attempts at it
            works = [each for each in state.in_flight.values() if isinstance(each, Work) and each.task_id == task_id]
            for work in works:
                if not agents.reachable.say(f"{task_id}.{work.attempt}", text):
                    report("person.unread", {"to": to, "attempt": work.attempt, "messages": [text]})
        case PriorityRequested(task_id=task_id):
            rank = work_rank(state.graph.priority(task_id))
            agents.places.rank(task_id, rank)
            agents.gate.rank(task_id, rank)
        case TaskBudgetSet(task_id=task_id, budget=budget):
            agents.gate.limit_task(task_id, budget)
        case RunBudgetSet():
            known = agents.gate.ledger.limits
            agents.gate.limit_run(
                replace(
                    known,
                    run_usd=known.run_usd if event.usd is None else event.usd,
                    run_credits=known.run_credits if event.credits is None else event.credits,
                    run_tokens=known.run_tokens if event.tokens is None else event.tokens,
                )
            )
        case _:
            return
