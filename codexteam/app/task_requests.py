"""What people ask of a run's tasks: another try, one less, one more, another order; and what the run or a task may spend."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codexteam.app.command_lines import lines_of, load_with_lines
from codexteam.app.delivery import Delivered, deliver
from codexteam.app.inspect import task_of
from codexteam.app.live_requests import POSTED_WORDS, Fate, Reply
from codexteam.app.model_checks import check_models
from codexteam.app.plan_file import plan_names
from codexteam.app.project import Project, live_run, pick_run, reading_store, state_of
from codexteam.config.priced import budget_words, check_prices
from codexteam.config.request import LoadRequest
from codexteam.config.roles import with_model
from codexteam.config.settings import Settings
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_amounts import Unit
from codexteam.core.budget_text import AMOUNT_FORMS, TASK_BUDGET_FORMS, TaskBudget, read_amount, read_task_budget
from codexteam.core.effects import Result
from codexteam.core.ids import TaskId
from codexteam.core.paths import glob_problem
from codexteam.core.plan_check import role_problem
from codexteam.core.plan_graph import Acceptance, Task
from codexteam.core.state import FindingStatus, RunState, TaskPhase
from codexteam.core.steering_events import (
    AddRequested,
    DropRequested,
    PriorityRequested,
    RetryRequested,
    RunBudgetSet,
    TaskBudgetSet,
)
from codexteam.errors import UsageError
from codexteam.ports.store import RunRecord

#: The words that may stand in place of a priority's number.
PLACES = ("first", "last", "normal")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task as it was typed."""

    text: str
    """Its title, and below it what else is to be said."""
    role: str = "implementer"
    after: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    effort: int = 1
    budget: str = ""
    first: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """The run that a request is for, as it was when it was typed."""

    project: Project
    record: RunRecord
    state: RunState


def retry(project: Project, load: LoadRequest, task: str, run: str | None, *, model: str, effort: str) -> Reply:
    """Have a task tried again, by another model if one is named.

    Raises:
        UsageError: the task cannot be tried again now.
        ConfigError: the model has no price, and the run a limit in money.
    """
    return asyncio.run(_retry(project, load, task, run, model=model, effort=effort))


async def _retry(project: Project, load: LoadRequest, task: str, run: str | None, *, model: str, effort: str) -> Reply:
    asked = await _find(project, run)
    known = task_of(asked.state, task)
    task_id = known.task.id
    if model:
        settings = await _settings(asked, load)
        role = settings.roles.get(known.task.role)
        if role is not None:
            changed = with_model(role, model=model, effort=effort, place="codexteam retry")
            settings = replace(settings, roles={**settings.roles, role.name: changed})
        check_prices(settings)
        await check_models(settings, load.environment)
    delivered = await deliver(project, asked.record, RetryRequested(task_id, model, effort))
    after = delivered.after.tasks[task_id]
    was_begun = known.phase is not TaskPhase.PENDING
    words = "is tried again" if was_begun else "is tried with that"
    words += f", with {' and effort '.join(filter(None, (model, effort)))}" if model else ""
    words += f", with effort {effort}" if effort and not model else ""
    if after.phase is TaskPhase.BLOCKED:
        words += f", once it can: it {after.reason}"
    elif was_begun and known.attempt:
        words += ", from the work that there is"
    return _reply(asked, delivered, task_id, words + _money_words(delivered.after))


def _money_words(state: RunState) -> str:
    if state.result is not Result.LIMIT and (state.stop is None or state.stop.result is not Result.LIMIT):
        return ""
    return "; the run's budget is used up, more of it: codexteam budget +5usd"


def drop(project: Project, task: str, run: str | None, *, dependents: bool) -> Reply:
    """Take a task out of the plan.

    Raises:
        UsageError: others wait for it, or it cannot be dropped any more.
    """
    return asyncio.run(_drop(project, task, run, dependents=dependents))


async def _drop(project: Project, task: str, run: str | None, *, dependents: bool) -> Reply:
    asked = await _find(project, run)
    task_id = task_of(asked.state, task).task.id
    delivered = await deliver(project, asked.record, DropRequested(task_id, dependents))
    before, after = asked.state.tasks, delivered.after.tasks
    gone = [each for each in after if each in before and before[each].phase is not TaskPhase.DROPPED]
    gone = [each for each in gone if after[each].phase is TaskPhase.DROPPED and each != task_id]
    words = f"dropped, and {', '.join(gone)} with it" if gone else "dropped"
    if any(after[each].attempt for each in (task_id, *gone)):
        words += "; what was done of it is kept, codexteam salvage lists it"
    left = [str(i) for i in after[task_id].task.fixes if _is_open(delivered.after, str(i))]
    if left:
        words += f"; {', '.join(left)} stays open, codexteam answer findings waive {' '.join(left)} lets it be"
    return _reply(asked, delivered, task_id, words)


