"""What earlier runs took, and what this one is expected to take: forecasts are made and kept here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace

from codexteam.config.price_list import price_list
from codexteam.config.settings import Settings
from codexteam.core.budget import run_limits
from codexteam.core.budget_amounts import NANO, Unit, Usage, short_amount
from codexteam.core.codec import decode, encode, encode_object
from codexteam.core.forecast import Cost, Forecast, Range, Team, forecast
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.run_costs import PastRun, SpentBy, Stage, stage_of
from codexteam.core.state import Rules, RunState, TaskPhase
from codexteam.errors import StoreError
from codexteam.ports.store import Store, StoredAnswer
from codexteam.run.loop import load_state

#: Runs that a forecast rests on; older ones say less about today's models.
_RUNS = 20


def spent_of(answers: Iterable[StoredAnswer], state: RunState) -> tuple[SpentBy, ...]:
    """Sum up a run's answers, by what they were for."""
    fixes = {task_id for task_id, known in state.tasks.items() if known.from_findings}
    sums: dict[tuple[Stage, str, str, str], SpentBy] = {}
    for answer in answers:
        agent, made = answer.key.agent, answer.answer.made
        key = (stage_of(agent, fixes), agent.role, made.model, agent.task_id)
        known = sums.get(key) or SpentBy(key[0], agent.role, made.model, Usage(), 0, agent.task_id)
        unreported = made.lost.tokens + (made.counted.tokens if answer.usage is None else 0)
        sums[key] = replace(
            known,
            usage=known.usage + (answer.usage or Usage()),
            calls=known.calls + (answer.usage is not None),
            unreported_tokens=known.unreported_tokens + unreported,
        )
    return tuple(sums.values())


def past_run(answers: Iterable[StoredAnswer], state: RunState) -> PastRun:
    """Say what a run took and had to do."""
    merged = {i: known for i, known in state.tasks.items() if known.phase is TaskPhase.MERGED}
    efforts = {i: known.task.effort for i, known in merged.items() if not known.from_findings}
    batches = -(-len(efforts) // max(1, state.rules.batch_size))
    return PastRun(spent_of(answers, state), efforts, state.round, batches)


async def keep_costs(store: Store, state: RunState) -> None:
    """Keep what a run took so far, so that later forecasts need not read all of its answers."""
    past = past_run(await store.answers(state.run_id), state)
    await store.put(f"{state.run_id}/costs", "run", encode_object(past))


async def past_runs(store: Store, *, but: RunId | None = None) -> list[PastRun]:
    """Return what the newest runs took that merged something, but for runs that cannot be read."""
    found: list[PastRun] = []
    for record in await store.runs():
        if len(found) == _RUNS:
            break
        if record.run_id == but:
            continue
        try:
            kept = await store.get(f"{record.run_id}/costs", "run")
            if kept is not None:
                past = decode(PastRun, kept, f"what run {record.run_id} took")
            else:
                state = await load_state(store, record.run_id, goal=record.goal, rules=Rules())
                past = past_run(await store.answers(record.run_id), state)
        except StoreError:
            continue  # of a newer codexteam, say; `codexteam runs` names it
        if past.efforts:
            found.append(past)
    return found


def team_of(settings: Settings, state: RunState) -> Team:
    """Return what a run will ask for, and at which prices."""
    rules = state.rules
    return Team(
        prices=price_list(settings),
        models={name: role.model.model for name, role in settings.roles.items()},
        max_threads=rules.max_threads,
        scouts=settings.team.limits.max_scouts,
        gates=rules.gates,
        max_rounds=rules.max_rounds,
        batch_size=rules.batch_size,
        document=rules.document,
        release=rules.release,
    )


async def forecast_of(store: Store, settings: Settings, state: RunState) -> Forecast:
    """Return what a run will take that has a plan, what it spent until now included."""
    past = await past_runs(store, but=state.run_id)
    tasks = [known.task for known in state.tasks.values() if known.phase is not TaskPhase.DROPPED]
    spent = spent_of(await store.answers(state.run_id), state)
    return forecast(tasks, past, team_of(settings, state), spent=spent)


def over_budget(found: Forecast, settings: Settings) -> str:
    """Say which limit of the run the expected cost passes; empty where none."""
    words = []
    for unit, limit in run_limits(settings.team.budget).items():
        expected = found.of(unit).expected
        if expected is not None and round(expected * (1 if unit is Unit.TOKENS else NANO)) > limit:
            words.append(f"{_short(unit, expected)} expected, {short_amount(unit, limit)} allowed")
    return "; ".join(words)


def forecast_fields(found: Forecast) -> JSONObject:
    """Return the fields of `forecast.made`."""
    return {
        "runs": found.history_runs,
        **_ranges({"tokens": found.tokens, "usd": found.usd, "credits": found.credits}),
        "stages": {stage.value: _cost_fields(cost) for stage, cost in found.stages.items()},
    }


def _cost_fields(cost: Cost) -> JSONObject:
    found: Mapping[str, object] = {field.name: getattr(cost, field.name) for field in fields(cost)}
    return {name: encode(value) for name, value in found.items()}


def _ranges(ranges: Mapping[str, Range]) -> JSONObject:
    return {name: encode(found) for name, found in ranges.items()}


def _short(unit: Unit, value: float) -> str:
    return short_amount(unit, round(value if unit is Unit.TOKENS else value * NANO), up=True)


def made_for(state: RunState) -> Sequence[str] | None:
    """Return what a forecast of a run is made for: its plan, until an attempt has ended; None when it is too late."""
    if not state.tasks or any(
        known.attempt > 1
        or known.failures
        or known.phase in {TaskPhase.QUEUED, TaskPhase.INTEGRATING, TaskPhase.MERGED}
        for known in state.tasks.values()
    ):
        return None
    return [f"{known.task.id} {known.task.role} {known.task.effort}" for known in state.tasks.values()]
