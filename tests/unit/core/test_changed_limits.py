"""A run continues under other limits than it was begun with."""

import json
from dataclasses import replace

from codexteam.core.effects import Land, Replan, Result, RunGate, Work
from codexteam.core.events import (
    Answered,
    AttemptAsked,
    AttemptFailed,
    Clarified,
    Continued,
    GateFinished,
    LandingFailed,
    PauseRequested,
    PlanEdited,
    Replanned,
    Rules,
    RunStarted,
    Verdict,
)
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import FindingId, GateName, TaskId
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.state import FindingStatus, TaskPhase
from codexteam.core.stored_state import decode_event, encode_event
from tests.unit.core.run_world import World, tasks

BEFORE = Rules(max_threads=2, gates=(GateName.CI,), scout=False, document=False, release=False)
BOTH = (GateName.CI, GateName.REVIEW)


def begun(world: World, until: str) -> World:
    """Answer what is in flight until something of that kind is."""
    world.send(RunStarted())
    return on(world, until)


def on(world: World, until: str) -> World:
    while not any(key.startswith(until) for key in world.state.in_flight):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    return world


def working(world: World) -> list[str]:
    return sorted(effect.task_id for effect in world.state.in_flight.values() if isinstance(effect, Work))


def judged(world: World, gate: GateName, *findings: str) -> None:
    [effect] = [e for e in world.state.in_flight.values() if isinstance(e, RunGate) and e.gate is gate]
    said = tuple(Finding(title, "", Severity.MUST_FIX, Category.CORRECTNESS, file="a.py") for title in findings)
    verdict = Verdict.BLOCK if said else Verdict.SHIP
    world.send(GateFinished(effect.round, gate, effect.commit, verdict, said))


def resumed(world: World, rules: Rules | None) -> World:
    world.finished = None
    world.send(Continued(rules))
    return world


def test_more_threads_start_more_at_once_and_replay_the_same() -> None:
    world = begun(World(tasks("T1", "T2", "T3"), BEFORE), "work")
    assert working(world) == ["T1", "T2"]

    resumed(world, replace(BEFORE, max_threads=12))

    assert working(world) == ["T1", "T2", "T3"]
    kind, payload = encode_event(world.history[-1])
    assert decode_event(kind, json.loads(json.dumps(payload))) == world.history[-1]


def test_an_event_of_before_and_the_end_of_a_pause_change_no_limit() -> None:
    assert decode_event("Continued", {}) == Continued()
    world = begun(World(tasks("T1", "T2", "T3"), BEFORE), "work")

    world.send(PauseRequested())
    world.send(Continued())

    assert world.state.rules == BEFORE
    assert working(world) == ["T1", "T2"]


def test_fewer_threads_start_nobody_until_there_is_room() -> None:
    world = begun(World(tasks("T1", "T2", "T3"), replace(BEFORE, max_threads=3)), "work")

    resumed(world, replace(BEFORE, max_threads=1))

    assert working(world) == ["T1", "T2", "T3"]
    world.send(AttemptFailed(TaskId("T1"), 1, "no"))
    world.send(AttemptFailed(TaskId("T2"), 1, "no"))
    assert working(world) == ["T3"]
    assert world.run().result is Result.GREEN


def test_more_tasks_let_findings_become_tasks_that_had_no_room() -> None:
    few = replace(BEFORE, max_tasks=1)
    world = begun(World(tasks("T1"), few), "gate")
    judged(world, GateName.CI, "off by one")
    finish = world.run()
    assert (finish.result, finish.reason) == (Result.LIMIT, "1 open findings need more than 1 tasks in all")

    resumed(world, replace(BEFORE, max_tasks=500))

    assert world.run().result is Result.GREEN
    assert len(world.state.tasks) == 2


def test_a_limit_below_the_existing_tasks_ends_no_run_that_needs_no_more() -> None:
    world = begun(World(tasks("T1"), BEFORE), "gate")
    judged(world, GateName.CI, "off by one")
    fix = Task(TaskId("T2"), "fix it", fixes=(FindingId("F1"),))
    world.send(PlanEdited(Plan("goal", tasks=(*tasks("T1"), fix))))

    resumed(world, replace(BEFORE, max_tasks=1))
    world.send(Replanned(1, Plan("goal")))

    assert world.run().result is Result.GREEN
    assert len(world.state.tasks) == 2


