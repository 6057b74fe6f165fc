"""The merge train: what is checked when, what becomes of what fails, and that the tip holds nothing that did not pass."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codexteam.core.effects import (
    AdvanceBranch,
    CheckCandidate,
    Effect,
    IntegrateExtra,
    Result,
    RunGate,
    StackCandidate,
)
from codexteam.core.events import (
    AcceptanceFailed,
    AttemptSucceeded,
    CandidateAccepted,
    CandidateStacked,
    Continued,
    Event,
    GateFinished,
    IntegrationConflicted,
    MergeRefused,
    RunStarted,
    StopRequested,
    Verdict,
)
from codexteam.core.ids import CommitId, FindingId, GateName, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, TaskPhase
from codexteam.core.stored_state import decode_state, encode_state
from tests.examples import examples
from tests.unit.core.run_world import World, accepted_by, tasks
from tests.unit.core.test_step import started

RULES = Rules(gates=(), scout=False, document=False, release=False, max_threads=8, max_attempts=1, max_resolves=0)


def at_work(plan: tuple[Task, ...], rules: Rules = RULES) -> World:
    return started(World(plan, rules))


def hand_in(world: World, *names: str) -> None:
    for name in names:
        known = world.state.tasks[TaskId(name)]
        world.send(AttemptSucceeded(TaskId(name), known.attempt, world.commit(), "done"))


def stack(world: World) -> None:
    """Let all merges go well."""
    while effects := [e for e in world.state.in_flight.values() if isinstance(e, StackCandidate)]:
        world.send(world.answer(effects[0]))


def checks(effects: Iterable[Effect]) -> dict[str, tuple[str, ...]]:
    """Give whose commands run, and who rides on that run."""
    return {effect.task_id: effect.riders for effect in effects if isinstance(effect, CheckCandidate)}


def is_stale(world: World, effect: CheckCandidate) -> bool:
    """Whether it runs on a tree that its candidate does not have any more."""
    [known] = [candidate for candidate in world.state.train if candidate.task_id == effect.task_id]
    return (effect.number, effect.commit) != (known.number, known.commit)


def runs(world: World, *, overtaken: bool = False) -> list[CheckCandidate]:
    found = [effect for effect in world.state.in_flight.values() if isinstance(effect, CheckCandidate)]
    return [effect for effect in found if is_stale(world, effect) == overtaken]


def running(world: World) -> dict[str, tuple[str, ...]]:
    """Give whose commands run on the trees that will be, and who rides on that run."""
    return checks(runs(world))


def check_of(world: World, name: str) -> CheckCandidate:
    [effect] = [effect for effect in runs(world) if effect.task_id == name]
    return effect


def passes(world: World, *names: str) -> None:
    for name in names:
        world.send(world.answer(check_of(world, name)))


def fails(world: World, *names: str) -> None:
    for name in names:
        effect = check_of(world, name)
        world.send(AcceptanceFailed(effect.task_id, effect.attempt, "1 failed", effect.number))


def advance(world: World) -> list[str]:
    """Let the tip move as far as it may; give what was merged."""
    merged: list[str] = []
    while effects := [e for e in world.state.in_flight.values() if isinstance(e, AdvanceBranch)]:
        world.may_advance(effects[0])
        merged += [merge.task_id for merge in effects[0].merges]
        world.send(world.answer(effects[0]))
    return merged


def line(world: World) -> list[str]:
    return [candidate.task_id for candidate in world.state.train]


def test_candidates_are_checked_at_once_each_with_those_ahead_of_it() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2", "T3"))
    tip = world.state.tip
    hand_in(world, "T1", "T2", "T3")
    stack(world)

    assert running(world) == {"T1": (), "T2": (), "T3": ()}
    first, second, third = (check_of(world, name).commit for name in ("T1", "T2", "T3"))
    assert [world.parents[commit] for commit in (first, second, third)] == [tip, first, second]


def test_the_tip_moves_in_order_whoever_passes_first() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2", "T3"))
    hand_in(world, "T1", "T2", "T3")
    stack(world)

    passes(world, "T3", "T2")
    assert advance(world) == []
    passes(world, "T1")
    assert advance(world) == ["T1", "T2", "T3"]


def test_what_fails_is_taken_out_and_only_those_behind_it_run_again() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2", "T3", "T4"))
    hand_in(world, "T1", "T2", "T3", "T4")
    stack(world)
    passes(world, "T4", "T3")

    fails(world, "T2")
    assert running(world) == {"T1": ()}, "T3 and T4 passed with what will not be merged"
    stack(world)
    assert running(world) == {"T1": (), "T3": (), "T4": ()}
    assert world.parents[check_of(world, "T3").commit] == check_of(world, "T1").commit
    assert world.state.tasks[TaskId("T2")].phase is TaskPhase.INTEGRATING, "T1 may be to blame"
    passes(world, "T1")

    assert advance(world) == ["T1"]
    assert world.state.tasks[TaskId("T2")].phase is TaskPhase.FAILED
    passes(world, "T3", "T4")
    assert advance(world) == ["T3", "T4"]


def test_what_failed_behind_a_failure_begins_anew_at_the_end() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2", "T3"))
    hand_in(world, "T1", "T2", "T3")
    stack(world)
    fails(world, "T2")
    stack(world)

    fails(world, "T1")
    stack(world)

    assert line(world) == ["T3", "T2"]
    assert world.state.tasks[TaskId("T1")].phase is TaskPhase.FAILED
    passes(world, "T3", "T2")
    assert advance(world) == ["T3", "T2"], "it was T1 that broke T2"


def stale(world: World, name: str) -> CheckCandidate:
    """Give a candidate's run on a tree that it does not have any more."""
    [effect] = [effect for effect in runs(world, overtaken=True) if effect.task_id == name]
    return effect


