"""What an audit found, as a plan: a task for each finding, in the order in which they should be done."""

from collections.abc import Sequence

from codexteam.core.findings import Finding, Severity
from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.plan_md import GoalText, Heading, ListItem, PlanDocument, PlanNode, Raw, TaskNode, normal_plan
from codexteam.core.text import clean_line

_GOAL = "Fix what the audit of {what} found, each finding at its cause, and show each fix with a test where one can."
_EFFORT = {Severity.MUST_FIX: 2, Severity.SHOULD_FIX: 1, Severity.NIT: 1}


def audit_plan(findings: Sequence[Finding], what: str) -> Plan:
    """Return the plan: what must or should be fixed becomes a task, the worst first; nits wait for later."""
    order = list(Severity)
    due = sorted(
        (one for one in findings if one.severity is not Severity.NIT), key=lambda one: order.index(one.severity)
    )
    tasks = tuple(_task(number, finding) for number, finding in enumerate(due, start=1))
    later = tuple(f"{one.title}{_place(one)}" for one in findings if one.severity is Severity.NIT)
    return normal_plan(Plan(_GOAL.format(what=clean_line(what)), tasks=tasks, later=later))


def _task(number: int, finding: Finding) -> Task:
    suggested = f"\n\nSuggested: {finding.suggestion}" if finding.suggestion else ""
    said = f"{finding.detail}{suggested}\n\nFound by {finding.gate.value}{_place(finding)}."
    criterion = Acceptance(f"it is gone: {clean_line(finding.title)}", None)
    return Task(
        TaskId(f"T{number}"),
        finding.title,
        said,
        paths=finding.paths,
        acceptance=(criterion,),
        effort=_EFFORT[finding.severity],
    )


def _place(finding: Finding) -> str:
    if not finding.file:
        return ""
    return f" in {finding.file}" if finding.line is None else f" in {finding.file}:{finding.line}"


def plan_document(plan: Plan, what: str) -> PlanDocument:
    """Return a plan as the document of no run yet."""
    nodes: list[PlanNode] = [
        Raw((f"# Plan: fix what the audit of {clean_line(what)} found",)),
        Heading("Goal"),
        GoalText(plan.goal),
        Heading("Tasks"),
        *(TaskNode(task) for task in plan.tasks),
    ]
    if plan.later:
        nodes += [Heading("Later"), *(ListItem(text) for text in plan.later)]
    return PlanDocument(tuple(nodes))
