"""The rules of the scheduler, one by one, and a property over all of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codexteam.core.budget_amounts import Unit
from codexteam.core.budget_scope import BudgetScope, resume_command
from codexteam.core.effects import (
    AdvanceBranch,
    CheckCandidate,
    Finish,
    Integrate,
    Land,
    MakePlan,
    Replan,
    Result,
    RunGate,
    StackCandidate,
    Work,
)
from codexteam.core.events import (
    DECISIONS,
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    BudgetRefused,
    BudgetSpent,
    CandidateStacked,
    Clarified,
    Continued,
    GateFinished,
    Integrated,
    IntegrationConflicted,
    MergeRefused,
    PlanEdited,
    Planned,
    PlanningFailed,
    RunPrepared,
    RunStarted,
    Scouted,
    StopRequested,
    Verdict,
)
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import CommitId, FindingId, GateName, TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task, TaskRisk, TaskStatus
from codexteam.core.state import FindingStatus, Rules, RunPhase, TaskPhase, needed_budgets
from codexteam.core.step import step
from codexteam.errors import InvalidTransitionError, PlanCycleError
from tests.examples import examples
from tests.unit.core.run_world import World, accepted_by, tasks

#: The effects of the merge train, and of how older versions merged.
TRAIN = (StackCandidate, CheckCandidate, AdvanceBranch, Integrate)

ONE_GATE = Rules(gates=(GateName.CI,), scout=False, document=False, release=False)


def approve(item: str) -> Answered:
    return Answered(item, "yes", approved=True)


def started(world: World) -> World:
    """Bring a world to the point where its first attempts are in flight."""
    world.send(RunStarted())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    return world


def working(world: World) -> set[str]:
    return {effect.task_id for effect in world.state.in_flight.values() if isinstance(effect, Work)}


def finish_work(world: World, name: str) -> None:
    """Let a task's attempt succeed and be merged."""
    effect = next(e for e in world.state.in_flight.values() if isinstance(e, Work) and e.task_id == name)
    world.send(AttemptSucceeded(effect.task_id, effect.attempt, world.commit(), "done"))
    merge_all(world)


def merge_all(world: World) -> None:
    """Let everything in the train be merged."""
    while train := [e for e in world.state.in_flight.values() if isinstance(e, TRAIN)]:
        world.send(world.answer(train[0]))


def test_a_plan_of_three_tasks_ends_green_and_landed() -> None:
    world = World(tasks("T1", "T2:T1", "T3"))

    finish = world.run()

    assert finish.result is Result.GREEN
    assert world.state.landed == world.state.tip
    assert {known.phase for known in world.state.tasks.values()} == {TaskPhase.MERGED}


def test_a_task_starts_when_its_dependencies_are_merged() -> None:
    world = started(World(tasks("T1", "T2:T1"), ONE_GATE))
    assert working(world) == {"T1"}

    finish_work(world, "T1")

    assert working(world) == {"T2"}


def test_tasks_whose_paths_overlap_do_not_run_at_once() -> None:
    world = started(World(tasks("T1@src/a.py", "T2@src/*.py", "T3@docs/"), ONE_GATE))

    assert working(world) == {"T1", "T3"}


def test_no_more_agents_than_threads() -> None:
    world = started(World(tasks(*(f"T{n}" for n in range(1, 10))), Rules(max_threads=3, scout=False)))

    assert len(working(world)) == 3


def test_the_longest_chain_goes_first() -> None:
    rules = Rules(max_threads=1, scout=False)
    world = started(World(tasks("T1", "T2", "T3:T2", "T4:T3"), rules))

    assert working(world) == {"T2"}


def test_a_failed_attempt_is_tried_again_with_its_evidence() -> None:
    world = started(World(tasks("T1"), ONE_GATE))

    world.send(AttemptFailed(TaskId("T1"), 1, "tests fail", "E assert 1 == 2"))

    again = world.state.in_flight["work.T1.2"]
    assert isinstance(again, Work)
    assert "E assert 1 == 2" in again.evidence
    assert again.restore_attempt == 1


def test_a_task_that_fails_too_often_blocks_its_dependents() -> None:
    world = started(World(tasks("T1", "T2:T1", "T3:T2", "T4"), ONE_GATE))

    for attempt in (1, 2, 3):
        world.send(AttemptFailed(TaskId("T1"), attempt, "no"))
    finish = world.run()

    phases = {task_id: known.phase.value for task_id, known in world.state.tasks.items()}
    assert phases == {"T1": "failed", "T2": "blocked", "T3": "blocked", "T4": "merged"}
    assert world.state.tasks[TaskId("T3")].reason == "waits for T2 blocked"
    assert finish.result is Result.NOT_GREEN
    assert finish.exit_code == 3
    assert world.state.landed == world.state.tip, "what was merged is the user's, green or not"


