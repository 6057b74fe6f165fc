"""Which environment a run's commands work in."""

import asyncio
from pathlib import Path

import pytest

from codexteam.config.settings import SandboxSettings
from codexteam.core.command_ending import Ending
from codexteam.core.effects import CheckBase
from codexteam.core.ids import RunId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, RunState, TaskState
from codexteam.environment.mirrors import read_registries
from codexteam.errors import HostLost, SandboxUnavailable, SurroundingsError
from codexteam.ports.environments import Environment
from codexteam.ports.sandbox import CommandResult
from codexteam.run.command_environments import SetupFailed
from codexteam.run.environment.setup_order import SetupInputs
from codexteam.run.gates.base_commit import check_base
from codexteam.run.gates.ci import gate_commands
from codexteam.run.gates.commands import check_commit
from tests.fakes.fake_sandbox import FakeSandbox, ended
from tests.unit.run.environment.set_up_world import NOT_FOUND, ONE_PLAN, PASSED, RUN, TESTS, TWO_PLANS, SetUpWorld

FAILED = ended(1, "E: no such package\n")


async def test_a_repositorys_tests_become_the_gates_once_they_run(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)

    environments = await world.begin()

    chosen = await environments.base()
    assert chosen.ran
    assert await gate_commands(environments.context) == (TESTS,)
    assert chosen.key in world.engine.environments.kept
    assert "set up from python in 4 steps" in chosen.made_from


