"""What becomes of a task that has used its own budget: a person is asked, it fails, or it gets as much again.

The effect that was refused is put aside unchanged, so that its agent continues with its conversation and its work, under
the same attempt. A refusal by a limit of the run or of a role is another matter: that ends the run (`core.step`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from codexteam.core.budget import BudgetLimits, run_limits
from codexteam.core.budget_amounts import NANO, Unit, short_amount
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.budget_text import TaskBudget, WrittenAmount, read_amount, shared_out
from codexteam.core.effects import Awaited, Clarify, Work
from codexteam.core.events import Answered, BudgetRefused
from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import RunState, Shelved, TaskPhase
from codexteam.core.transition import Transition

#: How the item begins that asks about a task's budget.
BUDGET_ITEM: Final = "budget."


def with_shares(tasks: Sequence[Task], limits: BudgetLimits, *, known: Sequence[Task] = ()) -> tuple[Task, ...]:
    """Give the tasks of a fresh plan their shares of the run's limits, by effort; those of a re-plan as much as others."""
    if not tasks or not run_limits(limits) or not limits.task_share:
        return tuple(tasks)
    before = [(task.effort, task.budget.share_percent) for task in known if task.budget and task.budget.share_percent]
    if not before:
        shares = shared_out([task.effort for task in tasks], limits.task_share)
        return tuple(replace(task, budget=share) for task, share in zip(tasks, shares, strict=True))
    point = sum(share for _, share in before) / sum(effort for effort, _ in before)
    most = 100 * limits.task_share
    return tuple(
        replace(task, budget=TaskBudget(share_percent=round(min(most, point * task.effort), 1))) for task in tasks
    )


def idle_shares(tasks: Iterable[Task], limits: BudgetLimits) -> list[TaskId]:
    """Return the tasks whose budget is a share of the run's limits and nothing else, where the run has none."""
    if run_limits(limits):
        return []
    return [task.id for task in tasks if task.budget and task.budget == TaskBudget(task.budget.share_percent)]


def take_refusal(transition: Transition, event: BudgetRefused) -> None:
    """Take in that a budget refused an agent's next call."""
    rule = transition.state.rules.on_task_budget
    effect = transition.state.in_flight.get(event.key)
    scope = event.budget_scope
    if rule is None or not isinstance(effect, Work | Clarify) or not _is_own(effect, scope):
        transition.shelve(event)
        return
    task_id = effect.task_id
    match rule:
        case "extend":
            transition.take_back(event.key, event)
            _give(transition, task_id, topped_up(transition.tasks[task_id].task.budget, scope))
            if transition.state.stop is None:
                transition.hand_out(effect)
            else:  # the run ends: it continues at resume
                transition.in_flight[event.key] = effect
                transition.shelve(event)
        case "fail":
            transition.take_back(event.key, event)
            attempt = transition.tasks[task_id].attempt
            reason = f"its budget is used up: {event.reason}"
            transition.move(task_id, TaskPhase.FAILED, event, reason=reason, restore_attempt=attempt)
        case _:
            transition.shelve(event)
            transition.ask(f"{BUDGET_ITEM}{task_id}", _question(transition, task_id, scope), task_id)


def asks_person(state: RunState, shelved: Shelved) -> bool:
    """Return whether what waits for budget waits for a person's word about one task, and not for the run's limits."""
    return state.rules.on_task_budget is not None and _is_own(shelved.effect, shelved.budget_scope)


def answer_budget(transition: Transition, event: Answered, task_id: TaskId) -> None:
    """Give a task more, or let it fail; its work is kept either way."""
    key, shelved = _waiting(transition.state, task_id)
    if shelved is None:
        return  # the task was changed or dropped while the question waited
    if not event.approved:
        transition.drop_shelved(key)
        attempt = transition.tasks[task_id].attempt
        reason = "its budget is used up, and no more was approved"
        transition.move(task_id, TaskPhase.FAILED, event, reason=reason, restore_attempt=attempt)
        return
    amount = read_amount(event.text) if event.text else None
    _give(transition, task_id, topped_up(transition.tasks[task_id].task.budget, shelved.budget_scope, amount))
    state = transition.state
    if state.stop is None and not state.paused and state.result is None:
        transition.drop_shelved(key)
        transition.hand_out(shelved.effect)