def test_a_conflict_goes_back_to_its_task_on_the_new_base() -> None:
    world = started(World(tasks("T1", "T2"), ONE_GATE))
    finish_work(world, "T1")
    tip = world.state.tip
    world.send(AttemptSucceeded(TaskId("T2"), 1, world.commit(), "done"))

    world.send(IntegrationConflicted(TaskId("T2"), 1, ("a.py",), "CONFLICT (content)", 1))

    again = world.state.in_flight["work.T2.2"]
    assert isinstance(again, Work)
    assert (again.kind.value, again.base) == ("resolve", tip)
    assert "a.py" in again.evidence
    assert world.state.tasks[TaskId("T2")].failures == 0, "a conflict is nobody's failure"


def test_work_failing_acceptance_on_the_merged_tree_moves_no_branch() -> None:
    world = started(World(accepted_by("pytest", "T1"), ONE_GATE))
    before = world.state.tip
    world.send(AttemptSucceeded(TaskId("T1"), 1, world.commit(), "I am done, believe me"))
    world.send(CandidateStacked(TaskId("T1"), 1, 1, world.commit()))

    world.send(AcceptanceFailed(TaskId("T1"), 1, "1 failed", 1))

    assert world.state.tip == before
    assert "work.T1.2" in world.state.in_flight


def test_a_refused_merge_sends_its_attempt_back_with_the_hooks_words() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    before = world.state.tip
    for attempt in range(1, world.state.rules.max_attempts + 1):
        world.send(AttemptSucceeded(TaskId("T1"), attempt, world.commit(), "done"))
        stacked = world.state.in_flight[f"stack.T1.{attempt}.1"]
        world.send(world.answer(stacked))
        world.send(MergeRefused(TaskId("T1"), attempt, f"no licence header ({attempt})", 1))
    assert world.state.tip == before
    known = world.state.tasks[TaskId("T1")]
    assert known.phase is TaskPhase.FAILED
    assert "no licence header (1)" in known.evidence
    assert "a PreMerge hook refused its merge" in known.reason


def test_merges_of_a_run_of_an_older_version_are_serial() -> None:
    world = started(World(tasks("T1", "T2"), replace(ONE_GATE, decisions=4)))
    for name in ("T1", "T2"):
        world.send(AttemptSucceeded(TaskId(name), 1, world.commit(), "done"))

    assert [key for key in world.state.in_flight if key.startswith("integrate")] == ["integrate.T1.1"]
    assert world.state.merge_queue == ("T2",)
    world.send(Integrated(TaskId("T1"), 1, world.commit()))
    assert "integrate.T2.1" in world.state.in_flight
    assert world.run().result is Result.GREEN


def test_a_question_for_the_user_holds_its_task_alone() -> None:
    world = started(World(tasks("T1", "T2"), ONE_GATE))
    world.send(AttemptAsked(TaskId("T1"), 1, "which colour?"))
    world.send(Clarified(TaskId("T1"), 1, "", ask_user=True))

    finish = world.run()

    assert finish.result is Result.WAITING
    assert finish.exit_code == 5
    assert world.state.tasks[TaskId("T2")].phase is TaskPhase.MERGED
    world.send(Answered("question.T1.1", "blue"))
    world.finished = None
    world.send(Continued())
    again = world.state.in_flight["work.T1.2"]
    assert isinstance(again, Work)
    assert "blue" in again.evidence
    assert world.run().result is Result.GREEN


def must_fix(title: str = "off by one", gate: GateName = GateName.CI, category: Category = Category.CI) -> Finding:
    return Finding(title, "detail", Severity.MUST_FIX, category, file="src/a.py", gate=gate)


def judged(world: World, *findings: Finding) -> None:
    """Let the CI gate of the running round answer."""
    effect = next(e for e in world.state.in_flight.values() if isinstance(e, RunGate))
    verdict = Verdict.BLOCK if findings else Verdict.SHIP
    world.send(GateFinished(effect.round, effect.gate, effect.commit, verdict, findings))


def test_a_finding_becomes_a_task_also_when_the_orchestrator_leaves_it_out() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    judged(world, must_fix())

    replan = next(e for e in world.state.in_flight.values() if isinstance(e, Replan))
    world.luck = lambda question, choices: choices - 1 if question == "replan" else 0
    world.send(world.answer(replan))

    assert [finding.id for finding in replan.findings] == ["F1"]
    made = world.state.tasks[TaskId("T2")].task
    assert (made.title, made.fixes, made.paths) == ("off by one", (FindingId("F1"),), ("src/a.py",))
    assert world.run().result is Result.GREEN
    assert world.state.findings[FindingId("F1")].status is FindingStatus.FIXED


def test_should_fix_goes_to_later_and_does_not_block() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    nice = Finding("rename x", "", Severity.SHOULD_FIX, Category.STYLE, file="a.py")
    effect = next(e for e in world.state.in_flight.values() if isinstance(e, RunGate))

    world.send(GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, (nice,)))

    assert world.state.later == ("rename x (a.py)",)
    assert world.run().result is Result.GREEN


def test_a_gate_that_blocks_and_names_nothing_is_a_finding() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    effect = next(e for e in world.state.in_flight.values() if isinstance(e, RunGate))

    world.send(GateFinished(effect.round, effect.gate, effect.commit, Verdict.BLOCK, note="looks wrong"))

    assert [known.finding.detail for known in world.state.findings.values()] == ["looks wrong"]


