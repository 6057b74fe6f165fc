"""How a set-up's steps run, and how each ends that does not."""

import asyncio
from pathlib import Path

import pytest

from codexteam.config.settings import NetworkPolicy, SandboxLimits
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose
from codexteam.environment.plan import Ecosystem, Offer, SetupPlan, SetupStep, TestCommand, Toolchain
from codexteam.ports.environments import SetupOrder
from codexteam.ports.sandbox import BaseSource, Command, CommandResult
from codexteam.run.command_environments import SetupFailed
from codexteam.run.environment.setup_order import setup_limits
from codexteam.run.environment.setup_steps import SetupDone, SetupLog, SetupSteps, command_of
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, ended
from tests.unit.run.environment.set_up_world import RUN

INSTALL = SetupStep("npm ci", "package-lock.json", Ecosystem.NODE)


def _killed(**how: object) -> CommandResult:
    usual = {
        "exit_code": None,
        "signal": None,
        "timed_out": False,
        "output": b"line\n",
        "output_bytes": 5,
        "wall_seconds": 3.0,
    }
    return CommandResult(**{**usual, **how})  # type: ignore[arg-type]


class Machine:
    """Runs a plan's steps in a fake; `asked` has all of its commands."""

    def __init__(self, **answers: CommandResult) -> None:
        self.answers = answers
        self.asked: list[Command] = []
        self.told: list[tuple[str, JSONObject]] = []
        self.written = ""
        self.clock = FakeClock()
        self.step_seconds = 0.0
        self.engine = FakeEngine(otherwise=self._answer)

    def _answer(self, _sandbox: FakeSandbox, command: Command) -> CommandResult:
        self.asked.append(command)
        text = command.stdin.decode() or " ".join(command.argv)
        self.clock.advance(self.step_seconds)
        return next((result for word, result in self.answers.items() if word in text), ended())

    async def run(self, plan: SetupPlan, *, has_root: bool = False, seconds: float = 600.0) -> SetupDone | SetupFailed:
        self.engine.environments.has_root = has_root
        order = SetupOrder(
            "key",
            AgentKey(RUN, "ci_runner", Purpose.CI, "setup.key", 1),
            BaseSource(CommitId("a" * 40), Path("/nowhere/base.tar"), CommitId("a" * 40)),
            NetworkPolicy(),
            setup_limits(SandboxLimits()),
        )
        sandbox = await self.engine.environments.set_up(order)
        log = SetupLog(self._write, str)
        return await SetupSteps(
            sandbox, plan, self.clock, seconds, log, lambda kind, fields: self.told.append((kind, fields))
        ).run()

    def _write(self, text: str) -> Path:
        self.written = text
        return Path("/run/environment/key.log")

    @property
    def scripts(self) -> list[str]:
        return [command.stdin.decode().strip() for command in self.asked if command.stdin]


def _plan(*steps: SetupStep, **needs: object) -> SetupPlan:
    return SetupPlan(needs=Offer(tuple(steps), **needs))  # type: ignore[arg-type]


async def test_steps_run_in_order_each_in_its_folder_with_its_variables() -> None:
    machine = Machine()
    second = SetupStep("make gen", "ci.yml", Ecosystem.OTHER, folder="web", variables={"A": "1"})

    done = await machine.run(_plan(INSTALL, second))

    assert isinstance(done, SetupDone)
    assert machine.scripts == ["npm ci", "make gen"]
    steps = [command for command in machine.asked if command.stdin]
    assert (steps[1].cwd, dict(steps[1].environment)) == ("/work/web", {"A": "1"})
    assert [(step.command, step.exit_code) for step in done.steps] == [("npm ci", 0), ("make gen", 0)]
    assert [fields["number"] for kind, fields in machine.told if kind == "environment.step"] == [1, 2]


async def test_the_first_failure_ends_a_set_up_and_says_where_the_log_is() -> None:
    machine = Machine(npm=ended(1, "npm error ERESOLVE\n"))

    failed = await machine.run(_plan(INSTALL, SetupStep("make", "Makefile", Ecosystem.OTHER)))

    assert isinstance(failed, SetupFailed)
    assert failed.reason == "the set-up's step `npm ci` (package-lock.json) ended with exit code 1"
    assert (failed.output, failed.log) == ("npm error ERESOLVE", "/run/environment/key.log")
    assert "npm error ERESOLVE" in machine.written
    assert machine.scripts == ["npm ci"]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (_killed(timed_out=True), "did not end within the 600 s that setup_seconds"),
        (_killed(killed_for_output=True, output_bytes=5_000_000_000), "printed 5,000,000,000 bytes"),
        (_killed(exit_code=1, output=b"tar: write error: No space left on device"), "filled the disk"),
        (_killed(signal=9), "was killed by signal 9"),
        (_killed(), "exit code unknown"),
    ],
)
async def test_a_step_that_runs_wild_ends_in_one_clear_error(result: CommandResult, words: str) -> None:
    failed = await Machine(npm=result).run(_plan(INSTALL))

    assert isinstance(failed, SetupFailed)
    assert words in failed.reason


