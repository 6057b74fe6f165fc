"""`pr sync`: what reviews and checks ask of a run's pull request is worked on, pushed and answered, each thing once.

Nothing is remembered that GitHub or the run's own history does not say: what was taken is a finding with its source, what
was answered is a comment with our mark, so that a sync that was killed anywhere is simply run again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.clean import open_repo
from codexteam.app.command_lines import lines_of, load_with_lines
from codexteam.app.delivery import deliver
from codexteam.app.github import pulls_of
from codexteam.app.linked_pulls import Renderer, changed_parts, named_part, publish_pulls
from codexteam.app.project import (
    Project,
    is_review,
    live_run,
    pick_run,
    reading_store,
    refuse_cleaned,
    repository_lock,
    state_of,
)
from codexteam.app.pull_feedback import (
    DueAnswer,
    PullFeedback,
    read_checks,
    read_requested_changes,
    read_threads,
    with_output,
)
from codexteam.app.pull_request import PublishedPull, PullWanted
from codexteam.app.run import RunOptions, RunResult, resume_run
from codexteam.app.session import opened_store
from codexteam.app.several import locked_with, members_of
from codexteam.config.settings import PullRequestSettings
from codexteam.core.budget import BudgetLimits
from codexteam.core.codec import StoredForm, encode_object, stored
from codexteam.core.effects import Result
from codexteam.core.ids import CommitId, RunId, TaskId, branch_name
from codexteam.core.repositories import repositories_in
from codexteam.core.state import FindingStatus, RunState
from codexteam.core.steering_events import FeedbackGiven
from codexteam.core.text import clean_line
from codexteam.errors import LandingError, UsageError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord
from codexteam.report.progress import Progress
from codexteam.report.run_report import RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codexteam.adapters.github.pulls import GitHubPulls, PullRequest
    from codexteam.adapters.github.reviews import GitHubReviews

_COMMAND: Final = "codexteam pr sync"
#: How often it is looked whether checks have ended.
_POLL_SECONDS: Final = 15.0
_SHOWN_CHECKS: Final = 5


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class ResolvedThread:
    """A thread that was resolved (space `pull_request`, by its id): who opens it again wants something."""

    finding: str


@dataclass(frozen=True, slots=True)
class SyncWanted:
    """Which pull request is meant, and how long to wait for its checks."""

    run: str | None = None
    number: int = 0
    """Of the pull request; 0: that of the run."""
    remote: str = "origin"
    checks_minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class PullPart:
    """The pull request of one repository."""

    repository: str
    """Its name among several; empty where there is one."""
    project: Project
    pull: "PullRequest"
    behind: bool
    """The run's branch has what was not pushed yet."""


@dataclass(frozen=True, slots=True)
class PullLook:
    """A pull request, or those of several repositories, beside their run, as all are now."""

    project: Project
    record: RunRecord
    wanted: SyncWanted
    parts: tuple[PullPart, ...]
    """At least one, in the order to merge them in."""
    feedback: PullFeedback
    """Of all of them."""
    unfinished: bool
    """What was asked for before is not done."""
    green: bool
    capped: str
    """Why nothing new is taken any more; empty while something is."""
    limits: BudgetLimits
    """What the run may have spent when its pull request's limits are reached."""

    @property
    def place(self) -> str:
        """Return which pull requests it is about, in words."""
        if not self.parts[0].repository:
            return f"pull request {self.parts[0].pull.number}"
        return "pull requests " + ", ".join(f"{each.repository} {each.pull.number}" for each in self.parts)

    @property
    def works(self) -> bool:
        """Return whether there is something for the team to do."""
        return self.unfinished or (bool(self.feedback.new) and not self.capped)

    @property
    def publishes(self) -> bool:
        """Return whether there is something to push or to say."""
        return self.green and (any(part.behind for part in self.parts) or bool(self.feedback.due))


@dataclass(frozen=True, slots=True)
class SyncedPull:
    """What a sync published."""

    pulls: tuple[PublishedPull, ...]
    answered: tuple[str, ...]
    """Findings whose threads were answered."""
    resolved: tuple[str, ...]
    feedback: PullFeedback
    """What is left to do."""