def test_a_gate_without_an_answer_has_not_passed() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    for _ in range(2):
        effect = next(e for e in world.state.in_flight.values() if isinstance(e, RunGate))
        world.send(GateFinished(effect.round, effect.gate, effect.commit, Verdict.UNANSWERED))
    finish = world.run()

    assert finish.result is Result.NOT_GREEN
    assert "ci_runner" in finish.reason


def test_a_silent_gate_is_asked_again_about_all_it_has_not_judged() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    first = next(e for e in world.state.in_flight.values() if isinstance(e, RunGate))
    world.send(GateFinished(first.round, first.gate, first.commit, Verdict.UNANSWERED))

    again = next(e for e in world.state.in_flight.values() if isinstance(e, RunGate))

    assert (again.round, again.commit) == (2, first.commit)
    assert again.since == first.since == world.state.base


def test_qa_that_gave_no_verdict_is_not_spared_for_its_own_tests() -> None:
    rules = Rules(gates=(GateName.CI, GateName.QA), scout=False, document=False, release=False)
    world = started(World(tasks("T1"), rules))
    finish_work(world, "T1")
    effects = [e for e in world.state.in_flight.values() if isinstance(e, RunGate)]
    ci, qa = sorted(effects, key=lambda effect: effect.gate.value)
    world.send(GateFinished(ci.round, ci.gate, ci.commit, Verdict.SHIP))
    world.send(GateFinished(qa.round, qa.gate, qa.commit, Verdict.UNANSWERED, tests_commit=world.commit()))
    while not (again := [e for e in world.state.in_flight.values() if isinstance(e, RunGate)]):
        world.send(world.answer(next(iter(world.state.in_flight.values()))))

    spared = {effect.gate: (effect.only_tests_since, effect.since) for effect in again}
    assert spared[GateName.CI] == (True, ci.commit)
    assert spared[GateName.QA] == (False, world.state.base)


def test_a_block_is_not_lifted_by_a_round_in_which_its_gate_is_not_asked() -> None:
    rules = Rules(gates=(GateName.CI, GateName.REVIEW), scout=False, document=False, release=False)
    world = started(World(tasks("T1"), rules))
    finish_work(world, "T1")
    ci, review = (world.state.in_flight[f"gate.1.{gate.value}"] for gate in rules.gates)
    assert isinstance(ci, RunGate)
    assert isinstance(review, RunGate)
    world.send(GateFinished(1, ci.gate, ci.commit, Verdict.BLOCK, (must_fix(),)))
    world.send(GateFinished(1, review.gate, review.commit, Verdict.UNANSWERED))
    # what was to mend it finds nothing to change, so that the commit stays
    while "gate.2.reviewer" not in world.state.in_flight:
        effect = next(iter(world.state.in_flight.values()))
        nothing = isinstance(effect, Work) and AttemptSucceeded(effect.task_id, effect.attempt, None, "nothing to do")
        world.send(nothing or world.answer(effect))
    assert [key for key in world.state.in_flight if key.startswith("gate.")] == ["gate.2.reviewer"]

    world.send(GateFinished(2, GateName.REVIEW, review.commit, Verdict.SHIP))

    assert [known.status.value for known in world.state.findings.values()] == ["open"]
    assert world.run().result is Result.GREEN, "a fix that changes something, judged by both, lifts it"
    assert world.state.round == 3


def test_the_same_finding_in_three_rounds_asks_a_person_with_what_is_open() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    for _ in range(3):
        judged(world, must_fix())
        while any(
            isinstance(effect, Replan | Work | StackCandidate | AdvanceBranch)
            for effect in world.state.in_flight.values()
        ):
            world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))

    assert list(world.state.holds) == ["rounds.3"]
    assert "F1 (off by one) was found in 3 rounds" in world.state.holds["rounds.3"].question
    assert world.finished is not None
    assert world.finished.exit_code == 5


def test_a_finding_that_its_gate_thinks_less_of_blocks_no_more() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    judged(world, must_fix())
    while any(
        isinstance(effect, Replan | Work | StackCandidate | AdvanceBranch) for effect in world.state.in_flight.values()
    ):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    effect = next(e for e in world.state.in_flight.values() if isinstance(e, RunGate))
    nit = replace(must_fix(), severity=Severity.NIT)

    world.send(GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, (nit,)))

    assert [known.status for known in world.state.findings.values()] == [FindingStatus.LATER]
    assert world.run().result is Result.GREEN


def test_waiving_all_does_not_waive_security() -> None:
    rules = Rules(gates=(GateName.CI, GateName.SECURITY), max_rounds=1, scout=False, document=False, release=False)
    world = started(World(tasks("T1"), rules))
    finish_work(world, "T1")
    for gate, category in ((GateName.CI, Category.CI), (GateName.SECURITY, Category.SECURITY)):
        effect = world.state.in_flight[f"gate.1.{gate.value}"]
        assert isinstance(effect, RunGate)
        world.send(GateFinished(1, gate, effect.commit, Verdict.BLOCK, (must_fix("bad", gate, category),)))

    world.send(Answered("rounds.1", "waive"))

    assert [known.status.value for known in world.state.findings.values()] == ["waived", "open"]


