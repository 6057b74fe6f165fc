"""What a run says on GitHub: the body of its pull request, and the answers in its review threads."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from codexteam.app.linked_pulls import LinkedPart
from codexteam.app.project import issue_of
from codexteam.core.state import FindingStatus, TaskPhase
from codexteam.core.text import clean, count_of
from codexteam.report.judgements import FindingLife
from codexteam.report.run_report import RunReport
from codexteam.report.task_story import TaskStory
from codexteam.views.formatting import cost, in_words, tokens, unknown_words
from codexteam.views.report.markdown import code, evidence_lines, fenced, finding_lines, safe, spending_lines, table_row
from codexteam.views.report.reproduction import reproduction

#: Commands that an answer lists.
_MOST_COMMANDS = 10
#: What GitHub takes, less what stands around ours.
MAX_CHARS = 60_000
_GOAL_CHARS = 2_000
_MARKS = {TaskPhase.MERGED: "x"}


def render_pull_request(report: RunReport, linked: Sequence[LinkedPart] = (), place: int = 0) -> str:
    """Return the body; what would make it too long for GitHub is left out from its end, and that is said.

    `linked` are the parts of a change to several repositories in the order to merge them in; this one is at `place`.
    """
    parts = ["\n".join(part).rstrip() for part in _parts(report, linked, place)]
    text, left_out = "", 0
    for part in filter(None, parts):
        if len(text) + len(part) + 2 > MAX_CHARS:
            left_out += 1
            continue
        text += f"{part}\n\n"
    if left_out:
        text += f"{left_out} longer part(s) left out: `codexteam report {report.run.record.run_id}` has all.\n"
    return text.rstrip() + "\n"


def _parts(report: RunReport, linked: Sequence[LinkedPart], place: int) -> Iterable[Iterable[str]]:
    yield _head(report)
    yield _together(linked, place)
    yield _plan(report.stories, with_commits=not linked)
    yield evidence_lines(report, with_commits=not linked)
    yield _acceptance(report.stories)
    yield finding_lines(report)
    yield spending_lines("role", report.spending.by_role)
    yield _reproduce(report)


def _head(report: RunReport) -> Iterable[str]:
    run, progress = report.run, report.run.progress
    if issue := issue_of(run.record):
        # a reference on purpose, to what the user named: GitHub closes the issue when this is merged
        yield f"Closes {issue}: {safe(run.record.goal.partition(chr(10))[0])}"
    else:
        yield safe(run.record.goal, most_chars=_GOAL_CHARS)
    yield ""
    if run.state.summary:
        yield from (safe(run.state.summary, most_chars=_GOAL_CHARS), "")
    yield f"**{in_words(run.word).capitalize()}**: {safe(run.state.result_reason, most_chars=_GOAL_CHARS)}"
    waived = [known for known in run.state.findings.values() if known.status is FindingStatus.WAIVED]
    for known in waived:
        yield f"- waived by a person: {known.finding.id} {safe(known.finding.title)}"
    yield ""
    paid = f"{cost(progress.usd, progress.unknown)}, {tokens(progress.usage.total_tokens)} tokens"
    yield f"Run {code(run.record.run_id)}, {paid}."
    if unknown := unknown_words(progress.unknown):
        yield unknown


def _together(linked: Sequence[LinkedPart], place: int) -> Iterable[str]:
    if not linked:
        return
    words = f"Part {place + 1} of {len(linked)} of one change. All parts were tested together"
    yield from ("## Repositories", "", f"{words}; merge them in this order:" if len(linked) > 1 else f"{words}.", "")
    for number, part in enumerate(linked):
        where = "this pull request" if number == place else part.url or "its pull request, which is not open yet"
        yield f"{number + 1}. {code(part.repository)}: {where}"


def _plan(stories: Iterable[TaskStory], *, with_commits: bool) -> Iterable[str]:
    """List the tasks; commits of the tree of several repositories are in none of them."""
    listed = [story for story in stories if story.known.phase is not TaskPhase.DROPPED]
    if not listed:
        return
    yield from ("## Plan", "")
    for story in listed:
        mark = _MARKS.get(story.known.phase, " ")
        merged = f" ({code(story.merged_as[:10])})" if story.merged_as and with_commits else f" ({story.word})"
        yield f"- [{mark}] **{safe(str(story.known.task.id))}** {safe(story.known.task.title)}{merged}"


def _acceptance(stories: Iterable[TaskStory]) -> Iterable[str]:
    rows = [
        table_row(safe(str(story.known.task.id)), safe(accept.criterion), code(accept.command or ""))
        for story in stories
        for accept in story.known.task.acceptance
        if story.known.phase is TaskPhase.MERGED and accept.command
    ]
    if rows:
        yield from ("## Acceptance", "", "Each command exited with 0 on the tree that its task was merged with.", "")
        yield from ("| task | criterion | command |", "| --- | --- | --- |", *rows)


def _reproduce(report: RunReport) -> Iterable[str]:
    if commands := reproduction(report, elsewhere=True):
        yield from ("## Reproduce", "", *fenced(clean("\n".join(commands)), "sh"))


def render_reply(report: RunReport, finding: str, known_as: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return what is said in the thread of a finding that is fixed, or was waived.

    `known_as` has words for commits that the thread's repository knows otherwise, under no name for what was tested.
    """
    life = next(one for one in report.findings if one.id == finding)
    if life.known.status is FindingStatus.WAIVED:
        return f"A person decided to leave this as it is: {life.id} is waived in run {code(report.run.record.run_id)}."
    return "\n".join(_fixed(report, life, known_as))


def _fixed(report: RunReport, life: FindingLife, known_as: Mapping[str, str]) -> Iterable[str]:
    stories = {str(story.known.task.id): story for story in report.stories}
    tip = str(report.run.state.landed or report.run.state.tip)
    tip = known_as.get("", tip)
    if not life.fixed_by:
        yield f"The gates see nothing of this any more at {tip}."
    for task, commit in life.fixed_by:
        # a full commit id is what GitHub makes a link of
        yield f"Done in {known_as.get(commit, commit)} ({safe(task)}: {safe(stories[task].known.task.title)})."
    accepted = [
        (accept.command, accept.criterion)
        for task, _ in life.fixed_by
        for accept in stories[task].known.task.acceptance
        if accept.command
    ]
    gates = [one for record in report.run.state.gates.values() for one in record.commands if one.ok]
    if accepted:
        yield from ("", "Exit code 0 on the merged tree:", "")
        yield from (f"- {code(command)}: {safe(criterion)}" for command, criterion in accepted[:_MOST_COMMANDS])
    if gates:
        yield from ("", f"Passed on {tip}:", "")
        yield from (f"- {code(one.command)}" for one in gates[:_MOST_COMMANDS])
    left = max(0, len(accepted) - _MOST_COMMANDS) + max(0, len(gates) - _MOST_COMMANDS)
    if left:
        yield from ("", f"{count_of(left, 'more command')} in the report of the run.")
    if not accepted and not gates:
        yield from ("", "No command judged it; the gates read the change.")