def overtaken(*names: str, threads: int = 8, command: str = "test -f {}.txt") -> World:
    """Let the first fail, so that the runs of all others are on trees that will not be."""
    world = at_work(accepted_by(command, *names), replace(RULES, max_threads=threads))
    hand_in(world, *names)
    stack(world)
    fails(world, names[0])
    stack(world)
    return world


def test_who_fails_on_a_tree_that_will_not_be_goes_to_the_end() -> None:
    world = overtaken("T1", "T2", "T3", "T4")
    late = stale(world, "T3")

    world.send(AcceptanceFailed(late.task_id, late.attempt, "1 failed", late.number))
    stack(world)

    assert line(world) == ["T2", "T4", "T3"]
    assert world.parents[check_of(world, "T4").commit] == check_of(world, "T2").commit, "T3 is behind it"
    passes(world, "T2", "T4", "T3")
    assert advance(world) == ["T2", "T4", "T3"], "it failed with T1, and not without"


def test_the_first_of_the_train_is_not_moved_whatever_it_failed_on() -> None:
    world = overtaken("T1", "T2", "T3")
    late = stale(world, "T2")

    world.send(AcceptanceFailed(late.task_id, late.attempt, "1 failed", late.number))

    assert line(world) == ["T2", "T3"]


def test_what_passes_on_a_tree_that_will_not_be_counts_for_nothing() -> None:
    world = overtaken("T1", "T2", "T3")
    for name in ("T2", "T3"):
        late = stale(world, name)
        world.passed.setdefault(late.commit, set())
        world.send(CandidateAccepted(late.task_id, late.attempt, late.number))

    assert advance(world) == []
    fails(world, "T2")
    stack(world)
    passes(world, "T3")
    assert advance(world) == ["T3"]


