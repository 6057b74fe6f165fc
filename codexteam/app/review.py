"""`review`: the gates judge a change that is there already; nothing is planned, changed or landed."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.beginning import check_beginning
from codexteam.app.github import pulls_of
from codexteam.app.model_checks import check_models
from codexteam.app.plan_limits import refuse_windows_without_plan
from codexteam.app.project import Project, find_project, is_review, new_run_id, repository_lock, review_mark, state_of
from codexteam.app.run import (
    GOAL_REDACTED,
    RunOptions,
    RunResult,
    checked_goal,
    guarded,
    remembered,
    result_of,
    run_session,
    show_warnings,
    wait_for_window,
)
from codexteam.app.secret_values import secret_values
from codexteam.app.session import SessionSpec, opened_store
from codexteam.app.signals import Signals
from codexteam.config.load import load_settings
from codexteam.config.priced import check_prices
from codexteam.config.settings import Settings
from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.redaction import Redactor
from codexteam.core.reviewing import findings_left
from codexteam.core.text import clean_line
from codexteam.errors import UsageError
from codexteam.ports.repo import ChangeWanted, FoundChange, RepositoryFacts
from codexteam.ports.store import RunRecord, Store
from codexteam.report.review_outcome import review_outcome
from codexteam.run.remembered import ReviewedChange

#: Where a review's change is kept in the store, below its run id.
_SPACE, _KEY = "review", "change"
#: What gates get to read of the author's words: of one commit, and of all.
_LINE_CHARS, _SAID_CHARS = 200, 5_000


@dataclass(frozen=True, slots=True)
class NothingToReview:
    """Both sides of the change have the same files."""

    title: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What is to be judged, and where."""

    project: Project
    settings: Settings
    facts: RepositoryFacts
    change: FoundChange
    audit: tuple[str, ...] | None = None


def review_change(wanted: ChangeWanted, options: RunOptions, *, title: str = "") -> RunResult | NothingToReview:
    """Let the gates judge a change, and return what they found.

    Args:
        wanted: what was typed.
        options: as of a run.
        title: what the change is called; without it, by its branch, commit or range.

    Raises:
        CodexteamError: it cannot begin, or cannot continue.
    """
    project = find_project(options.load.cwd, options.load.environment, options.state_dir)
    settings = load_settings(options.load)
    show_warnings(settings, options.display)
    if not settings.team.gates.enabled:
        raise UsageError("no gate is enabled: nothing would judge the change", hint="see [codexteam.gates] enabled")
    check_prices(settings)
    refuse_windows_without_plan(settings)
    with _fetched(project, wanted) as pull:
        found = asyncio.run(_find(project, settings, pull.wanted if pull else wanted))
        change = found.change if pull is None else pull.named(found.change)
        change = replace(change, title=clean_line(title) or change.title)
        if change.empty and wanted.audit is None:
            return NothingToReview(change.title)
        _refuse_own_judge(settings, change)
        check_beginning(settings, options.load.environment, project)
        found = replace(found, change=change, audit=wanted.audit)
        return guarded(lambda signals: _begin(found, options, signals), options)


def audit_wanted(paths: Sequence[Path], options: RunOptions) -> ChangeWanted:
    """Return what an audit of paths judges: all of the repository without any.

    Raises:
        UsageError: a path is outside of the repository.
        RepoError: there is no repository.
    """
    load = options.load
    root = find_project(load.cwd, load.environment, options.state_dir).places.root.resolve()
    found: list[str] = []
    for path in paths:
        # what the path names, and not where a link in it leads
        full = Path(os.path.abspath(load.cwd / path.expanduser()))  # noqa: PTH100 - `resolve` follows links
        if not full.is_relative_to(root):
            raise UsageError(f"{path}: it is outside of the repository, {root}", hint="name files or folders in it")
        found.append(full.relative_to(root).as_posix())
    return ChangeWanted(audit=() if "." in found else tuple(dict.fromkeys(found)))


def _refuse_own_judge(settings: Settings, change: FoundChange) -> None:
    """Refuse a change that would configure its own review, as the checkout of a trusted project does.

    Raises:
        UsageError: it would.
    """
    if settings.trusted is True and change.configures:
        shown = ", ".join(change.configures[:3])
        raise UsageError(
            f"the change alters {shown}, which would configure its own review: the checkout has it already",
            hint="check out what it is to be merged into, and review it from there as a range: codexteam review A...B",
        )


@dataclass(frozen=True, slots=True)
class _FetchedPull:
    """A pull request that is in the repository while it is reviewed."""

    number: int
    title: str
    wanted: ChangeWanted
    """It, as a range."""

    def named(self, change: FoundChange) -> FoundChange:
        title = f"pull request {self.number}: {clean_line(self.title)}"
        return replace(change, subject=f"pull:{self.number}", title=title, typed=f"pull request {self.number}")


