"""reviewer and security_reviewer: they read the diff, and answer ship or block with findings."""

from codexteam.agent import briefs
from codexteam.agent.assignment import Assignment, Handed, NoAnswer, Shortage
from codexteam.agent.office import Office
from codexteam.core.effects import RunGate
from codexteam.core.events import GateFinished, Verdict
from codexteam.core.findings import Category, Finding
from codexteam.core.findings_answer import findings_of
from codexteam.core.ids import Purpose
from codexteam.core.json_types import JSONObject
from codexteam.core.state import RunState
from codexteam.gates.diffs import batch_tasks, changed_paths, diff_of
from codexteam.gates.triggers import added_lines, security_reasons


async def review(office: Office, effect: RunGate, state: RunState) -> GateFinished:
    """Let the reviewer judge what was merged since its last verdict."""
    diff, cut = await diff_of(office, effect)
    if not diff.strip() and not _open(effect):
        return GateFinished(
            effect.round, effect.gate, effect.commit, Verdict.SHIP, note="nothing changed since its last verdict"
        )
    prompt = briefs.review(
        state.goal, batch_tasks(effect, state), diff, cut=cut, open_findings=_open(effect), since=effect.since
    )
    return await _judged(office, effect, Purpose.REVIEW, prompt)


async def security(office: Office, effect: RunGate, state: RunState) -> GateFinished:
    """Let the security reviewer judge, when what the diff touches calls for it."""
    diff, cut = await diff_of(office, effect)
    paths = await changed_paths(office, effect.since, effect.commit)
    triggers = office.settings.team.gates.security_triggers
    reasons = list(security_reasons(paths, added_lines(diff), more=triggers))
    if cut:
        reasons.append("a diff that is too long to be read here")
    # an open security finding is looked at again until the reviewer itself says that it is gone
    reasons += [f"{finding.id} is open" for finding in _open(effect) if finding.category is Category.SECURITY]
    if not reasons:
        note = "not called: the diff touches nothing that its rules name"
        return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, note=note)
    prompt = briefs.security(state.goal, reasons, diff, cut=cut, open_findings=_open(effect), since=effect.since)
    return await _judged(office, effect, Purpose.SECURITY, prompt)


async def _judged(office: Office, effect: RunGate, purpose: Purpose, prompt: str) -> GateFinished:
    key = office.key(effect.gate.value, purpose, attempt=effect.round)
    match await office.crew.assign(Assignment(key, effect.commit, prompt)):
        case NoAnswer() as report:
            return unanswered(effect, report)
        case Handed(answer=answer):
            return _verdict(effect, answer)


def unanswered(effect: RunGate, report: NoAnswer) -> GateFinished:
    """Say that a gate gave no verdict: it has not passed."""
    spent = " (budget)" if report.shortage in {Shortage.RUN, Shortage.TASK} else ""
    return GateFinished(effect.round, effect.gate, effect.commit, Verdict.UNANSWERED, note=report.reason + spent)


def _verdict(effect: RunGate, answer: JSONObject) -> GateFinished:
    verdict = Verdict.SHIP if answer.get("verdict") == "ship" else Verdict.BLOCK
    summary = answer.get("summary")
    note = summary if isinstance(summary, str) else ""
    return GateFinished(effect.round, effect.gate, effect.commit, verdict, findings_of(answer, effect.gate), note)


def _open(effect: RunGate) -> tuple[Finding, ...]:
    return tuple(finding for finding in effect.open_findings if finding.gate is effect.gate)
