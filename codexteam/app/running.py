"""`run`, `plan` and `resume`: from a command line to a sitting, its views, and its exit code."""

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from codexteam.adapters.clock import SystemClock
from codexteam.adapters.events_file import EventsFile, JsonLines
from codexteam.app.access import check_access
from codexteam.app.breaking_off import tell_broken_off
from codexteam.app.command_lines import keep_line, lines_of, load_with_lines, said
from codexteam.app.looking import Where, state_of
from codexteam.app.open_files import allow_open_files
from codexteam.app.signals import Signals, run_guarded_by_signals
from codexteam.app.sitting import Ended, Sitting, Table, opened_store, secret_values
from codexteam.app.start import Ground, find_ground, new_run_id, pick_run, refuse_cleaned, repository_lock
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings
from codexteam.core.ids import CommitId, RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.people import plan_waits
from codexteam.core.plan import Plan
from codexteam.core.redaction import Redactor
from codexteam.errors import CodexteamError, StoreError, UsageError
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.ports.store import RunRecord, Store, StoredSitting
from codexteam.report.board import Board

if TYPE_CHECKING:
    from rich.console import Console

    from codexteam.ports.repo import RepositoryFacts

#: More than this is no goal but a mistake; the orchestrator reads all of it in every planning call.
MAX_GOAL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class View:
    """How a command shows what happens."""

    json_lines: bool = False
    quiet: bool = False
    color: str = "auto"
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `run` and `plan` were told beside the goal."""

    load: LoadRequest
    view: View
    state_dir: Path | None = None
    plan_file: Path | None = None
    document: bool = True
    release: bool = True
    base: str | None = None


def run(goal: str | None, options: RunOptions) -> int:
    """Begin a run and drive it; give the exit code.

    Raises:
        CodexteamError: it cannot begin, or cannot go on.
    """
    return run_guarded_by_signals(lambda signals: _begin(goal, options, signals, plan_only=False), _programs(options))


def plan(goal: str, options: RunOptions) -> int:
    """Dry run: scouts, plan.md, waves, forecast; writes nothing but plan.md.

    Raises:
        CodexteamError: there can be no plan.
    """
    return run_guarded_by_signals(lambda signals: _begin(goal, options, signals, plan_only=True), _programs(options))


def resume(name: str | None, options: RunOptions) -> int:
    """Go on with a run from its last checkpoint.

    Raises:
        CodexteamError: there is no such run, or it cannot go on.
    """
    return run_guarded_by_signals(lambda signals: _go_on(name, options, signals), _programs(options))


def _programs(options: RunOptions) -> TextIO | None:
    return options.view.out if options.view.json_lines else None


async def _begin(goal: str | None, options: RunOptions, signals: Signals, *, plan_only: bool) -> int:
    from codexteam.app.plan_file import given_mark, given_plan, refuse_edited_plan, refuse_foreign_plan
    from codexteam.driver.shown_plan import note_shown

    ground = find_ground(options.load.cwd, options.load.environment, options.state_dir)
    settings = load_settings(options.load)
    check_access(settings, options.load.environment)
    files = (options.plan_file, options.load.cwd)
    given = given_plan(*files)
    text = checked_goal(goal, given.plan if given else None)
    refuse_foreign_plan(ground.places.root, *files)
    clock = SystemClock()
    now = clock.wall_seconds()
    run_id = new_run_id(text, at_seconds=now, pid=os.getpid())
    with repository_lock(ground, now) as lock:
        lock.name_run(run_id)
        facts = await _inspect(ground, settings, options.load.environment)
        async with opened_store(ground) as store:
            await refuse_edited_plan(store, ground.places.root, *files)
            kept: JSONObject = {**remembered(options, ground), "plan_only": plan_only}
            record = RunRecord(run_id, text, facts.head, "running", now, kept)
            if given is not None:
                await store.put(*given_mark(run_id), {"text": given.text})
            await store.create_run(record)
            if given is not None:
                # the file that the run is begun with: where it is plan.md itself, its text is kept
                await note_shown(store, run_id, on_disk=None, text=given.text, plan=given.plan)
            settings = replace(settings, notices=(*facts.notices, *settings.notices))
            sitting = Sitting(
                ground,
                settings,
                options.load.environment,
                record,
                facts.head,
                plan=given.plan if given else None,
                document=options.document,
                release=options.release,
                folder=_folder(options.load.cwd, ground),
                plan_only=plan_only,
            )
            ended, board, console = await _sit(sitting, store, clock, options.view, signals)
            if plan_only:
                from codexteam.app.planning_view import show_plan

                return await show_plan(ended, board, store, settings=settings, console=console, view=options.view)
            return finish(ended, board, console, options.view)


async def _go_on(name: str | None, options: RunOptions, signals: Signals) -> int:
    from codexteam.app.offline import approve_planned, take_edited_plan
    from codexteam.app.plan_file import plan_begun_with

    ground = find_ground(options.load.cwd, options.load.environment, options.state_dir)
    clock = SystemClock()
    now = clock.wall_seconds()
    if not ground.store_path.exists():
        raise UsageError("there are no runs here yet", hint='begin one: codexteam run "goal"')
    with repository_lock(ground, now) as lock:
        async with opened_store(ground) as store:
            record = await pick_run(store, name)
            refuse_cleaned(record)
            lock.name_run(record.run_id)
            load = options.load
            settings = load_with_lines(load, await lines_of(store, record))
            check_access(settings, load.environment)
            await state_of(store, record)  # one that cannot be read is refused before anything is changed
            where = Where(load.cwd, load.environment, options.state_dir)
            await take_edited_plan(ground, where, store, record)  # a refused edit leaves the run as it was
            await keep_line(store, record.run_id, options.load)
            await store.set_run_state(record.run_id, "running")
            await approve_planned(ground, where, store, record)
            sitting = Sitting(
                ground,
                settings,
                load.environment,
                record,
                CommitId(record.base),
                folder=_folder(load.cwd, ground),
                document=record.settings.get("document") is not False,
                release=record.settings.get("release") is not False,
                plan_only=record.settings.get("plan_only") is True,
                plan=await plan_begun_with(store, record.run_id),
            )
            ended, board, console = await _sit(sitting, store, clock, options.view, signals)
            if sitting.plan_only and plan_waits(ended.state):  # `plan` was broken off, and is done now
                from codexteam.app.planning_view import show_plan

                return await show_plan(ended, board, store, settings=settings, console=console, view=options.view)
            return finish(ended, board, console, options.view)


def _folder(cwd: Path, ground: Ground) -> str:
    """Give where the command was started, relative to the repository's root; empty at the root or outside."""
    here, root = cwd.resolve(), ground.places.root.resolve()
    return here.relative_to(root).as_posix().removeprefix(".") if here.is_relative_to(root) else ""


