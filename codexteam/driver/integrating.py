"""Merging: serial, without a work tree; the branch moves only after the acceptance commands passed on the merged tree."""

from collections.abc import Sequence

from codexteam.agent.office import Office
from codexteam.core.effects import Integrate, IntegrateExtra
from codexteam.core.events import AcceptanceFailed, Event, ExtraIntegrated, Integrated, IntegrationConflicted
from codexteam.core.ids import CommitId
from codexteam.core.state import RunState
from codexteam.errors import InternalError
from codexteam.gates.checking import check_commit
from codexteam.gates.ci import gate_commands, new_failures
from codexteam.gates.commands import CommandOutcome, tail
from codexteam.ports.repo import Conflict, Merged


async def integrate(office: Office, effect: Integrate, state: RunState) -> Event:
    """Merge a task's work, accept it on the merged tree, move the branch."""
    task = state.tasks[effect.task_id].task
    candidate = effect.onto
    if effect.commit is not None:
        summary = state.tasks[task.id].summary
        message = office.message(task.title, summary, role=task.role, task_id=task.id, attempt=effect.attempt)
        author = await office.author(task.role, f"work.{task.id}.{effect.attempt}")
        match await office.repo.merge(effect.onto, effect.commit, message, author):
            case Conflict(paths, messages):
                return IntegrationConflicted(task.id, effect.attempt, paths, messages)
            case Merged(commit):
                candidate = commit
    commands = tuple(dict.fromkeys(accept.command for accept in task.acceptance if accept.command))
    outcomes = await check_commit(office, candidate, commands, name=f"accept.{task.id}.{effect.attempt}")
    for outcome in outcomes:
        office.tell(
            "acceptance.checked", {"task": task.id, "attempt": effect.attempt, "commit": candidate, **_short(outcome)}
        )
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if failed:
        return AcceptanceFailed(task.id, effect.attempt, evidence_of(failed))
    await _move_branch(office, candidate, effect.onto)
    return Integrated(task.id, effect.attempt, candidate)


async def integrate_extra(office: Office, effect: IntegrateExtra, state: RunState) -> Event:
    """Merge work that belongs to no task, when the gate commands that passed before still pass with it."""
    role = "qa_test_author" if effect.name.startswith("qa.") else "documentation"
    title = "Add tests" if role == "qa_test_author" else "Bring the documentation up to date"
    author = await office.author(role, f"extra.{effect.name}")
    message = office.message(title, "", role=role)
    merged = await office.repo.merge(effect.onto, effect.commit, message, author)
    if isinstance(merged, Conflict):
        reason = "it conflicts with what was merged meanwhile: " + ", ".join(merged.paths)
        return ExtraIntegrated(effect.name, None, reason)
    candidate = merged.commit
    commands = await gate_commands(office)
    failures = await new_failures(office, candidate, commands, state, name=f"extra.{effect.name}")
    if failures:
        return ExtraIntegrated(effect.name, None, "; ".join(failure.outcome.describe() for failure in failures))
    await _move_branch(office, candidate, effect.onto)
    return ExtraIntegrated(effect.name, candidate)


async def _move_branch(office: Office, new: CommitId, old: CommitId) -> None:
    if new != old and not await office.repo.update_branch(office.run_id, new, old):
        found = await office.repo.branch_tip(office.run_id)
        raise InternalError(f"the integration branch should be at {old} and is at {found}")


def evidence_of(outcomes: Sequence[CommandOutcome]) -> str:
    """Write down failed commands, as the next attempt gets to read them."""
    return "\n\n".join(f"{outcome.describe()}\n{tail(outcome.output)}" for outcome in outcomes)


def _short(outcome: CommandOutcome) -> dict[str, str | int | float | bool | None]:
    return {
        "command": outcome.command,
        "exit_code": outcome.exit_code,
        "timed_out": outcome.timed_out,
        "wall_seconds": round(outcome.wall_seconds, 3),
    }
