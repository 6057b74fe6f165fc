"""ci_runner: the repository's own checks on the merged commit. The verdict is their exit codes, against the base's."""

from collections.abc import Sequence
from dataclasses import replace

from codexteam.agent import briefs
from codexteam.agent.assignment import Assignment, Handed
from codexteam.agent.office import Office
from codexteam.core.bisect import first_red
from codexteam.core.effects import RunGate
from codexteam.core.events import GateFinished, Verdict
from codexteam.core.findings import Category, Finding, GateName, Severity
from codexteam.core.findings_answer import findings_of
from codexteam.core.ids import CommitId, Purpose, TaskId
from codexteam.core.state import RunState
from codexteam.gates.baseline import Failure, FailureKind, by_command, judge, needs_rerun
from codexteam.gates.checking import check_commit
from codexteam.gates.commands import CommandOutcome, tail
from codexteam.gates.diffs import protected_commit, weakened_findings
from codexteam.ports.endings import together

#: Space of the store for outcomes on base commits, kept between runs: key is tree and command.
_BASELINES = "baselines"


async def gate_commands(office: Office) -> tuple[str, ...]:
    """Give what ci_runner runs: what the user configured, else what the scouts found in the base commit's CI files."""
    if office.settings.team.gates.commands:
        return office.settings.team.gates.commands
    found = await office.recall("scouts", "ci")
    commands = found.get("commands") if found else None
    return tuple(line for line in commands if isinstance(line, str)) if isinstance(commands, list) else ()


async def baseline(office: Office, base: CommitId, commands: Sequence[str]) -> list[CommandOutcome]:
    """Give what the commands return on the base commit; run once for each tree, command and image, and kept.

    What did not end by itself is kept for this sitting: it says nothing of the next time.
    """
    tree = await office.repo.tree_of(base)
    image = office.settings.team.sandbox.image or office.engine.name
    keys = {command: f"{tree}/{image}/{command}" for command in commands}
    async with office.checking_base:
        known = {command: await _known_outcome(office, key) for command, key in keys.items()}
        missing = [command for command, outcome in known.items() if outcome is None]
        fresh = by_command(await check_commit(office, base, missing, name="baseline")) if missing else {}
        for command, outcome in fresh.items():
            if outcome.has_ended:
                await office.store.put(_BASELINES, keys[command], outcome.as_json())
            else:
                office.base_outcomes[keys[command]] = outcome.as_json()
            office.tell("baseline.checked", {"commit": base, "command": command, "exit_code": outcome.exit_code})
    return [known[command] or fresh[command] for command in keys]


async def _known_outcome(office: Office, key: str) -> CommandOutcome | None:
    kept = office.base_outcomes.get(key) or await office.store.get(_BASELINES, key)
    return CommandOutcome.from_json(kept) if kept is not None else None


async def new_failures(
    office: Office, commit: CommitId, commands: Sequence[str], state: RunState, *, name: str
) -> list[Failure]:
    """Give the failures on a commit that block: new against the base, and there again when repeated."""
    judged = await judge_commands(office, commit, commands, state, name=name)
    return [failure for failure in judged if failure.kind is FailureKind.NEW]


async def judge_commands(
    office: Office, commit: CommitId, commands: Sequence[str], state: RunState, *, name: str
) -> list[Failure]:
    """Run the gate commands on a commit and judge each failure against the base; flaky ones are found by repeating."""
    if not commands or state.base is None:
        return []
    now, before = await together(
        check_commit(office, commit, commands, name=name), baseline(office, state.base, commands)
    )
    base = by_command(before)
    failures: list[Failure] = []
    for outcome in now:
        office.tell(
            "gate.command",
            {
                "commit": commit,
                "command": outcome.command,
                "exit_code": outcome.exit_code,
                "timed_out": outcome.timed_out,
            },
        )
        reruns: list[CommandOutcome] = []
        if needs_rerun(outcome, base.get(outcome.command)):
            for number in range(office.settings.team.gates.flaky_reruns):
                reruns += await check_commit(office, commit, [outcome.command], name=f"{name}.again{number + 1}")
        failure = judge(outcome, base.get(outcome.command), reruns)
        if failure is not None:
            failures.append(failure)
    return failures