def _is_open(state: RunState, finding: str) -> bool:
    return any(str(name) == finding and known.status is FindingStatus.OPEN for name, known in state.findings.items())


def add(project: Project, load: LoadRequest, new: NewTask, run: str | None) -> Reply:
    """Add a task to the plan.

    Raises:
        UsageError: something of it cannot be meant, or the run takes no tasks now.
        PlanError: the plan would not hold together.
    """
    return asyncio.run(_add(project, load, new, run))


async def _add(project: Project, load: LoadRequest, new: NewTask, run: str | None) -> Reply:
    asked = await _find(project, run)
    task = _checked(new, asked.state, await _settings(asked, load))
    delivered = await deliver(project, asked.record, AddRequested(task))
    before = delivered.before.tasks
    added = [known.task for task_id, known in delivered.after.tasks.items() if task_id not in before]
    named = next((each for each in added if each.title == task.title), added[-1])
    words = f"added: {named.title}"
    if not task.paths:
        words += "; it names no paths, so that it works alone (--path GLOB)"
    if not task.acceptance:
        words += "; no command judges it (--accept COMMAND)"
    return _reply(asked, delivered, named.id, words)


def _checked(new: NewTask, state: RunState, settings: Settings) -> Task:
    title, _, description = new.text.strip().partition("\n")
    if not title.strip():
        raise UsageError("the task has no title", hint='codexteam add "What is to be done"')
    names = plan_names(settings, state)
    if found := role_problem(new.role, names):
        raise UsageError(f"--role: {found[0]}", hint=found[1])
    for path in new.paths:
        if problem := glob_problem(path):
            raise UsageError(f"--path {path}: it {problem}", hint="globs from the repository's root: src/a.py, tests/")
    deps = tuple(task_of(state, name).task.id for words in new.after for name in words.replace(",", " ").split())
    budget = _task_budget(new.budget, settings) if new.budget else None
    return Task(
        TaskId("T0"),  # the run gives it its own
        " ".join(title.split()),
        description.strip(),
        role=new.role,
        deps=tuple(dict.fromkeys(deps)),
        paths=new.paths,
        acceptance=tuple(Acceptance(" ".join(command.split()), command) for command in new.accept),
        effort=new.effort,
        budget=budget,
        priority=_highest(state) + 1 if new.first else 0,
    )


def prioritize(project: Project, task: str, place: str, run: str | None) -> Reply:
    """Have a task started before others, or after them.

    Raises:
        UsageError: there is nothing left to order, or `place` is no place.
    """
    return asyncio.run(_prioritize(project, task, place, run))


async def _prioritize(project: Project, task: str, place: str, run: str | None) -> Reply:
    asked = await _find(project, run)
    known = task_of(asked.state, task)
    task_id = known.task.id
    priority = _priority(place, asked.state, task_id)
    delivered = await deliver(project, asked.record, PriorityRequested(task_id, priority))
    waits = [dep for dep in known.task.deps if asked.state.tasks[dep].phase is not TaskPhase.MERGED]
    words = f"priority {priority}"
    if known.phase in {TaskPhase.WORKING, TaskPhase.ASKING}:
        words += "; it is being worked on, so that only its next attempt is moved"
    elif waits and priority > 0:
        words += f"; it waits for {', '.join(waits)}, which moves with it"
    return _reply(asked, delivered, task_id, words)


def _priority(place: str, state: RunState, task_id: TaskId) -> int:
    others = [known.task.priority for name, known in state.tasks.items() if name != task_id]
    match place:
        case "first":
            return max([0, *others]) + 1
        case "last":
            return min([0, *others]) - 1
        case "normal":
            return 0
        case _:
            number = place.removeprefix("+").removeprefix("-")
            if not number.isdecimal() or len(number) > 4:
                allowed = f"{', '.join(PLACES)}, or a number from -9999 to 9999"
                raise UsageError(
                    f"{place!r} is not a priority; allowed: {allowed}", hint=f"codexteam priority {task_id} first"
                )
            return int(place)


def _highest(state: RunState) -> int:
    return max([0, *(known.task.priority for known in state.tasks.values())])


def set_budget(project: Project, load: LoadRequest, amounts: Sequence[str], task: str | None, run: str | None) -> Reply:
    """Say what a run, or one of its tasks, may use: an amount in all, or more of it with `+`.

    Raises:
        UsageError: an amount cannot be read, or there is nothing that it could be added to.
        ConfigError: a limit in money cannot be kept.
    """
    return asyncio.run(_set_budget(project, load, amounts, task, run))


