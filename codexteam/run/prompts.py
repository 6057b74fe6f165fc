"""The task prompt for each purpose: pure functions of values.

What comes from the repository, from commands or from other agents is data. It is put between fences that carry a hash of
their content, so that no text can close its fence early, and the base text says that it is never an instruction.
"""

import hashlib
from collections.abc import Sequence

from codexteam.core.documentation import DOCUMENTATION_PATHS, DOCUMENTATION_ROLE
from codexteam.core.effects import AttemptKind
from codexteam.core.findings import Finding
from codexteam.core.plan_graph import OwedTests, Task
from codexteam.core.plan_md_task import render_task
from codexteam.core.repositories import repositories_in
from codexteam.core.untested import owed_tests
from codexteam.ports.sandbox import REPOSITORIES


def fenced(name: str, text: str) -> str:
    """Put untrusted text between fences that it cannot contain."""
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"<data name={name!r} id={mark}>\n{text}\n</data id={mark}>"


def scout(goal: str, area: str) -> str:
    """Ask an explorer to look at one part of the repository."""
    return joined("Scout the repository for this goal.", f"Your part: {area}", fenced("goal", goal))


def lookup(question: str, *, asker: str, turns: int) -> str:
    """Ask an explorer a question of an agent at work."""
    return joined(
        f"An agent at work ({asker}) asks a question. Answer it, and nothing else, within {turns} turns; fewer are better. "
        "`summary` is the answer, with paths and lines; `files` are those it rests on; leave the rest empty.",
        fenced("question", question),
    )


def reading(goal: str, *, scouts: str = "") -> str:
    """Ask the requirement analyst what a vague goal means."""
    return joined(
        "Read this goal: what is wanted, what is not, what would show that it is met. What only the user can answer goes in "
        "`questions`: the user is asked before anything is planned.",
        fenced("goal", goal),
        fenced("what the scouts found", scouts) if scouts else "",
    )


def plan(
    goal: str,
    *,
    scouts: str,
    feedback: str,
    roles: Sequence[str],
    max_tasks: int,
    reading: str = "",
    may_probe: bool = False,
    earlier: Sequence[Task] = (),
    repositories: Sequence[str] = (),
    code_map: str = "",
) -> str:
    """Ask the orchestrator for the task graph.

    `may_probe` is whether scouts look once more where it asks for it; `earlier` are the tasks of a plan that was sent back.
    """
    return joined(
        "Plan the tasks that achieve this goal.",
        f"Roles that tasks may name: {', '.join(roles)}. At most {max_tasks} tasks. A task without paths runs alone. If the "
        "goal asks for documentation, it is a task.",
        _planned_in(repositories),
        "If the goal only asks a question, put the answer in `answer` and leave `tasks` empty. If it asks for a plan and for "
        "nothing to be done, set `plan_only`.",
        "If you cannot plan before something else was looked at, name it in `probes` and leave `tasks` empty: scouts look "
        "there, once, and you are asked again."
        if may_probe
        else "",
        fenced("goal", goal),
        fenced("reading of the goal", reading) if reading else "",
        fenced("what the scouts found", scouts) if scouts else "",
        _mapped(code_map),
        f"Your previous plan was sent back:\n{fenced('reason', feedback)}" if feedback else "",
        fenced("the plan that was sent back", "\n".join(line for task in earlier for line in render_task(task)))
        if feedback and earlier
        else "",
    )


def _mapped(code_map: str) -> str:
    if not code_map:
        return ""
    return f"Where to look first, by the words above (lines, then what begins there):\n{fenced('map of the code', code_map)}"


def replan(
    goal: str,
    tasks: Sequence[Task],
    findings: Sequence[Finding],
    *,
    next_id: str,
    roles: Sequence[str],
    said: Sequence[str] = (),
    repositories: Sequence[str] = (),
) -> str:
    """Ask the orchestrator to turn findings into tasks; `said` is what the user said to it meanwhile."""
    listed = "\n".join(f"{task.id} {task.title} [{task.status.name.lower()}]" for task in tasks)
    return joined(
        "The gates reported findings that must be fixed. Plan the tasks that fix them, and nothing else.",
        f"Ids continue with {next_id}. Roles that write code: {', '.join(roles)}. Put every finding in a task's `fixes`.",
        _planned_in(repositories),
        fenced("goal", goal),
        fenced("tasks so far", listed),
        fenced("findings", findings_text(findings)),
        f"The user says:\n{fenced('words of the user', chr(10).join(said))}" if said else "",
    )


