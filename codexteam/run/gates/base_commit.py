"""The base commit's own commands, run before anybody is paid to change it."""

from collections.abc import Sequence

from codexteam.core.base_check import has_tests, planned_globs, runs_later
from codexteam.core.command_ending import Ending
from codexteam.core.effects import CheckBase
from codexteam.core.events import BaseCheck, BaseChecked
from codexteam.core.state import RunState
from codexteam.core.text import clean
from codexteam.ports.sandbox import WORKSPACE
from codexteam.run.command_outcome import CommandOutcome, tail
from codexteam.run.context import RunContext
from codexteam.run.gates.ci import baseline, gate_commands

#: What is kept of a command that fails or cannot run: enough to see why.
_OUTPUT_CHARS = 1_500

#: Names of failing tests that are kept of one command.
_NAMES = 50


async def check_base(context: RunContext, effect: CheckBase, state: RunState) -> BaseChecked:
    """Run the gate commands and acceptance commands that nothing is known of yet, and say what each says."""
    if context.environments is not None:
        # what nothing ran in before is chosen anew: what was missing may be there now
        await context.environments.base(again=effect.gates and effect.number > 1)
    # what tasks write in may have tests of its own
    more = context.environments is not None and await context.environments.touch(planned_globs(state))
    gates = await gate_commands(context) if effect.gates or more else ()
    team = context.settings.team
    seconds = min(team.limits.command_seconds, team.gates.timeout_seconds)
    outcomes = await baseline(context, effect.commit, gates, fresh=True)
    if effect.gates and await _helped(context, effect, outcomes):
        gates = await gate_commands(context)
        outcomes = await baseline(context, effect.commit, gates)
    others = [command for command in effect.acceptance if command not in gates]
    accepted = await baseline(context, effect.commit, others, fresh=True, timeout_seconds=seconds)
    files: frozenset[str] = frozenset()
    if any(outcome.ending.ending in {Ending.CANNOT_RUN, Ending.NOTHING_RAN} for outcome in (*outcomes, *accepted)):
        listed = await context.repo.list_files(effect.commit)
        files = frozenset(path.decode("utf-8", "replace") for path, _, _ in listed)
    planned = planned_globs(state)
    checks = tuple(
        [_gate_check(outcome, files) for outcome in outcomes]
        + [_acceptance_check(outcome, planned, files) for outcome in accepted]
    )
    return BaseChecked(effect.number, effect.commit, checks, await _made_from(context, effect))


async def _helped(context: RunContext, effect: CheckBase, outcomes: Sequence[CommandOutcome]) -> bool:
    """Where no gate command runs, see whether an agent finds what they need; return whether they run now."""
    return context.environments is not None and await context.environments.ask_agent(effect.number, outcomes)


async def _made_from(context: RunContext, effect: CheckBase) -> str:
    if context.environments is not None:
        return (await context.environments.base()).made_from
    return await context.engine.made_from(await context.repo.base_source(context.run_id, effect.commit))


def _gate_check(outcome: CommandOutcome, files: frozenset[str]) -> BaseCheck:
    # where there is no test at all, a runner that finds none works as it should
    later = outcome.ending.ending is Ending.NOTHING_RAN and not has_tests(files)
    return _check(outcome, gate=True, later=later)


def _acceptance_check(outcome: CommandOutcome, planned: tuple[str, ...], files: frozenset[str]) -> BaseCheck:
    later = runs_later(outcome.command, outcome.ending, planned=planned, files=files, workspace=WORKSPACE)
    return _check(outcome, gate=False, later=later)


def _check(outcome: CommandOutcome, *, gate: bool, later: bool) -> BaseCheck:
    ending = outcome.ending
    failing = () if ending.ending is Ending.PASSED else tuple(sorted(outcome.failed_tests or ()))
    return BaseCheck(
        outcome.command,
        ending.ending,
        outcome.exit_code,
        reason=ending.reason,
        cause=ending.cause,
        missing=ending.missing,
        executed=ending.executed,
        failed=ending.failed,
        failing=failing[:_NAMES],
        output="" if ending.ending is Ending.PASSED else clean(tail(outcome.output, limit_chars=_OUTPUT_CHARS)),
        gate=gate,
        later=later,
    )
