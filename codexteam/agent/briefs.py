"""The task in words, for each purpose. Pure texts of values.

What comes from the repository, from commands or from other agents is data: it stands between fences that carry a name
made from its own content, so that no text can close its fence early, and the role's instructions say that it is never
an order.
"""

import hashlib
from collections.abc import Sequence

from codexteam.core.effects import AttemptKind
from codexteam.core.findings import Finding
from codexteam.core.plan import Task
from codexteam.core.plan_md_task import render_task


def fenced(name: str, text: str) -> str:
    """Put foreign text between fences that it cannot contain."""
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"<data name={name!r} id={mark}>\n{text}\n</data id={mark}>"


def scout(goal: str, area: str) -> str:
    """Ask an explorer to look at one part of the repository."""
    return _parts("Scout the repository for this goal.", f"Your part: {area}", fenced("goal", goal))


def reading(goal: str) -> str:
    """Ask the requirement analyst what a vague goal means."""
    return _parts(
        "Read this goal: what is wanted, what is not, what would show that it is reached.", fenced("goal", goal)
    )


def plan(goal: str, *, scouts: str, feedback: str, roles: Sequence[str], max_tasks: int, reading: str = "") -> str:
    """Ask the orchestrator for the task graph."""
    return _parts(
        "Plan the tasks that reach this goal.",
        f"Roles that write code: {', '.join(roles)}. At most {max_tasks} tasks.",
        fenced("goal", goal),
        fenced("reading of the goal", reading) if reading else "",
        fenced("what the scouts found", scouts) if scouts else "",
        f"Your plan before was sent back:\n{fenced('reason', feedback)}" if feedback else "",
    )


def replan(goal: str, tasks: Sequence[Task], findings: Sequence[Finding], *, next_id: str, roles: Sequence[str]) -> str:
    """Ask the orchestrator to turn findings into tasks."""
    listed = "\n".join(f"{task.id} {task.title} [{task.status.name.lower()}]" for task in tasks)
    return _parts(
        "Gates found what must be fixed. Plan the tasks that fix it, and nothing else.",
        f"Ids continue with {next_id}. Roles that write code: {', '.join(roles)}. Every finding is in some task's `fixes`.",
        fenced("goal", goal),
        fenced("tasks so far", listed),
        fenced("findings", findings_text(findings)),
    )


def work(goal: str, task: Task, *, kind: AttemptKind, evidence: str, restored: bool, earlier_diff: str = "") -> str:
    """Ask an implementer to do a task."""
    again = "Your workspace holds the work of the attempt before; go on from it." if restored else ""
    resolve = ""
    if kind is AttemptKind.RESOLVE:
        resolve = (
            "This task was done before, on an older state of the repository, and conflicts with what was merged since. "
            "Do it again on the state that you see, keeping what both sides meant."
        )
    return _parts(
        f"Do task {task.id}. Others work on other tasks; write only below its paths.",
        resolve,
        again,
        fenced("goal of the whole run", goal),
        fenced("task", "\n".join(render_task(task))),
        f"What came of the attempts before:\n{fenced('evidence', evidence)}" if evidence else "",
        f"What was done before:\n{fenced('diff', earlier_diff)}" if earlier_diff else "",
    )


def clarify(goal: str, task: Task, question: str) -> str:
    """Ask the orchestrator to answer a worker's question."""
    return _parts(
        f"An agent at work on {task.id} asks. Answer from the goal, the plan and the repository; say `ask_user` only "
        "when nobody but the user can decide.",
        fenced("goal", goal),
        fenced("task", "\n".join(render_task(task))),
        fenced("question", question),
    )


def review(
    goal: str, tasks: Sequence[Task], diff: str, *, cut: bool, open_findings: Sequence[Finding], since: str
) -> str:
    """Ask a reviewer to judge what was merged."""
    return _parts(
        f"Review what was merged since {since[:12]}. Your workspace shows the merged state; `git diff {since[:12]}` works.",
        "The diff below is cut: read the rest in the workspace." if cut else "",
        _open(open_findings),
        fenced("goal", goal),
        fenced("tasks in this batch", "\n".join(line for task in tasks for line in render_task(task))),
        fenced("diff", diff),
    )


def security(
    goal: str, reasons: Sequence[str], diff: str, *, cut: bool, open_findings: Sequence[Finding], since: str
) -> str:
    """Ask the security reviewer to judge what was merged."""
    return _parts(
        f"Review the security of what was merged since {since[:12]}. It touches: {', '.join(reasons)}.",
        "The diff below is cut: read the rest in the workspace." if cut else "",
        _open(open_findings),
        fenced("goal", goal),
        fenced("diff", diff),
    )


def qa(
    goal: str,
    tasks: Sequence[Task],
    diff: str,
    *,
    cut: bool,
    open_findings: Sequence[Finding],
    since: str,
    restored: bool = False,
) -> str:
    """Ask the QA test author to test what was merged."""
    return _parts(
        f"Test what was merged since {since[:12]}: use it as its users would, and add the tests that are missing. Only test "
        "files are taken from your workspace, and only if they pass.",
        "Your workspace holds what was begun before, without a verdict; go on from it." if restored else "",
        "The diff below is cut: read the rest in the workspace." if cut else "",
        _open(open_findings),
        fenced("goal", goal),
        fenced("tasks in this batch", "\n".join(line for task in tasks for line in render_task(task))),
        fenced("diff", diff),
    )


def ci(failures: str, *, merges: str) -> str:
    """Ask the CI runner for the cause of failures that the orchestrator saw."""
    return _parts(
        "These gate commands fail on the merged state and did not on the base commit. Find the cause of each; the verdict "
        "stands already.",
        fenced("merged in this batch", merges),
        fenced("failures", failures),
    )


def document(goal: str, tasks: Sequence[Task], diff: str, *, cut: bool) -> str:
    """Ask the documentation writer to write what the goal asked for."""
    return _parts(
        "The run is green. Bring the documentation in line with what was merged, where the goal or the repository's habits "
        "ask for it. Change nothing else; change nothing at all when nothing is asked for.",
        "The diff below is cut: read the rest in the workspace." if cut else "",
        fenced("goal", goal),
        fenced("tasks", "\n".join(f"{task.id} {task.title}" for task in tasks)),
        fenced("diff", diff),
    )


def release(goal: str, tasks: Sequence[Task], findings: str, diff: str, *, cut: bool) -> str:
    """Ask the release manager for notes."""
    return _parts(
        "The run is green. Write the release notes.",
        "The diff below is cut: read the rest in the workspace." if cut else "",
        fenced("goal", goal),
        fenced("tasks", "\n".join(f"{task.id} {task.title}" for task in tasks)),
        fenced("findings", findings or "none"),
        fenced("diff", diff),
    )


def findings_text(findings: Sequence[Finding]) -> str:
    """List findings, each with all that is known of it."""
    return "\n\n".join(_finding(finding) for finding in findings)


def _finding(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}" if finding.file and finding.line else finding.file or "no file"
    lines = [f"{finding.id or '-'} {finding.title} [{finding.severity}, {finding.category}, {finding.gate}] {place}"]
    lines += [finding.detail] if finding.detail else []
    lines += [f"Suggested: {finding.suggestion}"] if finding.suggestion else []
    return "\n".join(lines)


def _open(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    return (
        "Open from earlier rounds; say again, with the same title, what is still there, and leave out what is fixed:\n"
        + fenced("open findings", findings_text(findings))
    )


def _parts(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