def _planned_in(repositories: Sequence[str]) -> str:
    """Say how a plan for several repositories is made; nothing where there is one."""
    if not repositories:
        return ""
    return (
        f"The workspace holds {len(repositories)} repositories, a folder each: {', '.join(repositories)}. They are merged, "
        f"tested and put in place together. Each task works in one of them: all its paths begin with that folder "
        f"(`{repositories[0]}/src/`). A task sees the others as they are merged so far. Tasks that change what another "
        "repository uses come first, and those that use it wait for them in `deps` and name its files in their description "
        f"(`{repositories[0]}/openapi.yaml`): a plan that leaves that order open is refused. Commands run at the root: begin "
        f"them with `cd {repositories[0]} &&`."
    )


def _works_in(task: Task, repositories: Sequence[str]) -> str:
    """Say to an implementer where it is among several repositories; nothing where there is one."""
    if not repositories:
        return ""
    own = ", ".join(repositories_in(task.paths, repositories))
    return (
        f"The workspace holds several repositories, a folder each: {', '.join(repositories)}. Yours: {own}. Read the others, "
        "which show what is merged so far; a change to them is refused. Run commands in your repository's folder. Each "
        f"is at {REPOSITORIES}/NAME too, read-only."
    )


def work(
    goal: str,
    task: Task,
    *,
    kind: AttemptKind,
    evidence: str,
    restored: bool,
    earlier_diff: str = "",
    repositories: Sequence[str] = (),
    code_map: str = "",
    notes: str = "",
    place: int = 0,
) -> str:
    """Ask an implementer to do a task; `place` is that among several attempts at the same time, 0 for the only one."""
    again = "Your workspace holds the previous attempt's work; continue from it." if restored else ""
    resolve = ""
    if kind is AttemptKind.RESOLVE:
        resolve = (
            "This task was done on an older state of the repository and conflicts with what was merged since. "
            "Redo it on the current state, keeping the intent of both sides."
        )
    return joined(
        f"Do task {task.id}. Others work on other tasks; write only under its paths. Change files that decide how the gates "
        "run (a Makefile, conftest.py, test configuration, package.json) only if its paths name that very file.",
        _works_in(task, repositories),
        _may_document(task.paths or DOCUMENTATION_PATHS) if task.role == DOCUMENTATION_ROLE else "",
        _OWES[owed_tests(task)],
        _WAYS.get(place, ""),
        resolve,
        again,
        fenced("goal of the whole run", goal),
        fenced("task", "\n".join(render_task(task))),
        _mapped(code_map),
        f"What agents of this run have noted so far; check what you rely on:\n{fenced('notes', notes)}"
        if notes
        else "",
        f"Results of earlier attempts:\n{fenced('evidence', evidence)}" if evidence else "",
        f"Earlier work:\n{fenced('diff', earlier_diff)}" if earlier_diff else "",
    )


#: What sets the second and the third of several attempts apart, beside their models.
_WAYS = {
    2: "Others do this task too, and one change is taken: of those that pass tests which nobody sees, the smallest. Read twice "
    "as much as you would, find the place where the least has to change, and change that.",
    3: "Others do this task too, and one change is taken: of those that pass tests which nobody sees, the smallest. Begin with "
    "what could go wrong: write a test for each such case before any code.",
}

#: What is run of a task's work before it is taken, by what it owes.
_OWES = {
    OwedTests.REQUIRED: "It owes a test: the acceptance commands must fail with your tests alone, and pass with your code.",
    OwedTests.EXISTING: "",
    OwedTests.NONE: "",
}


def clarify(goal: str, task: Task, question: str) -> str:
    """Ask the orchestrator to answer a worker's question."""
    return joined(
        f"The agent working on {task.id} has a question. Answer from the goal, the plan and the repository; set `ask_user` "
        "only if nobody but the user can decide.",
        fenced("goal", goal),
        fenced("task", "\n".join(render_task(task))),
        fenced("question", question),
    )


def review(
    goal: str,
    tasks: Sequence[Task],
    diff: str,
    *,
    cut: bool,
    open_findings: Sequence[Finding],
    since: str,
    unchanged: str | None = None,
    found: str = "",
    untested: Sequence[str] = (),
    author: str | None = None,
) -> str:
    """Ask a reviewer to judge what was merged, or a change whose `author` says this of it.

    `unchanged` is the gate commands' output if nothing was changed, `found` what was done to tests and gates,
    `untested` the tasks that no acceptance command judged.
    """
    if unchanged is not None:
        return joined(
            "The tasks are done, and no file differs from the commit the run began with. Judge whether the goal was already "
            "met. Ship only if you saw in the code, or from a command, that it was; otherwise block, and say what is "
            "missing.",
            open_words(open_findings),
            fenced("goal", goal),
            fenced("tasks", "\n".join(line for task in tasks for line in render_task(task))),
            fenced("gate output", unchanged),
        )
    shows = "the merged state" if author is None else "it applied"
    return joined(
        f"Review {_judged_words(since, author)}. Your workspace shows {shows}; `git diff {since[:12]}` works. Judge it as the "
        "maintainer who has to keep it: not only what is wrong, but what you would send back, such as work that nobody asked "
        "for, a second copy of what exists, names that mislead, code that nothing uses.",
        "The diff below is incomplete and says what is left out: read that in the workspace." if cut else "",
        open_words(open_findings),
        _UNTESTED + fenced("untested tasks", "\n".join(untested)) if untested else "",
        fenced("goal", goal),
        _said_by(author),
        fenced("tasks in this batch", "\n".join(line for task in tasks for line in render_task(task))),
        _FOUND + fenced("changed tests and gates", found) if found else "",
        fenced("diff", diff),
    )