def test_failed_tasks_get_more_attempts_even_in_a_waiting_run() -> None:
    world = begun(World(tasks("T1", "T2"), replace(BEFORE, max_attempts=1)), "work")
    world.send(AttemptAsked(TaskId("T2"), 1, "which?"))
    world.send(Clarified(TaskId("T2"), 1, "", ask_user=True))
    world.send(AttemptFailed(TaskId("T1"), 1, "no"))
    assert world.run().result is Result.WAITING
    assert world.state.tasks[TaskId("T1")].phase is TaskPhase.FAILED

    resumed(world, replace(BEFORE, max_attempts=2))

    assert working(world) == ["T1"]
    world.send(Answered("question.T2.1", "this one"))
    assert world.run().result is Result.GREEN


def test_a_gate_that_is_turned_off_is_not_waited_for() -> None:
    world = begun(World(tasks("T1"), replace(BEFORE, gates=BOTH)), "gate")
    judged(world, GateName.CI)
    assert list(world.state.in_flight) == ["gate.1.reviewer"]

    resumed(world, BEFORE)

    assert not any(key.startswith("gate") for key in world.state.in_flight)
    assert world.run().result is Result.GREEN


def test_a_gate_that_is_turned_off_leaves_the_others_at_work() -> None:
    world = begun(World(tasks("T1"), replace(BEFORE, gates=BOTH)), "gate")

    resumed(world, BEFORE)

    assert list(world.state.in_flight) == ["gate.1.ci_runner"]
    assert world.run().result is Result.GREEN


def test_a_gate_that_gave_no_verdict_and_is_turned_off_ends_no_run() -> None:
    world = begun(World(tasks("T1"), replace(BEFORE, gates=BOTH)), "gate")
    judged(world, GateName.CI)
    world.send(GateFinished(1, GateName.REVIEW, world.state.tip or world.commit(), Verdict.UNANSWERED))
    resumed(world, BEFORE)

    assert world.run().result is Result.GREEN
    assert list(world.state.gates) == [GateName.CI]


def test_a_disabled_gates_finding_is_closed_by_a_fix_alone() -> None:
    world = begun(World(tasks("T1"), replace(BEFORE, gates=BOTH)), "gate")
    judged(world, GateName.REVIEW, "off by one")
    judged(world, GateName.CI)
    on(world, "work.T900")

    resumed(world, BEFORE)

    assert world.state.findings[FindingId("F1")].status is FindingStatus.OPEN
    assert world.run().result is Result.GREEN
    assert world.state.findings[FindingId("F1")].status is FindingStatus.FIXED


def test_without_any_gate_a_finding_is_still_to_be_fixed() -> None:
    world = begun(World(tasks("T1"), replace(BEFORE, max_attempts=1)), "gate")
    judged(world, GateName.CI, "off by one")
    on(world, "work.T900")

    resumed(world, replace(BEFORE, gates=(), max_attempts=1))
    world.send(AttemptFailed(TaskId("T900"), 1, "no"))

    assert world.run().reason == "not done: T900 (T900: no); open findings: F1"
    assert resumed(world, None).run().result is Result.GREEN


def test_a_gate_that_is_turned_on_judges_before_anything_lands() -> None:
    for failed in (False, True):
        world = begun(World(tasks("T1"), BEFORE), "land")
        if failed:
            world.send(LandingFailed("no room"))

        resumed(world, replace(BEFORE, gates=BOTH))

        assert list(world.state.in_flight) == ["gate.2.reviewer"]
        assert world.run().result is Result.GREEN
        assert isinstance(world.effects[-2], Land)


def test_more_rounds_take_back_the_question_whether_to_go_on() -> None:
    few = replace(BEFORE, max_rounds=1)
    world = begun(World(tasks("T1"), few), "gate")
    judged(world, GateName.CI, "off by one")
    assert world.finished is not None
    assert list(world.state.holds) == ["rounds.1"]

    resumed(world, replace(few, max_threads=3))
    assert list(world.state.holds) == ["rounds.1"], "it is the last round as before"
    resumed(world, replace(few, max_rounds=2))

    assert not world.state.holds
    assert [type(effect) for effect in world.state.in_flight.values()] == [Replan]
    assert world.run().result is Result.GREEN


def test_fewer_rounds_count_from_where_a_person_let_the_run_go_on() -> None:
    few = replace(BEFORE, max_rounds=1)
    world = begun(World(tasks("T1"), few), "gate")
    judged(world, GateName.CI, "off by one")
    world.send(Answered("rounds.1", "go on"))

    resumed(world, replace(few, max_rounds=4))

    assert world.state.round_limit == 1 + 4


def test_what_was_put_before_a_person_stays_there() -> None:
    world = World(tasks("T1", "T2"), replace(BEFORE, approve=("merge",)))
    world.run()

    resumed(world, BEFORE)

    assert sorted(world.state.holds) == ["merge.T1.1", "merge.T2.1"]
