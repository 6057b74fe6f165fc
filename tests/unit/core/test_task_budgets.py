"""What a task may spend: its share, what plan.md says of it, and what follows when it is used up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.core.budget import BudgetLimits, Exhausted, Ledger, Reservation, task_limits
from codexteam.core.budget_amounts import NANO, Unit
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.budget_text import TaskBudget, read_amount, read_task_budget
from codexteam.core.effects import AskPerson, Finish, Result, Work
from codexteam.core.events import (
    Answered,
    AttemptSucceeded,
    BudgetRefused,
    Continued,
    PauseRequested,
    PlanEdited,
    RunStarted,
    StopRequested,
)
from codexteam.core.ids import AgentKey, CallKey, GateName, Purpose, RunId, TaskId
from codexteam.core.plan_edit import compare
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.plan_md import Header, new_document, parse, render
from codexteam.core.replies import Choice, read_reply
from codexteam.core.state import Rules, TaskPhase, needed_budgets
from codexteam.core.task_budgets import idle_shares, topped_up, with_shares
from codexteam.errors import PlanError, UsageError
from tests.unit.core.run_world import World

T1, T2 = TaskId("T1"), TaskId("T2")
RULES = Rules(gates=(GateName.CI,), scout=False, document=False, release=False, on_task_budget="ask")
REFUSED = BudgetScope("task", "T1", Unit.TOKENS, 39_000, 44_000, 40_000)
LIMITS = BudgetLimits(run_tokens=1_000_000, run_usd=10.0)


def begun(rule: str | None = "ask", budget: TaskBudget | None = None) -> World:
    """Return a run in which both tasks are at work, and T1's budget has refused its next call."""
    world = World(
        (Task(T1, "One", paths=("a.py",), budget=budget), Task(T2, "Two", paths=("b.py",))),
        replace(RULES, on_task_budget=rule),
    )
    world.pick = lambda n: 0
    while not {"work.T1.1", "work.T2.1"} <= world.state.in_flight.keys():
        if not world.history:
            world.send(RunStarted())
        else:
            world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    return world


def refuse(world: World, scope: BudgetScope = REFUSED) -> tuple[object, ...]:
    return world.send(BudgetRefused("work.T1.1", "too little budget left for T1", scope))


def test_a_share_limits_nothing_where_the_run_has_no_limit() -> None:
    budgets = (TaskBudget(25.0), TaskBudget(25.0, tokens=5_000), None)
    plan = [Task(TaskId(f"T{n}"), "Task", budget=budget) for n, budget in enumerate(budgets, 1)]

    assert idle_shares(plan, BudgetLimits(task_usd=1.0)) == [T1]
    assert idle_shares(plan, LIMITS) == []


def test_the_planners_tasks_share_the_runs_budget_by_effort() -> None:
    tasks = (Task(T1, "One", effort=3), Task(T2, "Two", effort=1))

    shared = with_shares(tasks, LIMITS)

    assert [task.budget for task in shared] == [TaskBudget(share_percent=60.0), TaskBudget(share_percent=20.0)]
    assert task_limits(LIMITS, shared[0].budget) == {Unit.TOKENS: 600_000, Unit.USD: 6 * NANO}
    fix = with_shares((Task(TaskId("T3"), "Fix", effort=2),), LIMITS, known=shared)
    assert fix[0].budget == TaskBudget(share_percent=40.0), "as much for a point of effort as the plan's tasks"


def test_without_a_limit_of_the_run_there_is_nothing_to_share() -> None:
    tasks = (Task(T1, "One"),)
    assert with_shares(tasks, BudgetLimits(role_tokens={"reviewer": 5})) == tasks
    assert with_shares(tasks, replace(LIMITS, task_share=0.0)) == tasks


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60))
def test_shares_never_add_up_to_more_than_the_part_for_tasks(efforts: list[int]) -> None:
    tasks = [Task(TaskId(f"T{n}"), "x", effort=effort) for n, effort in enumerate(efforts, start=1)]
    shares = [task.budget.share_percent or 0.0 for task in with_shares(tasks, LIMITS) if task.budget]
    assert len(shares) == len(tasks)
    assert sum(shares) <= 80.0001


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("25%", TaskBudget(share_percent=25.0)),
        ("400k", TaskBudget(tokens=400_000)),
        ("400k tokens, $2.50", TaskBudget(tokens=400_000, usd=2.5)),
        ("`12.5%`, 300 credits", TaskBudget(share_percent=12.5, credits=300.0)),
        ("0usd", TaskBudget(usd=0.0)),
    ],
)
def test_a_budget_in_plan_md_is_a_share_or_amounts(text: str, budget: TaskBudget) -> None:
    plan = parse(f"## Tasks\n\n- [ ] **T1** One\n  - budget: {text}\n").plan()
    assert plan.tasks[0].budget == budget
    written = render(new_document(Plan("x", tasks=plan.tasks), Header("r", "b", "c")))
    assert f"  - budget: {budget.words}\n" in written
    assert parse(written).plan().tasks == plan.tasks


