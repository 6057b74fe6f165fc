"""ci_runner: the repository's own checks on the merged commit. The verdict is their exit codes, against the base's."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from codexteam.core.answers import CiAnalysis
from codexteam.core.base_check import red_finding
from codexteam.core.codec import encode_object
from codexteam.core.effects import RunGate
from codexteam.core.events import FailingCommand, GateCommand, GateFinished, Verdict
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import CommitId, GateName, Purpose, TaskId
from codexteam.core.plan_answer import findings_of
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.text import count_of
from codexteam.core.untested import idle_findings
from codexteam.run import prompts
from codexteam.run.assignment import AgentAnswer, Assignment
from codexteam.run.command_environments import SetupFailed
from codexteam.run.command_outcome import CommandOutcome, evidence_of, tail
from codexteam.run.context import JUDGE, RunContext
from codexteam.run.gates.baseline import BLOCKING, CommandFailure, FailedCommand, by_command, judge, needs_rerun
from codexteam.run.gates.commands import check_commit, placed
from codexteam.run.gates.diffs import audited_paths, size_notes, weakened_findings
from codexteam.run.gates.redirecting import gate_file_changes, judged_commit, redirect_findings
from codexteam.run.gates.results import BASELINES, kept_baseline, outcomes_on, result_keys
from codexteam.run.remembered import ChosenEnvironment, CiCommands
from codexteam.system.cancellation import together

CommitT = TypeVar("CommitT")


async def first_red(commits: Sequence[CommitT], is_red: Callable[[CommitT], Awaitable[bool]]) -> CommitT | None:
    """Return the first red commit of a line whose last one is known to be red; None when there is none.

    Asks about log2(n) of them, never about the last. Where red and green alternate, it gives a red commit that
    follows a green one or the line's beginning.

    Args:
        commits: oldest first; what stands before the first is known to be green.
        is_red: judges one commit; asked one at a time, and about no commit twice.
    """
    if not commits:
        return None
    low, high = 0, len(commits) - 1  # commits[high] is red, what stands before commits[low] is green
    while low < high:
        middle = (low + high) // 2
        if await is_red(commits[middle]):
            high = middle
        else:
            low = middle + 1
    return commits[high]


async def gate_commands(context: RunContext) -> tuple[str, ...]:
    """Return what ci_runner runs: what the user configured, else the repository's tests, else what the scouts found.

    The repository's tests come from its manifests and CI files, as far as they ran on the base commit. What nobody saw
    run is the last choice: the baseline then says why it cannot. In several repositories the user's commands over all of
    them come beside these.
    """
    over_all = context.settings.team.gates.system if context.repositories else ()
    return (*await _own_commands(context), *over_all)


async def _own_commands(context: RunContext) -> tuple[str, ...]:
    if context.settings.team.gates.commands:
        return context.settings.team.gates.commands
    chosen = await context.environments.base() if context.environments is not None else ChosenEnvironment()
    if chosen.gates:
        return chosen.gates
    found = await context.recall("scouts", "ci", CiCommands)
    return found.commands if found and found.commands else chosen.offered[:1]


async def baseline(
    context: RunContext,
    base: CommitId,
    commands: Sequence[str],
    *,
    fresh: bool = False,
    timeout_seconds: float | None = None,
    environment_key: str | None = None,
) -> list[CommandOutcome]:
    """Return what the commands return on the base commit; run once for each tree, command and environment, and kept.

    A command that checked nothing, or did not end by itself, is remembered for this session only: it says nothing about
    the next. With `fresh` it is run again even so. With an `environment_key` they run in that one.
    """
    if environment_key is None:
        found: dict[str, CommandOutcome] = {}
        for place in await placed(context, base, commands) if commands else ():
            if isinstance(place.key, SetupFailed):
                outcomes = await check_commit(context, base, place.commands, name="baseline")
            else:
                outcomes = await baseline(
                    context,
                    base,
                    place.commands,
                    fresh=fresh,
                    timeout_seconds=timeout_seconds,
                    environment_key=place.key,
                )
            found.update(by_command(outcomes))
        return [found[command] for command in dict.fromkeys(commands)]
    keys = await result_keys(context, base, commands, environment_key)
    async with context.awaiting(f"{BASELINES}/{key}" for key in keys.values()):
        for key in keys.values() if fresh else ():
            context.base_outcomes.pop(key, None)
        known = {command: await _known_outcome(context, key) for command, key in keys.items()}
        missing = [command for command, outcome in known.items() if outcome is None]
        checked = await check_commit(
            context,
            base,
            missing,
            name="baseline",
            number=next(context.base_sandboxes),
            timeout_seconds=timeout_seconds,
            environment_key=environment_key,
        )
        new = by_command(checked)
        for command, outcome in new.items():
            await _keep_outcome(context, keys[command], outcome)
    return [known[command] or new[command] for command in keys]


async def checked_again(
    context: RunContext, base: CommitId, commands: Sequence[str], *, environment_key: str
) -> list[CommandOutcome]:
    """Run commands on the base commit although it is known what they return there, and keep that in its place.

    Raises:
        SandboxUnavailable: no sandbox can be started.
    """
    keys = await result_keys(context, base, commands, environment_key)
    async with context.awaiting(f"{BASELINES}/{key}" for key in keys.values()):
        number = next(context.base_sandboxes)
        outcomes = await check_commit(
            context, base, commands, name="baseline", number=number, environment_key=environment_key
        )
        for outcome in outcomes:
            await _keep_outcome(context, keys[outcome.command], outcome)
    return outcomes


async def known_baseline(
    context: RunContext, base: CommitId, commands: Sequence[str], *, environment_key: str
) -> list[CommandOutcome | None]:
    """Return what is known of what the commands return on the base commit; nothing is run."""
    keys = await result_keys(context, base, commands, environment_key)
    return [await _known_outcome(context, key) for key in keys.values()]


async def _keep_outcome(context: RunContext, key: str, outcome: CommandOutcome) -> None:
    if outcome.ending.checked:
        await context.store.put(BASELINES, key, encode_object(outcome))
    else:
        context.base_outcomes[key] = outcome


async def _known_outcome(context: RunContext, key: str) -> CommandOutcome | None:
    of_session = context.base_outcomes.get(key)
    if of_session is not None:
        return of_session
    return await kept_baseline(context, key)


async def new_failures(
    context: RunContext, commit: CommitId, commands: Sequence[str], state: RunState, *, name: str
) -> list[FailedCommand]:
    """Return the failures on a commit that block: new against the base, and there again when repeated."""
    judged_on = await judged_commit(context, commands, commit, state)
    judged = await judge_commands(context, judged_on, commands, state, name=name)
    return [failure for failure in judged.failures if failure.kind in BLOCKING]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate commands say of a commit."""

    failures: tuple[FailedCommand, ...] = ()
    ran: int = 0
    """The commands that ran and checked something, whatever came of it."""
    commands: tuple[GateCommand, ...] = ()
    """Each command, and how it ended."""