def test_a_run_that_is_overtaken_ends_when_its_place_is_needed() -> None:
    world = at_work(accepted_by("test -f {}.txt", *(f"T{n}" for n in range(1, 10))), replace(RULES, max_threads=2))
    hand_in(world, "T1", "T2")
    stack(world)
    late = check_of(world, "T2")
    assert running(world) == {"T1": (), "T2": ()}

    fails(world, "T1")
    assert late.key in world.state.in_flight, "one place is free"
    hand_in(world, "T3")
    stack(world)

    assert running(world) == {"T2": (), "T3": ()}
    assert late.key not in world.state.in_flight


def test_a_shared_run_that_is_overtaken_is_no_longer_wanted() -> None:
    world = at_work((*accepted_by("ruff", "T1"), *accepted_by("pytest", "T2", "T3")))
    hand_in(world, "T1", "T2", "T3")
    stack(world)
    late = check_of(world, "T3")

    fails(world, "T1")

    assert late.key not in world.state.in_flight, "whom it speaks of is not known"


def test_no_overtaken_run_outlives_what_became_of_its_task() -> None:
    world = overtaken("T1", "T2")
    late = stale(world, "T2")

    passes(world, "T2")
    advance(world)

    assert late.key not in world.state.in_flight


@pytest.mark.parametrize("event", [StopRequested("Ctrl-C"), Continued()])
def test_a_stop_and_a_crash_wait_for_no_overtaken_run(event: Event) -> None:
    world = overtaken("T1", "T2", "T3")
    late = [stale(world, name).key for name in ("T2", "T3")]

    again = world.send(event)

    assert {effect.key for effect in again}.isdisjoint(late)
    assert world.state.in_flight.keys().isdisjoint(late)


def test_conflicts_are_found_before_anything_runs() -> None:
    world = at_work(accepted_by("pytest", "T1", "T2"))
    hand_in(world, "T1", "T2")
    [first] = [e for e in world.state.in_flight.values() if isinstance(e, StackCandidate)]
    world.send(world.answer(first))
    [second] = [e for e in world.state.in_flight.values() if isinstance(e, StackCandidate)]
    world.send(IntegrationConflicted(TaskId("T2"), 1, ("a.py",), "CONFLICT", second.number))

    assert checks(world.effects) == {"T1": ()}
    assert second.behind == ("T1",)
    assert world.state.tasks[TaskId("T2")].phase is TaskPhase.INTEGRATING, "it conflicts with what is not merged yet"
    passes(world, "T1")
    advance(world)
    assert world.state.tasks[TaskId("T2")].reason == "its work conflicts with what was merged meanwhile: a.py"


def test_a_conflict_with_work_that_fails_is_none() -> None:
    world = at_work(accepted_by("pytest", "T1", "T2"))
    hand_in(world, "T1", "T2")
    world.send(world.answer(world.state.in_flight["stack.T1.1.1"]))
    world.send(IntegrationConflicted(TaskId("T2"), 1, ("a.py",), "CONFLICT", 1))

    fails(world, "T1")
    stack(world)
    passes(world, "T2")

    assert advance(world) == ["T2"]


def test_tasks_with_the_same_command_share_a_run_on_the_last_tree() -> None:
    world = at_work(accepted_by("pytest", "T1", "T2", "T3"))
    hand_in(world, "T1", "T2", "T3")
    stack(world)

    assert running(world) == {"T3": ("T1", "T2")}
    passes(world, "T3")
    assert [e.commit for e in world.state.in_flight.values() if isinstance(e, AdvanceBranch)] == [
        world.state.train[-1].commit
    ]
    assert advance(world) == ["T1", "T2", "T3"], "the tip never stands on what only rode"


