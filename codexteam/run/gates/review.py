"""reviewer and security_reviewer: they read the diff, and answer ship or block with findings."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from codexteam.core.answers import Review
from codexteam.core.effects import RunGate
from codexteam.core.events import BudgetRefused, GateFinished, Verdict
from codexteam.core.findings import Category, Finding
from codexteam.core.ids import GateName, Purpose
from codexteam.core.paths import GUARDED_PATHS, matches_any, show
from codexteam.core.plan_answer import findings_of
from codexteam.core.scan_hits import hit_lines
from codexteam.core.state import RunState
from codexteam.core.untested import why_untested
from codexteam.run import audit_prompts, prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment
from codexteam.run.command_outcome import evidence_of
from codexteam.run.context import JUDGE, RunContext, refused
from codexteam.run.gates.ci import baseline, gate_commands
from codexteam.run.gates.diffs import (
    audited_paths,
    author_of,
    batch_tasks,
    changed_paths,
    diff_of,
    sensitive_changes,
    weakened_findings,
)
from codexteam.run.gates.redirecting import gate_file_changes, redirect_findings
from codexteam.run.gates.scan import ScanOutcome, scanned

#: Words in a path or in an added line that call the reviewer, by what they stand for.
_WORDS = {
    "auth": r"auth(?!or)\w*|login|logout|passw(?:or)?d|session|jwt|oauth|saml|credential\w*|sign_?in|token",
    "secrets": r"secret\w*|api[_-]?key\w*|private[_-]?key|encrypt\w*|decrypt\w*|hashlib|hmac|crypt\w*|certificate",
    "permissions": r"permission\w*|chmod|chown|setuid|sudo|privilege\w*|acl|rbac|role_?check|is_admin",
    "fetches": r"requests\.|httpx|urllib|urlopen|aiohttp|fetch\(|axios|curl|wget|socket\w*|websocket",
    "commands": r"subprocess|os\.system|popen|exec\(|eval\(|shell\s*=\s*true|child_process",
    "deserialising": r"pickle|yaml\.load|deseriali[sz]\w*|marshal\.load",
    "file access": r"open\(|path\.join|send_file|upload\w*|tempfile|extractall|unlink|rmtree|\.\./",
    "user data": r"e-?mail|address|personal|gdpr|cookie\w*|sql|query\(",
    "markup": r"render_template_string|innerhtml|dangerouslysetinnerhtml|mark_safe",
}
_PATTERNS = {name: re.compile(rf"(?<![a-z])(?:{words})", re.IGNORECASE) for name, words in _WORDS.items()}


def security_reasons(paths: Iterable[str], added: str, *, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Say why the security reviewer must look; empty when nothing calls for it.

    `added` are the added lines of the diff. `more` are the user's own triggers: globs over paths, or words.
    """
    listed = list(paths)
    reasons = [name for name, pattern in _PATTERNS.items() if any(map(pattern.search, listed)) or pattern.search(added)]
    folded = added.casefold()
    reasons += [
        trigger
        for trigger in more
        if any(fnmatchcase(path, trigger) for path in listed) or (_is_word(trigger) and trigger.casefold() in folded)
    ]
    return tuple(reasons)


def _is_word(trigger: str) -> bool:
    return not any(char in trigger for char in "*?[/")


#: A line of the list of changed files; a diff's own lines never begin with a letter of these.
_BINARY = re.compile(r"^[ACMRT] .*, Binary file \([\d,]+ bytes, ([^)]*)\)", re.MULTILINE)
_MEDIA = re.compile(r"image|icon|font|audio|media|video", re.IGNORECASE)


def unreadable_reasons(diff: str) -> tuple[str, ...]:
    """Name the kinds of binary files in a diff that nobody can read and that are more than pictures, fonts or sound."""
    kinds = dict.fromkeys(_BINARY.findall(diff))
    return tuple(f"a binary file ({kind})" for kind in kinds if not _MEDIA.search(kind))


