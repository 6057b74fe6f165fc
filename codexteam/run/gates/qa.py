"""qa_test_author: uses what was merged, and adds the tests that are missing; they are merged only if they pass."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codexteam.core.answers import QaReport, ReportedCommand
from codexteam.core.effects import RunGate
from codexteam.core.events import BudgetRefused, GateCommand, GateFinished, Verdict
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import AgentKey, CommitId, GateName, Purpose
from codexteam.core.paths import GUARDED_PATHS, show
from codexteam.core.plan_answer import findings_of
from codexteam.core.plan_md_task import render_task
from codexteam.core.state import RunState
from codexteam.ports.repo import IntakePolicy, IntakeRefused, TreeChange
from codexteam.ports.sandbox import Snapshot
from codexteam.run import audit_prompts, prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment
from codexteam.run.code_search import map_for
from codexteam.run.context import JUDGE, RunContext
from codexteam.run.gates.diffs import audited_paths, author_of, batch_tasks, diff_of, is_test_path
from codexteam.run.gates.review import unanswered


async def run(context: RunContext, effect: RunGate, state: RunState) -> GateFinished | BudgetRefused:
    """Let QA judge what was merged since its last verdict."""
    if effect.only_tests_since:
        note = "nothing but its own tests came since its last verdict"
        return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, note=note)
    key = _key(context, effect.round)
    restore = await _begun(context, effect, state)
    prompt = await _prompt(context, effect, state, key, restored=restore is not None)
    assignment = Assignment(key, effect.commit, prompt, QaReport, restore=restore, standing=JUDGE, writes=True)
    match await context.agents.run(assignment):
        case AgentFailure() as report:
            return unanswered(effect, replace(report, reason=await context.keep_unanswered(key, report)))
        case AgentAnswer(answer, snapshot, remarks=remarks):
            context.report_left_out(key, remarks)
            findings = list(findings_of(answer.findings, effect.gate))
            tests = None
            if snapshot is not None and not state.rules.review:
                taken = await take_tests(
                    context, effect.commit, snapshot, name=f"qa.{effect.round}", number=effect.round
                )
                tests = taken.commit
                findings += taken.refused
            blocks = any(finding.severity is Severity.MUST_FIX for finding in findings)
            return GateFinished(
                effect.round,
                effect.gate,
                effect.commit,
                Verdict.BLOCK if blocks else Verdict.SHIP,
                tuple(findings),
                answer.summary,
                tests,
                commands=tuple(map(_said, answer.commands)),
                confidence=answer.confidence.value,
                risks=answer.risks,
            )


async def _prompt(context: RunContext, effect: RunGate, state: RunState, key: AgentKey, *, restored: bool) -> str:
    still_open = tuple(finding for finding in effect.open_findings if finding.gate is GateName.QA)
    audited = await audited_paths(context, state)
    if audited is not None:
        return audit_prompts.tests(state.goal, audited, open_findings=still_open, restored=restored)
    author = await author_of(context, state)
    if author is not None:
        diff, cut = await diff_of(context, effect)
        return prompts.qa_of_change(
            state.goal, diff, cut=cut, open_findings=still_open, since=effect.since, author=author, restored=restored
        )
    tasks = batch_tasks(effect, state)
    changes = await context.repo.changes(effect.since, effect.commit)
    about = "\n".join(line for task in tasks for line in render_task(task))
    return prompts.qa(
        state.goal,
        tasks,
        _listed(changes),
        open_findings=still_open,
        since=effect.since,
        code_map=await map_for(
            context,
            key,
            effect.commit,
            about or state.goal,
            within=tuple(path for task in tasks for path in task.paths),
        ),
        restored=restored,
    )


#: The most changed files that are listed by name.
_MOST_LISTED = 400


def _listed(changes: Sequence[TreeChange]) -> str:
    lines = [f"{change.status} {show(change.path)}" for change in changes[:_MOST_LISTED]]
    more = len(changes) - _MOST_LISTED
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)


def _said(reported: ReportedCommand) -> GateCommand:
    """Return a command as QA's agent says that it ran it."""
    code = "it did not end" if reported.exit_code is None else f"exit code {reported.exit_code}"
    note = " ".join(reported.note.split())
    how = f"{code}: {note}" if note else code
    return GateCommand(" ".join(reported.command.split()), reported.exit_code == 0, how)


async def _begun(context: RunContext, effect: RunGate, state: RunState) -> Snapshot | None:
    """Return what QA wrote in the round before, where it ended without a verdict on this very commit."""
    before = state.gates.get(effect.gate)
    if before is None or before.verdict is not Verdict.UNANSWERED:
        return None
    begun = await context.snapshot(_key(context, effect.round - 1))
    there = begun is not None and begun.base == effect.commit and await asyncio.to_thread(begun.pack.is_file)
    return begun if there else None


def _key(context: RunContext, number: int) -> AgentKey:
    return context.key(Purpose.QA, attempt=number)


@dataclass(frozen=True, slots=True)
class TakenTests:
    """Tests out of QA's workspace."""

    commit: CommitId | None = None
    """They, on what QA saw; None where there are none."""
    paths: tuple[bytes, ...] = ()
    refused: tuple[Finding, ...] = ()


async def take_tests(
    context: RunContext, onto: CommitId, snapshot: Snapshot, *, name: str, number: int, task_id: str = ""
) -> TakenTests:
    """Take test files out of QA's workspace, and nothing else; what the policy refuses is reported, not merged."""
    team = context.settings.team
    policy = IntakePolicy(
        (),
        (*GUARDED_PATHS, *team.guarded_paths),
        secret_values=context.redactor.values,
        opened=team.allow_guarded,
        allowed_credentials=team.allowed_credentials,
        folders=context.repositories,
    )
    intake = await context.repo.intake(snapshot, policy)
    if isinstance(intake, IntakeRefused):
        detail = "; ".join(violation.message for violation in intake.violations)
        refused = Finding("QA's tests were refused", detail, Severity.NIT, Category.TESTS, gate=GateName.QA)
        return TakenTests(refused=(refused,))
    role = GateName.QA.value
    author = await context.author(role, name)
    message = context.message("Add tests", "", role=role, task_id=task_id, attempt=number)
    everything = await context.repo.commit(intake.tree, (onto,), message, author)
    tests = tuple(change.path for change in intake.changes if is_test_path(change.path))
    if not tests:
        return TakenTests()
    if len(tests) == len(intake.changes):
        return TakenTests(everything, tests)
    # what it changed beside tests is left out: QA judges the code, it does not write it
    kept = await context.repo.overlay(onto, everything, tests)
    return TakenTests(await context.repo.commit(kept, (onto,), message, author), tests)