def test_a_shared_run_that_fails_is_split_until_one_is_to_blame() -> None:
    names = [f"T{number}" for number in range(1, 9)]
    world = at_work(accepted_by("pytest", *names))
    hand_in(world, *names)
    stack(world)
    bad = "T3"
    runs = 0
    merged: list[str] = []
    while effects := [e for e in world.state.in_flight.values() if isinstance(e, CheckCandidate)]:
        runs += 1
        ahead = line(world)[: line(world).index(effects[0].task_id) + 1]
        problems = {candidate.task_id for candidate in world.state.train if candidate.problem is not None}
        (fails if bad in ahead and bad not in problems else passes)(world, effects[0].task_id)
        stack(world)
        merged += advance(world)

    assert sorted(merged) == [name for name in names if name != bad]
    assert world.state.tasks[TaskId(bad)].phase is TaskPhase.FAILED
    assert runs <= 10


def test_a_run_answers_for_commands_that_are_among_its_own() -> None:
    small, large = accepted_by("pytest", "T1", "T2")
    large = replace(large, acceptance=(*large.acceptance, *accepted_by("ruff", "T2")[0].acceptance))
    world = at_work((small, large))
    hand_in(world, "T1", "T2")
    stack(world)
    assert running(world) == {"T2": ("T1",)}

    world = at_work((replace(large, id=TaskId("T1")), replace(small, id=TaskId("T2"))))
    hand_in(world, "T1", "T2")
    stack(world)
    assert running(world) == {"T1": (), "T2": ()}


def test_no_more_run_than_there_are_threads_and_the_first_go_first() -> None:
    world = at_work(accepted_by("test -f {}.txt", *(f"T{n}" for n in range(1, 8))), replace(RULES, max_threads=2))
    hand_in(world, "T1", "T2")
    hand_in(world, "T3", "T4")
    stack(world)
    assert running(world) == {"T1": (), "T2": ()}

    passes(world, "T2")
    assert running(world) == {"T1": (), "T3": ()}
    assert world.most_checks == 2


def test_each_thread_without_an_agent_lets_one_more_run() -> None:
    world = at_work(accepted_by("test -f {}.txt", *(f"T{n}" for n in range(1, 7))), replace(RULES, max_threads=2))
    hand_in(world, "T1", "T2")
    hand_in(world, "T3", "T4")
    hand_in(world, "T5")
    stack(world)
    assert running(world) == {"T1": (), "T2": (), "T3": ()}, "T6 is at work alone"

    hand_in(world, "T6")
    stack(world)
    assert running(world) == {"T1": (), "T2": (), "T3": (), "T4": ()}


def test_a_run_begins_while_those_are_stacked_who_cannot_share_it() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2", "T3"))
    hand_in(world, "T1", "T2", "T3")
    world.send(world.answer(world.state.in_flight["stack.T1.1.1"]))
    assert running(world) == {}, "T2 may have the same commands"

    world.send(world.answer(world.state.in_flight["stack.T2.1.1"]))
    assert running(world) == {"T1": ()}


def test_what_unblocks_most_is_merged_first() -> None:
    plan = accepted_by("test -f {}.txt", "T1", "T2", "T3", "T4:T3", "T5:T4")
    world = at_work(plan)
    hand_in(world, "T1", "T2", "T3")

    assert line(world) == ["T1", "T3", "T2"], "T1 is being merged already when T3 comes"


def test_work_without_commands_waits_for_those_ahead_and_nothing_else() -> None:
    checked, free = (*accepted_by("pytest", "T1"), *tasks("T2"))
    world = at_work((checked, free))
    hand_in(world, "T1", "T2")
    stack(world)
    assert running(world) == {"T1": ()}
    assert advance(world) == []

    passes(world, "T1")
    assert advance(world) == ["T1", "T2"]


def test_work_that_changed_nothing_is_checked_on_what_is_ahead_of_it() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2"))
    hand_in(world, "T1")
    world.send(AttemptSucceeded(TaskId("T2"), 1, None, "nothing to do"))
    stack(world)

    assert check_of(world, "T2").commit == check_of(world, "T1").commit
    passes(world, "T1", "T2")
    assert advance(world) == ["T1", "T2"]
    assert world.state.tasks[TaskId("T2")].unchanged


