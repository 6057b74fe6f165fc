"""`show AGENT` and `show TASK --transcript`: agents' transcripts, from the answers and turns that are stored."""

import asyncio
import difflib
from collections.abc import AsyncIterator, Sequence

from codexteam.app.inspect import task_of
from codexteam.app.project import Project, live_run, pick_run, reading_store, state_of
from codexteam.app.receipts import receipts_of
from codexteam.app.reports import events_of_run
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose
from codexteam.core.text import clean_line
from codexteam.errors import UsageError
from codexteam.ports.model import CallFailed, ContextExceeded, CutShort, ModelAnswer
from codexteam.ports.store import Store, StoredAnswer
from codexteam.report.progress import Progress
from codexteam.report.transcripts import (
    AgentTranscript,
    EntryKind,
    KnownAgent,
    TranscriptEntry,
    TranscriptTurn,
    agents_in,
    entries_of,
    named_agents,
    prompt_entries,
)
from codexteam.run.kept_prompts import kept_prompt


def transcripts(project: Project, name: str, run: str | None, *, of_task: bool) -> list[AgentTranscript]:
    """Return the transcripts of one agent, or with `of_task` of all agents of a task, in the order they began.

    Raises:
        UsageError: there is no such run, task or agent, or several agents are meant.
    """
    return asyncio.run(_transcripts(project, name, run, of_task=of_task))


async def _transcripts(project: Project, name: str, run: str | None, *, of_task: bool) -> list[AgentTranscript]:
    async with reading_store(project) as store:
        record = await pick_run(store, run)
        live = live_run(project) == record.run_id
        facts = await events_of_run(store, record, live=live)
        agents = agents_in(record.run_id, facts)
        if of_task:
            task_id = task_of(await state_of(store, record), name).task.id
            chosen = [known for known, agent in agents.items() if agent.key.task_id == task_id]
            if not chosen:
                raise UsageError(f"no agent has worked on {task_id} yet", hint=f"codexteam show {task_id}")
        else:
            chosen = [_one(agents, name)]
        progress = Progress()
        for fact in facts:
            progress.take(fact)
        receipts = await receipts_of(store, record.run_id)
        return [
            AgentTranscript(
                agents[one].key,
                progress.agents[one],
                agents[one].effort,
                agents[one].reason,
                await prompt_of(store, agents[one].key),
                tuple([turn async for turn in turns_of(store, agents[one].key)]),
                is_at_work=live and not progress.agents[one].done,
                receipt=receipts.get(_receipt_key(agents[one].key), {}),
            )
            for one in chosen
        ]


def _receipt_key(agent: AgentKey) -> str:
    return f"{agent.role}/{agent.purpose.value}/{agent.task_id}/{agent.attempt}"


def _one(agents: dict[str, KnownAgent], name: str) -> str:
    """Return the agent that a name means.

    Raises:
        UsageError: none or several are meant.
    """
    found = named_agents(agents, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{clean_line(name)!r} means {len(found)} agents: {', '.join(found)}", hint="name one of them")
    if not agents:
        raise UsageError("no agent has worked in this run yet", hint="codexteam status says how far it is")
    near = difflib.get_close_matches(name, [*agents, *(known.partition(" ")[2] for known in agents)], n=1)
    shown = ", ".join([*agents][:20]) + (", ..." if len(agents) > 20 else "")
    hint = f"did you mean {near[0]}?" if near else "codexteam show TASK shows a task"
    raise UsageError(f"no task and no agent is called {clean_line(name)!r}; agents: {shown}", hint=hint)


async def prompt_of(store: Store, agent: AgentKey) -> tuple[TranscriptEntry, ...]:
    """Return what an agent was asked first; nothing where that was not kept."""
    prompt = await kept_prompt(store, agent)
    return () if prompt is None else prompt_entries(prompt)


async def turns_of(store: Store, agent: AgentKey, *, after: int = 0) -> AsyncIterator[TranscriptTurn]:
    """Yield an agent's turns after a number, the one that is not finished included."""
    finished = {turn.turn: turn.outputs for turn in await store.turns(agent, after=after)}
    number = after
    while True:
        number += 1
        entries = await _compacted(store, agent, number)
        answer = await store.answer(CallKey(agent, number, agent.purpose))
        outputs = finished.get(number)
        if answer is None and outputs is None and not entries:
            return
        if answer is not None:
            entries += entries_of(_items(answer)) + _ending(answer)
        entries += entries_of(outputs or ())
        usage = None if answer is None else answer.usage
        yield TranscriptTurn(number, tuple(entries), usage, is_done=outputs is not None)


async def _compacted(store: Store, agent: AgentKey, turn: int) -> list[TranscriptEntry]:
    answer = await store.answer(CallKey(agent, turn, Purpose.COMPACT))
    if answer is None:
        return []
    said = [entry.text for entry in entries_of(_items(answer)) if entry.kind is EntryKind.SAID]
    return [TranscriptEntry(EntryKind.SUMMARY, "\n".join(said))]


def _items(answer: StoredAnswer) -> Sequence[JSONObject]:
    match answer.answer.end:
        case ModelAnswer(items=items) | CutShort(items=items):
            return items
        case _:
            return ()


def _ending(answer: StoredAnswer) -> list[TranscriptEntry]:
    """Say how a call ended that was not answered in full."""
    match answer.answer.end:
        case CutShort(reason=reason):
            return [TranscriptEntry(EntryKind.NOTE, f"the answer was cut short: {reason}")]
        case ContextExceeded(message=message):
            return [TranscriptEntry(EntryKind.NOTE, f"the request was too long for the model: {message}")]
        case CallFailed(message=message):
            return [TranscriptEntry(EntryKind.NOTE, f"the call failed: {message}")]
        case ModelAnswer():
            return []