def test_qa_tests_are_merged_and_the_gates_judge_the_commit_with_them() -> None:
    rules = Rules(gates=(GateName.CI, GateName.QA), scout=False, document=False, release=False)
    asked = iter([3])
    world = World(tasks("T1"), rules, luck=lambda q, n: next(asked, 0) if q.startswith("gate qa") else 0)

    finish = world.run()

    rounds = [(e.round, e.gate.value, e.only_tests_since) for e in world.effects if isinstance(e, RunGate)]
    assert finish.result is Result.GREEN
    assert rounds == [
        (1, "ci_runner", False),
        (1, "qa_test_author", False),
        (2, "ci_runner", True),
        (2, "qa_test_author", True),
    ]


def test_a_full_batch_is_judged_while_others_work() -> None:
    rules = Rules(max_threads=4, batch_size=1, gates=(GateName.CI,), scout=False)
    world = started(World(tasks("T1", "T2", "T3:T1"), rules))

    finish_work(world, "T1")

    assert any(isinstance(effect, RunGate) for effect in world.state.in_flight.values())
    assert working(world) == {"T2"}, "T3 builds on what is being judged"
    judged(world)
    assert working(world) == {"T2", "T3"}


def test_budget_spent_lets_attempts_end_and_exits_4() -> None:
    world = started(World(tasks("T1", "T2:T1"), ONE_GATE))

    world.send(BudgetSpent("5.00 of 5.00 usd are spent"))
    world.send(AttemptFailed(TaskId("T1"), 1, "no budget"))

    assert world.finished is not None
    assert (world.finished.result, world.finished.exit_code) == (Result.LIMIT, 4)
    assert world.state.tasks[TaskId("T1")].failures == 0, "the run ended it, it did not fail"
    world.finished = None
    world.send(Continued())
    assert world.run().result is Result.GREEN


def refuse(world: World, key: str, scope: str = "run", needed: float = 76_543) -> None:
    world.send(BudgetRefused(key, f"too little for {key}", BudgetScope(scope, "", Unit.TOKENS, 60_000, needed)))


def test_a_refused_budget_is_no_attempt_and_ends_only_an_idle_run() -> None:
    world = started(World(tasks("T1", "T2"), ONE_GATE))
    first = world.state.in_flight["work.T1.1"]

    refuse(world, "work.T1.1")
    assert working(world) == {"T2"}, "T2 is at work"
    finish_work(world, "T2")

    assert not any(isinstance(effect, RunGate) for effect in world.effects), "no verdict would change how it ends"
    assert [type(effect) for effect in world.state.in_flight.values()] == [Land], "what was merged is the user's"
    finish = world.run()
    assert (finish.result, finish.exit_code) == (Result.LIMIT, 4)
    words = "too little for work.T1.1; the run needs a budget of at least 120k tokens"
    assert finish.reason == words
    assert resume_command(needed_budgets(world.state)) == "codexteam resume --budget 120k"
    world.finished = None
    again = world.send(Continued())
    assert [effect for effect in again if isinstance(effect, Work)] == [first]
    assert (world.state.tasks[TaskId("T1")].attempt, world.state.tasks[TaskId("T1")].failures) == (1, 0)
    assert world.run().result is Result.GREEN


def test_after_a_refusal_by_the_runs_limit_nothing_new_starts() -> None:
    rules = Rules(max_threads=2, gates=(GateName.CI,), scout=False, document=False, release=False)
    world = started(World(tasks("T1", "T2", "T3"), rules))
    assert working(world) == {"T1", "T2"}

    refuse(world, "work.T2.1")
    world.send(AttemptFailed(TaskId("T1"), 1, "tests fail"))

    assert world.state.in_flight.keys() == {"work.T1.2"}, "T1 is tried again, T3 waits behind T2"


@pytest.mark.parametrize("scope", ["task", "role"])
def test_the_limit_of_a_task_or_a_role_holds_up_nobody_else(scope: str) -> None:
    t1, t2, t3 = tasks("T1", "T2", "T3")
    world = started(World((t1, t2, replace(t3, role="documentation")), replace(ONE_GATE, max_threads=1)))
    assert working(world) == {"T1"}

    refuse(world, "work.T1.1", scope)

    assert working(world) == {"T2" if scope == "task" else "T3"}


def test_what_no_larger_budget_helps_names_none() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    refuse(world, "work.T1.1", needed=0)
    assert world.finished is not None
    assert world.finished.reason == "too little for work.T1.1"
    assert needed_budgets(world.state) == ()