def test_a_stop_lets_what_has_passed_be_merged_and_starts_no_run() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2"), replace(RULES, max_threads=2))
    hand_in(world, "T1", "T2")
    stack(world)
    before = len(checks(world.effects))
    world.send(StopRequested("Ctrl-C"))

    fails(world, "T1")
    assert len(checks(world.effects)) == before
    assert world.state.tasks[TaskId("T1")].phase is TaskPhase.FAILED
    passes(world, "T2")
    assert advance(world) == [], "it passed with what is not there any more"
    assert world.finished is not None
    world.finished = None
    world.send(Continued())
    stack(world)
    passes(world, "T2")
    assert advance(world) == ["T2"]


def test_after_a_crash_the_train_is_as_it_was_and_its_runs_begin_again() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2", "T3"))
    hand_in(world, "T1", "T2", "T3")
    stack(world)
    passes(world, "T2")
    fails(world, "T3")

    world.state = decode_state(encode_state(world.state))
    again = world.send(Continued())

    assert checks(again) == {"T1": ()}
    passes(world, "T1")
    assert advance(world) == ["T1", "T2"]
    assert world.state.tasks[TaskId("T3")].phase is TaskPhase.FAILED


def refuse(world: World, name: str) -> None:
    """Let a hook refuse a merge that is about to be made."""
    [moving] = [e for e in world.state.in_flight.values() if isinstance(e, AdvanceBranch)]
    [merge] = [merge for merge in moving.merges if merge.task_id == name]
    world.send(MergeRefused(merge.task_id, merge.attempt, "no", merge.number))


def test_a_refused_candidate_is_taken_out_and_those_ahead_are_merged() -> None:
    world = at_work(accepted_by("test -f {}.txt", "T1", "T2", "T3"))
    hand_in(world, "T1", "T2", "T3")
    stack(world)
    passes(world, "T3", "T2", "T1")
    refuse(world, "T1")
    moving = [e for e in world.state.in_flight.values() if isinstance(e, AdvanceBranch)]
    assert moving == [], "nobody is left that passed on this tip"
    assert world.state.tasks[TaskId("T1")].reason == "a PreMerge hook refused its merge"
    stack(world)
    passes(world, "T3", "T2")
    refuse(world, "T3")

    assert advance(world) == ["T2"]
    assert world.state.tasks[TaskId("T3")].phase is TaskPhase.FAILED


def test_a_refused_rider_lets_those_of_its_run_be_checked_anew() -> None:
    world = at_work(accepted_by("pytest", "T1", "T2", "T3"))
    hand_in(world, "T1", "T2", "T3")
    stack(world)
    passes(world, "T3")
    refuse(world, "T2")
    stack(world)

    assert running(world) == {"T1": (), "T3": ()}
    passes(world, "T1", "T3")
    assert advance(world) == ["T1", "T3"]
    assert world.state.tasks[TaskId("T2")].phase is TaskPhase.FAILED


def judged_while_at_work(*names: str, fixes: bool = False) -> World:
    """Let the gate judge the first task's work while the second is at work, and let that change no file."""
    plan = tasks(*names)
    if fixes:
        plan = (plan[0], replace(plan[1], fixes=(FindingId("F1"),)), *plan[2:])
    world = at_work(plan, replace(RULES, gates=(GateName.CI,), batch_size=1))
    hand_in(world, "T1")
    stack(world)
    advance(world)
    world.send(world.answer(world.state.in_flight["gate.1.ci_runner"]))
    return world


def merge_unchanged(world: World, name: str) -> None:
    """Merge work that makes a commit, and no other tree."""
    hand_in(world, name)
    [effect] = [e for e in world.state.in_flight.values() if isinstance(e, StackCandidate)]
    commit = world.commit()
    world.parents[commit] = effect.onto
    world.trees[commit] = world.trees.get(effect.onto, effect.onto)
    world.send(CandidateStacked(effect.task_id, effect.attempt, effect.number, commit, changed=False))
    advance(world)