async def test_steps_have_the_time_that_those_before_left() -> None:
    machine = Machine()
    machine.step_seconds = 250.0
    steps = [SetupStep(f"step {number}", "x", Ecosystem.OTHER) for number in range(4)]

    failed = await machine.run(_plan(*steps))

    assert isinstance(failed, SetupFailed)
    assert "the 600 s that setup_seconds allows were over" in failed.reason
    given = [command.timeout_seconds for command in machine.asked if command.stdin]
    assert given == [350.0, 100.0]


async def test_an_optional_step_that_fails_is_reported_and_left_behind() -> None:
    machine = Machine(extra=ended(2))
    optional = SetupStep("get extra", "ci.yml step 2", Ecosystem.OTHER, optional=True)

    done = await machine.run(_plan(optional, INSTALL))

    assert isinstance(done, SetupDone)
    assert done.notices == ("ci.yml step 2: `get extra` ended with exit code 2; the environment is built without it",)
    assert machine.scripts == ["get extra", "npm ci"]


async def test_a_step_for_root_is_left_out_without_root_and_its_packages_named() -> None:
    machine = Machine(dpkg=ended(0, "libpq-dev\n"))
    step = SetupStep("apt-get install -y libpq-dev git", "ci.yml step 1", Ecosystem.NATIVE, needs_root=True)

    done = await machine.run(_plan(step, INSTALL, system_packages=("libpq-dev", "git")))

    assert isinstance(done, SetupDone)
    assert machine.scripts == ["npm ci"]
    (notice,) = done.notices
    assert "libpq-dev;" in notice
    assert "git" not in notice
    assert done.steps[0].exit_code is None


async def test_with_root_it_runs() -> None:
    machine = Machine()
    step = SetupStep("apt-get install -y git", "ci.yml", Ecosystem.NATIVE, needs_root=True)

    await machine.run(_plan(step), has_root=True)

    assert machine.scripts == ["apt-get install -y git"]


async def test_a_missing_toolchain_is_one_line_with_who_asks_and_what_to_do() -> None:
    machine = Machine(**{"command -v": ended(0, "go\n")})
    wanted = Toolchain(Ecosystem.GO, "1.22", "go.mod", ("go",), "install Go 1.22 or newer")

    done = await machine.run(_plan(INSTALL, toolchains=(wanted,)))

    assert isinstance(done, SetupDone)
    assert done.notices == (
        "the toolchain go 1.22, which go.mod asks for is missing: there is no `go`; install Go 1.22 or newer",
    )


async def test_tracked_files_that_a_set_up_changed_are_named() -> None:
    machine = Machine(**{"git status": ended(0, " M package-lock.json\n D a.txt\n")})

    done = await machine.run(_plan(INSTALL))

    assert isinstance(done, SetupDone)
    assert done.notices == ("the set-up changed tracked files, which is not kept: package-lock.json, a.txt",)


async def test_a_test_command_is_warmed_up_whatever_comes_of_it() -> None:
    machine = Machine(mvn=ended(1))
    test = TestCommand("mvn -B test", "pom.xml", warm_up=True)

    done = await machine.run(_plan(INSTALL, test_commands=(test, TestCommand("make test", "Makefile"))))

    assert isinstance(done, SetupDone)
    lines = [command.argv[2] for command in machine.asked if command.argv[0] == "bash"]
    assert lines == ["mvn -B test"]


async def test_steps_of_one_group_run_at_the_same_time() -> None:
    at_once: list[str] = []
    most: list[int] = []

    async def slowly(_sandbox: FakeSandbox, command: Command) -> CommandResult:
        if command.stdin:
            at_once.append("x")
            most.append(len(at_once))
            await asyncio.sleep(0)
            at_once.pop()
        return ended()

    machine = Machine()
    machine.engine.otherwise = slowly
    grouped = [SetupStep(f"part {number}", "devcontainer.json", Ecosystem.OTHER, group="g") for number in range(3)]

    await machine.run(_plan(*grouped, INSTALL))

    assert most == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash -eo pipefail {0}", 'exec bash -eo pipefail "$script" <'),
        ("python {0}", 'exec python "$script" <'),
        ("/bin/sh {0}", 'exec /bin/sh "$script" <'),
        ("runner --file={0}", 'exec runner --file="$script" <'),
    ],
)
def test_a_step_runs_by_its_own_shell_with_nothing_to_read(shell: str, words: str) -> None:
    command = command_of(SetupStep("echo a", "x", Ecosystem.OTHER, shell=shell), timeout_seconds=1.0)

    assert words in command.argv[2]
    assert command.argv[2].endswith("< /dev/null")
    assert command.stdin == b"echo a\n"
