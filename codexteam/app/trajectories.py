"""`report --format atif`: a run's agents as they are stored, for a trajectory that other programs read."""

import asyncio

from codexteam import __version__
from codexteam.app.project import Project, live_run, pick_run, reading_store
from codexteam.app.reports import events_of_run
from codexteam.core.ids import AgentKey, CallKey, JSONObject
from codexteam.ports.model import CutShort, ModelAnswer
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import Store, StoredAnswer
from codexteam.report.atif import AtifAgent, AtifRun, AtifTurn, trajectory
from codexteam.report.progress import Progress, number_field, text_field
from codexteam.report.transcripts import agents_in
from codexteam.run.kept_prompts import kept_prompt


def run_trajectory(project: Project, name: str | None) -> JSONObject:
    """Return a run's trajectory, the newest run's without a name.

    Raises:
        UsageError: there is no such run.
        StoreError: it cannot be read.
    """
    return asyncio.run(read_trajectory(project, name))


async def read_trajectory(project: Project, name: str | None) -> JSONObject:
    """Return a run's trajectory, in a loop that is there.

    Raises:
        UsageError: there is no such run.
        StoreError: it cannot be read.
    """
    async with reading_store(project) as store:
        record = await pick_run(store, name)
        facts = await events_of_run(store, record, live=live_run(project) == record.run_id)
        progress = Progress()
        turns: dict[tuple[str, int], RunEvent] = {}
        for fact in facts:
            progress.take(fact)
            if fact.kind == "agent.turn":
                turns[text_field(fact.fields, "agent"), number_field(fact.fields, "turn")] = fact
        agents = []
        for agent_name, agent in agents_in(record.run_id, facts).items():
            row = progress.agents[agent_name]
            agents.append(
                AtifAgent(
                    agent_name,
                    row.model,
                    agent.effort,
                    row.state if row.done else "",
                    row.started_at_seconds,
                    await kept_prompt(store, agent.key),
                    tuple(await _turns(store, agent.key, agent_name, turns)),
                )
            )
    run = AtifRun(
        str(record.run_id),
        record.goal,
        record.created_at_seconds,
        __version__,
        progress.result,
        progress.reason,
        tuple(agents),
        progress.usage,
        progress.usd,
        {"branch": progress.branch, "commit": progress.commit, "base": record.base},
    )
    return trajectory(run)


async def _turns(store: Store, agent: AgentKey, name: str, facts: dict[tuple[str, int], RunEvent]) -> list[AtifTurn]:
    """Return the turns that are stored, the one that is not finished included."""
    outputs = {turn.turn: turn.outputs for turn in await store.turns(agent)}
    found: list[AtifTurn] = []
    number = 1
    while (answer := await store.answer(CallKey(agent, number, agent.purpose))) is not None or number in outputs:
        fact = facts.get((name, number))
        usd = None if fact is None else fact.fields.get("usd")
        found.append(
            AtifTurn(
                _items(answer),
                outputs.get(number, ()),
                None if answer is None else answer.usage,
                float(usd) if isinstance(usd, int | float) else None,
                None if fact is None else fact.at_seconds,
            )
        )
        number += 1
    return found


def _items(answer: StoredAnswer | None) -> tuple[JSONObject, ...]:
    match None if answer is None else answer.answer.end:
        case ModelAnswer(items=items) | CutShort(items=items):
            return items
        case _:
            return ()
