"""The last resort: a script of an agent's, which counts only if it alone makes the tests run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from codexteam.core.answers import SetupScript
from codexteam.core.budget_amounts import Unit, Usage
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.command_ending import Ending
from codexteam.core.effects import CheckBase
from codexteam.core.events import BaseChecked
from codexteam.core.ids import Purpose, RunId
from codexteam.core.state import Rules, RunState
from codexteam.environment.mirrors import read_registries
from codexteam.ports.sandbox import CommandResult
from codexteam.run.assignment import AgentAnswer, AgentFailure, AgentRunner, AnswerT, Assignment, Report
from codexteam.run.environment.commit_environments import CommitEnvironments
from codexteam.run.environment.setup_order import SetupInputs
from codexteam.run.gates.base_commit import check_base
from codexteam.run.gates.ci import gate_commands
from tests.fakes.fake_sandbox import FakeSandbox, ended
from tests.unit.run.environment.set_up_world import NOT_FOUND, PASSED, TESTS, SetUpWorld

SCRIPT = "pip install --target /opt/codexteam/venv the-runner\n"
OWN_TESTS = "sh run-all-tests.sh"


@dataclass
class OneAgent:
    """Answers with a script; `asked` has what it was asked."""

    script: str = SCRIPT
    test_command: str = OWN_TESTS
    refusal: str = ""
    scope: BudgetScope | None = None
    asked: list[Assignment[SetupScript]] = field(default_factory=list)

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        self.asked.append(cast("Assignment[SetupScript]", assignment))
        if self.refusal:
            return AgentFailure(self.refusal, budget_scope=self.scope)
        answer = cast("AnswerT", SetupScript("The runner was missing.", self.script, self.test_command))
        return AgentAnswer(answer, None, Usage(), 3)


class Helped(SetUpWorld):
    """A world in which tests run only after the agent's script."""

    def runs(self, _line: str, sandbox: FakeSandbox) -> CommandResult:
        kept = self.engine.environments.kept.get(sandbox.spec.environment_key)
        return PASSED if kept is not None and "the set-up agent" in kept.sources[0] else NOT_FOUND


async def _begin(folder: Path, agent: OneAgent, **world: object) -> tuple[Helped, CommitEnvironments]:
    made = Helped(folder, **world)  # type: ignore[arg-type]
    made.on_gate = made.runs
    environments = await made.begin()
    environments.context.agents = cast("AgentRunner", agent)
    return made, environments


async def _checked(environments: CommitEnvironments, number: int = 1) -> BaseChecked:
    effect = CheckBase(number, environments.context.base, (), gates=True)
    return await check_base(environments.context, effect, RunState(RunId("r"), "goal", Rules()))


async def test_a_script_that_makes_the_tests_run_is_the_environment(tmp_path: Path) -> None:
    agent = OneAgent()
    world, environments = await _begin(tmp_path, agent)

    checked = await _checked(environments)

    assert [(check.command, check.ending) for check in checked.checks] == [(OWN_TESTS, Ending.PASSED)]
    assert await gate_commands(environments.context) == (OWN_TESTS,)
    assert world.steps[-1].strip() == SCRIPT.strip()
    assert "commit" in str(world.fields("notice")["text"])
    assert (environments.context.files.folder / "environment" / "setup.sh").read_text() == SCRIPT
    assert agent.asked[0].key.purpose is Purpose.SETUP


async def test_a_later_session_finds_the_scripts_environment_again(tmp_path: Path) -> None:
    agent = OneAgent()
    world, environments = await _begin(tmp_path, agent)
    await _checked(environments)
    key = (await environments.base()).key

    again = await world.begin()

    assert (await again.base()).key == key
    assert len(agent.asked) == 1


async def test_a_script_that_fails_in_a_fresh_checkout_does_not_count(tmp_path: Path) -> None:
    world, environments = await _begin(tmp_path, OneAgent())
    world.on_step = lambda script: ended(1) if "the-runner" in script else ended()

    checked = await _checked(environments)

    assert [(check.command, check.ending) for check in checked.checks] == [(TESTS, Ending.CANNOT_RUN)]
    assert "fails in a fresh checkout" in str(world.fields("notice")["text"])


async def test_a_script_after_which_nothing_runs_does_not_count(tmp_path: Path) -> None:
    world, environments = await _begin(tmp_path, OneAgent())
    world.on_gate = lambda _line, _sandbox: NOT_FOUND

    checked = await _checked(environments)

    assert [check.ending for check in checked.checks] == [Ending.CANNOT_RUN]


async def test_an_agent_that_gives_up_leaves_the_baseline_as_it_is(tmp_path: Path) -> None:
    world, environments = await _begin(tmp_path, OneAgent(refusal="the budget is spent"))

    checked = await _checked(environments)

    assert [check.ending for check in checked.checks] == [Ending.CANNOT_RUN]
    assert "the budget is spent" in str(world.fields("notice")["text"])


async def test_a_spent_set_up_budget_is_said_with_the_option_that_raises_it(tmp_path: Path) -> None:
    scope = BudgetScope("setup", "", Unit.TOKENS, 90_000, 120_000, 100_000)
    world, environments = await _begin(tmp_path, OneAgent(refusal="too little budget left", scope=scope))

    await _checked(environments)

    first, last = [str(fields["text"]) for kind, fields in world.told if kind == "notice"]
    assert first == "no test command runs: an agent looks for a set-up, with up to 1M tokens"
    assert last.endswith("too little budget left; -c codexteam.budget.setup_tokens=120000 gives it more")


async def test_the_users_gate_commands_are_what_a_script_must_make_run(tmp_path: Path) -> None:
    _, environments = await _begin(tmp_path, OneAgent(), gates=("no-such-runner",))

    checked = await _checked(environments)

    assert [(check.command, check.ending) for check in checked.checks] == [("no-such-runner", Ending.PASSED)]


async def test_nobody_is_asked_where_a_gate_command_runs_or_was_meant_otherwise(tmp_path: Path) -> None:
    agent = OneAgent()
    world, environments = await _begin(tmp_path, agent)
    world.on_gate = lambda _line, _sandbox: PASSED
    await _checked(environments)
    usage = ended(4, "ERROR: usage: pytest [options]\npytest: error: unrecognized arguments: --nope\n")
    world.on_gate = lambda _line, _sandbox: usage
    other = await world.begin()
    other.context.agents = cast("AgentRunner", agent)
    await _checked(other, 2)

    assert agent.asked == []


async def test_a_models_commands_and_script_see_no_credentials(tmp_path: Path) -> None:
    secret = "hunter2-of-the-mirror"
    index = f"https://user:{secret}@mirror.example.org/simple"
    inputs = SetupInputs(read_registries({"PIP_INDEX_URL": index, "CARGO_REGISTRY_TOKEN": secret}, {}))
    agent = OneAgent()
    world, environments = await _begin(tmp_path, agent, inputs=inputs)

    await _checked(environments)

    order = agent.asked[0].setup
    assert order is not None
    assert order.variables["PIP_INDEX_URL"] == "https://mirror.example.org/simple"
    assert secret not in f"{dict(order.variables)}{dict(world.set_ups[-1].order.variables)}"
    assert secret in str(dict(world.set_ups[0].order.variables)), "the repository's own set-up has them"