@pytest.mark.parametrize("text", ["-5%", "5eur", "120%", "12", "", "a lot", "5%, 6%", "-1usd", "1e3k", "$5k"])
def test_a_budget_that_cannot_be_read_names_its_line_and_what_is_allowed(text: str) -> None:
    with pytest.raises(PlanError) as raised:
        parse(f"## Tasks\n\n- [ ] **T1** One\n  - budget: {text}\n")
    assert str(raised.value).startswith("plan.md:4: budget of T1: ")
    assert "25%" in (raised.value.hint or "")


def test_what_plan_md_says_counts_before_the_limit_of_all_tasks() -> None:
    limits = replace(LIMITS, task_tokens=50_000)
    assert task_limits(limits, None)[Unit.TOKENS] == 50_000
    assert task_limits(limits, TaskBudget(share_percent=50.0))[Unit.TOKENS] == 50_000, "the smaller of the two"
    assert task_limits(limits, TaskBudget(share_percent=1.0))[Unit.TOKENS] == 10_000
    assert task_limits(limits, TaskBudget(tokens=70_000))[Unit.TOKENS] == 70_000


def test_a_task_that_reaches_its_budget_is_asked_about_and_holds_up_nobody() -> None:
    world = begun()

    effects = refuse(world)

    asked = [effect for effect in effects if isinstance(effect, AskPerson)]
    assert [effect.item for effect in asked] == ["budget.T1"]
    assert "39k tokens of 40k tokens" in asked[0].question
    assert "80k tokens" in asked[0].question
    assert world.state.in_flight.keys() == {"work.T2.1"}
    finish = world.run()
    assert (finish.result, finish.exit_code) == (Result.WAITING, 5), "a person is waited for, not a larger limit"
    assert needed_budgets(world.state) == ()


def test_approving_lets_the_same_attempt_continue_with_as_much_again() -> None:
    world = begun()
    before = world.state.in_flight["work.T1.1"]
    refuse(world)

    effects = world.send(Answered("budget.T1", ""))

    assert [effect for effect in effects if isinstance(effect, Work)] == [before], "the conversation continues"
    assert world.state.tasks[T1].task.budget == TaskBudget(tokens=80_000)
    assert world.state.holds == {}
    assert world.run().result is Result.GREEN
    assert world.state.tasks[T1].attempt == 1


def test_a_run_that_ended_waiting_continues_after_the_approval() -> None:
    world = begun()
    refuse(world)
    world.run()
    world.send(Answered("budget.T1", "100k"))
    assert world.state.tasks[T1].task.budget == TaskBudget(tokens=140_000)

    world.finished = None
    again = world.send(Continued())

    assert any(isinstance(effect, Work) and effect.task_id == T1 for effect in again)
    assert world.run().result is Result.GREEN


def test_while_the_run_pauses_or_ends_an_approval_starts_nobody() -> None:
    for request in (PauseRequested(), StopRequested("Ctrl-C")):
        world = begun()
        refuse(world)
        world.send(request)
        assert not any(isinstance(effect, Work) for effect in world.send(Answered("budget.T1", "")))
        finish = world.send(AttemptSucceeded(T2, 1, world.commit(), "done"))
        while world.finished is None:
            world.run()
        assert world.finished.result in {Result.WAITING, Result.INTERRUPTED}, finish
        world.finished = None
        world.send(Continued())
        assert world.run().result is Result.GREEN


def test_declining_fails_the_task_and_keeps_its_work() -> None:
    world = begun()
    refuse(world)

    world.send(Answered("budget.T1", "", approved=False))

    known = world.state.tasks[T1]
    assert (known.phase, known.restore_attempt) == (TaskPhase.FAILED, 1)
    assert "no more was approved" in known.reason
    assert world.state.shelved == {}
    assert world.run().result is Result.NOT_GREEN


def test_a_task_may_fail_when_its_budget_is_used_up() -> None:
    world = begun("fail")
    refuse(world)
    assert world.state.tasks[T1].phase is TaskPhase.FAILED
    assert world.state.tasks[T1].restore_attempt == 1
    assert world.run().result is Result.NOT_GREEN


def test_a_task_may_get_as_much_again_by_itself() -> None:
    world = begun("extend")
    effects = refuse(world)
    assert any(isinstance(effect, Work) and effect.task_id == T1 for effect in effects)
    assert world.state.tasks[T1].task.budget == TaskBudget(tokens=80_000)
    assert world.run().result is Result.GREEN


def test_where_no_budget_would_help_nobody_is_asked() -> None:
    world = begun()
    refuse(world, replace(REFUSED, needed=0.0))
    assert world.state.holds == {}


