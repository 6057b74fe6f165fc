"""Asks the user's PreMerge hooks, right before work moves the integration branch.

A hook lets it through with exit code 0. Any other exit code refuses, as with git's own hooks; so does Codex's form of a
refusal, `{"decision": "block", "reason": ...}` on standard output. A hook that gives no answer (not found, out of time,
killed) lets nothing through: the session ends with what is wrong, and can be resumed. What was said of a candidate is
remembered, so that a merge that is repeated after a crash asks nobody again.
"""

import json
from dataclasses import dataclass

from codexteam.config.hooks import HookEvent
from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import CommitId, JSONObject
from codexteam.errors import SurroundingsError
from codexteam.ports.hooks import HookOutcome
from codexteam.run.context import RunContext

#: The shell's words for a command that it could not run.
_NOT_RUN = {126: "it cannot be executed", 127: "it was not found"}
#: What an agent and the user get to read of a refusal.
_REASON_CHARS = 4_000


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class PassedHooks:
    """A candidate that all PreMerge hooks let through."""

    commit: CommitId


async def refusal_before_merge(
    context: RunContext, candidate: CommitId, onto: CommitId, name: str, work: JSONObject
) -> str | None:
    """Return why the user's hooks refuse a candidate, which is about to become the branch's tip; None: they do not.

    Args:
        context: The run's.
        candidate: The commit, checked already.
        onto: The branch's tip.
        name: What the work is called, as `T1.2` or `qa.1`.
        work: What hooks are told of it.

    Raises:
        SurroundingsError: a hook gave no answer.
    """
    hooks = context.hooks
    if hooks is None or candidate == onto or not hooks.has(HookEvent.PRE_MERGE):
        return None
    passed = await context.recall("pre_merge", name, PassedHooks)
    if passed is not None and passed.commit == candidate:
        return None
    for outcome in await hooks.run(HookEvent.PRE_MERGE, {**work, "commit": candidate, "onto": onto}):
        if (problem := problem_of(outcome)) is not None:
            raise SurroundingsError(
                f"a PreMerge hook gave no answer, so nothing was merged: `{outcome.command}`: {problem}",
                hint="mend it under [codexteam.hooks]; then `codexteam resume` continues with this merge",
            )
        if (reason := _refusal_of(outcome)) is not None:
            return context.redactor.redact(f"the PreMerge hook `{outcome.command}` refused it: {reason}")
    await context.remember("pre_merge", name, PassedHooks(candidate))
    return None


def problem_of(outcome: HookOutcome) -> str | None:
    """Return why a hook gave no answer; None where it did."""
    if outcome.problem:
        return outcome.problem
    if outcome.exit_code in _NOT_RUN:
        said = outcome.stderr.strip()
        return f"{_NOT_RUN[outcome.exit_code]} (exit code {outcome.exit_code})" + (f": {said}" if said else "")
    return None


def _refusal_of(outcome: HookOutcome) -> str | None:
    decision = _decision_of(outcome.stdout)
    if outcome.exit_code != 0:
        reason = outcome.stderr.strip() or decision or outcome.stdout.strip() or f"exit code {outcome.exit_code}"
    elif decision is not None:
        reason = decision
    else:
        return None
    return reason if len(reason) <= _REASON_CHARS else f"{reason[:_REASON_CHARS]} ..."


def _decision_of(stdout: str) -> str | None:
    try:
        said = json.loads(stdout)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("decision") != "block":
        return None
    return str(said.get("reason") or "it gave no reason").strip()