def gates_run(world: World) -> int:
    return sum(isinstance(effect, RunGate) for effect in world.effects)


def test_a_verdict_holds_of_another_commit_with_the_very_tree() -> None:
    world = judged_while_at_work("T1", "T2")
    judged = world.state.tip

    merge_unchanged(world, "T2")

    assert world.state.tip != judged
    finish = world.run()
    assert finish.result is Result.GREEN
    assert finish.reason == "every gate passed on the very files of the commit that the branch points to"
    assert gates_run(world) == 1, "nothing is judged twice"
    assert world.state.gates[GateName.CI].commit == judged, "the verdict stays where it was given"


def test_a_verdict_holds_of_no_tree_that_a_later_merge_changed() -> None:
    world = judged_while_at_work("T1", "T2", "T3")
    merge_unchanged(world, "T2")

    hand_in(world, "T3")
    stack(world)
    advance(world)

    assert world.state.same_tree == ()
    assert world.run().result is Result.GREEN
    assert gates_run(world) == 2
    assert world.state.gates[GateName.CI].commit == world.state.landed


def test_a_round_under_way_judges_the_tree_of_what_is_merged_meanwhile() -> None:
    world = at_work(tasks("T1", "T2"), replace(RULES, gates=(GateName.CI,), batch_size=1))
    hand_in(world, "T1")
    stack(world)
    advance(world)
    merge_unchanged(world, "T2")
    assert "gate.1.ci_runner" in world.state.in_flight

    assert world.run().result is Result.GREEN
    assert gates_run(world) == 1


def test_a_fix_that_changes_no_file_is_judged_all_the_same() -> None:
    world = judged_while_at_work("T1", "T2", fixes=True)

    merge_unchanged(world, "T2")

    assert world.state.same_tree == ()
    assert gates_run(world) == 2


def test_a_gate_without_a_verdict_is_asked_on_the_same_tree_again() -> None:
    world = at_work(tasks("T1", "T2"), replace(RULES, gates=(GateName.CI,), batch_size=1))
    hand_in(world, "T1")
    stack(world)
    advance(world)
    [gate] = [e for e in world.state.in_flight.values() if isinstance(e, RunGate)]
    world.send(GateFinished(gate.round, gate.gate, gate.commit, Verdict.UNANSWERED, note="timeout"))

    merge_unchanged(world, "T2")

    assert gates_run(world) >= 2
    assert world.run().result is Result.GREEN


def test_an_older_run_judges_each_commit_whatever_its_tree() -> None:
    world = at_work(tasks("T1", "T2"), replace(RULES, gates=(GateName.CI,), batch_size=1, decisions=5))
    hand_in(world, "T1")
    stack(world)
    advance(world)
    world.send(world.answer(world.state.in_flight["gate.1.ci_runner"]))

    merge_unchanged(world, "T2")

    assert gates_run(world) == 2


def test_work_of_no_task_is_merged_when_the_train_is_empty() -> None:
    world = at_work(accepted_by("pytest", "T1", "T2"))
    hand_in(world, "T1")
    world.state = replace(world.state, extras=(("qa.1", world.commit()),))
    stack(world)
    passes(world, "T1")
    advance(world)
    assert any(isinstance(effect, IntegrateExtra) for effect in world.state.in_flight.values())

    hand_in(world, "T2")
    assert line(world) == [], "the tip is about to move"
    assert world.run().result is Result.GREEN


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: tasks by their numbers."""

    bad: frozenset[int]
    """Their commands never pass; if odd, nobody's pass who is stacked on them."""
    conflicting: frozenset[tuple[int, int]]
    """The second conflicts with the first, once."""
    flaky: frozenset[int]
    """Their first run fails for nothing."""


