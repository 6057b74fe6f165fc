"""What follows from the commands of the base commit, before anybody implements."""

import random
from dataclasses import replace

import pytest

from codexteam.core.base_check import CANNOT_RUN_ITEM, RED_BASE_ITEM, named_paths, runs_later, why_cannot_run
from codexteam.core.command_ending import Cause, Ending, read_ending
from codexteam.core.effects import CheckBase, MakePlan, Prepare, Result, Work
from codexteam.core.events import Answered, BaseCheck, BaseChecked, Continued, Event, GateFinished, Rules, RunStarted
from codexteam.core.ids import GateName, TaskId
from codexteam.core.plan_graph import Acceptance
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event, decode_state, encode_event, encode_state
from tests.unit.core.run_world import World, accepted_by, tasks

RULES = Rules(check_base=True, scout=False, gates=(GateName.CI,), document=False, release=False)
MISSING = BaseCheck(
    "pytest", Ending.CANNOT_RUN, 127, "sh: pytest: not found", Cause.PROGRAM, "pytest", gate=True, output="not found"
)
PASSES = BaseCheck("pytest", Ending.PASSED, 0, executed=3, gate=True)
FAILS = BaseCheck("pytest", Ending.FAILED, 1, executed=120, failed=2, failing=("a::x", "a::y"), gate=True)