def added_lines(diff: str) -> str:
    """Return the added lines of a unified diff, without their mark."""
    lines = (line[1:] for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++"))
    return "\n".join(lines)


async def review(context: RunContext, effect: RunGate, state: RunState) -> GateFinished | BudgetRefused:
    """Let the reviewer judge what was merged since its last verdict."""
    if (paths := await audited_paths(context, state)) is not None:
        asked = audit_prompts.code(
            state.goal, paths, open_findings=_open(effect), output=await _gate_output(context, state)
        )
        return await _judged(context, effect, Purpose.REVIEW, asked)
    diff, cut = await diff_of(context, effect)
    record = state.gates.get(effect.gate)
    judged_before = record is not None and record.judged is not None
    empty = not await changed_paths(context, state.base or effect.since, effect.commit)
    if not diff.strip() and not _open(effect) and judged_before and not empty:
        return GateFinished(
            effect.round, effect.gate, effect.commit, Verdict.SHIP, note="nothing changed since its last verdict"
        )
    tasks = batch_tasks(effect, state) or [known.task for known in state.tasks.values()]
    prompt = prompts.review(
        state.goal,
        tasks,
        diff,
        cut=cut,
        open_findings=_open(effect),
        since=effect.since,
        unchanged=await _gate_output(context, state) if empty else None,
        found=await _found(context, effect, state),
        untested=[f"{task.id}: {why}" for task in tasks if (why := why_untested(task))],
        author=await author_of(context, state),
    )
    return await _judged(context, effect, Purpose.REVIEW, prompt)


async def _found(context: RunContext, effect: RunGate, state: RunState) -> str:
    """Report what the text comparison found in tests and gate files, and show the changes to the latter."""
    commands = await gate_commands(context)
    changed = await gate_file_changes(context, commands, effect.commit, state)
    redirected = redirect_findings(changed, review=state.rules.review)
    findings = (*redirected, *await weakened_findings(context, effect.commit, state))
    if not findings:
        return ""
    lines = "\n".join(f"- [{one.severity.value}] {one.title}. {one.detail}" for one in findings)
    return f"{lines}\n\n{await sensitive_changes(context, effect, [one.change.path for one in changed])}".strip()


async def _gate_output(context: RunContext, state: RunState) -> str:
    """Report what the gate commands printed with the base commit's files, which are the ones judged."""
    commands = await gate_commands(context)
    if state.base is None or not commands:
        return "No gate command is configured, and the scouts found none."
    outcomes = await baseline(context, state.base, commands)
    return evidence_of(outcomes)


async def security(context: RunContext, effect: RunGate, state: RunState) -> GateFinished | BudgetRefused:
    """Let the security reviewer judge, when what the diff touches calls for it; in an audit it always does."""
    if (audited := await audited_paths(context, state)) is not None:
        asked = audit_prompts.security(state.goal, audited, open_findings=_open(effect))
        return await _judged(context, effect, Purpose.SECURITY, asked)
    diff, cut = await diff_of(context, effect)
    paths = await changed_paths(context, effect.since, effect.commit)
    triggers = context.settings.team.gates.security_triggers
    reasons = list(security_reasons(paths, added_lines(diff), more=triggers))
    reasons += unreadable_reasons(diff)
    if cut:
        reasons.append("a diff that is not shown whole here")
    sensitive = await _sensitive_paths(context, effect, state)
    reasons += [f"{show(path)}, {why}" for path, why in sensitive.items()]
    # an open security finding is looked at again until the reviewer itself says that it is gone
    reasons += [f"{finding.id} is open" for finding in _open(effect) if finding.category is Category.SECURITY]
    found = await scanned(context, effect.commit, state) if GateName.SCAN in state.rules.gates else ScanOutcome()
    if found.hits:
        reasons.append("what a scan found")
    if not reasons:
        note = "not called: the diff touches nothing that its rules name"
        return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, note=note)
    prompt = prompts.security(
        state.goal,
        reasons,
        diff,
        cut=cut,
        open_findings=_open(effect),
        since=effect.since,
        sensitive=await sensitive_changes(context, effect, list(sensitive)),
        scanned=hit_lines(found.hits),
        author=await author_of(context, state),
    )
    return await _judged(context, effect, Purpose.SECURITY, prompt)


async def _sensitive_paths(context: RunContext, effect: RunGate, state: RunState) -> dict[bytes, str]:
    """Return what changed since the last verdict that is guarded, or decides what the gates do, and why it matters."""
    guarded = (*GUARDED_PATHS, *context.settings.team.guarded_paths)
    fresh = {change.path for change in await context.repo.changes(effect.since, effect.commit)}
    found = {path: "which is guarded" for path in sorted(fresh) if matches_any(path, guarded)}
    for one in await gate_file_changes(context, await gate_commands(context), effect.commit, state):
        if one.change.path in fresh:
            found.setdefault(one.change.path, "which decides what the gates do")
    return found


async def _judged(context: RunContext, effect: RunGate, purpose: Purpose, prompt: str) -> GateFinished | BudgetRefused:
    key = context.key(purpose, attempt=effect.round)
    match await context.agents.run(Assignment(key, effect.commit, prompt, Review, standing=JUDGE)):
        case AgentFailure() as report:
            return unanswered(effect, report)
        case AgentAnswer(answer=answer):
            found = findings_of(answer.findings, effect.gate)
            return GateFinished(
                effect.round,
                effect.gate,
                effect.commit,
                answer.verdict,
                found,
                answer.summary,
                risks=answer.risks,
            )


def unanswered(effect: RunGate, report: AgentFailure) -> GateFinished | BudgetRefused:
    """Say that a gate gave no verdict: it has not passed. One that a budget refused is asked again."""
    if report.budget_scope is not None:
        return refused(effect, report)
    return GateFinished(effect.round, effect.gate, effect.commit, Verdict.UNANSWERED, note=report.reason)


def _open(effect: RunGate) -> tuple[Finding, ...]:
    return tuple(finding for finding in effect.open_findings if finding.gate is effect.gate)
