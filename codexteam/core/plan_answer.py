"""The orchestrator's answer becomes a plan, or one message that says all that is wrong with it."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from codexteam.core.answers import PlanAnswer, PlannedTask, ReportedFinding
from codexteam.core.findings import Finding
from codexteam.core.ids import FindingId, GateName, TaskId
from codexteam.core.paths import glob_problem
from codexteam.core.plan_graph import Acceptance, Plan, Task, TaskRisk, graph_of
from codexteam.core.repositories import order_problems, scope_problem
from codexteam.core.text import clean_line
from codexteam.errors import PlanError

#: Areas of a second round of scouting.
MAX_PROBES: Final = 6


def findings_of(reported: Sequence[ReportedFinding], gate: GateName) -> tuple[Finding, ...]:
    """Return the findings of a gate's answer, in its order."""
    return tuple(_finding(each, gate) for each in reported)


def _finding(reported: ReportedFinding, gate: GateName) -> Finding:
    file = (reported.file or "").strip()
    paths, left_out = _paths(reported.paths)
    return Finding(
        title=" ".join(reported.title.split()) or "a finding without a title",
        detail=f"{reported.detail}{left_out}",
        severity=reported.severity,
        category=reported.category,
        file=file if file and not glob_problem(file) else None,
        line=reported.line,
        suggestion=reported.suggestion or None,
        paths=paths,
        gate=gate,
    )


def _paths(reported: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the globs that a plan's task might have as well, and in words what was left out and why."""
    listed = [path.strip() for path in reported]
    problems = {path: problem for path in listed if path and (problem := glob_problem(path))}
    words = "; ".join(f"{clean_line(path)!r} {problem}" for path, problem in problems.items())
    kept = tuple(dict.fromkeys(path for path in listed if path and path not in problems))
    return kept, f"\n\nLeft out of its paths: {words}." if words else ""


def plan_of(
    answer: PlanAnswer,
    *,
    goal: str,
    roles: Collection[str],
    known: Sequence[Task] = (),
    max_tasks: int,
    may_probe: bool = False,
    repositories: Sequence[str] = (),
) -> Plan:
    """Return the plan that an answer makes.

    `known` are the run's tasks so far: a re-plan continues their ids, and may wait for them. `roles` are those that
    write code. `may_probe` is whether scouts look once more where the answer asks for it. `repositories` are those of a
    run in several.

    Raises:
        PlanError: everything that does not hold, a line each, so that it can be mended in one go.
    """
    tasks = tuple(_task(planned) for planned in answer.tasks)
    problems = [problem for task in tasks for problem in _problems(task, roles)]
    problems += [f"{task.id}: {found[0]}" for task in tasks if (found := scope_problem(task.paths, repositories))]
    problems += order_problems(tasks, repositories)
    taken = {task.id for task in known}
    problems += [f"{task.id}: this id is taken; continue the numbering" for task in tasks if task.id in taken]
    said = (answer.answer or "").strip()
    probes = tuple(dict.fromkeys(line for each in answer.probes or () if (line := " ".join(each.split()))))
    if not tasks and probes and not may_probe:
        problems.append(
            "there are no tasks, and scouts do not look again: plan with what is known, or ask in `questions`"
        )
    elif not tasks and not answer.questions and not said and not probes:
        problems.append("there are no tasks")
    if not problems:
        try:
            graph_of([*known, *tasks], max_tasks=max_tasks)
        except PlanError as error:
            problems.append(str(error).removeprefix("plan: "))
    if problems:
        raise PlanError("the plan does not hold:\n" + "\n".join(f"- {problem}" for problem in problems))
    plan = Plan(goal, answer.summary, tasks, answer.later, answer.risks, answer.questions)
    if tasks:
        return replace(plan, plan_only=answer.plan_only is True)
    # what blocks comes first: an answer that waits for the user's word, or for scouts, is none yet
    if plan.questions:
        return plan
    return replace(plan, probes=probes[:MAX_PROBES]) if probes and not said else replace(plan, answer=said)


def _task(planned: PlannedTask) -> Task:
    return Task(
        TaskId(planned.id),
        " ".join(planned.title.split()),
        planned.description.strip(),
        planned.role or "implementer",
        tuple(TaskId(dep) for dep in dict.fromkeys(planned.deps)),
        tuple(dict.fromkeys(path.strip() for path in planned.paths if path.strip())),
        tuple(Acceptance(each.criterion.strip(), (each.command or "").strip() or None) for each in planned.acceptance),
        planned.effort,
        tuple(FindingId(finding) for finding in dict.fromkeys(planned.fixes)),
        tests=planned.tests,
        risk=planned.risk or TaskRisk.NORMAL,
    )


def _problems(task: Task, roles: Collection[str]) -> list[str]:
    name = task.id or "a task"
    problems = []
    if not (task.id.startswith("T") and task.id[1:].isdigit()):
        problems.append(f"{name!r} is not an id: T1, T2, ... are")
    if not task.title:
        problems.append(f"{name}: it has no title")
    if task.role not in roles:
        problems.append(f"{name}: role {task.role!r} does not write code here; one of {', '.join(sorted(roles))}")
    if not 1 <= task.effort <= 5:
        problems.append(f"{name}: effort {task.effort}: 1 to 5")
    problems += [f"{name}: path {path!r} {problem}" for path in task.paths if (problem := glob_problem(path))]
    return problems
