"""`run`, `plan` and `resume`: from a command line to a session of a run, and how it ended."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.store.journal import EventsFile
from codexteam.app.beginning import check_beginning
from codexteam.app.command_lines import keep_line, lines_of, load_with_lines, said
from codexteam.app.display import RunDisplay
from codexteam.app.followers import LoadingAhead, open_followers
from codexteam.app.journal import JournalFollowers, tell_broken_off, tell_killed_calls
from codexteam.app.model_checks import check_models
from codexteam.app.plan_limits import refuse_windows_without_plan, window_reached
from codexteam.app.plan_preview import PlanPreview, plan_preview
from codexteam.app.project import (
    Project,
    branch_gone,
    events_path,
    find_project,
    is_review,
    issue_mark,
    new_run_id,
    pick_run,
    refuse_cleaned,
    repository_lock,
    state_of,
    title_of,
)
from codexteam.app.secret_values import secret_values
from codexteam.app.session import Ended, RunSession, SessionSpec, opened_store
from codexteam.app.several import (
    inspect_several,
    locked_with,
    members_mark,
    members_of,
    settings_for,
    wanted_repositories,
)
from codexteam.app.signals import Signals, allow_open_files, run_guarded_by_signals
from codexteam.config.load import load_settings
from codexteam.config.priced import check_prices
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings, StepMode
from codexteam.core.approvals import plan_waits
from codexteam.core.budget import BudgetLimits, run_limits
from codexteam.core.budget_amounts import Unit
from codexteam.core.codec import encode_object
from codexteam.core.documentation import asks_for_documentation
from codexteam.core.effects import Result
from codexteam.core.ids import CommitId, JSONObject, RunId
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.redaction import Redactor
from codexteam.core.state import TaskPhase
from codexteam.errors import CodexteamError, StoreError, UsageError, UsageLimitError
from codexteam.ports.reporter import Reporter
from codexteam.ports.store import RunRecord, Store, StoredSession
from codexteam.report.progress import Progress, ending_words
from codexteam.report.review_outcome import ReviewOutcome, review_outcome
from codexteam.run.heartbeat import leave_blocked
from codexteam.system.cancellation import together

if TYPE_CHECKING:
    from codexteam.adapters.git.composite import Member
    from codexteam.app.repositories import NamedRepository
    from codexteam.ports.repo import RepositoryFacts

#: Anything longer is a mistake, not a goal: the orchestrator reads all of it in every planning call.
MAX_GOAL_BYTES = 256 * 1024


#: Said where the goal asks for what is switched off.
DOCUMENTATION_OFF = (
    "the goal asks for documentation, and that step is off (--no-docs, or [codexteam.steps] documentation): what no task "
    "of the plan writes is not written"
)
#: Said where a secret was in the goal: models are sent the rest of it, and commits name it.
GOAL_REDACTED = "the goal holds what looks like a secret: agents see [redacted] in its place"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `run` and `plan` were told beside the goal."""

    load: LoadRequest
    display: RunDisplay
    state_dir: Path | None = None
    plan_file: Path | None = None
    base: str | None = None
    constraints: str = ""
    """What every task must keep to, beside the goal."""
    issue: str = ""
    """The issue that the goal is from, as `owner/name#12`."""
    batches: int = 0
    """The passes of the gates after which the session ends; 0 is any number."""
    wait: bool = False
    """Whether a usage limit that is reached is waited out."""
    at_most: BudgetLimits = field(default_factory=BudgetLimits)
    """What the run may have spent in all when this session ends, where that is less than its own budget."""
    repositories: Mapping[str, Path] = field(default_factory=dict)
    """What `--repo` names: several repositories to work on together."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a session of a run ended."""

    run_id: RunId
    exit_code: int
    progress: Progress
    folder: Path
    """Where the run's files are."""
    plan: PlanPreview | None = None
    """Where a plan alone was asked for and there is one."""
    project: Project | None = None
    """Whose run it was."""
    review: ReviewOutcome | None = None
    """Where it was a review."""
    limits: Mapping[Unit, int] = field(default_factory=dict)
    """Of the run, as the ledger counts."""