@pytest.mark.parametrize(
    ("budget_scope", "option"),
    [
        (BudgetScope("run", "", Unit.TOKENS, 0, 5_001), "--budget 6k"),
        (BudgetScope("run", "", Unit.TOKENS, 0, 123_456), "--budget 130k"),
        (BudgetScope("run", "", Unit.USD, 0, 0.531), "--budget 0.54usd"),
        (BudgetScope("run", "", Unit.CREDITS, 0, 12.0), "--budget 12credits"),
        (BudgetScope("role", "reviewer", Unit.TOKENS, 0, 40_000), "-c codexteam.budget.role_tokens.reviewer=40000"),
        (BudgetScope("task", "T3", Unit.TOKENS, 0, 40_000), "-c codexteam.budget.task_tokens=40000"),
        (BudgetScope("setup", "", Unit.TOKENS, 0, 40_000), "-c codexteam.budget.setup_tokens=40000"),
    ],
)
def test_the_next_command_has_the_limit_and_unit_that_were_too_small(budget_scope: BudgetScope, option: str) -> None:
    assert resume_command((budget_scope,)) == f"codexteam resume {option}"


def test_a_stopped_run_lets_attempts_end_and_goes_on_where_it_was() -> None:
    world = started(World(tasks("T1", "T2"), ONE_GATE))
    world.send(StopRequested("Ctrl-C"))
    still = world.send(AttemptSucceeded(TaskId("T1"), 1, world.commit(), "done"))
    assert still == (), "T2 is at work: no merge, no end"

    finish = world.send(AttemptSucceeded(TaskId("T2"), 1, world.commit(), "done"))

    assert [effect.exit_code for effect in finish if isinstance(effect, Finish)] == [130]
    world.finished = None
    world.send(Continued())
    assert world.run().result is Result.GREEN
    assert [known.attempt for known in world.state.tasks.values()] == [1, 1]


def test_continuing_hands_out_again_what_was_in_flight() -> None:
    world = started(World(tasks("T1", "T2"), ONE_GATE))

    effects = world.send(Continued())

    assert {effect.key for effect in effects} >= {"work.T1.1", "work.T2.1"}


def test_a_plan_that_waits_for_approval_starts_nothing() -> None:
    world = World(tasks("T1"), Rules(approve=("plan",), scout=False, gates=(GateName.CI,)))

    finish = world.run()

    assert (finish.result, list(world.state.holds)) == (Result.WAITING, ["plan"])
    assert world.go_on(person=approve).result is Result.GREEN


def declined(world: World) -> None:
    world.run()
    world.send(Answered("plan", "", approved=False))
    assert (world.state.result, world.state.result_reason) == (Result.NOT_GREEN, "the plan was declined")


def test_a_declined_plan_is_not_made_anew_but_asked_about_again() -> None:
    world = World(tasks("T1", "T2"), Rules(approve=("plan",)))
    declined(world)

    world.finished = None
    finish = (world.send(Continued()), world.run())[1]

    assert finish.result is Result.WAITING
    assert list(world.state.holds) == ["plan"]
    assert "was declined" in world.state.holds["plan"].question
    assert not world.state.in_flight
    assert sum(isinstance(effect, MakePlan) for effect in world.effects) == 1
    assert world.go_on(person=approve).result is Result.GREEN


def test_an_edit_of_a_declined_plan_is_asked_about_as_a_new_one() -> None:
    world = World(tasks("T1", "T2"), Rules(approve=("plan",)))
    declined(world)

    world.send(PlanEdited(Plan("goal", "", tasks("T1"))))

    assert world.state.holds["plan"].question == "Work on this plan of 1 task, as you edited it?"
    assert world.go_on(person=approve).result is Result.GREEN
    assert world.state.tasks[TaskId("T2")].phase is TaskPhase.DROPPED


def test_declined_questions_let_planning_begin_anew() -> None:
    world = World(tasks("T1"))
    world.send(RunStarted())
    world.send(RunPrepared(world.commit()))
    world.send(Scouted())
    world.send(Planned(Plan("goal", "", (), questions=("which?",))))
    world.send(Answered("plan-questions", "", approved=False))

    effects = world.send(Continued())

    assert [effect.attempt for effect in effects if isinstance(effect, MakePlan)] == [2]


def test_a_run_without_a_plan_that_goes_on_tries_anew_and_not_what_failed() -> None:
    world = World(tasks("T1"), luck=lambda what, n: 3 if what == "plan" else 0)
    assert world.run().result is Result.NOT_GREEN
    tried = world.state.plan_attempts

    effects = world.send(Continued())

    assert [effect.attempt for effect in effects if isinstance(effect, MakePlan)] == [tried + 1]


def corrected() -> World:
    """Bring a world to where a plan is made anew, as its user wants another one."""
    world = World(tasks("T1"), Rules(approve=("plan",), scout=False, gates=(GateName.CI,)))
    world.run()
    world.send(Answered("plan", "use sqlite", approved=False))
    world.finished = None
    world.send(Continued())
    return world


def test_words_to_a_plan_reach_the_same_planner_after_a_spent_budget() -> None:
    world = corrected()
    asked = world.state.in_flight

    world.send(BudgetSpent("5.00 of 5.00 usd are spent"))
    world.send(PlanningFailed("5.00 of 5.00 usd are spent"))
    assert world.run().result is Result.LIMIT
    world.finished = None
    world.send(Continued())

    assert world.state.in_flight == asked == {"plan.2": MakePlan(2, "The user says: use sqlite")}