async def judge_commands(
    context: RunContext, commit: CommitId, commands: Sequence[str], state: RunState, *, name: str
) -> Judged:
    """Run the gate commands on a commit and judge each failure against the base; flaky ones are found by repeating."""
    if not commands or state.base is None:
        return Judged()
    now, before = await together(
        outcomes_on(context, commit, commands, name=name), baseline(context, state.base, commands)
    )
    base = by_command(before)
    failures: list[FailedCommand] = []
    for outcome in now:
        context.report(
            "gate.command",
            {
                "commit": commit,
                "command": outcome.command,
                "exit_code": outcome.exit_code,
                "timed_out": outcome.timed_out,
                "ending": outcome.ending.ending.value,
                "wall_seconds": round(outcome.wall_seconds, 3),
                "reused": outcome.reused,
            },
        )
        reruns: list[CommandOutcome] = []
        if needs_rerun(outcome, base.get(outcome.command)):
            for number in range(context.settings.team.gates.flaky_reruns):
                reruns += await check_commit(context, commit, [outcome.command], name=f"{name}.again{number + 1}")
        failure = judge(outcome, base.get(outcome.command), reruns)
        if failure is not None:
            failures.append(failure)
    commands_run = tuple(_as_ran(outcome) for outcome in now)
    return Judged(tuple(failures), sum(outcome.ending.checked for outcome in now), commands_run)


