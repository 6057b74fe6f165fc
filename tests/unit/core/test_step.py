"""The rules of the scheduler, one by one, and a property over all of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codexteam.core.effects import Finish, Integrate, Land, MakePlan, Replan, Result, RunGate, Work
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    BudgetSpent,
    Clarified,
    Continued,
    GateFinished,
    Integrated,
    IntegrationConflicted,
    PlanEdited,
    Planned,
    PlanningFailed,
    RunPrepared,
    RunStarted,
    Scouted,
    StopRequested,
    Verdict,
)
from codexteam.core.findings import Category, Finding, GateName, Severity
from codexteam.core.ids import CommitId, FindingId, TaskId
from codexteam.core.plan import Plan, Task, TaskStatus
from codexteam.core.state import FindingStatus, Rules, RunPhase, TaskPhase, task_diagram
from codexteam.core.step import step
from codexteam.errors import InvalidTransitionError, PlanCycleError
from tests.unit.core.run_world import World, tasks

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
    merge = next(e for e in world.state.in_flight.values() if isinstance(e, Integrate))
    world.send(Integrated(merge.task_id, merge.attempt, world.commit()))


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


def test_a_task_that_fails_too_often_blocks_what_waits_for_it_and_the_run_is_not_green() -> None:
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

    world.send(IntegrationConflicted(TaskId("T2"), 1, ("a.py",), "CONFLICT (content)"))

    again = world.state.in_flight["work.T2.2"]
    assert isinstance(again, Work)
    assert (again.kind.value, again.base) == ("resolve", tip)
    assert "a.py" in again.evidence
    assert world.state.tasks[TaskId("T2")].failures == 0, "a conflict is nobody's failure"


def test_work_that_fails_its_acceptance_on_the_merged_tree_does_not_move_the_branch() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    before = world.state.tip
    world.send(AttemptSucceeded(TaskId("T1"), 1, world.commit(), "I am done, believe me"))

    world.send(AcceptanceFailed(TaskId("T1"), 1, "1 failed"))

    assert world.state.tip == before
    assert "work.T1.2" in world.state.in_flight


def test_merges_are_serial() -> None:
    world = started(World(tasks("T1", "T2"), ONE_GATE))
    for name in ("T1", "T2"):
        world.send(AttemptSucceeded(TaskId(name), 1, world.commit(), "done"))

    assert [key for key in world.state.in_flight if key.startswith("integrate")] == ["integrate.T1.1"]
    assert world.state.merge_queue == ("T2",)


def test_a_question_that_only_the_user_can_answer_holds_its_task_and_nothing_else() -> None:
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


def test_a_gate_without_a_verdict_is_asked_again_about_all_that_it_has_not_judged() -> None:
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
        while any(isinstance(effect, Replan | Work | Integrate) for effect in world.state.in_flight.values()):
            world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))

    assert list(world.state.holds) == ["rounds.3"]
    assert "F1 (off by one) was found in 3 rounds" in world.state.holds["rounds.3"].question
    assert world.finished is not None
    assert world.finished.exit_code == 5


def test_a_finding_that_its_gate_thinks_less_of_blocks_no_more() -> None:
    world = started(World(tasks("T1"), ONE_GATE))
    finish_work(world, "T1")
    judged(world, must_fix())
    while any(isinstance(effect, Replan | Work | Integrate) for effect in world.state.in_flight.values()):
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


def test_what_a_user_says_to_a_plan_outlives_a_spent_budget_and_the_same_planner_goes_on() -> None:
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
    assert not any(isinstance(effect, Integrate) for effect in world.effects)

    assert world.go_on(person=approve).result is Result.GREEN


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


def test_a_task_that_waits_for_a_dropped_one_stays_blocked_when_another_is_tried_again() -> None:
    world = started(World(tasks("T1", "T4", "T2:T4", "T3:T1,T2"), ONE_GATE))
    world.send(AttemptFailed(TaskId("T1"), 1, "no", final=True))
    failed = Task(TaskId("T1"), "task T1", status=TaskStatus.FAILED)
    world.send(PlanEdited(Plan("goal", tasks=(failed, *tasks("T4", "T3:T1,T2")))))
    assert world.run().reason == "not done: T1, T3"
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

    assert [effect.key for effect in effects] == ["finish"]
    assert world.state == before


def test_the_branch_lands_only_after_every_gate_passed_on_it() -> None:
    world = World(tasks("T1"))
    world.run()

    lands = [effect for effect in world.effects if isinstance(effect, Land)]

    assert [land.commit for land in lands] == [world.state.tip]
    assert world.state.phase is RunPhase.FINISHED


def test_the_diagram_of_a_task_is_drawn_from_its_table() -> None:
    assert "    working --> queued: AttemptSucceeded\n" in task_diagram()


@st.composite
def plans(draw: st.DrawFn) -> tuple[Task, ...]:
    count = draw(st.integers(0, 9))
    made = []
    for number in range(1, count + 1):
        deps = draw(st.sets(st.integers(1, number - 1), max_size=3)) if number > 1 else set()
        paths = draw(st.sampled_from([(), ("a.py",), ("src/*",), ("src/a.py", "b.py")]))
        effort = draw(st.integers(1, 5))
        names = tuple(TaskId(f"T{dep}") for dep in sorted(deps))
        made.append(Task(TaskId(f"T{number}"), f"task {number}", deps=names, paths=paths, effort=effort))
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
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    plan=plans(),
    rules=rules,
    later=st.lists(rules, max_size=3),
    seed=st.randoms(use_true_random=False),
    trouble=st.sampled_from([0, 10, 40, 100]),
)
def test_any_plan_with_any_luck_order_crashes_and_new_limits_ends_within_them(
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
    sittings = 0
    while finish.result is not Result.GREEN and sittings < 4:
        finish = world.go_on(person=approve)
        sittings += 1

    assert world.most_working <= max(limits.max_threads for limits in (rules, *later))
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
