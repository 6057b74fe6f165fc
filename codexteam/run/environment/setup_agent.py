"""The last resort: an agent looks for a script that makes the tests run; it counts only if the script alone does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codexteam.core.answers import SetupScript
from codexteam.core.base_check import has_tests
from codexteam.core.budget import setup_limits
from codexteam.core.budget_amounts import short_amount
from codexteam.core.budget_scope import option
from codexteam.core.command_ending import Cause, Ending
from codexteam.core.ids import JSONValue, Purpose
from codexteam.core.text import clean_line
from codexteam.environment.plan import Ecosystem, SetupPlan, SetupStep, Source, SourceKind, TestCommand
from codexteam.environment.registries import registry_hosts
from codexteam.ports.environments import Environment
from codexteam.run import prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment
from codexteam.run.command_environments import SetupFailed
from codexteam.run.command_outcome import CommandOutcome, tail
from codexteam.run.context import RunContext
from codexteam.run.environment.builder import EnvironmentBuilder
from codexteam.run.environment.setup_order import setup_order
from codexteam.run.remembered import ChosenEnvironment

#: Turns that are worth it: more is a person's work.
_MAX_TURNS = 40
#: What a set-up can cure; a wrong option or a path that is not there is the command's own.
_CURABLE = frozenset(
    {Cause.PROGRAM, Cause.MODULE, Cause.COLLECTION, Cause.NATIVE, Cause.TOOLCHAIN, Cause.NETWORK, Cause.UNKNOWN}
)
_EVIDENCE_CHARS = 4_000
#: Where scripts are kept, in the run's folder.
_SCRIPTS = "environment"


def agent_plan(like: SetupPlan, script: str, test_command: str, repository: str = "") -> SetupPlan:
    """Return the plan that a script is: what the repository's own plan sets and reads, and this one step.

    Of several repositories `repository` is the one that it is for, and its test command works in that one's folder.
    """
    reads = tuple(dict.fromkeys(path for step in like.needs.steps for path in step.reads))
    own = test_command.removeprefix(f"cd {repository} && ") if repository else test_command
    step = SetupStep(script, "the set-up agent's script", Ecosystem.OTHER, reads=reads)
    needs = replace(
        like.needs,
        steps=(step,),
        test_commands=(TestCommand(own, "the set-up agent", repository),) if own else (),
        hosts=tuple(dict.fromkeys((*like.needs.hosts, *registry_hosts(like.ecosystems)))),
        system_packages=(),
        notices=(),
    )
    source = Source(SourceKind.AGENT, "the set-up agent's script", used=True, why="no other set-up made the tests run")
    return SetupPlan((source,), needs)


def may_help(outcomes: Sequence[CommandOutcome], files: Sequence[str]) -> bool:
    """Return whether a set-up may be what is missing: nothing ran, for a reason that installing something cures."""
    if not outcomes:
        return has_tests(files)
    endings = [outcome.ending for outcome in outcomes]
    return all(ending.ending is Ending.CANNOT_RUN and ending.cause in _CURABLE for ending in endings)


@dataclass(frozen=True, slots=True)
class BuiltScript:
    """An agent's script that succeeds in a fresh checkout; whether the gate commands run after it is not yet known."""

    answer: SetupScript
    path: str
    """Where the user finds it."""
    plan: SetupPlan
    made: Environment


@dataclass(frozen=True, slots=True)
class SetupTask:
    """What a set-up agent is asked for."""

    context: RunContext
    builder: EnvironmentBuilder
    chosen: ChosenEnvironment
    """What nothing runs in."""
    number: int
    """Its ordinal among the set-up agents of the run."""
    outcomes: Sequence[CommandOutcome]
    repository: str = ""
    """Of several repositories the one that it is about."""


async def built_script(asked: SetupTask) -> BuiltScript | None:
    """Have an agent look for a script, and build what it makes; None, with a notice, where nothing comes of it."""
    context, builder, number = asked.context, asked.builder, asked.number
    base = context.base
    like = (await builder.examine(base)).plans[-1]
    evidence = "\n\n".join(
        f"{outcome.describe()}\n{tail(outcome.output, limit_chars=_EVIDENCE_CHARS)}" for outcome in asked.outcomes
    )
    key = context.key(Purpose.SETUP, attempt=number)
    order = setup_order(
        agent_plan(like, "", ""),
        f"agent-{context.run_id}-{number}",
        agent=key,
        base=await context.repo.base_source(context.run_id, base),
        settings=context.settings.team.sandbox,
        inputs=builder.inputs.without_credentials(),
    )
    prompt = prompts.setup_script(
        evidence, made_from=asked.chosen.made_from, hosts=order.network.hosts, repository=asked.repository
    )
    notice(context, f"no test command runs: an agent looks for a set-up, with up to {_budget_words(context)}")
    assignment = Assignment(key, base, prompt, SetupScript, setup=order, max_turns=_MAX_TURNS)
    async with context.engine.environments.claim(order.key):
        report = await context.agents.run(assignment)
    match report:
        case AgentFailure(reason=reason, budget_scope=scope):
            more = f"; {option(scope)} gives it more" if scope is not None and scope.scope == "setup" else ""
            notice(context, f"the set-up agent found no script: {reason}{more}")
            return None
        case AgentAnswer(answer=answer):
            return await _built(asked, answer, like)


def _budget_words(context: RunContext) -> str:
    limits = setup_limits(context.settings.team.budget)
    return " and ".join(short_amount(unit, limit) for unit, limit in limits.items())


async def _built(asked: SetupTask, answer: SetupScript, like: SetupPlan) -> BuiltScript | None:
    context = asked.context
    if not answer.script.strip():
        notice(context, f"the set-up agent found no script: {answer.summary}")
        return None
    name = f"setup-{asked.repository}.sh" if asked.repository else "setup.sh"
    path = context.files.write(f"{_SCRIPTS}/{name}", answer.script)
    plan = agent_plan(like, answer.script, answer.test_command.strip(), asked.repository)
    made = await asked.builder.build(context.base, plan)
    if isinstance(made, SetupFailed):
        notice(context, f"the set-up agent's script fails in a fresh checkout: {made.reason}; it is {path}")
        return None
    return BuiltScript(answer, str(path), plan, made)


def notice(context: RunContext, text: str) -> None:
    """Report a line that may hold foreign text."""
    said: JSONValue = clean_line(text)
    context.report("notice", {"text": said})