def test_a_run_of_an_older_version_ends_as_it_did() -> None:
    world = begun(None)
    refuse(world)
    assert world.state.holds == {}
    assert world.run().result is Result.LIMIT


def test_an_edited_budget_is_taken_without_beginning_the_task_anew() -> None:
    world = begun()
    refuse(world)
    world.run()
    tasks = (Task(T1, "One", paths=("a.py",), budget=TaskBudget(usd=2.0)), Task(T2, "Two", paths=("b.py",)))
    edit = compare(Plan("goal", tasks=tasks), world.state, marked=())
    assert edit.restarted == ()

    world.send(PlanEdited(Plan("goal", tasks=tasks), edit.restarted))

    assert world.state.tasks[T1].task.budget == TaskBudget(usd=2.0)
    assert world.state.holds == {}
    world.finished = None
    world.send(Continued())
    assert world.run().result is Result.GREEN
    assert world.state.tasks[T1].attempt == 1


def test_a_changed_task_that_waits_for_budget_begins_anew() -> None:
    world = begun()
    refuse(world)
    world.run()
    tasks = (Task(T1, "One, another way", paths=("a.py",)), Task(T2, "Two", paths=("b.py",)))
    edit = compare(Plan("goal", tasks=tasks), world.state, marked=())
    assert edit.restarted == (T1,)

    world.send(PlanEdited(Plan("goal", tasks=tasks), edit.restarted))

    assert world.state.shelved == {}
    world.finished = None
    world.send(Continued())
    assert world.run().result is Result.GREEN
    assert world.state.tasks[T1].attempt == 2


@pytest.mark.parametrize(
    ("text", "choice", "answer"),
    [
        ("", Choice.APPROVE, Answered("budget.T1", "")),
        ("yes", Choice.NONE, Answered("budget.T1", "")),
        ("100k", Choice.NONE, Answered("budget.T1", "100k")),
        ("no", Choice.NONE, Answered("budget.T1", "", approved=False)),
        ("", Choice.DECLINE, Answered("budget.T1", "", approved=False)),
    ],
)
def test_an_answer_about_a_budget_is_yes_no_or_an_amount(text: str, choice: Choice, answer: Answered) -> None:
    world = begun()
    refuse(world)
    assert read_reply(world.state, "budget.T1", text, choice) == answer


@pytest.mark.parametrize("text", ["", "lots", "2usd", "-5k", "0k", "5eur"])
def test_an_amount_that_does_not_help_is_refused(text: str) -> None:
    world = begun()
    refuse(world)
    with pytest.raises(UsageError, match="budget.T1") as raised:
        read_reply(world.state, "budget.T1", text, Choice.NONE)
    assert "allowed: 5usd" in str(raised.value)


def test_more_is_never_less_than_the_next_call_needs() -> None:
    needs = replace(REFUSED, needed=123_456.0)
    assert topped_up(None, needs) == TaskBudget(tokens=124_000)
    assert topped_up(TaskBudget(share_percent=4.0), REFUSED, read_amount("1%")) == TaskBudget(4.0, tokens=50_000)
    in_usd = BudgetScope("task", "T1", Unit.USD, 0.99, 1.2, 1.0)
    assert topped_up(TaskBudget(share_percent=10.0), in_usd) == TaskBudget(10.0, usd=2.0)


def test_the_ledger_keeps_to_a_tasks_budget_and_to_what_is_added() -> None:
    ledger = Ledger(LIMITS)
    key = CallKey(AgentKey(RunId("r"), "implementer", Purpose.IMPLEMENT, "T1", 1), 1, Purpose.IMPLEMENT)

    def ask() -> object:
        return ledger.reserve(key, "m", input_tokens=5_000, output_tokens=2_000, price=None, hand_over=False)

    ledger.limit_task(T1, TaskBudget(tokens=8_000))
    first = ledger.reserve(key, "gpt-5.4", input_tokens=5_000, output_tokens=2_000, price=None)
    # without a price the run's limit in dollars refuses: nothing is spent beside a limit that cannot be kept
    assert isinstance(first, Exhausted)
    ledger = Ledger(BudgetLimits(run_tokens=1_000_000))
    ledger.limit_task(T1, read_task_budget("8k"))
    held = ask()
    assert isinstance(held, Reservation)
    ledger.settle(held, None, None)
    refused = ask()
    assert isinstance(refused, Exhausted)
    assert (refused.budget_scope.scope, refused.budget_scope.limit) == ("task", 8_000)
    ledger.limit_task(T1, topped_up(TaskBudget(tokens=8_000), refused.budget_scope))
    assert isinstance(ask(), Reservation)


def test_no_finish_is_missed_when_all_that_is_left_is_asked_about() -> None:
    world = begun()
    refuse(world)
    effects = world.send(AttemptSucceeded(T2, 1, world.commit(), "done"))
    finished = world.run()
    assert isinstance(finished, Finish)
    assert world.state.tasks[T2].phase is TaskPhase.MERGED, effects