def run_goal(goal: str | None, options: RunOptions) -> RunResult:
    """Begin a run and drive it until its session ends.

    Raises:
        CodexteamError: it cannot begin, or cannot continue.
    """
    return guarded(lambda signals: _begin(goal, options, signals, plan_only=False), options)


def plan_goal(goal: str, options: RunOptions) -> RunResult:
    """Dry run: scouts, plan.md, waves, forecast; writes nothing but plan.md.

    Raises:
        CodexteamError: there can be no plan.
    """
    return guarded(lambda signals: _begin(goal, options, signals, plan_only=True), options)


def resume_run(name: str | None, options: RunOptions) -> RunResult:
    """Continue a run from its last checkpoint.

    Raises:
        CodexteamError: there is no such run, or it cannot continue.
    """
    return guarded(lambda signals: _continue(name, options, signals), options)


def guarded(begin: Callable[[Signals], Awaitable[RunResult]], options: RunOptions) -> RunResult:
    def command(signals: Signals) -> Awaitable[RunResult]:
        if not options.wait:
            return begin(signals)
        from codexteam.app.served_again import until_served

        return until_served(
            begin(signals),
            lambda run_id: _continue(run_id, options, signals),
            clock=SystemClock(),
            signals=signals,
            warn=options.display.note,
        )

    return run_guarded_by_signals(command)


async def _begin(goal: str | None, options: RunOptions, signals: Signals, *, plan_only: bool) -> RunResult:
    from codexteam.app.plan_file import GivenText, given_mark, given_plan, refuse_edited_plan, refuse_foreign_plan
    from codexteam.run.plan_versions import note_shown

    if goal is not None or options.plan_file is None:
        checked_goal(goal, None)  # what was typed wrong is said before anything about the machine
    project = find_project(options.load.cwd, options.load.environment, options.state_dir)
    settings = load_settings(options.load)
    show_warnings(settings, options.display)
    check_prices(settings)
    refuse_windows_without_plan(settings)
    check_beginning(settings, options.load.environment, project)
    named = wanted_repositories(project, options.repositories, settings.team.repos)
    files = (options.plan_file, options.load.cwd)
    given = given_plan(*files, settings, [each.name for each in named])
    redactor = Redactor(secret_values(settings, options.load.environment))
    typed = checked_goal(constrained(goal, given.plan if given else None, options.constraints), None)
    text = redactor.redact(typed)
    if text != typed:
        settings = replace(settings, notices=(*settings.notices, GOAL_REDACTED))
    settings = replace(
        settings, notices=(*_of_goal_and_plan(text, given.plan.tasks if given else (), settings), *settings.notices)
    )
    refuse_foreign_plan(project.places.root, *files)
    members, facts = await _inspected(project, settings, named)
    settings = settings_for(settings, members)
    clock = SystemClock()
    now = clock.wall_seconds()
    run_id = new_run_id(text, at_seconds=now, pid=os.getpid())
    with repository_lock(project, now) as lock, locked_with(project, members, now):
        lock.name_run(run_id)
        async with opened_store(project) as store:
            await refuse_edited_plan(store, project.places.root, *files)
            kept: JSONObject = {**remembered(options, project), "plan_only": plan_only}
            kept |= {**members_mark(members), **issue_mark(options.issue)}
            record = RunRecord(run_id, text, facts.head, "running", now, kept)
            if given is not None:
                await store.put(*given_mark(run_id), encode_object(GivenText(redactor.redact(given.text))))
            await store.create_run(record)
            if given is not None:
                # the file that the run is begun with: where it is plan.md itself, its text is kept
                await note_shown(store, run_id, on_disk=None, text=given.text, plan=given.plan)
            settings = replace(settings, notices=(*facts.notices, *settings.notices))
            session = SessionSpec(
                project,
                settings,
                record,
                facts.head,
                plan=given,
                plan_only=plan_only,
                person=options.display.can_ask,
                batches=options.batches,
                members=members,
            )
            ended, progress = await run_session(session, store, clock, options.display, signals)
            wait_for_window(ended, options)
            return replace(await result_of(ended, progress, store, settings, plan_only=plan_only), project=project)