def _as_ran(outcome: CommandOutcome) -> GateCommand:
    tests = f", {count_of(outcome.ran_tests, 'test')}" if outcome.ran_tests else ""
    ending = outcome.ending
    why = f": {ending.reason}" if not ending.checked and ending.reason else ""
    return GateCommand(outcome.command, outcome.ok and ending.checked, f"{outcome.how_it_ended}{tests}{why}")


async def found_without_model(
    context: RunContext, commands: Sequence[str], commit: CommitId, state: RunState
) -> tuple[Finding, ...]:
    """Return what was done to tests, and to what decides on the gates, since the base commit, and what checks nothing."""
    changed = await gate_file_changes(context, commands, commit, state)
    redirected = redirect_findings(changed, review=state.rules.review)
    merged = (known.task for known in state.tasks.values() if known.phase is TaskPhase.MERGED)
    weakened = await weakened_findings(context, commit, state)
    return (*idle_findings(merged), *await size_notes(context, state), *redirected, *weakened)


async def run(context: RunContext, effect: RunGate, state: RunState) -> GateFinished:
    """Judge a commit by its exit codes; ask a model only for the cause of what is new."""
    commands = await gate_commands(context)
    found = await found_without_model(context, commands, effect.commit, state)
    if not commands:
        return _finish(effect, found, note="no gate commands are configured and the scouts found none")
    judged_on = await judged_commit(context, commands, effect.commit, state)
    judged = await judge_commands(context, judged_on, commands, state, name=f"ci.{effect.round}")
    failures = judged.failures
    failing = failing_commands(failures)
    fix = state.rules.red_base == "fix" or await audited_paths(context, state) is not None
    found = (*found, *_fewer(failures, found), *_not_run(failures, state), *_old(failures, fix=fix), *_notes(failures))
    new = [failure for failure in failures if failure.kind is CommandFailure.NEW]
    if not new:
        return _finish(effect, found, note=_note(failures), failing=failing, judged=judged)
    guilty = {failure.outcome.command: await _guilty(context, effect, state, failure) for failure in new}
    causes = await _causes(context, effect, state, new, guilty)
    return _finish(effect, (*causes, *found), failing=failing, judged=judged)


async def _guilty(context: RunContext, effect: RunGate, state: RunState, failure: FailedCommand) -> str | None:
    """Find the merge that turned a command red, by bisecting the batch; None if it cannot be determined."""
    if len(effect.merges) < 2:
        return effect.merges[0][0] if effect.merges else None
    base = await baseline(context, state.base, [failure.outcome.command]) if state.base else []

    async def is_red(merge: tuple[str, CommitId]) -> bool:
        name, merged = merge
        commit = await judged_commit(context, [failure.outcome.command], merged, state)
        outcomes = await outcomes_on(context, commit, [failure.outcome.command], name=f"bisect.{effect.round}.{name}")
        found = judge(outcomes[0], base[0] if base else None)
        return found is not None and found.kind is CommandFailure.NEW

    # the judged commit itself is red: that is why somebody is looked for
    guilty = await first_red(effect.merges, is_red)
    return guilty[0] if guilty is not None else None


async def _causes(
    context: RunContext, effect: RunGate, state: RunState, new: Sequence[FailedCommand], guilty: dict[str, str | None]
) -> tuple[Finding, ...]:
    text = evidence_of(failure.outcome for failure in new)
    merges = "\n".join(f"{name} {_title(state, name)}" for name, _ in effect.merges)
    key = context.key(Purpose.CI, attempt=effect.round)
    report = await context.agents.run(
        Assignment(key, effect.commit, prompts.ci(text, merges=merges), CiAnalysis, standing=JUDGE)
    )
    said = findings_of(report.answer.findings, GateName.CI) if isinstance(report, AgentAnswer) else ()
    # that it fails is our own observation: whatever the model calls it, it must be fixed
    must = [replace(finding, severity=Severity.MUST_FIX) for finding in said]
    return tuple(must) or tuple(_observed(failure, guilty[failure.outcome.command], state) for failure in new)