def edit_budget(transition: Transition, task: Task) -> None:
    """Take a budget that a person wrote into plan.md, whatever the task is doing."""
    known = transition.tasks.get(task.id)
    if known is None or known.task.budget == task.budget or known.phase in {TaskPhase.MERGED, TaskPhase.DROPPED}:
        return
    set_budget(transition, task.id, task.budget)


def set_budget(transition: Transition, task_id: TaskId, budget: TaskBudget | None) -> None:
    """Take what a person says that a task may use, and withdraw the question about it."""
    _give(transition, task_id, budget)
    release_questions(transition, task_id)


def release_questions(transition: Transition, task_id: TaskId | None = None) -> None:
    """Withdraw the questions about budgets, of one task or of all: what waits is tried again, and asked about again."""
    items = {item for item, hold in transition.state.holds.items() if item.startswith(BUDGET_ITEM)}
    if task_id is not None:
        items &= {f"{BUDGET_ITEM}{task_id}"}
    if items:
        transition.set(holds={item: hold for item, hold in transition.state.holds.items() if item not in items})


def topped_up(budget: TaskBudget | None, refused: BudgetScope, amount: WrittenAmount | None = None) -> TaskBudget:
    """Return a budget that holds the refused call: as much again, or `amount` more, and never less than is needed.

    It is said as an amount, which counts before a share and before the limits of all tasks.
    """
    budget = budget or TaskBudget()
    more = refused.limit if amount is None else amount.number
    if amount is not None and amount.unit is None:  # so much more of the run's limit, of which the limit is a share
        more = refused.limit * amount.number / (budget.share_percent or 100.0)
    wanted = max(refused.limit + more, refused.needed)
    step = 1_000.0 if refused.unit is Unit.TOKENS else 0.01
    return budget.with_amount(WrittenAmount(round(math.ceil(round(wanted / step, 6)) * step, 2), refused.unit))


def amount_problem(state: RunState, item: str, text: str) -> str | None:
    """Say why an answer's amount does not fit the budget that is used up; None where it does."""
    amount = read_amount(text)
    if amount is None or amount.number <= 0:
        return f"invalid amount {text!r}"
    _, shelved = _waiting(state, TaskId(item.removeprefix(BUDGET_ITEM)))
    unit = shelved.budget_scope.unit if shelved is not None else None
    if unit is not None and amount.unit not in {None, unit}:
        return f"{text!r} does not help: what is used up counts {unit.value}"
    return None


def _is_own(effect: Awaited, scope: BudgetScope) -> bool:
    """Return whether it is a task's own budget that refused, and a larger one would help."""
    return scope.scope == "task" and scope.needed > 0 and isinstance(effect, Work | Clarify)


def _give(transition: Transition, task_id: TaskId, budget: TaskBudget | None) -> None:
    known = transition.tasks[task_id]
    transition.tasks[task_id] = replace(known, task=replace(known.task, budget=budget))
    transition.plan_changed = True


def _waiting(state: RunState, task_id: TaskId) -> tuple[str, Shelved | None]:
    for key, shelved in state.shelved.items():
        if isinstance(shelved.effect, Work | Clarify) and shelved.effect.task_id == task_id:
            return key, shelved
    return "", None


def _question(transition: Transition, task_id: TaskId, scope: BudgetScope) -> str:
    task = transition.tasks[task_id].task
    spent, limit = (_short(scope.unit, value, up=False) for value in (scope.spent, scope.limit))
    after = topped_up(task.budget, scope).limit(scope.unit, None) or 0
    return (
        f"{task_id} ({task.title}) has used its budget: {spent} of {limit}, and its next call does not fit. Let it "
        f"continue, with {short_amount(scope.unit, after)} in all? Its work and its conversation are kept."
    )


def _short(unit: Unit, value: float, *, up: bool) -> str:
    return short_amount(unit, round(value if unit is Unit.TOKENS else value * NANO), up=up)
