"""What a killed sitting stored and could not write into `events.jsonl` any more, so that a run's history has no hole."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from codexteam.adapters.events_file import EventsFile
from codexteam.agent.call_record import recorded
from codexteam.agent.telling import fields_of, turn_fields, unanswered_fields
from codexteam.app.history import read_events
from codexteam.app.looking import events_path, open_calls_told
from codexteam.app.sitting import Sitting, secret_values
from codexteam.core.codec import decode_event, decode_state
from codexteam.core.json_types import JSONObject
from codexteam.core.redaction import Redactor
from codexteam.core.step import step
from codexteam.core.story import KINDS, numbered_story
from codexteam.core.usage import Price
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, Store

_ANSWERED = ("answered", "cut_short")


async def catch_up(sitting: Sitting, store: Store, events: EventsFile) -> list[RunEvent]:
    """Write down what is stored and was not told; give the whole history, read once. The caller holds the lock."""
    redactor = Redactor(secret_values(sitting.settings, sitting.environment))
    history = list(read_events(events_path(sitting.ground, sitting.run.run_id)))
    for event in await untold(store, sitting.run, history, sitting.settings.team.prices):
        history.append(replace(event, fields=redactor.redact_object(event.fields)))
        events.report(history[-1])
    return history


async def untold(
    store: Store, record: RunRecord, lines: Sequence[RunEvent], prices: Mapping[str, Price]
) -> list[RunEvent]:
    """Give what is stored of a run and is not in its history, which is `lines`, secrets not yet taken out.

    Nothing follows a checkpoint that was not told before it, so only what came after the newest is looked at; and all
    answers.
    """
    decisions = [event async for event in _decisions(store, record, lines)]
    turns = [event async for event in _turns(store, record, lines, prices)]
    return [*decisions, *turns, *[event async for event in _unanswered(store, record, lines)]]


async def _decisions(store: Store, record: RunRecord, lines: Sequence[RunEvent]) -> AsyncIterator[RunEvent]:
    if any(line.kind in KINDS and line.kind != "run.finished" and "event" not in line.fields for line in lines):
        return  # an older codexteam wrote it, and did not say which line was of which event
    found = await store.checkpoint(record.run_id)
    if found is None:
        return  # it comes before the first event
    told = Counter(line.fields["event"] for line in lines if "event" in line.fields)
    after, state = found[0], decode_state(found[1])
    for stored in await store.events(record.run_id, after=after):
        event, before = decode_event(stored.kind, stored.payload), state
        state, effects = step(before, event)
        facts = list(numbered_story(stored.sequence, event, before, state, effects))
        for kind, fields in facts[told[stored.sequence] :]:
            yield RunEvent(kind, stored.at_seconds, fields)


async def _turns(
    store: Store, record: RunRecord, lines: Sequence[RunEvent], prices: Mapping[str, Price]
) -> AsyncIterator[RunEvent]:
    told = Counter(_turn(line.fields) for line in lines if line.kind == "agent.turn")
    at = lines[-1].at_seconds if lines else record.created_at_seconds
    for answer in await store.answers(record.run_id):
        if answer.answer.get("end") not in _ANSWERED:
            continue
        model = recorded(answer.answer).model
        agent, counted = fields_of(answer.key.agent, model), recorded(answer.answer).counted
        fields = turn_fields(agent, answer.key.turn, answer.usage, prices.get(model), counted)
        if told[_turn(fields)] > 0:
            told[_turn(fields)] -= 1
        else:
            yield RunEvent("agent.turn", at, fields)


async def _unanswered(store: Store, record: RunRecord, lines: Sequence[RunEvent]) -> AsyncIterator[RunEvent]:
    """Give what tries without an answer count for, as a restored budget counts them; that of a killed one is new."""
    told = {_call(line.fields): line.fields.get("counted") for line in lines if line.kind == "agent.unanswered"}
    at = lines[-1].at_seconds if lines else record.created_at_seconds
    events = [
        RunEvent(
            "agent.unanswered",
            at,
            unanswered_fields(fields_of(key.agent, made.model), key.turn, key.purpose, made.lost),
        )
        for key, made in [(answer.key, recorded(answer.answer)) for answer in await store.answers(record.run_id)]
        if made.lost.tokens
    ]
    for event in [*events, *await open_calls_told(store, record, at_seconds=at)]:
        if told.get(_call(event.fields)) != event.fields["counted"]:
            yield event


def _call(fields: JSONObject) -> tuple[str, str, str]:
    return str(fields.get("agent")), str(fields.get("turn")), str(fields.get("call"))


def _turn(fields: JSONObject) -> tuple[str, str, str]:
    """Tell turns apart, also two calls of one: what they used is part of it."""
    return str(fields.get("agent")), str(fields.get("turn")), json.dumps(fields.get("usage"), sort_keys=True)