class Checked(World):
    """A world in which each check of the base commit gives what is next in a list; later ones pass."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.checks: list[tuple[BaseCheck, ...]] = []
        self.ran = 1

    def base_checked(self, effect: CheckBase) -> Event:
        given = self.checks.pop(0) if self.checks else (PASSES,) if effect.gates else ()
        known = {check.command for check in given}
        more = tuple(BaseCheck(each, Ending.PASSED, 0) for each in effect.acceptance if each not in known)
        return BaseChecked(effect.number, effect.commit, (*given, *more), "an image")

    def answer(self, effect: object) -> Event:
        event = super().answer(effect)  # type: ignore[arg-type]  # what is in flight
        return replace(event, ran=self.ran) if isinstance(event, GateFinished) else event


def _world(*checks: tuple[BaseCheck, ...], rules: Rules = RULES, command: str = "") -> Checked:
    made = tasks("T1@a.py")
    if command:
        made = tuple(replace(task, acceptance=(Acceptance("works", command),)) for task in made)
    world = Checked(made, rules=rules)
    world.checks = [*checks]
    return world


def _worked(world: World) -> bool:
    return any(isinstance(effect, Work) for effect in world.effects)


def test_gate_commands_run_on_the_base_before_any_work() -> None:
    world = _world()

    finish = world.run()

    kinds = [type(effect) for effect in world.effects if isinstance(effect, CheckBase | MakePlan | Work)]
    assert kinds == [CheckBase, MakePlan, Work]
    assert finish.result is Result.GREEN


def test_a_gate_command_that_cannot_run_ends_the_run_before_any_work() -> None:
    world = _world((MISSING,))

    finish = world.run()

    assert (finish.result, finish.exit_code) == (Result.CANNOT_RUN, 6)
    assert not _worked(world)
    assert "`pytest` cannot run (sh: pytest: not found)" in finish.reason


@pytest.mark.parametrize("ending", [Ending.NOTHING_RAN, Ending.TIMED_OUT, Ending.KILLED])
def test_a_gate_command_that_checks_nothing_ends_the_run_as_well(ending: Ending) -> None:
    world = _world((replace(MISSING, ending=ending, cause=None),))

    assert world.run().exit_code == 6
    assert not _worked(world)


def test_resume_checks_again_and_goes_on_once_it_runs() -> None:
    world = _world((MISSING,), (MISSING,))
    assert world.run().exit_code == 6
    world.finished = None
    world.send(Continued())
    assert world.run().exit_code == 6, "nothing was mended"

    world.finished = None
    world.send(Continued())

    assert world.run().result is Result.GREEN


def test_an_acceptance_command_that_never_can_run_ends_the_run() -> None:
    never = BaseCheck("no-such", Ending.CANNOT_RUN, 127, "no-such: not found", Cause.PROGRAM, "no-such")
    world = _world((PASSES,), (never,), command="no-such")

    assert world.run().exit_code == 6
    assert not _worked(world)


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.TIMED_OUT])
def test_an_acceptance_command_that_runs_and_fails_is_the_tasks_work(ending: Ending) -> None:
    world = _world((PASSES,), (BaseCheck("check", ending, 1),), command="check")

    assert world.run().result is Result.GREEN


def _several(*names: str, **changes: object) -> Checked:
    """Make a world whose gate commands are known to run, and whose tasks have a command each."""
    rules = replace(RULES, max_threads=2, **changes)  # type: ignore[arg-type]  # fields of the rules
    world = Checked(accepted_by("check {}", *names), rules=rules)
    world.send(RunStarted())
    for kind in (Prepare, MakePlan, CheckBase):
        [effect] = [effect for effect in world.state.in_flight.values() if isinstance(effect, kind)]
        world.send(world.answer(effect))
    return world


def _checking(world: World) -> dict[str, CheckBase]:
    """Give the acceptance commands that run on the base commit."""
    found = [effect for effect in world.state.in_flight.values() if isinstance(effect, CheckBase)]
    return {effect.acceptance[0]: effect for effect in found}


def _cannot_run(effect: CheckBase) -> BaseChecked:
    [command] = effect.acceptance
    check = BaseCheck(command, Ending.CANNOT_RUN, 127, "not found", Cause.PROGRAM, "check")
    return BaseChecked(effect.number, effect.commit, (check,))


def test_acceptance_commands_run_at_once_those_of_the_best_tasks_first() -> None:
    world = _several("T1", "T2", "T3", "T4", "T5:T4", "T6:T5")

    assert list(_checking(world)) == ["check T4", "check T5", "check T1", "check T2"], "twice as many as threads"


def test_a_task_whose_own_command_is_known_to_run_starts() -> None:
    world = _several("T1", "T2", "T3")

    world.send(world.answer(_checking(world)["check T2"]))

    assert [effect.task_id for effect in world.state.in_flight.values() if isinstance(effect, Work)] == ["T2"]
    assert list(_checking(world)) == ["check T1", "check T3"]


def test_no_two_checks_of_the_base_have_one_number_whoever_ends_first() -> None:
    world = _several(*(f"T{n}" for n in range(1, 9)))
    while checks := [effect for effect in world.state.in_flight.values() if isinstance(effect, CheckBase)]:
        world.send(world.answer(checks[-1]))
    numbers = [effect.number for effect in world.effects if isinstance(effect, CheckBase)]

    assert sorted(numbers) == list(range(1, 10))
    assert world.run().result is Result.GREEN


def test_all_commands_that_cannot_run_are_named_where_the_run_ends() -> None:
    world = _several("T1", "T2")
    for effect in _checking(world).values():
        world.send(_cannot_run(effect))

    assert world.finished is not None
    assert world.finished.reason == (
        "nothing was implemented: on the base commit `check T1` cannot run (not found); `check T2` cannot run (not found)"
    )
    review = replace(world.state, rules=replace(world.state.rules, review=True))
    assert why_cannot_run(review).startswith("nothing was judged: on the base commit `check T1`")


def test_that_nothing_was_implemented_is_said_where_it_is_true() -> None:
    world = _several("T1", "T2")
    first, second = _checking(world).values()
    world.send(world.answer(first))
    world.send(_cannot_run(second))

    assert world.run().reason == "on the base commit `check T2` cannot run (not found)"


def test_the_question_names_each_command_that_cannot_run() -> None:
    world = _several("T1", "T2", person=True)
    for effect in _checking(world).values():
        world.send(_cannot_run(effect))

    question = world.state.holds[CANNOT_RUN_ITEM].question
    assert "`check T1`" in question
    assert "`check T2`" in question


def test_an_older_run_checks_all_its_commands_together() -> None:
    world = Checked(accepted_by("check {}", "T1", "T2"), rules=replace(RULES, decisions=5))

    assert world.run().result is Result.GREEN
    checks = [effect for effect in world.effects if isinstance(effect, CheckBase)]
    assert [effect.acceptance for effect in checks] == [(), ("check T1", "check T2")]


def test_an_acceptance_command_that_can_run_later_does_not_stop_anything() -> None:
    later = BaseCheck("pytest new.py", Ending.CANNOT_RUN, 4, "not found", Cause.PATH, "new.py", later=True)
    world = _world((PASSES,), (later,), command="pytest new.py")

    assert world.run().result is Result.GREEN


def test_somebody_who_is_there_is_asked_and_may_mend_it() -> None:
    world = _world((MISSING,), rules=replace(RULES, person=True))
    assert world.run().exit_code == 5
    assert "pytest" in world.state.holds[CANNOT_RUN_ITEM].question

    finish = world.go_on(person=lambda item: Answered(item, "again"))

    assert finish.result is Result.GREEN


def test_a_person_may_leave_a_command_out_and_the_result_names_it() -> None:
    world = _world((MISSING, replace(PASSES, command="ruff")), rules=replace(RULES, person=True))
    world.run()

    finish = world.go_on(person=lambda item: Answered(item, "without"))

    assert finish.result is Result.GREEN
    assert "`pytest` left out by you" in finish.reason


def test_somebody_who_declines_ends_the_run() -> None:
    world = _world((MISSING,), rules=replace(RULES, person=True))
    world.run()

    world.send(Answered(CANNOT_RUN_ITEM, "", approved=False))

    assert world.state.result is Result.CANNOT_RUN


def test_a_run_that_no_gate_command_checked_is_not_green() -> None:
    world = _world(())
    world.ran = 0

    finish = world.run()

    assert (finish.result, finish.exit_code) == (Result.NOT_GREEN, 3)
    assert finish.reason.startswith("finished, nothing checked it")
    world.ran, world.finished = 1, None
    world.send(Continued())
    assert world.run().result is Result.GREEN, "the gate is asked again: there may be commands now"


def test_a_run_that_may_be_unchecked_is_green_and_says_so() -> None:
    world = _world((), rules=replace(RULES, allow_unchecked=True))
    world.ran = 0

    finish = world.run()

    assert finish.result is Result.GREEN
    assert finish.reason.startswith("with nothing that checked it")


def test_a_base_that_fails_is_built_on_by_default() -> None:
    assert _world((FAILS,)).run().result is Result.GREEN


def test_a_base_that_fails_is_asked_about_where_that_is_wanted() -> None:
    world = _world((FAILS,), rules=replace(RULES, red_base="ask"))
    assert world.run().exit_code == 5
    assert not _worked(world)
    assert "2 of 120 tests: a::x, a::y" in world.state.holds[RED_BASE_ITEM].question

    assert world.go_on(person=lambda item: Answered(item, "")).result is Result.GREEN


def test_a_base_that_was_declined_is_asked_about_again() -> None:
    world = _world((FAILS,), (FAILS,), rules=replace(RULES, red_base="ask"))
    world.run()
    world.send(Answered(RED_BASE_ITEM, "", approved=False))
    assert world.state.result is Result.NOT_GREEN

    world.finished = None
    world.send(Continued())

    assert world.run().exit_code == 5
    assert RED_BASE_ITEM in world.state.holds


def test_a_base_that_fails_becomes_tasks_where_that_is_wanted() -> None:
    world = _world((FAILS,), rules=replace(RULES, red_base="fix"))

    assert world.run().result is Result.GREEN

    fix = world.state.tasks[TaskId("T2")]
    assert fix.task.title == "`pytest` fails on the base commit"
    assert fix.task.acceptance[0].command == "pytest"
    assert fix.phase is TaskPhase.MERGED


@pytest.mark.parametrize("seed", range(25))
def test_whatever_the_base_says_nobody_works_unchecked_and_the_run_ends(seed: int) -> None:
    luck = random.Random(seed)
    rules = replace(RULES, person=seed % 2 == 0, red_base=("allow", "ask", "fix")[seed % 3])
    made = tuple(replace(task, acceptance=(Acceptance("", f"check {task.id}"),)) for task in tasks("T1", "T2:T1", "T3"))
    world = World(made, rules=rules, luck=lambda _, n: luck.randrange(n), pick=luck.randrange)

    world.run()  # the world checks each state against what must hold

    assert decode_state(encode_state(world.state)) == world.state
    replayed = RunState(world.state.run_id, "goal", rules)
    for event in world.history:
        replayed, _ = step(replayed, decode_event(*encode_event(event)))
    assert replayed == world.state


def test_a_run_of_an_older_version_is_decided_as_it_was() -> None:
    kind, payload = encode_event(RunStarted())
    state = RunState(World(()).state.run_id, "goal", Rules())
    checkpoint = encode_state(state)
    body = checkpoint["state"]
    assert isinstance(body, dict)
    rules = body["rules"]
    assert isinstance(rules, dict)
    for name in ("check_base", "red_base", "allow_unchecked", "person"):
        del rules[name]
    for name in ("base_checks", "base_rounds", "gates_known", "made_from", "left_out", "red_base_taken"):
        del body[name]

    old = decode_state(checkpoint)

    assert not old.rules.check_base
    _, effects = step(old, decode_event(kind, payload))
    assert not any(isinstance(effect, CheckBase) for effect in effects)


FILES = frozenset({"tests/test_old.py", "tally/__init__.py", "Makefile", "spec/old_spec.rb"})


@pytest.mark.parametrize(
    ("command", "exit_code", "output", "planned", "later"),
    [
        (
            "pytest tests/test_new.py",
            4,
            "ERROR: file or directory not found: tests/test_new.py",
            "tests/test_new.py",
            True,
        ),
        ("pytest tests/test_new.py", 4, "ERROR: file or directory not found: tests/test_new.py", "src/x.py", False),
        ("pytest tests/test_new.py", 127, "bash: line 1: pytest: command not found", "tests/test_new.py", False),
        ("pytest tests/test_new.py", 127, "bash: line 1: pytest: command not found", "**", False),
        (
            "python3 -m unittest tests.test_new",
            1,
            "ERROR: test_new (unittest.loader._FailedTest.test_new)\n"
            "ImportError: Failed to import test module: test_new\nModuleNotFoundError: No module named 'tests.test_new'\n\n"
            "Ran 1 test in 0.000s\n\nFAILED (errors=1)",
            "tests/test_new.py",
            True,
        ),
        (
            "python3 -m unittest tests.test_new",
            1,
            "ModuleNotFoundError: No module named 'requests'",
            "tests/test_new.py",
            False,
        ),
        ("python3 -m unittest tests.test_new", 1, "ModuleNotFoundError: No module named 'tests.test_new'", "**", True),
        (
            "python3 -c 'import tally.new'",
            1,
            "ModuleNotFoundError: No module named 'tally.new'",
            "src/tally/new.py",
            True,
        ),
        ("npx jest new.test.js", 1, "No tests found, exiting with code 1", "new.test.js", True),
        ("npx jest new.test.js", 1, "No tests found, exiting with code 1", "other.js", False),
        ("go test ./new", 1, "stat /workspace/new: directory not found", "new/new.go", True),
        ("node --test new.test.js", 1, "Could not find 'new.test.js'", "new.test.js", True),
        ("./check.sh", 127, "bash: line 1: ./check.sh: No such file or directory", "check.sh", True),
        ("make lint", 2, "make: *** No rule to make target 'lint'.  Stop.", "Makefile", True),
        ("make lint", 2, "make: *** No rule to make target 'lint'.  Stop.", "tally/x.py", False),
        ("pytest -k new tests/test_old.py", 5, "1 deselected in 0.01s", "tests/test_old.py", True),
    ],
)
def test_a_command_that_runs_later_is_told_from_one_that_never_can(
    command: str, exit_code: int, output: str, planned: str, *, later: bool
) -> None:
    ending = read_ending(command, exit_code=exit_code, timed_out=False, output=output)

    assert runs_later(command, ending, planned=[planned], files=FILES, workspace="/workspace") is later


def test_paths_and_modules_are_found_in_a_command() -> None:
    assert named_paths("pytest -q tests/test_a.py::test_b ./src --x=1") == ("tests/test_a.py",)
    assert "tests/test_a.py" in named_paths("python -m unittest tests.test_a.Case")
