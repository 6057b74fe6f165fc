"""What the base commit's own commands say before anybody is paid: whole runs, with real sandboxes."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable

import pytest

from codexteam.core.ids import JSONValue
from tests.demo.script import report, run
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL
from tests.e2e.world import World
from tests.scripted_api import ScriptedApi
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(300)]

SANDBOX = '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.limits]\nmax_scouts = 0\n'
#: Of a runner that is nowhere.
MISSING = "no-such-runner --quick"
TESTS = "python3 -m unittest discover -q -s tests -t ."


def _team(*commands: str, more: str = "") -> str:
    return f'{SANDBOX}[codexteam.gates]\nenabled = ["ci_runner"]\ncommands = {json.dumps(list(commands))}\n{more}'


def _asked(api: ScriptedApi, purpose: str) -> int:
    return sum(request.call.purpose == purpose for request in api.requests)


def _with_acceptance(*commands: str) -> Callable[[Call], Played]:
    def play(call: Call) -> Played:
        if call.purpose != "plan":
            return one_task.play(call)
        plan = one_task.plan()
        tasks = plan["tasks"]
        assert isinstance(tasks, list)
        only = tasks[0]
        assert isinstance(only, dict)
        acceptance: list[JSONValue] = [{"criterion": "it works", "command": command} for command in commands]
        return [message({**plan, "tasks": [{**only, "acceptance": acceptance}]})]

    return play


def _status(world: World, name: str, key: str) -> dict[str, dict[str, object]]:
    """Give a list of `status --json`, by a field of its entries."""
    status = json.loads(world.run("status", "--json").out.splitlines()[0])
    return {entry[key]: entry for entry in status[name]}


def test_a_repository_whose_tests_cannot_run_costs_no_implementer(make: MakeWorld) -> None:
    commands = [MISSING, "python3 -m no_such_module_x", "make no-such-target", "pytest --no-such-option"]
    world, api = make(_team(*commands), one_task.play)

    ended = world.run("run", GOAL)

    assert ended.code == 6, ended.out + ended.err
    assert _asked(api, "implement") == 0
    assert [command for command in commands if command not in ended.out] == []
    checks = _status(world, "baseline", "command")
    assert {command: checks[command]["ending"] for command in commands} == dict.fromkeys(commands, "cannot_run")
    assert "this host's own programs" in ended.out
    assert "codexteam resume" in ended.out


def test_resume_tries_again_once_the_environment_is_mended(make: MakeWorld) -> None:
    world, api = make(_team(MISSING), one_task.play)
    assert world.run("run", GOAL).code == 6
    assert world.run("resume").code == 6, "nothing was mended"
    assert _asked(api, "implement") == 0

    ended = world.run("resume", "-c", f'codexteam.gates.commands=["{TESTS}"]')

    assert ended.code == 0, ended.out + ended.err


def test_an_acceptance_command_that_never_can_run_costs_no_implementer(make: MakeWorld) -> None:
    world, api = make(_team(TESTS), _with_acceptance("python3 -m unittest tests.test_markdown", MISSING))

    ended = world.run("run", GOAL)

    assert ended.code == 6, ended.out + ended.err
    assert _asked(api, "implement") == 0
    checks = _status(world, "baseline", "command")
    assert checks["python3 -m unittest tests.test_markdown"]["later"] is True
    assert checks[MISSING]["later"] is False


#: Without it the tests of the repository's CI are the gates.
AS_IT_COMES = ("[codexteam.limits]", "build_environment = false\n[codexteam.limits]")


def test_a_repositorys_own_tests_are_its_gates(make: MakeWorld) -> None:
    world, _ = make(_team(), one_task.play)

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert f"environment: its tests run: {TESTS}" in ended.err
    assert _status(world, "baseline", "command")[TESTS]["ending"] == "passed"


def test_a_run_that_no_gate_command_checked_is_not_green(make: MakeWorld) -> None:
    world, _ = make(_team().replace(*AS_IT_COMES), one_task.play)

    ended = world.run("run", GOAL)

    assert ended.code == 3, ended.out + ended.err
    assert "finished, nothing checked it" in ended.out
    assert world.git("rev-parse", world.branch), "what was merged is there all the same"
    again = world.run("resume", "-c", f'codexteam.gates.commands=["{TESTS}"]')
    assert again.code == 0, again.out + again.err


def test_a_run_that_may_be_unchecked_is_green_and_says_so(make: MakeWorld) -> None:
    world, _ = make(_team(more="allow_unchecked = true\n").replace(*AS_IT_COMES), one_task.play)

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert "green, with nothing that checked it" in ended.out


def _break_a_test(world: World) -> None:
    (world.repository / "tests" / "test_red.py").write_text(
        "import unittest\n\nclass Red(unittest.TestCase):\n    def test_red(self):\n        self.assertEqual(1, 2)\n"
    )
    world.git("add", "tests/test_red.py")
    world.git("commit", "-qm", "red")


def test_what_failed_before_the_run_is_named_and_counted(make: MakeWorld) -> None:
    world, _ = make(_team(TESTS), one_task.play)
    _break_a_test(world)

    ended = world.run("run", GOAL)

    assert ended.code == 0, ended.out + ended.err
    assert "failed before the run: 1 of " in ended.out
    assert "test_red" in ended.out


def test_a_red_base_is_asked_about_where_that_is_wanted(make: MakeWorld) -> None:
    world, api = make(_team(TESTS, more='red_base = "ask"\n'), one_task.play)
    _break_a_test(world)

    ended = world.run("run", GOAL)

    assert ended.code == 5, ended.out + ended.err
    assert _asked(api, "implement") == 0
    assert world.run("approve", "red-base", "--resume").code == 0


def test_a_red_base_becomes_tasks_where_that_is_wanted(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "implement" and call.task_id == "T2":
            return [run("rm tests/test_red.py")] if call.turn == 1 else [report("The test was wrong.")]
        return one_task.play(call)

    world, _ = make(_team(TESTS, more='red_base = "fix"\n'), play)
    _break_a_test(world)

    ended = world.run("run", GOAL)

    tasks = _status(world, "tasks", "task")
    assert "fails on the base commit" in str(tasks["T2"]["title"]), ended.out + ended.err


def _at_a_terminal(world: World, *arguments: str) -> tuple[int, str]:
    """Run a command whose both ends are a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "codexteam", *arguments],
        cwd=world.repository,
        env=world.environment(TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            said += chunk
    os.close(ours)
    return process.returncode, said.decode(errors="replace")


def test_somebody_at_a_terminal_is_asked_about_commands_that_cannot_run(make: MakeWorld) -> None:
    world, api = make(_team(TESTS, MISSING), one_task.play)

    code, said = _at_a_terminal(world, "run", GOAL)

    assert code == 5, said
    assert _asked(api, "implement") == 0
    assert "codexteam answer baseline again" in said
    assert world.run("answer", "baseline", "again", "--resume").code == 6, "still not there, and nobody at a terminal"
    ended = world.run("answer", "baseline", "without")
    assert ended.code != 0, "nothing is asked any more"

    code, said = _at_a_terminal(world, "resume")
    assert code == 5, said
    ended = world.run("answer", "baseline", "without", "--resume")

    assert ended.code == 0, ended.out + ended.err
    assert _asked(api, "implement") > 0
    assert f"`{MISSING}` left out by you" in ended.out
