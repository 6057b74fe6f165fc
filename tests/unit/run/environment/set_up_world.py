"""A run among fakes whose repository needs an environment: what its steps and gate commands return is a function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.app.compose import build_environments
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import GateSettings, SandboxSettings, Settings
from codexteam.core.ids import CommitId, JSONObject, RunId
from codexteam.core.redaction import Redactor
from codexteam.ports.repo import Identity
from codexteam.ports.sandbox import Command, CommandResult
from codexteam.run.assignment import AgentFailure, AnswerT, Assignment, Report
from codexteam.run.context import RunContext
from codexteam.run.environment.commit_environments import CommitEnvironments
from codexteam.run.environment.setup_order import SetupInputs
from codexteam.run.environment.several_environments import SeveralEnvironments
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, FakeSetupSandbox, ended
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")
#: A Python project with steps for agents besides: two plans.
TWO_PLANS = {
    "requirements.txt": b"requests\n",
    "tests/test_x.py": b"def test_x(): pass\n",
    ".github/workflows/copilot-setup-steps.yml": (
        b"jobs:\n  copilot-setup-steps:\n    runs-on: ubuntu-latest\n    steps:\n      - run: ./prepare.sh\n"
    ),
}
ONE_PLAN = {name: data for name, data in TWO_PLANS.items() if not name.startswith(".github")}
#: Its gate command.
TESTS = "python -m pytest"
NOT_FOUND = ended(127, "bash: line 1: python: command not found\n")
PASSED = ended(0, "1 passed in 0.01s\n")


@cache
def _settings(folder: Path) -> Settings:
    environment = {"CODEX_HOME": str(folder), "HOME": str(folder)}
    return load_settings(LoadRequest(folder, environment, system_folder=folder / "none"))


class NoAgents:
    """Nobody who could be asked."""

    async def run(self, _assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        return AgentFailure("there is no model")


@dataclass
class SetUpWorld:
    """`steps` has the script of every step that ran, `told` what was reported."""

    folder: Path
    files: Mapping[str, bytes] = field(default_factory=lambda: ONE_PLAN)
    on_step: Callable[[str], CommandResult] = lambda _script: ended()
    """What a step's script returns."""
    on_gate: Callable[[str, FakeSandbox], CommandResult] = lambda _line, _sandbox: PASSED
    """What a gate command returns in a sandbox."""
    quiet: Callable[[Command], CommandResult] = lambda _command: ended()
    """What set-ups ask beside their steps."""
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    gates: tuple[str, ...] = ()
    inputs: SetupInputs = field(default_factory=SetupInputs)
    steps: list[str] = field(default_factory=list)
    told: list[tuple[str, JSONObject]] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.engine = FakeEngine(otherwise=self._answer)
        self.repo = FakeRepo(self.folder / "repo", self.files)
        self.store = MemoryStore()

    def _answer(self, sandbox: FakeSandbox, command: Command) -> CommandResult:
        if command.stdin:
            script = command.stdin.decode()
            self.steps.append(script)
            return self.on_step(script)
        if command.argv[0] == "bash":
            return self.on_gate(command.argv[2], sandbox)
        return self.quiet(command)

    async def begin(self) -> CommitEnvironments:
        """Begin a session of the run."""
        environments = build_environments(await self.context(), self.inputs)
        assert isinstance(environments, CommitEnvironments)
        environments.context.environments = environments
        return environments

    async def begin_several(self, *names: str, system: tuple[str, ...] = ()) -> SeveralEnvironments:
        """Begin a session of a run in several repositories."""
        environments = build_environments(await self.context(*names, system=system), self.inputs)
        assert isinstance(environments, SeveralEnvironments)
        environments.context.environments = environments
        return environments

    async def context(self, *repositories: str, system: tuple[str, ...] = ()) -> RunContext:
        """Make what a session of the run works with."""
        await self.repo.fetch_base(RUN, self.repo.head)
        settings = _settings(self.folder)
        team = replace(settings.team, sandbox=self.sandbox, gates=GateSettings(commands=self.gates, system=system))
        redactor = Redactor(self.inputs.credentials)
        context = RunContext(
            RUN,
            self.repo.head,
            replace(settings, team=team),
            self.repo,
            self.store,
            self.engine,
            self.clock,
            DiskRunFiles(self.folder, RUN, plan_root=self.folder, redact=redactor.redact),
            report=lambda kind, fields: self.told.append((kind, fields)),
            redactor=redactor,
            repositories=repositories,
        )
        context.agents = NoAgents()
        return context

    async def commit(self, **changes: bytes | None) -> CommitId:
        """Make a commit on the base; `None` deletes. Names have `__` for `/` and `_dot_` for a dot."""
        named = {name.replace("__", "/").replace("_dot_", "."): data for name, data in changes.items()}
        files = {**self.files, **named}
        other = FakeRepo(self.folder / "repo", {name: data for name, data in files.items() if data is not None})
        # objects are named by their content: those of one fake are those of the other
        self.repo._blobs |= other._blobs
        self.repo._trees |= other._trees
        tree = await other.tree_of(other.head)
        return await self.repo.commit(tree, (self.repo.head,), "change", Identity("a", "a@example.org", 1))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]

    def fields(self, kind: str) -> JSONObject:
        """The last fact of a kind."""
        return [fields for told, fields in self.told if told == kind][-1]

    @property
    def set_ups(self) -> list[FakeSetupSandbox]:
        return self.engine.environments.set_ups

    def in_environment(self, sandbox: FakeSandbox) -> bool:
        """Whether a sandbox has an environment."""
        return bool(sandbox.spec.environment_key)