def planned(world: World, *questions: str) -> str:
    """Let the planner plan, once more; give what it was told."""
    [effect] = world.state.in_flight.values()
    assert isinstance(effect, MakePlan)
    world.send(Planned(Plan("goal", tasks=() if questions else tasks("T1"), questions=questions)))
    return effect.feedback


def correct(world: World, item: str, text: str) -> None:
    world.finished = None
    world.send(Answered(item, text, approved=item != "plan"))
    if not world.state.in_flight:
        world.send(Continued())


def test_a_planner_is_told_all_that_the_user_said_so_far_in_order() -> None:
    world = World((), Rules(approve=("plan",), scout=False))
    world.send(RunStarted())
    world.send(world.answer(world.state.in_flight["prepare"]))
    planned(world, "Which database?")
    correct(world, "plan-questions", "sqlite")
    told = [planned(world)]
    for text in ("one table only", "and no ORM"):
        correct(world, "plan", text)
        told.append(planned(world))

    answer = "The user says: sqlite\n(to your questions: Which database?)"
    assert told == [
        answer,
        f"{answer}\n\nThe user says: one table only",
        f"{answer}\n\nThe user says: one table only\n\nThe user says: and no ORM",
    ]

    world.send(Answered("plan", "", approved=False))
    world.finished = None
    world.send(Continued())
    correct(world, "plan", "after all")
    assert planned(world) == f"{told[-1]}\n\nThe user says: after all", "a plan that is declined takes nothing back"


def test_what_a_planner_is_told_is_bounded_and_the_newest_is_in_it() -> None:
    world = World((), Rules(approve=("plan",), scout=False))
    world.send(RunStarted())
    world.send(world.answer(world.state.in_flight["prepare"]))
    told = planned(world)
    for number in range(30):
        correct(world, "plan", f"{number} " + "x" * 2_000)
        told = planned(world)
    correct(world, "plan", "y" * 100_000)
    longest = planned(world)

    assert len(told) < 25_000
    assert "The user says: 29 x" in told
    assert "The user says: 20 x" in told
    assert "The user says: 3 x" not in told
    assert longest.endswith("[76015 characters left out]")
    assert len(longest) < 25_000


def test_a_correction_that_an_older_version_kept_alone_comes_first() -> None:
    world = World((), Rules(approve=("plan",), scout=False))
    world.send(RunStarted())
    world.send(world.answer(world.state.in_flight["prepare"]))
    planned(world)
    correct(world, "plan", "use sqlite")
    planned(world)
    world.state = replace(world.state, plan_corrections=())

    correct(world, "plan", "one table")

    assert planned(world) == "The user says: use sqlite\n\nThe user says: one table"


def test_what_a_user_says_to_a_plan_outlives_one_that_does_not_hold() -> None:
    world = corrected()

    world.send(PlanningFailed("plan: T1 -> T2 -> T1"))
    again = PlanningFailed("plan: T1 -> T2 -> T1")
    for _ in range(2):
        world.finished = None
        world.send(Continued())
        [effect] = world.state.in_flight.values()
        assert isinstance(effect, MakePlan)
        assert effect.feedback == "The user says: use sqlite\n\nplan: T1 -> T2 -> T1"
        world.send(again)


def test_planning_that_ends_because_the_run_does_uses_up_no_attempt() -> None:
    world = World(tasks("T1"), ONE_GATE)
    world.send(RunStarted())
    world.send(RunPrepared(world.commit()))
    world.send(PlanningFailed("plan: no tasks"))

    for _ in range(3):
        world.send(BudgetSpent("spent"))
        world.send(PlanningFailed("spent"))
        assert world.state.result is Result.LIMIT
        world.send(Continued())
        assert list(world.state.in_flight.values()) == [MakePlan(2, "plan: no tasks")]


def test_a_merge_that_waits_for_approval_is_not_made() -> None:
    world = World(tasks("T1"), Rules(approve=("merge",), scout=False, gates=(GateName.CI,)))
    assert world.run().result is Result.WAITING
    assert not any(isinstance(effect, TRAIN) for effect in world.effects)

    assert world.go_on(person=approve).result is Result.GREEN


def test_gates_do_not_judge_an_untouched_base_while_merges_wait() -> None:
    rules = Rules(approve=("merge",), scout=False, gates=(GateName.CI,), document=False, release=False)
    world = World(tasks("T1", "T2"), rules)
    assert world.run().result is Result.WAITING
    assert sorted(world.state.holds) == ["merge.T1.1", "merge.T2.1"]
    assert not any(isinstance(effect, RunGate) for effect in world.effects)

    assert world.go_on(person=approve).result is Result.GREEN
    assert [effect.round for effect in world.effects if isinstance(effect, RunGate)] == [1]