def _observed(failure: FailedCommand, guilty: str | None, state: RunState) -> Finding:
    tests = f" ({', '.join(failure.tests[:5])})" if failure.tests else ""
    known = state.tasks.get(TaskId(guilty)) if guilty else None
    blame = f"\n\nIt fails since {guilty} ({_title(state, guilty)}) was merged." if guilty else ""
    detail = f"{failure.outcome.describe()}{blame}\n\n{tail(failure.outcome.output)}"
    category = Category.REGRESSION if failure.tests else Category.CI
    title = f"`{failure.outcome.command}` fails{tests}"
    return Finding(title, detail, Severity.MUST_FIX, category, paths=known.task.paths if known else ())


def _notes(failures: Sequence[FailedCommand]) -> tuple[Finding, ...]:
    """Return what does not block and is worth knowing: flaky commands."""
    return tuple(
        Finding(
            f"`{failure.outcome.command}` is flaky", failure.outcome.describe(), Severity.SHOULD_FIX, Category.TESTS
        )
        for failure in failures
        if failure.kind is CommandFailure.FLAKY
    )


def _fewer(failures: Sequence[FailedCommand], found: Sequence[Finding]) -> Iterator[Finding]:
    """Return a finding for each command that passed with fewer tests than before; a task may have been to remove some."""
    removed = [one for one in found if one.category is Category.TESTS and "removed" in one.title]
    was_asked = bool(removed) and all(one.severity is not Severity.MUST_FIX for one in removed)
    for failure in failures:
        if failure.kind is CommandFailure.FEWER:
            yield Finding(
                f"`{failure.outcome.command}` passes without tests that it ran before",
                f"{failure.why}\n\n{tail(failure.outcome.output)}",
                Severity.SHOULD_FIX if was_asked else Severity.MUST_FIX,
                Category.TESTS,
            )


def _not_run(failures: Sequence[FailedCommand], state: RunState) -> Iterator[Finding]:
    """Return a finding for each command that ran neither here nor before: it has not passed, unless a person let it go."""
    for failure in failures:
        if failure.kind is CommandFailure.UNCHECKED and failure.outcome.command not in state.left_out:
            yield Finding(
                f"`{failure.outcome.command}` does not run, so it has not passed",
                f"{failure.outcome.describe()}\n\n{tail(failure.outcome.output)}",
                Severity.MUST_FIX,
                Category.CI,
            )


def _old(failures: Sequence[FailedCommand], *, fix: bool) -> Iterator[Finding]:
    """Return a finding for each failure that was there before, where those are to be fixed."""
    for failure in failures:
        if failure.kind is CommandFailure.OLD and fix:
            yield red_finding(
                failure.outcome.command, f"{failure.outcome.describe()}\n\n{tail(failure.outcome.output)}"
            )


def _note(failures: Sequence[FailedCommand]) -> str:
    old = [failure.outcome.command for failure in failures if failure.kind is CommandFailure.OLD]
    said = f"failed on the base commit already: {', '.join(f'`{command}`' for command in old)}" if old else ""
    unchecked = [failure.outcome.command for failure in failures if failure.kind is CommandFailure.UNCHECKED]
    idle = f"did not run: {', '.join(f'`{command}`' for command in unchecked)}" if unchecked else ""
    return "; ".join(part for part in (said, idle) if part)


def failing_commands(failures: Sequence[FailedCommand]) -> tuple[FailingCommand, ...]:
    """Return the report on commands that fail; one that passed when it was run again does not fail."""
    return tuple(
        FailingCommand(failure.outcome.command, failure.why, as_before=failure.kind is CommandFailure.OLD)
        for failure in failures
        if failure.kind is not CommandFailure.FLAKY
    )


def _finish(
    effect: RunGate,
    findings: Sequence[Finding],
    note: str = "",
    failing: tuple[FailingCommand, ...] = (),
    judged: Judged | None = None,
) -> GateFinished:
    judged = judged or Judged()
    blocks = any(finding.severity is Severity.MUST_FIX for finding in findings)
    verdict = Verdict.BLOCK if blocks else Verdict.SHIP
    return GateFinished(
        effect.round,
        GateName.CI,
        effect.commit,
        verdict,
        tuple(findings),
        note,
        failing=failing,
        ran=judged.ran,
        commands=judged.commands,
    )


def _title(state: RunState, name: str) -> str:
    known = state.tasks.get(TaskId(name))
    return known.task.title if known else name
