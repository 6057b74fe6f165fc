"""Findings become tasks: the orchestrator's, and one of our own for each finding that it left out."""

from contextlib import suppress
from dataclasses import replace

from codexteam.core.draft import Draft
from codexteam.core.effects import Result
from codexteam.core.findings import Finding
from codexteam.core.ids import FindingId, TaskId
from codexteam.core.plan import Plan, Task
from codexteam.core.state import TERMINAL
from codexteam.errors import PlanError


def complete_replan(draft: Draft, plan: Plan) -> None:
    """Add the new tasks to the plan; make up what the orchestrator forgot.

    Ids that are taken are replaced by fresh ones, so that none is ever used for two things. Tasks that do not hold
    together (a cycle, an unknown dependency) are left out, and their findings become tasks of their own.
    """
    open_ids = {known.finding.id for known in draft.open_findings()}
    added = _renumber(draft, [task for task in plan.tasks if task.id not in draft.tasks or task.fixes])
    with suppress(PlanError):
        draft.set_tasks(added[: _room(draft)])
    living = [state.task for state in draft.tasks.values() if state.phase not in TERMINAL]
    covered = {finding_id for task in living for finding_id in task.fixes}
    left = [state.finding for state in draft.open_findings() if state.finding.id not in covered]
    made = [_task_for(finding, _next_id(draft, offset)) for offset, finding in enumerate(left)]
    if len(made) > _room(draft):
        limit = draft.state.rules.max_tasks
        draft.wind_down(Result.LIMIT, f"{len(open_ids)} open findings need more than {limit} tasks in all")
        return
    if made:
        draft.set_tasks(made)
    later = tuple(line for line in plan.later if line not in draft.state.later)
    risks = tuple(line for line in plan.risks if line not in draft.state.risks)
    draft.set(later=(*draft.state.later, *later), risks=(*draft.state.risks, *risks))


def _room(draft: Draft) -> int:
    """Give how many tasks may be added; a limit that was lowered, or an edited plan, leaves none."""
    return max(0, draft.state.rules.max_tasks - len(draft.tasks))


def _next_id(draft: Draft, offset: int = 0) -> TaskId:
    numbers = [int(task_id[1:]) for task_id in draft.tasks if task_id[1:].isdigit()]
    return TaskId(f"T{max(numbers, default=0) + 1 + offset}")


def _renumber(draft: Draft, tasks: list[Task]) -> list[Task]:
    """Give new tasks ids that continue the numbering where theirs are taken; their deps among themselves follow."""
    names: dict[TaskId, TaskId] = {}
    taken = set(draft.tasks)
    numbers = [int(i[1:]) for i in [*taken, *(task.id for task in tasks)] if i[1:].isdigit()]
    fresh = max(numbers, default=0)
    for task in tasks:
        if task.id in taken or task.id in names.values():
            fresh += 1
            names[task.id] = TaskId(f"T{fresh}")
        else:
            names[task.id] = task.id
    # a dependency on a number that is new in this answer means the new task, any other the old one
    return [replace(task, id=names[task.id], deps=tuple(names.get(dep, dep) for dep in task.deps)) for task in tasks]


def _task_for(finding: Finding, task_id: TaskId) -> Task:
    paths = finding.paths or ((finding.file,) if finding.file else ())
    detail = finding.detail + (f"\n\nSuggested: {finding.suggestion}" if finding.suggestion else "")
    fixes = (FindingId(finding.id),) if finding.id else ()
    return Task(task_id, finding.title, detail, paths=paths, effort=1, fixes=fixes)