def fix_nothing(world: World, finding: Finding) -> None:
    """Play a run to its end in which T1 is blocked by a finding, and its fix changes nothing."""
    finish_work(world, "T1")
    judged(world, finding)
    while world.finished is None:
        effect = world.state.in_flight[min(world.state.in_flight)]
        nothing = isinstance(effect, Work) and AttemptSucceeded(effect.task_id, effect.attempt, None, "it is right so")
        world.send(nothing or world.answer(effect))


#: The reason of a task that fixed nothing, in that of its run.
WHY = " (T900: it changed nothing, so F1 is still open)"


@pytest.mark.parametrize("category", [Category.CI, Category.SECURITY])
def test_a_fix_without_changes_is_not_merged_and_closes_nothing(category: Category) -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    fix_nothing(world, must_fix(category=category))

    assert world.finished is not None
    assert (world.finished.result, world.finished.reason) == (
        Result.NOT_GREEN,
        f"not done: T900{WHY}; open findings: F1",
    )
    fix = world.state.tasks[TaskId("T900")]
    assert (fix.phase, fix.reason) == (TaskPhase.FAILED, "it changed nothing, so F1 is still open")
    assert "it is right so" in fix.evidence
    assert world.state.findings[FindingId("F1")].status is FindingStatus.OPEN


def test_a_waiver_after_the_end_makes_the_fix_unnecessary() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    fix_nothing(world, must_fix())

    world.send(Answered("findings", "waive F1"))

    assert world.state.tasks[TaskId("T900")].phase is TaskPhase.DROPPED
    world.finished = None
    world.send(Continued())
    finish = world.run()
    assert finish.result is Result.GREEN
    assert "1 finding waived by you: F1" in finish.reason


def test_a_finding_may_be_waived_while_its_fix_is_at_work() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    judged(world, must_fix())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))

    world.send(Answered("findings", "waive F1"))

    work = next(effect for effect in world.state.in_flight.values() if isinstance(effect, Work))
    world.send(AttemptSucceeded(work.task_id, work.attempt, None, "nothing"))
    assert world.run().result is Result.GREEN


def test_waiving_all_that_a_question_is_about_settles_the_question() -> None:
    world = started(World(tasks("T1"), replace(ONE_GATE, max_rounds=1)))
    finish_work(world, "T1")
    judged(world, must_fix())
    assert list(world.state.holds) == ["rounds.1"]

    world.send(Answered("findings", "waive F1"))

    assert not world.state.holds
    world.finished = None
    world.send(Continued())
    assert world.run().result is Result.GREEN


def test_events_of_another_decision_version_replay_as_decided() -> None:
    older = replace(ONE_GATE, decisions=1)
    world = started(World(tasks("T1"), older))
    finish_work(world, "T1")
    judged(world, must_fix())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    work = next(effect for effect in world.state.in_flight.values() if isinstance(effect, Work))
    world.send(AttemptSucceeded(work.task_id, work.attempt, None, "nothing"))
    assert world.state.tasks[work.task_id].phase is not TaskPhase.FAILED


def test_an_edited_plan_drops_adds_and_retries_tasks() -> None:
    world = World(tasks("T1", "T2", "T3:T2"), Rules(approve=("plan",), scout=False))
    world.run()
    t1, t2, _ = tasks("T1", "T2", "T3:T2")
    dropped = Task(t2.id, t2.title, status=TaskStatus.DROPPED)

    world.send(PlanEdited(Plan("goal", tasks=(t1, dropped, Task(TaskId("T4"), "new", deps=(t1.id,))))))

    phases = {task_id: known.phase.value for task_id, known in world.state.tasks.items()}
    assert phases == {"T1": "pending", "T2": "dropped", "T3": "dropped", "T4": "pending"}


def test_an_edit_may_add_tasks_that_wait_for_one_that_failed() -> None:
    world = started(World(tasks("T1", "T2"), ONE_GATE))
    world.send(AttemptFailed(TaskId("T1"), 1, "no", final=True))
    failed = Task(TaskId("T1"), "task T1", status=TaskStatus.FAILED)

    world.send(PlanEdited(Plan("goal", tasks=(failed, *tasks("T2", "T3:T1", "T4:T3")))))

    phases = {task_id: known.phase.value for task_id, known in world.state.tasks.items()}
    assert phases == {"T1": "failed", "T2": "working", "T3": "blocked", "T4": "blocked"}


def test_a_task_behind_a_dropped_one_stays_blocked_when_another_retries() -> None:
    world = started(World(tasks("T1", "T4", "T2:T4", "T3:T1,T2"), ONE_GATE))
    world.send(AttemptFailed(TaskId("T1"), 1, "no", final=True))
    failed = Task(TaskId("T1"), "task T1", status=TaskStatus.FAILED)
    world.send(PlanEdited(Plan("goal", tasks=(failed, *tasks("T4", "T3:T1,T2")))))
    assert world.run().reason == "not done: T1, T3 (T1: no)"
    world.finished = None

    world.send(Continued())

    assert world.run().reason == "not done: T3"


def test_an_edit_with_a_cycle_changes_nothing() -> None:
    world = World(tasks("T1", "T2"), Rules(approve=("plan",), scout=False))
    world.run()
    before = world.state

    with pytest.raises(PlanCycleError, match="T1 -> T2 -> T1"):
        step(before, PlanEdited(Plan("goal", tasks=tasks("T1:T2", "T2:T1"))))

    assert world.state is before