class Tree(World):
    """A world that knows whose work is in a commit, so that what runs on it is what is wrong with it."""

    trouble = Trouble(frozenset(), frozenset(), frozenset())

    def __post_init__(self) -> None:
        super().__post_init__()
        self.held: dict[CommitId, frozenset[TaskId]] = {}
        self.ran: set[TaskId] = set()

    def stack(self, effect: StackCandidate) -> Event:
        below = self.held.get(effect.onto, frozenset())
        clashes = {(int(other[1:]), int(effect.task_id[1:])) for other in below} & self.trouble.conflicting
        if clashes and effect.attempt == 1:
            return IntegrationConflicted(effect.task_id, effect.attempt, ("a.py",), "CONFLICT", effect.number)
        found = super().stack(effect)
        if isinstance(found, CandidateStacked):
            self.held[found.commit] = below | {effect.task_id}
        return found

    def check(self, effect: CheckCandidate) -> Event:
        own = {effect.task_id, *effect.riders}
        inside = {int(name[1:]) for name in self.held.get(effect.commit, frozenset())}
        red = {number for number in self.trouble.bad if f"T{number}" in own or (number % 2 and number in inside)}
        first = own - self.ran
        self.ran |= own
        if red or any(int(name[1:]) in self.trouble.flaky for name in first):
            return AcceptanceFailed(effect.task_id, effect.attempt, "1 failed", effect.number)
        return super().check(effect)


numbers = st.frozensets(st.integers(1, 8), max_size=3)
troubles = st.builds(
    Trouble, numbers, st.frozensets(st.tuples(st.integers(1, 8), st.integers(1, 8)), max_size=4), numbers
)


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.lists(st.sampled_from(["pytest", "ruff", "test -f {}.txt", ""]), min_size=1, max_size=8),
    trouble=troubles,
    threads=st.integers(1, 8),
    attempts=st.integers(1, 4),
    seed=st.randoms(use_true_random=False),
)
def test_any_order_failures_flaky_runs_crashes_and_stops_merge_the_good(
    kinds: list[str], trouble: Trouble, threads: int, attempts: int, seed: object
) -> None:
    randrange = seed.randrange  # type: ignore[attr-defined]  # a random.Random
    names = [f"T{number}" for number in range(1, len(kinds) + 1)]
    plan = tuple(
        accepted_by(kind, name)[0] if kind else tasks(name)[0] for kind, name in zip(kinds, names, strict=True)
    )
    rules = replace(RULES, max_threads=threads, max_attempts=attempts, max_resolves=2)
    crashes = iter([randrange(6) == 0 for _ in range(30)])
    world = Tree(plan, rules, pick=randrange, crash=lambda: next(crashes, False))
    world.trouble = trouble
    world.send(RunStarted())
    for _ in range(randrange(4)):
        for _ in range(randrange(25)):
            if world.state.in_flight and world.finished is None:
                waiting = sorted(world.state.in_flight)
                effect = world.state.in_flight[waiting[randrange(len(waiting))]]
                if isinstance(effect, AdvanceBranch):
                    world.may_advance(effect)
                world.send(world.answer(effect))
        if world.finished is None:
            world.send(StopRequested("Ctrl-C"))
            world.run()
        if world.finished is not None and world.finished.result is Result.INTERRUPTED:
            world.finished = None
            world.send(Continued())
    if world.finished is None:
        world.run()

    for number, (kind, name) in enumerate(zip(kinds, names, strict=True), start=1):
        phase = world.state.tasks[TaskId(name)].phase
        if number in trouble.bad and kind:
            assert phase is TaskPhase.FAILED, f"{name} never passes"
        elif not kind or (attempts > len(trouble.flaky) and all(bad % 2 == 0 for bad in trouble.bad)):
            assert phase is TaskPhase.MERGED, f"{name} is good, and {phase}"
    assert world.most_checks <= 2 * threads
    again = World(plan, rules)
    for event in world.history:
        again.send(event)
    assert again.state == world.state, "the same events give the same state"
