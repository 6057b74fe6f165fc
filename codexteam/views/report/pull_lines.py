"""What is printed of a pull request that was opened, brought up to date or synced."""

from collections.abc import Sequence

from codexteam.app.pull_feedback import PullFeedback
from codexteam.app.pull_request import PublishedPull
from codexteam.app.pull_sync import PullLook, SyncedPull
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line, count_of
from codexteam.views.streams import OutputStreams

_SHOWN_CHECKS = 5


def print_look(out: OutputStreams, look: PullLook) -> None:
    """Print what a pull request asks for; nothing was done."""
    feedback = look.feedback
    if out.json_lines:
        out.record({**_record(look, feedback, "pr.asked"), "unfinished": look.unfinished})
        return
    asked = len(feedback.new)
    for finding in feedback.new:
        place = f" ({clean_line(finding.file)}{f':{finding.line}' if finding.line else ''})" if finding.file else ""
        out.write(f"asks for: {clean_line(finding.title)}{place}\n")
    for due in feedback.due:
        what = "to be resolved" if due.replied else "to be answered"
        out.write(f"{what}: {clean_line(due.known.finding.title)}\n")
    _print_rest(out, look, asked=asked)


def print_nothing(out: OutputStreams, look: PullLook) -> None:
    """Say that there is nothing to do."""
    if out.json_lines:
        out.record({**_record(look, look.feedback, "pr.synced"), "answered": [], "resolved": [], "pushed": ""})
        return
    out.note(f"{look.place}: nothing to do")
    _print_rest(out, look, asked=0)


def print_synced(out: OutputStreams, look: PullLook, synced: SyncedPull) -> None:
    """Print what was published."""
    if out.json_lines:
        answered: list[JSONValue] = [*synced.answered]
        resolved: list[JSONValue] = [*synced.resolved]
        said: JSONObject = {"answered": answered, "resolved": resolved, "pushed": synced.pulls[0].branch}
        out.record({**_record(look, synced.feedback, "pr.synced"), **said})
        return
    for pull in synced.pulls:
        where = f"{pull.repository}: " if pull.repository else ""
        out.note(f"{where}updated pull request {pull.number}: {pull.branch} into {pull.base}")
    out.note(f"answered {_named(synced.answered, 'thread')}, resolved {_named(synced.resolved, 'thread')}")
    if synced.feedback.new:
        out.note(f"{count_of(len(synced.feedback.new), 'request')} came meanwhile: codexteam pr sync takes them up")
    for note in synced.feedback.notes:
        out.note(note)
    for pull in synced.pulls:
        out.write(f"{clean_line(pull.url)}\n")


def _named(names: Sequence[str], thing: str) -> str:
    return f"{count_of(len(names), thing)} ({', '.join(names)})" if names else f"no {thing}"


def _print_rest(out: OutputStreams, look: PullLook, *, asked: int) -> None:
    feedback = look.feedback
    if feedback.more:
        out.note(f"{count_of(feedback.more, 'more request')}: a sync takes up {asked} at a time")
    if look.capped:
        out.note(f"not taken up: {look.capped}")
    for note in feedback.notes:
        out.note(note)
    if feedback.pending:
        shown = ", ".join(feedback.pending[:_SHOWN_CHECKS])
        out.note(f"{count_of(len(feedback.pending), 'check')} not ended yet: {shown}")
    for part in look.parts:
        out.write(f"{clean_line(part.pull.url)}\n")


def _record(look: PullLook, feedback: PullFeedback, kind: str) -> JSONObject:
    return {
        "type": kind,
        "run": look.record.run_id,
        "number": look.parts[0].pull.number,
        "url": look.parts[0].pull.url,
        **_repositories(look),
        "asked": [clean_line(one.title) for one in feedback.new],
        "more": feedback.more,
        "capped": look.capped,
        "pending_checks": [*feedback.pending],
        "notes": [*feedback.notes],
    }


def _repositories(look: PullLook) -> JSONObject:
    """Return the pull requests of several repositories; nothing where there is one."""
    listed: list[JSONValue] = [
        {"repository": part.repository, "number": part.pull.number, "url": part.pull.url}
        for part in look.parts
        if part.repository
    ]
    return {"repositories": listed} if listed else {}


def print_pull(out: OutputStreams, pull: PublishedPull) -> None:
    """Print its address, or one record."""
    if out.json_lines:
        out.record(
            {
                "type": "pr.completed",
                "run": pull.run_id,
                "number": pull.number,
                "url": pull.url,
                "branch": pull.branch,
                "base": pull.base,
                "draft": pull.draft,
                "created": pull.created,
                **({"repository": pull.repository} if pull.repository else {}),
            }
        )
        return
    what = "opened" if pull.created else "updated"
    where = f"{pull.repository}: " if pull.repository else ""
    out.note(
        f"{where}{what} {'draft ' if pull.draft else ''}pull request {pull.number}: {pull.branch} into {pull.base}"
    )
    out.write(f"{pull.url}\n")


def print_pulls(out: OutputStreams, pulls: Sequence[PublishedPull]) -> None:
    """Print the pull requests of a run, in the order to merge them in."""
    for pull in pulls:
        print_pull(out, pull)