def look_at_pull(project: Project, options: RunOptions, wanted: SyncWanted) -> PullLook:
    """Read what a run's pull request asks for; nothing is changed and nothing spent.

    Raises:
        UsageError: there is no such run, or it is at work.
        LandingError: it has no open pull request of its own, or GitHub refuses.
    """
    return asyncio.run(_look(project, options, wanted))


async def _look(project: Project, options: RunOptions, wanted: SyncWanted) -> PullLook:
    name = wanted.run
    if wanted.number:
        with pulls_of(project, wanted.remote, push=True, command=_COMMAND) as pulls:
            pull = pulls.get(wanted.number)
            _refuse_foreign(pulls, pull)
            name = pull.branch.removeprefix(branch_name(RunId("")))
    async with reading_store(project) as store:
        record = await pick_run(store, name, reviews=False)
        state = await state_of(store, record)
        facts = await store.facts(record.run_id)
        settings = load_with_lines(options.load, await lines_of(store, record))
        resolved = [key for key, _ in await store.list(f"{record.run_id}/pull_request")]
    _refuse_unfit(project, record, state)
    found = PullFeedback()
    parts = []
    for repository, own in _projects(project, record, state).items():
        with named_part(repository), pulls_of(own, wanted.remote, push=True, command=_COMMAND) as pulls:
            part = _part(pulls, own, record, state, repository=repository, number=0 if repository else wanted.number)
            parts.append(part)
            _read(found, pulls, part, state, resolved, minutes=wanted.checks_minutes)
    given = settings.team.pull_requests
    rounds = sum(fact.kind == "feedback.taken" for fact in facts)
    limits = _limits(given, facts)
    asked = any(known.finding.source for known in state.findings.values() if known.status is FindingStatus.OPEN)
    green = state.result is Result.GREEN
    look = PullLook(project, record, wanted, tuple(parts), found, asked and not green, green, "", limits)
    if found.new and rounds >= given.max_rounds:
        capped = (
            f"{look.place} had {rounds} rounds of feedback, and "
            f"[codexteam.pull_requests] max_rounds allows {given.max_rounds}"
        )
        return replace(look, capped=capped)
    return look


def _projects(project: Project, record: RunRecord, state: RunState) -> dict[str, Project]:
    """Return the repositories that a run changed, by name, in the order to merge them in; of one, that under no name."""
    if not state.rules.repositories:
        return {"": project}
    members = {each.name: each for each in members_of(record, project.environment)}
    names = [part.repository for part in changed_parts(state)]
    return {name: replace(project, places=members[name].places) for name in names}


def _part(
    pulls: "GitHubPulls", project: Project, record: RunRecord, state: RunState, *, repository: str, number: int
) -> PullPart:
    """Return the open pull request of a run in one repository.

    Raises:
        LandingError: it has none, or none that can be worked on.
    """
    from codexteam.adapters.git.push import branch_tip

    branch = branch_name(record.run_id)
    pull = pulls.get(number) if number else pulls.find(branch)
    if pull is None:
        raise LandingError(
            f"run {record.run_id} has no open pull request in {pulls.name}",
            hint=f"codexteam pr {record.run_id} opens it",
        )
    if not pulls.may_push():
        raise LandingError(
            f"{pulls.name}: the token may read, and not push",
            hint="use one with `contents: write` and `pull requests: write`; nothing was spent",
        )
    _refuse_others_commits(project, record, pull)
    tip = branch_tip(project.places, branch, project.environment.get("PATH")) if repository else state.landed
    return PullPart(repository, project, pull, behind=tip is not None and pull.head != tip)


def _refuse_foreign(pulls: "GitHubPulls", pull: "PullRequest") -> None:
    """Refuse a pull request that no run of this repository made.

    Raises:
        LandingError: it is one.
    """
    place = pulls.api.place
    what = f"pull request {pull.number}"
    review = f"codexteam review --pr {pull.number} judges it"
    if pull.source.casefold() != f"{place.owner}/{place.name}".casefold():
        whose = f"a fork ({clean_line(pull.source)})" if pull.source else "a fork that is gone"
        raise LandingError(f"{what} comes from {whose}: no run of this repository made it", hint=review)
    if not pull.branch.startswith(branch_name(RunId(""))):
        raise LandingError(f"{what} is of branch {clean_line(pull.branch)!r}, which no run made", hint=review)
    if pull.state != "open":
        raise LandingError(f"{what} is closed: there is nothing to work on", hint="codexteam runs lists the runs")