async def _continue(name: str | None, options: RunOptions, signals: Signals) -> RunResult:
    from codexteam.app.apply_offline import approve_planned, take_edited_plan
    from codexteam.app.plan_file import plan_begun_with

    project = find_project(options.load.cwd, options.load.environment, options.state_dir)
    clock = SystemClock()
    now = clock.wall_seconds()
    if not project.store_path.exists():
        raise UsageError("there are no runs here yet", hint='begin one: codexteam run "goal"')
    _refuse_other_plan(project, options)
    with contextlib.ExitStack() as locks:
        lock = locks.enter_context(repository_lock(project, now))
        async with opened_store(project) as store:
            record = await pick_run(store, name)
            refuse_cleaned(record)
            members = members_of(record, options.load.environment)
            locks.enter_context(locked_with(project, members, now))
            lock.name_run(record.run_id)
            load = options.load
            settings = _narrowed(
                settings_for(load_with_lines(load, await lines_of(store, record)), members), options.at_most
            )
            show_warnings(settings, options.display)
            check_prices(settings)
            refuse_windows_without_plan(settings)
            check_beginning(settings, load.environment, project)
            await state_of(store, record)  # one that cannot be read is refused before anything is changed
            await check_models(settings, load.environment)
            # a refused edit leaves the run as it was
            review = is_review(record)
            told = () if review else await take_edited_plan(project, store, record, settings)
            known = (await state_of(store, record)).tasks.values()
            tasks = [one.task for one in known if one.phase not in {TaskPhase.MERGED, TaskPhase.DROPPED}]
            told = told if review else (*told, *_of_goal_and_plan(record.goal, tasks, settings))
            settings = replace(settings, notices=(*told, *settings.notices))
            await keep_line(store, record.run_id, options.load)
            await store.set_run_state(record.run_id, "running")
            await approve_planned(project, store, record)
            session = SessionSpec(
                project,
                settings,
                record,
                CommitId(record.base),
                plan_only=record.settings.get("plan_only") is True,
                plan=await plan_begun_with(store, record.run_id),
                person=options.display.can_ask,
                batches=options.batches,
                review=review,
                members=members,
            )
            ended, progress = await run_session(session, store, clock, options.display, signals)
            wait_for_window(ended, options)
            if await branch_gone(store, record):
                progress.branch = ""
            # `plan` may have been broken off, and is done now
            planned = session.plan_only and plan_waits(ended.state)
            result = await result_of(ended, progress, store, settings, plan_only=planned)
            outcome = review_outcome(ended.state, title_of(record)) if review else None
            return replace(result, project=project, review=outcome)


def _narrowed(settings: Settings, most: BudgetLimits) -> Settings:
    """Return settings whose run may spend no more than this in all."""
    before = settings.team.budget
    changed = {
        name: min(limit, own) if (own := getattr(before, name)) is not None else limit
        for name in ("run_usd", "run_credits", "run_tokens")
        if (limit := getattr(most, name)) is not None
    }
    return replace(settings, team=replace(settings.team, budget=replace(before, **changed))) if changed else settings


def wait_for_window(ended: Ended, options: RunOptions) -> None:
    """Let `--wait` wait where the run's share of a window of the plan ended the session.

    Raises:
        UsageLimitError: it did.
    """
    if options.wait and ended.finish.result is Result.LIMIT and (reached := window_reached(ended.state)) is not None:
        reached.run_id = ended.state.run_id
        raise reached


async def result_of(
    ended: Ended, progress: Progress, store: Store, settings: Settings, *, plan_only: bool
) -> RunResult:
    """Return how a session ended; a plan that was asked for and made is a success, though it waits to be worked on."""
    limits = run_limits(settings.team.budget)
    result = RunResult(ended.state.run_id, ended.finish.exit_code, progress, ended.folder, limits=limits)
    # what a correction dropped is not worked on
    tasks = [known.task for known in ended.state.tasks.values() if known.phase is not TaskPhase.DROPPED]
    asked = plan_only or (ended.state.plan_only and plan_waits(ended.state))
    if not asked or not tasks:
        return result
    made = ended.finish.result in {Result.WAITING, Result.GREEN}
    preview = await plan_preview(ended.state, store, settings)
    code = Result.LIMIT.exit_code if preview.over_budget else 0
    return replace(result, exit_code=code if made else result.exit_code, plan=preview)