@contextmanager
def _fetched(project: Project, wanted: ChangeWanted) -> Iterator[_FetchedPull | None]:
    """Bring a pull request into the repository for as long as it is reviewed; nothing where none is wanted."""
    if not wanted.pull:
        yield None
        return
    from codexteam.adapters.git.push import drop_pull, fetch_pull

    places, search_path = project.places, project.environment.get("PATH")
    with pulls_of(project, wanted.remote, push=False, command="codexteam review") as pulls:
        pull = pulls.get(wanted.pull)
    try:
        base, head = fetch_pull(places, wanted.remote, pull.number, pull.base, search_path)
        yield _FetchedPull(pull.number, pull.title, ChangeWanted(range=f"{base}...{head}"))
    finally:
        drop_pull(places, pull.number, search_path)


async def _find(project: Project, settings: Settings, wanted: ChangeWanted) -> _Found:
    from codexteam.adapters.git.repo import GitRepo

    repo = GitRepo(project.places, project.state_dir, project.environment, history_depth=settings.team.history_depth)
    try:
        facts = await repo.inspect()
        change = await repo.find_change(wanted)
    finally:
        await repo.close()
    if change.head is None and not facts.dirty:
        change = replace(change, empty=True)
    return _Found(project, settings, facts, change)


async def _begin(found: _Found, options: RunOptions, signals: Signals) -> RunResult:
    project, settings, change = found.project, found.settings, found.change
    environment = options.load.environment
    redactor = Redactor(secret_values(settings, environment))
    typed = checked_goal(_goal(change, options.constraints, "Review" if found.audit is None else "Audit"), None)
    says = redactor.redact(_author_says(change))
    goal = redactor.redact(typed)
    notices = settings.notices if goal == typed else (*settings.notices, GOAL_REDACTED)
    await check_models(settings, environment)
    clock = SystemClock()
    now = clock.wall_seconds()
    run_id = new_run_id(goal, at_seconds=now, pid=os.getpid())
    title = redactor.redact(change.title)
    with repository_lock(project, now) as lock:
        lock.name_run(run_id)
        async with opened_store(project) as store:
            reviewed = await _since_last(
                store, ReviewedChange(title, change.subject, change.head, says, audit=found.audit)
            )
            await store.put(f"{run_id}/{_SPACE}", _KEY, encode_object(reviewed))
            kept: JSONObject = {**remembered(options, project), **review_mark(title)}
            record = RunRecord(run_id, goal, change.base, "running", now, kept)
            await store.create_run(record)
            session = SessionSpec(
                project, replace(settings, notices=notices), record, change.base, person=False, review=True
            )
            ended, progress = await run_session(session, store, clock, options.display, signals)
            wait_for_window(ended, options)
            result = await result_of(ended, progress, store, settings, plan_only=False)
            return replace(result, project=project, review=review_outcome(ended.state, title))


def _goal(change: FoundChange, constraints: str, verb: str) -> str:
    """Return what instructs the gates: the user's own words alone. What the author says goes to them as data."""
    goal = f"{verb} {change.typed}."
    return f"{goal}\n\nWhat it must keep to:\n{constraints.strip()}" if constraints.strip() else goal


def _author_says(change: FoundChange) -> str:
    lines = [_clipped(change.title), *(f"- {_clipped(message)}" for message in change.messages)]
    kept: list[str] = []
    for line in lines:
        if sum(map(len, kept)) + len(line) > _SAID_CHARS:
            kept.append(f"[{len(lines) - len(kept)} more left out]")
            break
        kept.append(line)
    return "\n".join(kept)


def _clipped(text: str) -> str:
    line = clean_line(text)
    return line if len(line) <= _LINE_CHARS else f"{line[: _LINE_CHARS - 3]}..."


async def _since_last(store: Store, change: ReviewedChange) -> ReviewedChange:
    """Add what the newest review of the same change left, as far as it came to a verdict."""
    if not change.subject:
        return change
    for record in await store.runs():
        if not is_review(record) or record.state not in {"green", "not_green"}:
            continue
        before = await _change_of(store, record.run_id)
        if before is None or before.subject != change.subject:
            continue
        state = await state_of(store, record)
        opened, waived = findings_left(state)
        return replace(change, judged_before=state.tip, known=opened, waived=waived)
    return change


async def _change_of(store: Store, run_id: RunId) -> ReviewedChange | None:
    known = await store.get(f"{run_id}/{_SPACE}", _KEY)
    return None if known is None else decode(ReviewedChange, known, f"the change that {run_id} reviewed")