def _refuse_unfit(project: Project, record: RunRecord, state: RunState) -> None:
    refuse_cleaned(record)
    if live_run(project) == record.run_id:
        raise UsageError(f"run {record.run_id} is at work", hint="wait for its end; codexteam status shows it")
    if is_review(record):
        raise UsageError(f"{record.run_id} is a review: it has no pull request", hint="codexteam runs lists the others")
    if state.landed is None:
        raise LandingError(
            f"run {record.run_id} has put no branch into the repository: it is {record.state}",
            hint="codexteam status says what it waits for; codexteam resume continues it",
        )


def _refuse_others_commits(project: Project, record: RunRecord, pull: "PullRequest") -> None:
    """Refuse a branch that somebody else pushed to: nothing is ever forced, and their work would not be in ours.

    Raises:
        LandingError: somebody did.
    """
    from codexteam.adapters.git.push import branch_holds

    branch = branch_name(record.run_id)
    if pull.head and not branch_holds(project.places, branch, pull.head, project.environment.get("PATH")):
        raise LandingError(
            f"{branch} on GitHub is at {clean_line(pull.head[:10])}, which is not in the run's own branch: somebody pushed "
            "to it",
            hint="codexteam builds on its own commits alone: continue from there by hand, or begin a run on that branch",
        )


def _read(
    found: PullFeedback, pulls: "GitHubPulls", part: PullPart, state: RunState, resolved: list[str], *, minutes: float
) -> None:
    """Read what people and checks ask for; checks of a commit that is overtaken say nothing any more."""
    from codexteam.adapters.github.reviews import GitHubReviews

    reviews = GitHubReviews(pulls.api, part.pull.number)
    threads, left_out = reviews.threads()
    if left_out:
        of = f"{part.repository}: " if part.repository else ""
        found.notes.append(f"{of}the pull request has {left_out:,} more review threads than are read")
    read_threads(found, state, threads, reviews, resolved=resolved, repository=part.repository)
    read_requested_changes(found, state, reviews.requested_changes(), reviews)
    if not part.behind:
        _add_checks(pulls, part, state, found, minutes)


def _add_checks(pulls: "GitHubPulls", part: PullPart, state: RunState, found: PullFeedback, minutes: float) -> None:
    from codexteam.adapters.github.checks import annotations_of, branch_head, check_results

    pull = part.pull
    until = time.monotonic() + minutes * 60
    checks = check_results(pulls.api, pull.head)
    while any(not one.ended for one in checks) and (left := until - time.monotonic()) > 0:
        time.sleep(min(_POLL_SECONDS, left))
        checks = check_results(pulls.api, pull.head)
    red_on_base: frozenset[str] = frozenset()
    if any(one.red for one in checks) and (head := branch_head(pulls.api, pull.base)):
        red_on_base = frozenset(one.name for one in check_results(pulls.api, head) if one.red)
    red = read_checks(
        found, state, pull.head, checks, base=pull.base, red_on_base=red_on_base, repository=part.repository
    )
    for check, finding in red:
        says = "\n".join(part for part in (check.says, annotations_of(pulls.api, check)) if part)
        found.take(replace(finding, detail=with_output(finding, says)))
    if minutes and found.pending and not (found.new or found.due):
        listed = ", ".join(found.pending[:_SHOWN_CHECKS])
        raise LandingError(
            f"{listed} of pull request {pull.number} did not end within {minutes:g} min",
            hint=f"nothing was done; look at them on {clean_line(pull.url)}, and run {_COMMAND} again",
        )


def _limits(given: PullRequestSettings, facts: list[RunEvent]) -> BudgetLimits:
    """Return what the run may have spent in all: what it cost before its first feedback, and the limits for that."""
    before = Progress()
    for fact in facts:
        if fact.kind == "feedback.taken":
            break
        before.take(fact)
    tokens = None if given.max_tokens is None else before.usage.total_tokens + given.max_tokens
    # a part of unknown price counts as nothing: a limit in money needs prices for all, which the run checks
    usd = None if given.max_usd is None else (before.usd or 0.0) + given.max_usd
    counted = None if given.max_credits is None else (before.credits or 0.0) + given.max_credits
    return BudgetLimits(run_usd=usd, run_credits=counted, run_tokens=tokens)