async def _sit(
    sitting: Sitting, store: Store, clock: SystemClock, view: View, signals: Signals
) -> tuple[Ended, Board, "Console"]:
    allow_open_files()
    try:
        return await _noted_sitting(sitting, store, clock, view, signals)
    except CodexteamError as error:
        if sitting.ground.store_path.exists():
            raise
        # whatever missed its files first: this is why
        raise StoreError(
            f"{sitting.ground.state_dir}: the state folder was removed while run {sitting.run.run_id} was at work",
            hint="its work is gone with it; nothing else was touched; begin a new run",
        ) from error


async def _noted_sitting(
    sitting: Sitting, store: Store, clock: SystemClock, view: View, signals: Signals
) -> tuple[Ended, Board, "Console"]:
    run_id = sitting.run.run_id
    sitting = replace(sitting, number=await _begin_sitting(store, run_id, clock))
    from codexteam.app.catching_up import catch_up

    board = Board()
    console = make_console(view)
    path = sitting.ground.run_folder(run_id) / "events.jsonl"
    ending = "interrupted while it was being opened"
    programs: list[Reporter] = []
    try:
        with contextlib.ExitStack() as views:
            events = EventsFile(path, run_id)
            views.callback(events.close)
            try:
                for event in await catch_up(sitting, store, events):
                    board.take(event)  # what earlier sittings reported, so that a resumed run shows all that it cost
                board.begin_again()
                shown = _reporter(view, board, console, clock, run_id, told=events.told)
                views.callback(shown.close)
                programs += [shown] if view.json_lines else []
                ended = await Table(sitting, store, clock, (events, shown), signals).sit()
            except Exception as error:
                tell_broken_off(
                    error,
                    _in_words(sitting, error),
                    at_seconds=clock.wall_seconds(),
                    history=events,
                    programs=programs,
                )
                raise
            ending = f"{ended.finish.result.value}: {_redacted(sitting, ended.finish.reason)}".rstrip(": ")
        return ended, board, console
    except BaseException as error:
        if isinstance(error, Exception):
            ending = f"error: {_in_words(sitting, error)}"
        await store.set_run_state(run_id, "interrupted")
        raise
    finally:
        await store.end_sitting(run_id, sitting.number, at_seconds=clock.wall_seconds(), ending=ending)