def show_warnings(settings: Settings, display: RunDisplay) -> None:
    """Show what most likely is a mistake, and how far roles reach, before anything else is shown."""
    for warning in settings.warnings:
        display.note(f"warning: {warning}")
    for notice in settings.reach_notices:
        display.note(f"note: {notice}")


def _of_goal_and_plan(goal: str, tasks: Iterable[Task], settings: Settings) -> tuple[str, ...]:
    """Say what of the goal and of the plan has no effect under the settings."""
    from codexteam.app.plan_file import share_notices

    undocumented = settings.team.steps.documentation is StepMode.OFF and asks_for_documentation(goal)
    return (*([DOCUMENTATION_OFF] if undocumented else []), *share_notices(tasks, settings))


def _refuse_other_plan(project: Project, options: RunOptions) -> None:
    """A run continues with its own plan, which its user edits in place."""
    from codexteam.adapters.machine.run_files import PLAN_NAME

    plan = project.places.root / PLAN_NAME
    given = options.load.cwd / options.plan_file if options.plan_file is not None else plan
    if given.resolve() != plan.resolve():
        raise UsageError(
            f"--plan {options.plan_file}: a run continues with its own plan, {plan}",
            hint=f"put the tasks into {plan}, then codexteam resume",
        )


async def run_session(
    session: SessionSpec, store: Store, clock: SystemClock, display: RunDisplay, signals: Signals
) -> tuple[Ended, Progress]:
    allow_open_files()
    try:
        return await _recorded_session(session, store, clock, display, signals)
    except CodexteamError as error:
        if isinstance(error, UsageLimitError):
            error.run_id = session.run.run_id
        if session.project.store_path.exists():
            raise
        # whatever missed its files first: this is why
        raise StoreError(
            f"{session.project.state_dir}: the state folder was removed while run {session.run.run_id} was at work",
            hint="its work is gone with it; nothing else was touched; begin a new run",
        ) from error


async def _recorded_session(
    session: SessionSpec, store: Store, clock: SystemClock, display: RunDisplay, signals: Signals
) -> tuple[Ended, Progress]:
    from codexteam.adapters.git.content import load_matchers

    run_id = session.run.run_id
    session = replace(session, number=await _begin_session(store, run_id, clock))
    progress = Progress()
    path = events_path(session.project, run_id)
    ending = "interrupted while it was being opened"
    programs: list[Reporter] = []
    try:
        async with contextlib.AsyncExitStack() as views:
            try:
                await tell_killed_calls(store, session.run, at_seconds=clock.wall_seconds())
                earlier = await store.facts(run_id)
                file = EventsFile(path, run_id, newest=earlier[-1].sequence if earlier else 0)
                views.callback(file.close)
                file.write(earlier)
                for fact in earlier:
                    progress.take(fact)  # what earlier sessions reported, so that a resumed run shows all that it cost
                progress.begin_again()
                shown = display.reporter(
                    progress,
                    session.project,
                    run_id,
                    clock=clock,
                    blocked=lambda since: leave_blocked(store, run_id, session=session.number, since_seconds=since),
                )
                views.callback(shown.close)
                finishing = contextlib.AsyncExitStack()
                others = await open_followers(session, store, clock, display, earlier=earlier, stack=finishing)
                loading = LoadingAhead((load_matchers, display.load_ahead))
                followers = JournalFollowers(file, (shown, *others.reporters, loading), display.note)
                views.callback(store.watch(run_id, followers.take))
                views.push_async_exit(finishing)  # while it finishes, all the others still see what it says
                programs += [*([shown] if display.for_programs else []), others.notices]
                ended = await RunSession(session, store, clock, signals, progress).run()
                await store.facts_recorded()
                followers.raise_failure()
            except Exception as error:
                at_seconds = clock.wall_seconds()
                words = _in_words(session, error), _redacted(session, getattr(error, "hint", ""))
                await tell_broken_off(
                    error, words, at_seconds=at_seconds, run=session.run, store=store, programs=programs
                )
                display.broke_off(session.project, run_id)
                raise
            except BaseException:
                with contextlib.suppress(StoreError):
                    await store.facts_recorded()
                raise
            ending = ending_words(ended.finish.result.value, _redacted(session, ended.finish.reason))
        return ended, progress
    except BaseException as error:
        if isinstance(error, Exception):
            ending = f"error: {_in_words(session, error)}"
        await store.set_run_state(run_id, "interrupted")
        raise
    finally:
        await store.end_session(run_id, session.number, at_seconds=clock.wall_seconds(), ending=ending)