def test_an_event_that_nothing_waits_for_is_refused_and_changes_nothing() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    before = world.state

    with pytest.raises(InvalidTransitionError, match="T1: AttemptFailed for attempt 7: its newest attempt is 1"):
        step(world.state, AttemptFailed(TaskId("T1"), 7, "no"))

    assert world.state is before
    with pytest.raises(InvalidTransitionError, match="the run is working already"):
        step(world.state, RunStarted())
    with pytest.raises(InvalidTransitionError, match="RunPrepared answers prepare, but in flight is work"):
        step(world.state, RunPrepared(CommitId("0" * 40)))


def test_a_run_that_is_green_stays_green() -> None:
    world = World(tasks("T1"))
    world.run()
    before = world.state

    effects = world.send(Continued())

    assert [effect.key for effect in effects] == ["finish", "write-plan"]
    assert world.state == before


def test_the_branch_lands_only_after_every_gate_passed_on_it() -> None:
    world = World(tasks("T1"))
    world.run()

    lands = [effect for effect in world.effects if isinstance(effect, Land)]

    assert [land.commit for land in lands] == [world.state.tip]
    assert world.state.phase is RunPhase.FINISHED


@st.composite
def plans(draw: st.DrawFn) -> tuple[Task, ...]:
    count = draw(st.integers(0, 9))
    made = []
    for number in range(1, count + 1):
        deps = draw(st.sets(st.integers(1, number - 1), max_size=3)) if number > 1 else set()
        paths = draw(st.sampled_from([(), ("a.py",), ("src/*",), ("src/a.py", "b.py")]))
        effort = draw(st.integers(1, 5))
        names = tuple(TaskId(f"T{dep}") for dep in sorted(deps))
        commands = draw(st.sampled_from([(), ("pytest",), ("pytest", "ruff"), (f"test -s t{number}.txt",)]))
        acceptance = tuple(Acceptance("it passes", command) for command in commands)
        risk = draw(st.sampled_from(TaskRisk))
        task = Task(TaskId(f"T{number}"), f"task {number}", deps=names, paths=paths, effort=effort, risk=risk)
        made.append(replace(task, acceptance=acceptance))
    return tuple(made)


rules = st.builds(
    Rules,
    max_threads=st.integers(1, 5),
    max_rounds=st.integers(1, 4),
    max_attempts=st.integers(1, 3),
    max_resolves=st.integers(0, 2),
    batch_size=st.integers(1, 4),
    max_tasks=st.sampled_from([60, 4]),
    gates=st.sampled_from([tuple(GateName), (GateName.CI,), (GateName.CI, GateName.QA), ()]),
    approve=st.sampled_from([(), ("plan",), ("merge",), ("plan", "merge")]),
    scout=st.booleans(),
    document=st.booleans(),
    release=st.booleans(),
    on_task_budget=st.sampled_from([None, "ask", "fail", "extend"]),
    best_of=st.sampled_from([0, 2, 3]),
    decisions=st.sampled_from([DECISIONS, DECISIONS, DECISIONS, 4]),
)


@settings(
    max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    plan=plans(),
    rules=rules,
    # what resumes a run is never older than what began it
    later=st.lists(rules.map(lambda each: replace(each, decisions=DECISIONS)), max_size=3),
    seed=st.randoms(use_true_random=False),
    trouble=st.sampled_from([0, 10, 40, 100]),
)
def test_any_plan_luck_order_crashes_and_new_limits_end_within_them(
    plan: tuple[Task, ...], rules: Rules, later: list[Rules], seed: object, trouble: int
) -> None:
    randrange: Callable[[int], int] = seed.randrange  # type: ignore[attr-defined]  # a random.Random
    crashes = iter([randrange(12) == 0 for _ in range(40)])
    changes = iter(later)
    world = World(
        plan,
        rules,
        luck=lambda _, choices: randrange(choices) if randrange(100) < trouble else 0,
        pick=randrange,
        crash=lambda: next(crashes, False),
        new_rules=lambda: next(changes, None),
    )

    finish = world.run()
    sessions = 0
    while finish.result is not Result.GREEN and sessions < 4:
        finish = world.go_on(person=approve)
        sessions += 1

    assert world.refused or world.most_working <= max(limits.max_threads for limits in (rules, *later))
    assert world.state.result is finish.result
    replayed = World(plan, rules)
    for event in world.history:
        replayed.send(event)
    assert replayed.state == world.state, "the same events give the same state"


def test_a_plan_that_is_given_is_scouted_for_and_not_planned() -> None:
    world = World(tasks("T1"))
    world.send(Planned(Plan("goal", tasks=tasks("T7"))))
    world.send(RunStarted())

    world.run()

    assert list(world.state.tasks) == ["T7"]
    kinds = [type(effect).__name__ for effect in world.effects]
    assert "Scout" in kinds
    assert "MakePlan" not in kinds
