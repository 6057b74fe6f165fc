"""qa_test_author: uses what was merged, and adds the tests that are missing; they are merged only if they pass."""

import asyncio
from dataclasses import replace

from codexteam.agent import briefs
from codexteam.agent.assignment import Assignment, Handed, NoAnswer
from codexteam.agent.office import Office
from codexteam.core.effects import RunGate
from codexteam.core.events import GateFinished, Verdict
from codexteam.core.findings import Category, Finding, GateName, Severity
from codexteam.core.findings_answer import findings_of
from codexteam.core.guarded import GUARDED_PATHS
from codexteam.core.ids import AgentKey, CommitId, Purpose
from codexteam.core.state import RunState
from codexteam.gates.diffs import batch_tasks, diff_of, is_test_path
from codexteam.gates.review import unanswered
from codexteam.ports.repo import IntakePolicy, Refused
from codexteam.ports.sandbox import Snapshot


async def run(office: Office, effect: RunGate, state: RunState) -> GateFinished:
    """Let QA judge what was merged since its last verdict."""
    if effect.only_tests_since:
        note = "nothing but its own tests came since its last verdict"
        return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, note=note)
    diff, cut = await diff_of(office, effect)
    still_open = tuple(finding for finding in effect.open_findings if finding.gate is GateName.QA)
    restore = await _begun(office, effect, state)
    prompt = briefs.qa(
        state.goal,
        batch_tasks(effect, state),
        diff,
        cut=cut,
        open_findings=still_open,
        since=effect.since,
        restored=restore is not None,
    )
    key = _key(office, effect, effect.round)
    match await office.crew.assign(Assignment(key, effect.commit, prompt, restore=restore, writes=True)):
        case NoAnswer() as report:
            return unanswered(effect, replace(report, reason=await office.keep_unanswered(key, report)))
        case Handed(answer, snapshot):
            findings = list(findings_of(answer, effect.gate))
            summary = answer.get("summary")
            tests = None
            if snapshot is not None:
                tests, refused = await _take_tests(office, effect, snapshot)
                findings += refused
            blocks = any(finding.severity is Severity.MUST_FIX for finding in findings)
            return GateFinished(
                effect.round,
                effect.gate,
                effect.commit,
                Verdict.BLOCK if blocks else Verdict.SHIP,
                tuple(findings),
                summary if isinstance(summary, str) else "",
                tests,
            )


async def _begun(office: Office, effect: RunGate, state: RunState) -> Snapshot | None:
    """Give what QA wrote in the round before, where it ended without a verdict on this very commit."""
    before = state.gates.get(effect.gate)
    if before is None or before.verdict is not Verdict.UNANSWERED:
        return None
    begun = await office.snapshot(_key(office, effect, effect.round - 1))
    there = begun is not None and begun.base == effect.commit and await asyncio.to_thread(begun.pack.is_file)
    return begun if there else None


def _key(office: Office, effect: RunGate, number: int) -> AgentKey:
    return office.key(effect.gate.value, Purpose.QA, attempt=number)


async def _take_tests(office: Office, effect: RunGate, snapshot: Snapshot) -> tuple[CommitId | None, list[Finding]]:
    """Take test files out of QA's workspace, and nothing else; what the policy refuses is reported, not merged."""
    policy = IntakePolicy((), (*GUARDED_PATHS, *office.settings.team.guarded_paths), secret_values=office.secret_values)
    intake = await office.repo.intake(snapshot, policy)
    if isinstance(intake, Refused):
        detail = "; ".join(violation.message for violation in intake.violations)
        return None, [Finding("QA's tests were refused", detail, Severity.NIT, Category.TESTS, gate=GateName.QA)]
    author = await office.author(effect.gate.value, f"qa.{effect.round}")
    message = office.message("Add tests", "", role=effect.gate.value, attempt=effect.round)
    everything = await office.repo.commit(intake.tree, (effect.commit,), message, author)
    tests = [change.path for change in intake.changes if is_test_path(change.path)]
    if not tests:
        return None, []
    if len(tests) == len(intake.changes):
        return everything, []
    # what it changed beside tests is left out: QA judges the code, it does not write it
    kept = await office.repo.overlay(effect.commit, everything, tests)
    return await office.repo.commit(kept, (effect.commit,), message, author), []