def _in_words(session: SessionSpec, error: Exception) -> str:
    return _redacted(session, str(error) or type(error).__name__)


def _redacted(session: SessionSpec, text: str) -> str:
    return Redactor(secret_values(session.settings, session.project.environment)).redact(text)


async def _begin_session(store: Store, run_id: RunId, clock: SystemClock) -> int:
    from codexteam import __version__
    from codexteam.adapters.machine.lock import this_process

    session = StoredSession(run_id, 0, __version__, *this_process(), clock.wall_seconds())
    return await store.begin_session(session)


def constrained(goal: str | None, given: Plan | None, constraints: str) -> str | None:
    """Return the goal with what every task must keep to below it; agents, gates and plan.md have both as one."""
    said = given.goal if goal is None and given is not None else goal
    return f"{said.strip()}\n\nConstraints:\n{constraints.strip()}" if said and constraints.strip() else said


def checked_goal(goal: str | None, given: Plan | None) -> str:
    """Return the goal of a run.

    Raises:
        UsageError: it is empty, missing, too long, or no text.
    """
    if goal is None and given is not None:
        goal = given.goal
    text = (goal or "").strip()
    if not text:
        raise UsageError(
            "the goal is empty", hint='say what is to be reached: codexteam run "goal", or - to read it from stdin'
        )
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the goal is not valid UTF-8: character {error.start + 1} is a byte that does not belong there",
            hint="type it in a UTF-8 terminal, or give a UTF-8 file: codexteam run - < FILE",
        ) from error
    if size > MAX_GOAL_BYTES:
        raise UsageError(
            f"the goal has {size:,} bytes: at most {MAX_GOAL_BYTES:,} are allowed",
            hint="put the details into a file of the repository and name it in the goal",
        )
    return text.replace("\0", "")


async def _inspected(
    project: Project, settings: Settings, named: "Sequence[NamedRepository]"
) -> "tuple[tuple[Member, ...], RepositoryFacts]":
    """Look at the repository, or at all that are named; no members where there is one."""
    if not named:
        return (), await inspect_repository(project, settings, project.environment)
    found: list[tuple[tuple[Member, ...], RepositoryFacts]] = []

    async def look() -> None:
        found.append(await inspect_several(project, named))

    await together(check_models(settings, project.environment), look())
    return found[0]


async def inspect_repository(project: Project, settings: Settings, environment: Mapping[str, str]) -> "RepositoryFacts":
    """Look at the repository while the providers are asked for their models.

    Raises:
        ModelAccessError: a model is missing, or there are no credentials.
        RepoError: there is nothing to begin from.
    """
    from codexteam.adapters.git.repo import GitRepo

    repo = GitRepo(project.places, project.state_dir, environment, history_depth=settings.team.history_depth)
    found: list[RepositoryFacts] = []

    async def look() -> None:
        found.append(await repo.inspect())

    try:
        await together(check_models(settings, environment), look())
    finally:
        await repo.close()
    return found[0]


def remembered(options: RunOptions, project: Project) -> JSONObject:
    """Return what `resume` needs to find the same settings again."""
    return {
        **said(options.load),
        "state_dir": str(project.state_dir),
    }