def _judged_words(since: str, author: str | None) -> str:
    if author is not None:
        return f"the change since {since[:12]}, which its author wants merged"
    return f"what was merged since {since[:12]}"


_SCANNED = (
    "A scan without a model found what is listed below, which the base has not. For each: follow the data, and repeat it as "
    "a finding only if you can say more than the scan does, or that it is a false alarm, which a person may then waive."
)


def _said_by(author: str | None) -> str:
    return fenced("what the author says of the change", author) if author else ""


_UNTESTED = (
    "No command judged whether these tasks do what they are to do; nobody but you will. Run their code, and say in your "
    "summary that they are untested.\n"
)

_FOUND = (
    "A text comparison found the following in everything merged since the run began. Judge each: did a task need it, and "
    "do the gates still prove what they did before? Whatever no task needed, or hides a fault, must be fixed.\n"
)


def security(
    goal: str,
    reasons: Sequence[str],
    diff: str,
    *,
    cut: bool,
    open_findings: Sequence[Finding],
    since: str,
    sensitive: str = "",
    scanned: str = "",
    author: str | None = None,
) -> str:
    """Ask the security reviewer to judge what was merged, or a change whose `author` says this of it."""
    return joined(
        f"Review the security of {_judged_words(since, author)}. It touches: {', '.join(reasons)}.",
        "The diff below is incomplete and says what is left out: read that in the workspace." if cut else "",
        open_words(open_findings),
        fenced("goal", goal),
        _said_by(author),
        fenced("diff of guarded and gate files", sensitive) if sensitive else "",
        _SCANNED if scanned else "",
        fenced("what a scan found", scanned) if scanned else "",
        fenced("diff", diff),
    )


def qa(
    goal: str,
    tasks: Sequence[Task],
    changed: str,
    *,
    open_findings: Sequence[Finding],
    since: str,
    code_map: str = "",
    restored: bool = False,
) -> str:
    """Ask the QA test author to test what was merged, by what it is to do and not by how it does it.

    `changed` lists the files; what they hold is not shown, so that tests follow from goal and interface.
    """
    return joined(
        f"Test {_judged_words(since, None)}: use it as its users would, and add missing tests. Only test files are taken from "
        "your workspace, and only if they pass.",
        "Your workspace holds what was begun before, without a verdict; continue from it." if restored else "",
        f"Write them from goal, tasks and interface. How it is done is not shown here: read the code, and `git diff "
        f"{since[:12]}`, once your list of what must hold stands, to find what it leaves out, never to copy what it does.",
        open_words(open_findings),
        fenced("goal", goal),
        fenced("tasks in this batch", "\n".join(line for task in tasks for line in render_task(task))),
        fenced("changed files", changed),
        _mapped(code_map),
    )


def qa_of_change(
    goal: str,
    diff: str,
    *,
    cut: bool,
    open_findings: Sequence[Finding],
    since: str,
    author: str,
    restored: bool = False,
) -> str:
    """Ask the QA test author to test a change of somebody else's, whose `author` says this of it; no test is taken."""
    return joined(
        f"Test {_judged_words(since, author)}: use it as its users would. Nothing is taken from your workspace: whatever test "
        "shows a fault goes into the finding, with its command and what it printed.",
        "Your workspace holds what was begun before, without a verdict; continue from it." if restored else "",
        "The diff below is incomplete and says what is left out: read that in the workspace." if cut else "",
        open_words(open_findings),
        fenced("goal", goal),
        _said_by(author),
        fenced("diff", diff),
    )


def hidden_tests(
    goal: str, task: Task, *, code_map: str = "", repositories: Sequence[str] = (), notes: str = ""
) -> str:
    """Ask QA for tests of a task that nobody has done yet."""
    return joined(
        f"Write tests of {task.id}, which several agents are doing at this moment. Your workspace is what they began on: "
        "nothing of it is done, so that your tests fail now. Write them from goal, task and interface: what it promises, at "
        "its limits too. Use only names that exist or that the task gives; where one is open, test through what calls it.",
        _works_in(task, repositories),
        fenced("goal of the whole run", goal),
        fenced("task", "\n".join(render_task(task))),
        _mapped(code_map),
        f"What agents of this run have noted so far; check what you rely on:\n{fenced('notes', notes)}"
        if notes
        else "",
    )