async def _set_budget(
    project: Project, load: LoadRequest, amounts: Sequence[str], task: str | None, run: str | None
) -> Reply:
    asked = await _find(project, run)
    settings = await _settings(asked, load)
    if task is not None:
        known = task_of(asked.state, task)
        before = known.task.budget or TaskBudget()
        budget = _raised(before, amounts, settings)
        delivered = await deliver(project, asked.record, TaskBudgetSet(known.task.id, budget))
        words = f"may use {budget.words} in all"
        if delivered.after.tasks[known.task.id].phase is TaskPhase.FAILED:
            words += f"; it failed, to have it tried again: codexteam retry {known.task.id}"
        return _reply(asked, delivered, known.task.id, words)
    limits = _raised_run(settings.team.budget, amounts)
    check_prices(replace(settings, team=replace(settings.team, budget=limits)))
    said = budget_words(limits)
    event = RunBudgetSet(limits.run_usd, limits.run_credits, limits.run_tokens, said)
    delivered = await deliver(project, asked.record, event)
    return _reply(asked, delivered, asked.record.run_id, f"may use {said} in all")


def _raised(before: TaskBudget, amounts: Sequence[str], settings: Settings) -> TaskBudget:
    budget = before
    for typed in amounts:
        said = read_amount(typed.removeprefix("+"))
        if said is None:
            raise UsageError(
                f"invalid amount {typed!r}; allowed: {TASK_BUDGET_FORMS}", hint="codexteam budget --task T3 +2usd"
            )
        if typed.startswith("+"):
            has = before.share_percent if said.unit is None else _amount(before, said.unit)
            if has is None:
                what = "a share" if said.unit is None else f"an amount in {said.unit.value}"
                raise UsageError(
                    f"{typed}: the task has no limit that is {what}"
                    + (f", but {before.words}" if before.words else ""),
                    hint=f"say how much in all: {typed.removeprefix('+')}",
                )
            said = replace(said, number=has + said.number)
        budget = budget.with_amount(said)
    return _task_budget(budget.words, settings)


def _amount(budget: TaskBudget, unit: Unit) -> float | None:
    return {Unit.TOKENS: budget.tokens, Unit.USD: budget.usd, Unit.CREDITS: budget.credits}[unit]


def _task_budget(words: str, settings: Settings) -> TaskBudget:
    try:
        budget = read_task_budget(words)
    except ValueError as error:
        raise UsageError(f"--budget: {error}", hint=f"allowed: {TASK_BUDGET_FORMS}") from error
    for unit, (why, hint) in plan_names(settings).unpriced.items():
        if budget.says(unit):
            raise UsageError(f"--budget: it cannot be kept in {unit}: {why}", hint=hint)
    return budget


def _raised_run(before: BudgetLimits, amounts: Sequence[str]) -> BudgetLimits:
    limits = before
    for typed in amounts:
        said = read_amount(typed.removeprefix("+"))
        if said is None or said.unit is None:
            raise UsageError(f"invalid amount {typed!r}; allowed: {AMOUNT_FORMS}", hint="codexteam budget +5usd")
        name = f"run_{said.unit.value.lower()}"
        has: float | None = getattr(before, name)
        if typed.startswith("+") and has is None:
            known = budget_words(before)
            raise UsageError(
                f"{typed}: the run has no limit in {said.unit.value}"
                + (f", but {known}" if known else ", nor any other"),
                hint=f"to give it one: codexteam budget {typed.removeprefix('+')}",
            )
        number = said.number + (has or 0) if typed.startswith("+") else said.number
        match said.unit:
            case Unit.TOKENS:
                limits = replace(limits, run_tokens=round(number))
            case Unit.USD:
                limits = replace(limits, run_usd=round(number, 6))
            case Unit.CREDITS:
                limits = replace(limits, run_credits=round(number, 6))
    return limits


# what all of them do


async def _find(project: Project, run: str | None) -> _Asked:
    async with reading_store(project) as store:
        # without a name the active run is meant, whether it is the newest or not
        record = await pick_run(store, run or live_run(project))
        return _Asked(project, record, await state_of(store, record))


async def _settings(asked: _Asked, load: LoadRequest) -> Settings:
    async with reading_store(asked.project) as store:
        return load_with_lines(load, await lines_of(store, asked.record))


def _reply(asked: _Asked, delivered: Delivered, what: str, words: str) -> Reply:
    run_id = asked.record.run_id
    match delivered.fate:
        case Fate.TAKEN:
            return Reply(run_id, what, words, "taken")
        case Fate.LEFT:
            return Reply(run_id, what, f"{words}, as soon as the run looks", "left")
        case Fate.POSTED:
            return Reply(run_id, what, f"{words}: {POSTED_WORDS}", "posted")
        case Fate.OVER:
            return Reply(run_id, what, f"{words}. Continue: codexteam resume", "stored", resumable=True)