async def test_gate_commands_run_in_the_environment(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    environments = await world.begin()
    key = (await environments.base()).key

    await check_commit(environments.context, world.repo.head, [TESTS], name="ci.1")

    assert [sandbox.spec.environment_key for sandbox in world.engine.started] == [key, key]


async def test_a_repository_that_needs_nothing_costs_nothing(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, {"README.md": b"Hello.\n"})
    environments = await world.begin()

    chosen = await environments.base()

    assert (chosen.key, chosen.is_empty, chosen.ran) == ("", True, True)
    assert not world.set_ups
    assert not world.engine.started


async def test_a_set_up_that_fails_gives_way_to_the_next_plan(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, TWO_PLANS, on_step=lambda script: FAILED if "prepare.sh" in script else ended())
    environments = await world.begin()

    chosen = await environments.base()

    assert (chosen.kind, chosen.ran) == ("manifests", True)
    assert "a set-up failed: the set-up's step `./prepare.sh`" in chosen.made_from
    log = Path(str(world.fields("environment.failed")["log"]))
    assert "E: no such package" in log.read_text()
    assert len(world.engine.environments.kept) == 1, "nothing of the failed one is kept"


async def test_a_set_up_that_failed_is_left_out_for_a_day(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, TWO_PLANS, on_step=lambda script: FAILED if "prepare.sh" in script else ended())
    await (await world.begin()).base()
    world.steps.clear()
    await world.store.put(f"{RUN}/environment", "base", {})  # the choice of another run

    chosen = await (await world.begin()).base()

    assert chosen.kind == "manifests"
    assert world.steps == []
    assert "it is tried again a day later, or by codexteam env build --rebuild" in chosen.made_from
    for later_seconds, again in ((0.0, True), (100_000.0, False)):
        world.clock.advance(later_seconds)
        await world.store.put(f"{RUN}/environment", "base", {})
        environments = await world.begin()
        environments.again = again
        await environments.base()
        assert any("prepare.sh" in step for step in world.steps)
        world.steps.clear()


async def test_a_plan_in_which_no_gate_runs_gives_way_to_the_next(tmp_path: Path) -> None:
    def gate(_line: str, sandbox: FakeSandbox) -> object:
        made = world.engine.environments.kept[sandbox.spec.environment_key]
        return NOT_FOUND if "copilot" in made.sources[0] else PASSED

    world = SetUpWorld(tmp_path, TWO_PLANS)
    world.on_gate = gate  # type: ignore[assignment]
    environments = await world.begin()

    chosen = await environments.base()

    assert (chosen.kind, chosen.gates) == ("manifests", (TESTS,))


async def test_where_nothing_runs_the_baseline_says_so_and_what_it_was_made_from(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, on_gate=lambda _line, _sandbox: NOT_FOUND)
    environments = await world.begin()
    state = RunState(RunId("r"), "goal", Rules())

    checked = await check_base(environments.context, CheckBase(1, world.repo.head, (), gates=True), state)

    (check,) = checked.checks
    assert (check.command, check.ending) == (TESTS, Ending.CANNOT_RUN)
    assert "set up from python" in checked.made_from


async def test_what_could_not_run_is_chosen_anew_when_it_is_asked_again(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, on_step=lambda _script: FAILED, on_gate=lambda _line, _sandbox: NOT_FOUND)
    environments = await world.begin()
    state = RunState(RunId("r"), "goal", Rules())
    await check_base(environments.context, CheckBase(1, world.repo.head, (), gates=True), state)
    world.on_step = lambda _script: ended()
    world.on_gate = lambda _line, _sandbox: PASSED

    checked = await check_base(environments.context, CheckBase(2, world.repo.head, (), gates=True), state)

    assert [check.ending for check in checked.checks] == [Ending.PASSED]


async def test_the_users_own_setup_does_not_give_way(tmp_path: Path) -> None:
    world = SetUpWorld(
        tmp_path,
        {**TWO_PLANS, "setup.sh": b"exit 1\n"},
        on_step=lambda _script: FAILED,
        sandbox=SandboxSettings(setup="setup.sh"),
    )
    environments = await world.begin()

    with pytest.raises(SurroundingsError, match="no such package") as raised:
        await environments.base()

    assert "its log" in str(raised.value) or "The whole log" in str(raised.value)
    assert len(world.set_ups) == 1


async def test_the_users_gate_commands_decide_which_plan_is_taken(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, gates=("make check",))
    environments = await world.begin()

    assert (await environments.base()).ran
    assert await gate_commands(environments.context) == ("make check",)
    assert {str(command.argv[2]) for sandbox in world.engine.started for command in sandbox.ran} == {"make check"}


async def test_a_second_run_finds_it_and_runs_no_step(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    key = (await (await world.begin()).base()).key
    ran = len(world.steps)

    again = await (await world.begin()).base()

    assert (again.key, len(world.steps), len(world.set_ups)) == (key, ran, 1)


async def test_two_that_want_the_same_build_it_once(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    one, other = await world.begin(), await world.begin()

    first, second = await asyncio.gather(one.base(), other.base())

    assert first.key == second.key
    assert len(world.set_ups) == 1


async def test_work_that_changes_no_manifest_stays_in_the_same_environment(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    environments = await world.begin()
    commit = await world.commit(src__a_dot_py=b"A = 1\n")

    assert await environments.of(commit) == (await environments.base()).key
    assert len(world.set_ups) == 1


async def test_work_that_changes_a_manifest_gets_an_environment_of_its_own(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    environments = await world.begin()
    base = await environments.base()
    commit = await world.commit(requirements_dot_txt=b"requests\nrich\n")

    outcomes = await check_commit(environments.context, commit, [TESTS], name="accept.T1.1")

    assert outcomes[0].ok
    used = world.engine.started[-1].spec.environment_key
    assert used != base.key
    assert await environments.of(commit) == used
    assert len(world.set_ups) == 2


async def test_a_first_manifest_brings_an_environment(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, {"README.md": b"Hello.\n"})
    environments = await world.begin()
    commit = await world.commit(requirements_dot_txt=b"rich\n", tests__test_x_dot_py=b"def test(): pass\n")

    assert await environments.of(commit)


async def test_a_changed_manifest_that_cannot_be_set_up_is_a_failed_acceptance(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    environments = await world.begin()
    base = await environments.base()
    world.on_step = lambda script: FAILED if "requirements" in script else ended()
    commit = await world.commit(requirements_dot_txt=b"no-such-package\n")

    outcomes = await check_commit(environments.context, commit, [TESTS, "true"], name="accept.T1.1")

    assert [outcome.ok for outcome in outcomes] == [False, False]
    assert all(outcome.did_not_run for outcome in outcomes)
    assert "E: no such package" in outcomes[0].output
    assert isinstance(await environments.of(commit), SetupFailed)
    assert await environments.key_for_agent(commit) == base.key, "its agent works in what there is"


async def test_scouts_wait_for_what_is_found_and_not_for_what_is_built(tmp_path: Path) -> None:
    building = asyncio.Event()
    world = SetUpWorld(tmp_path)
    environments = await world.begin()

    async def wait_for_it() -> None:
        await building.wait()

    keep = world.engine.environments.set_up

    async def slowly(order: object) -> object:
        await wait_for_it()
        return await keep(order)  # type: ignore[arg-type]

    world.engine.environments.set_up = slowly  # type: ignore[assignment,method-assign]
    assert await environments.key_for_agent(world.repo.head, wait=False) == ""
    building.set()
    built = (await environments.base()).key

    again = await world.begin()
    assert await again.key_for_agent(world.repo.head, wait=False) == built


async def test_no_sandbox_is_nobodys_fault_and_ends_the_session(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    world.engine.environments.no_room = "no room for it"
    environments = await world.begin()

    with pytest.raises(SandboxUnavailable, match="no room"):
        await environments.base()
    assert all(sandbox.closed for sandbox in world.set_ups)


async def test_credentials_of_registries_are_in_no_log_and_no_fact(tmp_path: Path) -> None:
    secret = "hunter2-of-the-mirror"
    index = f"https://user:{secret}@mirror.example.org/simple"
    world = SetUpWorld(
        tmp_path,
        on_step=lambda _script: ended(1, f"cannot reach {index}\n"),
        inputs=SetupInputs(read_registries({"PIP_INDEX_URL": index}, {})),
    )
    environments = await world.begin()

    chosen = await environments.base()

    assert secret in str(world.set_ups[0].order.variables)
    written = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "mirror.example.org" in written
    assert secret not in f"{written}{world.told}{chosen}"


async def test_a_closed_session_ends_what_is_being_built(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    environments = await world.begin()
    environments.begin()
    await asyncio.sleep(0)

    await environments.close()

    assert all(sandbox.closed for sandbox in world.set_ups)


async def test_after_a_build_what_nobody_used_for_long_is_removed(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    world.engine.environments.put(Environment("old", "the host", 1, 1.0))
    environments = await world.begin()
    await environments.base()

    await environments.close()

    assert "old" not in world.engine.environments.kept


async def test_a_session_that_built_nothing_looks_at_no_other_environment(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, {"README.md": b"Hello.\n"})
    world.engine.environments.put(Environment("old", "the host", 1, 1.0))
    environments = await world.begin()
    await environments.base()

    await environments.close()

    assert "old" in world.engine.environments.kept


#: Two projects of one language, of which the root's covers the other one no further than it knows it.
MONOREPO = {
    **ONE_PLAN,
    "services/billing/requirements.txt": b"stripe\n",
    "services/billing/tests/test_b.py": b"def test_b(): pass\n",
}


async def test_a_folder_that_a_task_touches_is_set_up_and_tested(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, MONOREPO)
    environments = await world.begin()
    first = await environments.base()

    changed = await environments.touch(["services/billing/src/**"])

    chosen = await environments.base()
    assert changed
    assert not any("services/billing" in step for step in world.steps[: len(world.steps) // 2])
    assert (first.gates, chosen.gates) == ((TESTS,), (TESTS, f"cd services/billing && {TESTS}"))
    assert chosen.key != first.key
    assert not await environments.touch(["services/billing/src/**"]), "nothing is built for it again"


async def test_what_tasks_touch_is_known_to_the_next_session(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, MONOREPO)
    environments = await world.begin()
    await environments.touch(["services/billing/src/pay.py"])
    chosen = await environments.base()
    world.steps.clear()

    again = await world.begin()

    assert await again.base() == chosen
    assert not world.steps


async def test_paths_that_touch_no_other_project_change_nothing(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, MONOREPO)
    environments = await world.begin()
    chosen = await environments.base()
    world.steps.clear()

    assert not await environments.touch(["src/**", "**", "tests/test_x.py"])

    assert (await environments.base()).key == chosen.key
    assert not world.steps


async def test_a_touched_folder_that_cannot_be_set_up_leaves_the_base_as_it_was(tmp_path: Path) -> None:
    def gate(line: str, sandbox: FakeSandbox) -> object:
        made = world.engine.environments.kept[sandbox.spec.environment_key]
        return NOT_FOUND if any("billing" in source for source in made.sources) else PASSED

    world = SetUpWorld(tmp_path, MONOREPO)
    world.on_gate = gate  # type: ignore[assignment]
    environments = await world.begin()
    chosen = await environments.base()

    assert not await environments.touch(["services/billing/src/pay.py"])
    told = len(world.told)
    assert not await environments.touch(["services/billing/src/pay.py"])

    assert await environments.base() == chosen
    assert "the folders that the tasks write in are not set up" in str(world.fields("notice")["text"])
    assert len(world.told) == told, "it is tried once"


async def test_a_package_that_a_task_makes_gets_its_environment(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path)
    environments = await world.begin()
    await environments.touch(["services/new/**"])
    chosen = await environments.base()

    commit = await world.commit(
        **{"services__new__requirements.txt": b"stripe\n", "services__new__tests__test_n.py": b""}
    )

    assert await environments.of(commit) not in ("", chosen.key)


async def test_the_plans_paths_are_set_up_before_its_commands_run(tmp_path: Path) -> None:
    world = SetUpWorld(tmp_path, MONOREPO)
    environments = await world.begin()
    task = TaskState(Task(TaskId("T1"), "t", "implementer", paths=("services/billing/**",)))
    state = RunState(RunId("r"), "goal", Rules(), tasks={task.task.id: task})

    checked = await check_base(environments.context, CheckBase(2, world.repo.head, (TESTS,), gates=False), state)

    assert {check.command for check in checked.checks if check.gate} == {TESTS, f"cd services/billing && {TESTS}"}


async def test_a_set_up_on_a_host_that_dies_is_done_again_elsewhere(tmp_path: Path) -> None:
    dying = 2

    def on_step(_script: str) -> CommandResult:
        nonlocal dying
        dying -= 1
        if dying >= 0:
            raise HostLost("host a does not answer")
        return ended()

    world = SetUpWorld(tmp_path, on_step=on_step)
    environments = await world.begin()

    chosen = await environments.base()

    assert chosen.ran
    assert "failed" not in chosen.made_from
    assert [each.closed for each in world.set_ups] == [True] * 3
    assert len([kind for kind, _ in world.told if kind == "notice"]) == 2