def judge(goal: str, task: Task, changes: Sequence[tuple[str, str, str]]) -> str:
    """Ask which of several changes for a task is to be merged: letter, what was seen of it, and its diff."""
    letters = ", ".join(letter for letter, _, _ in changes)
    return joined(
        f"Choose among changes {letters} for {task.id}: the one that a maintainer would rather merge. Compare them in pairs. "
        "What counts, in this order: does all that the task asks; right at its limits; fits the code around it; easy to read. "
        "Length and comments count for nothing. Your workspace shows what they begin on.",
        fenced("goal of the whole run", goal),
        fenced("task", "\n".join(render_task(task))),
        *(fenced(f"change {letter}", f"What was run: {seen}\n\n{diff}") for letter, seen, diff in changes),
    )


def ci(failures: str, *, merges: str) -> str:
    """Ask the CI runner for the cause of failures that the orchestrator saw."""
    return joined(
        "These gate commands fail on the merged state but did not on the base commit. Find the cause of each; the verdict "
        "already stands.",
        fenced("merged in this batch", merges),
        fenced("failures", failures),
    )


def setup_script(evidence: str, *, made_from: str, hosts: Sequence[str], repository: str = "") -> str:
    """Ask the CI runner for a script that makes the tests run; `repository` is the one of several that it is about."""
    return joined(
        "This repository's tests cannot run in the sandboxes that the team works in. Find a script that changes that: it "
        "alone is run in a fresh sandbox, with this network, before the test command runs without any.",
        f"It is about the repository in {repository}/ alone, one of several in the workspace. The script runs at the root of "
        f"all, the test command in {repository}/."
        if repository
        else "",
        f"Reachable hosts: {', '.join(hosts) or 'none'}.",
        "Programs and libraries go below /opt/codexteam (/opt/codexteam/bin is on PATH; a Python environment is "
        "/opt/codexteam/venv) or into files that git ignores; nothing else is kept. Tracked files stay as they are. There "
        "are no root rights. Install what the repository's own files ask for, in the versions they lock; never replace, skip "
        "or weaken a test. If nothing helps, answer with an empty script and say why.",
        f"Sandboxes are made from {fenced('made from', made_from)}" if made_from else "",
        fenced("what cannot run", evidence or "no test command is known; find how the tests are run"),
    )


def document(
    goal: str, tasks: Sequence[Task], diff: str, *, cut: bool, why: str, paths: Sequence[str], refused: str = ""
) -> str:
    """Ask the documentation writer to write what is asked for; `why` says by what, `refused` why its last try was not taken."""
    return joined(
        "The work is done and every gate passed. Bring the documentation up to date with what was merged. Change nothing else, "
        "and nothing at all if nothing became wrong or incomplete.",
        f"Why you are asked:\n{fenced('reason', why)}",
        _may_document(paths),
        "The diff below is incomplete and says what is left out: read that in the workspace." if cut else "",
        "Your workspace holds your last try, which was refused. Mend what is named here, and undo what you may not change:\n"
        + fenced("reason", refused)
        if refused
        else "",
        fenced("goal", goal),
        fenced("tasks", "\n".join(f"{task.id} {task.title}" for task in tasks)),
        fenced("diff", diff),
    )


def _may_document(paths: Sequence[str]) -> str:
    return (
        f"You may write documentation under these paths: {', '.join(paths)}. In files of code you may change comments and "
        "docstrings, API references too, and nothing else, which is checked. What tools obey (`noqa`, `type:`) stays."
    )


def release(goal: str, tasks: Sequence[Task], findings: str, diff: str, *, cut: bool) -> str:
    """Ask the release manager for notes."""
    return joined(
        "The run is green. Write the release notes.",
        "The diff below is incomplete and says what is left out: read that in the workspace." if cut else "",
        fenced("goal", goal),
        fenced("tasks", "\n".join(f"{task.id} {task.title}" for task in tasks)),
        fenced("findings", findings or "none"),
        fenced("diff", diff),
    )


def findings_text(findings: Sequence[Finding]) -> str:
    """List findings, each with everything known about it."""
    return "\n\n".join(_finding(finding) for finding in findings)


def _finding(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}" if finding.file and finding.line else finding.file or "no file"
    lines = [f"{finding.id or '-'} {finding.title} [{finding.severity}, {finding.category}, {finding.gate}] {place}"]
    lines += [finding.detail] if finding.detail else []
    lines += [f"Suggested: {finding.suggestion}"] if finding.suggestion else []
    return "\n".join(lines)


def open_words(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    return (
        "Open from earlier rounds. Report every finding that is still present again, under the same title; omit fixed ones:\n"
        + fenced("open findings", findings_text(findings))
    )


def joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