def work_on_feedback(look: PullLook, options: RunOptions) -> RunResult:
    """Let the team do what is asked for, within the limits of the pull request; what was begun before continues.

    Raises:
        CodexteamError: it cannot begin, or cannot continue.
    """
    run_id = look.record.run_id
    if look.feedback.new and not look.capped:
        event = FeedbackGiven(look.place, tuple(look.feedback.new))
        asyncio.run(deliver(look.project, look.record, event))
    return resume_run(run_id, replace(options, at_most=look.limits))


def publish_feedback(
    look: PullLook,
    report: RunReport,
    render: Renderer,
    reply: Callable[[str, Mapping[str, str]], str],
    options: RunOptions,
) -> SyncedPull:
    """Push, bring each pull request's body up to date, answer the threads whose findings are settled, resolve the fixed ones.

    Args:
        look: from before the work.
        report: of the run as it is now; it is green.
        render: writes the bodies.
        reply: returns what is said of a finding, with words for commits that the thread's repository knows otherwise.
        options: as for the look.

    Raises:
        LandingError: something is refused; what was published before stays, and is not published again.
        RepositoryBusyError: another process works on a repository, maybe another sync.
    """
    project, wanted, now = look.project, look.wanted, SystemClock().wall_seconds()
    members = members_of(look.record, project.environment)
    with repository_lock(project, now), locked_with(project, members, now):
        pulls = publish_pulls(project, report, PullWanted(remote=wanted.remote), render)
        # as it is now: answers that another sync wrote, and what people said meanwhile
        again = replace(wanted, run=look.record.run_id, number=0 if members else pulls[0].number, checks_minutes=0.0)
        fresh = look_at_pull(project, options, again)
        answered, resolved = [], []
        for part in fresh.parts:
            own = [due for due in fresh.feedback.due if due.repository == part.repository]
            words = asyncio.run(_own_words(project, report, part.repository, own)) if part.repository else {}
            with _reviews_of(fresh, part) if own else nullcontext() as reviews:
                for due in own:
                    assert reviews is not None
                    name = str(due.known.finding.id)
                    if not due.replied:
                        reviews.reply(due.thread_id, f"{reply(name, words).strip()}\n\n{due.mark}", mark=due.mark)
                        answered.append(name)
                    if due.resolves:
                        reviews.resolve(due.thread_id)
                        asyncio.run(_note_resolved(fresh, due))
                        resolved.append(name)
    fresh.feedback.due.clear()
    return SyncedPull(pulls, tuple(answered), tuple(resolved), fresh.feedback)


async def _own_words(project: Project, report: RunReport, repository: str, due: Sequence[DueAnswer]) -> dict[str, str]:
    """Return what commits of the tree of several repositories are called in a thread of one of them, as replies need it."""
    state, record = report.run.state, report.run.record
    wanted: dict[CommitId, str] = {}
    names = {str(each.known.finding.id) for each in due}
    for life in report.findings:
        for task, commit in life.fixed_by if life.id in names else ():
            written = repositories_in(state.tasks[TaskId(task)].task.paths, state.rules.repositories)
            wanted[CommitId(commit)] = written[0] if len(written) == 1 else repository
    repo = open_repo(project, members_of(record, project.environment))
    try:
        commits = await repo.own_commits(RunId(record.run_id), [(name, commit) for commit, name in wanted.items()])
    finally:
        await repo.close()
    words = {
        str(commit): str(own) if name == repository else f"{own} of {name}"
        for (commit, name), own in zip(wanted.items(), commits, strict=True)
    }
    return {**words, "": "the merged trees of all repositories"}


@contextmanager
def _reviews_of(look: PullLook, part: PullPart) -> "Iterator[GitHubReviews]":
    from codexteam.adapters.github.reviews import GitHubReviews

    with pulls_of(part.project, look.wanted.remote, push=True, command=_COMMAND) as pulls:
        yield GitHubReviews(pulls.api, part.pull.number)


async def _note_resolved(look: PullLook, due: DueAnswer) -> None:
    note = ResolvedThread(str(due.known.finding.id))
    async with opened_store(look.project) as store:
        await store.put(f"{look.record.run_id}/pull_request", due.thread_id, encode_object(note))