def _in_words(sitting: Sitting, error: Exception) -> str:
    return _redacted(sitting, str(error) or type(error).__name__)


def _redacted(sitting: Sitting, text: str) -> str:
    return Redactor(secret_values(sitting.settings, sitting.environment)).redact(text)


async def _begin_sitting(store: Store, run_id: RunId, clock: SystemClock) -> int:
    from codexteam import __version__
    from codexteam.adapters.process import this_process

    sitting = StoredSitting(run_id, 0, __version__, *this_process(), clock.wall_seconds())
    return await store.begin_sitting(sitting)


def _reporter(
    view: View, board: Board, console: "Console", clock: SystemClock, run_id: RunId, *, told: int
) -> Reporter:
    from codexteam.adapters.terminal.live import LiveView
    from codexteam.adapters.terminal.plain import PlainLines, Quiet
    from codexteam.adapters.terminal.steady import Steady, tethered

    if view.json_lines:
        return _Both(Steady(JsonLines(tethered(view.out), run_id, told=told), view.out), Quiet(board))
    if view.quiet:
        return Quiet(board)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console, board, clock.wall_seconds)
    return Steady(PlainLines(tethered(view.err), board), view.err)


class _Both:
    """Two reporters as one."""

    def __init__(self, one: Reporter, other: Reporter) -> None:
        self._both = (one, other)

    def report(self, event: RunEvent) -> None:
        for reporter in self._both:
            reporter.report(event)

    def close(self) -> None:
        for reporter in self._both:
            reporter.close()


def finish(ended: Ended, board: Board, console: "Console", view: View) -> int:
    """Show how a sitting ended, and give its exit code."""
    from codexteam.adapters.terminal.summary import print_summary

    if not view.json_lines:
        print_summary(console, board, folder=str(ended.folder))
    return ended.finish.exit_code


def make_console(view: View) -> "Console":
    """Give the console for people: standard error with `--json`, whose output is for programs."""
    from codexteam.adapters.terminal.steady import SteadyConsole, tethered

    force = {"always": True, "never": False}.get(view.color)
    stream = view.err if view.json_lines else view.out
    no_color = True if view.color == "never" else None
    return SteadyConsole(file=tethered(stream), force_terminal=force, no_color=no_color, highlight=False)


def checked_goal(goal: str | None, given: Plan | None) -> str:
    """Give the goal of a run.

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
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_GOAL_BYTES:
        raise UsageError(
            f"the goal has {size:,} bytes: at most {MAX_GOAL_BYTES:,} are allowed",
            hint="put the details into a file of the repository and name it in the goal",
        )
    return text.replace("\0", "")


async def _inspect(ground: Ground, settings: Settings, environment: Mapping[str, str]) -> "RepositoryFacts":
    from codexteam.adapters.git.repo import GitRepo

    repo = GitRepo(ground.places, ground.state_dir, environment, history_depth=settings.team.history_depth)
    try:
        return await repo.inspect()
    finally:
        await repo.close()


def remembered(options: RunOptions, ground: Ground) -> JSONObject:
    """Give what `resume` needs to find the same settings again."""
    return {
        **said(options.load),
        "document": options.document,
        "release": options.release,
        "state_dir": str(ground.state_dir),
    }