async def run(office: Office, effect: RunGate, state: RunState) -> GateFinished:
    """Judge a commit by its exit codes; ask a model only for the cause of what is new."""
    commands = await gate_commands(office)
    weakened = await weakened_findings(office, effect, state)
    if not commands:
        return _finish(effect, weakened, note="no gate commands are configured and the scouts found none")
    judged_on = await protected_commit(office, effect, state)
    failures = await judge_commands(office, judged_on, commands, state, name=f"ci.{effect.round}")
    new = [failure for failure in failures if failure.kind is FailureKind.NEW]
    if not new:
        return _finish(effect, (*weakened, *_notes(failures)), note=_note(failures))
    guilty = {failure.outcome.command: await _guilty(office, effect, state, failure) for failure in new}
    return _finish(effect, (*weakened, *await _causes(office, effect, state, new, guilty), *_notes(failures)))


async def _guilty(office: Office, effect: RunGate, state: RunState, failure: Failure) -> str | None:
    """Find the merge that turned a command red, by bisecting the batch; None when it cannot be told."""
    if len(effect.merges) < 2:
        return effect.merges[0][0] if effect.merges else None
    base = await baseline(office, state.base, [failure.outcome.command]) if state.base else []

    async def is_red(merge: tuple[str, CommitId]) -> bool:
        name, commit = merge
        outcomes = await check_commit(office, commit, [failure.outcome.command], name=f"bisect.{effect.round}.{name}")
        found = judge(outcomes[0], base[0] if base else None)
        return found is not None and found.kind is FailureKind.NEW

    # the judged commit itself is red: that is why somebody is looked for
    guilty = await first_red(effect.merges, is_red)
    return guilty[0] if guilty is not None else None


async def _causes(
    office: Office, effect: RunGate, state: RunState, new: Sequence[Failure], guilty: dict[str, str | None]
) -> tuple[Finding, ...]:
    text = "\n\n".join(f"{failure.outcome.describe()}\n{tail(failure.outcome.output)}" for failure in new)
    merges = "\n".join(f"{name} {_title(state, name)}" for name, _ in effect.merges)
    key = office.key("ci_runner", Purpose.CI, attempt=effect.round)
    report = await office.crew.assign(Assignment(key, effect.commit, briefs.ci(text, merges=merges)))
    said = findings_of(report.answer, GateName.CI) if isinstance(report, Handed) else ()
    # that it fails is our own observation: whatever the model calls it, it must be fixed
    must = [replace(finding, severity=Severity.MUST_FIX) for finding in said]
    return tuple(must) or tuple(_observed(failure, guilty[failure.outcome.command], state) for failure in new)


def _observed(failure: Failure, guilty: str | None, state: RunState) -> Finding:
    tests = f" ({', '.join(failure.tests[:5])})" if failure.tests else ""
    known = state.tasks.get(TaskId(guilty)) if guilty else None
    blame = f"\n\nIt fails since {guilty} ({_title(state, guilty)}) was merged." if guilty else ""
    detail = f"{failure.outcome.describe()}{blame}\n\n{tail(failure.outcome.output)}"
    category = Category.REGRESSION if failure.tests else Category.CI
    title = f"`{failure.outcome.command}` fails{tests}"
    return Finding(title, detail, Severity.MUST_FIX, category, paths=known.task.paths if known else ())


def _notes(failures: Sequence[Failure]) -> tuple[Finding, ...]:
    """Give what does not block and is worth knowing: flaky commands."""
    return tuple(
        Finding(
            f"`{failure.outcome.command}` is flaky", failure.outcome.describe(), Severity.SHOULD_FIX, Category.TESTS
        )
        for failure in failures
        if failure.kind is FailureKind.FLAKY
    )


def _note(failures: Sequence[Failure]) -> str:
    old = [failure.outcome.command for failure in failures if failure.kind is FailureKind.OLD]
    return f"failed on the base commit already: {', '.join(f'`{command}`' for command in old)}" if old else ""


def _finish(effect: RunGate, findings: Sequence[Finding], note: str = "") -> GateFinished:
    blocks = any(finding.severity is Severity.MUST_FIX for finding in findings)
    verdict = Verdict.BLOCK if blocks else Verdict.SHIP
    return GateFinished(effect.round, GateName.CI, effect.commit, verdict, tuple(findings), note)


def _title(state: RunState, name: str) -> str:
    known = state.tasks.get(TaskId(name))
    return known.task.title if known else name
