"""Where a command works: the repository, its state folder, its store; and the names of runs."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.adapters.store.journal import EVENTS_NAME
from codexteam.agent.event_fields import fields_of, unanswered_fields
from codexteam.agent.reservations import open_amount
from codexteam.core.codec import StoredForm, decode, stored
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.state import Rules, RunState
from codexteam.errors import StoreError, UsageError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, Store
from codexteam.report.overview import Life, RunOverview, UnreadableRun
from codexteam.report.progress import Progress
from codexteam.run.heartbeat import blocked_output, last_heartbeat
from codexteam.run.loop import load_state

if TYPE_CHECKING:
    from codexteam.adapters.git.history_view import RunCommits
    from codexteam.adapters.git.location import Places
    from codexteam.adapters.machine.lock import RepositoryLock


#: The folder of our state in the common git directory.
STATE_FOLDER = "codexteam"
#: The state of a run that was cleaned before it was green.
CLEANED = "cleaned"
#: The state of a run that was rewound: another one, that begins as it was at some point, took its place.
REWOUND = "rewound"
#: What is kept of a fork with its run: the run and the event that it begins from.
FORKED = "forked"
#: The model of a call whose request died with the process.
_UNKNOWN_MODEL = "(unanswered)"


@dataclass(frozen=True, slots=True)
class Project:
    """A repository, where its state is, and where and with which environment the command looks at it."""

    places: "Places"
    state_dir: Path
    cwd: Path
    environment: Mapping[str, str] = field(repr=False)

    @property
    def store_path(self) -> Path:
        """Return the state file."""
        return self.state_dir / "state.sqlite"

    @property
    def folder(self) -> str:
        """Where the command was started, relative to the repository's root; empty at the root or outside."""
        here, root = self.cwd.resolve(), self.places.root.resolve()
        return here.relative_to(root).as_posix().removeprefix(".") if here.is_relative_to(root) else ""

    def run_folder(self, run_id: RunId) -> Path:
        return self.state_dir / "runs" / run_id


def find_project(cwd: Path, environment: Mapping[str, str], state_dir: Path | None = None) -> Project:
    """Find the repository around a folder, and its state folder; nothing is made.

    Raises:
        RepoError: there is no repository.
    """
    from codexteam.adapters.git.location import locate

    places = locate(cwd, environment)
    return Project(places, (state_dir or places.common_dir / STATE_FOLDER).absolute(), cwd, environment)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the user's folder for what may be removed at any time."""
    named = environment.get("XDG_CACHE_HOME", "")
    home = Path(environment.get("HOME") or Path("~").expanduser())
    return (Path(named) if Path(named).is_absolute() else home / ".cache") / "codexteam"


def repository_lock(project: Project, now: float) -> "RepositoryLock":
    """Return the repository's lock, not yet taken; `now` is what it tells others, wall seconds."""
    from codexteam.adapters.machine.lock import RepositoryLock

    started = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return RepositoryLock(project.state_dir, project.places.common_dir, started=started, root=project.places.root)


def new_run_id(goal: str, *, at_seconds: float, pid: int) -> RunId:
    """Name a run: UTC time to the minute, and four digits that tell runs of one minute apart."""
    digest = hashlib.sha256(f"{goal}\0{at_seconds}\0{pid}".encode("utf-8", "surrogatepass")).hexdigest()
    return RunId(f"{datetime.fromtimestamp(at_seconds, UTC):%Y%m%d-%H%M}-{digest[:4]}")


async def pick_run(store: Store, name: str | None, *, reviews: bool = True) -> RunRecord:
    """Return the run that a name or the start of one means; the newest without a name, reviews among them or not.

    Raises:
        UsageError: there is none, or several begin so.
    """
    runs = await store.runs()
    if not runs:
        raise UsageError("there are no runs here yet", hint='begin one: codexteam run "goal"')
    if name is None:  # of a cleaned one nothing is left to work with
        living = [run for run in runs if run.state not in {CLEANED, REWOUND} and (reviews or not is_review(run))]
        return next(iter(living), runs[0])
    found = [run for run in runs if run.run_id.startswith(name)]
    exact = [run for run in found if run.run_id == name]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    known = ", ".join(run.run_id for run in (found or runs)[:5])
    what = f"{len(found)} runs begin with it: {known}" if found else f"no run begins with it; there are {known}"
    raise UsageError(f"run {name!r}: {what}", hint="codexteam runs lists them")


#: What is kept of a review with its run: what it judges, in words.
_REVIEW = "review"


def review_mark(title: str) -> JSONObject:
    """Return what says of a run's record that it is a review."""
    return {_REVIEW: title}


def is_review(record: RunRecord) -> bool:
    """Return whether a run was begun by `codexteam review`."""
    return _REVIEW in record.settings


def title_of(record: RunRecord) -> str:
    """Return what a review judges, in words; foreign text."""
    return str(record.settings.get(_REVIEW, ""))


#: What is kept of the issue that a run's goal is from.
_ISSUE = "issue"


def issue_mark(name: str) -> JSONObject:
    """Return what says of a run's record that its goal is from an issue, `owner/name#12`; nothing where it is not."""
    return {_ISSUE: name} if name else {}


def issue_of(record: RunRecord) -> str:
    """Return the issue that a run's goal is from; empty where it is from none."""
    return str(record.settings.get(_ISSUE, ""))


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class Cleaned:
    """That a run was cleaned."""

    branch_left: bool = False
    """Its branch could not be removed, as when it is checked out somewhere."""


def cleaned_mark(run_id: RunId) -> tuple[str, str]:
    """Return the space and key in the store that say of a green run that it was cleaned; its state stays green."""
    return f"{run_id}/life", "cleaned"


def refuse_cleaned(record: RunRecord) -> None:
    """Refuse to continue a run whose work was cleaned away, or whose place another one took.

    Raises:
        UsageError: it was.
    """
    if record.state == REWOUND:
        raise UsageError(
            f"run {record.run_id} was rewound: another run took its place",
            hint=f"codexteam runs lists it; codexteam fork {record.run_id} --at POINT begins one more from this one",
        )
    if record.state == CLEANED:
        raise UsageError(
            f"run {record.run_id} was cleaned: its branch and workspaces are gone",
            hint="codexteam salvage lists its work; begin a new run for what is left of the goal",
        )


def commits_of(project: Project) -> "RunCommits":
    """Return what reads the commits of a repository's runs. Closed by the caller."""
    from codexteam.adapters.git.history_view import RunCommits

    return RunCommits(project.places, project.state_dir, project.environment)


@asynccontextmanager
async def reading_store(project: Project) -> AsyncIterator[Store]:
    """Open the store to look at it.

    Raises:
        UsageError: nothing ever ran here.
        StoreError: it cannot be read.
    """
    from codexteam.adapters.store.sqlite_store import SqliteStore

    if not project.store_path.exists():
        raise UsageError("there are no runs here yet", hint='begin one: codexteam run "goal"')
    store = SqliteStore(project.store_path, read_only=True)
    try:
        yield store
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class LiveProcess:
    """A process that works on a run."""

    run_id: RunId
    suspended: bool


def live_process(project: Project) -> LiveProcess | None:
    """Return the process that works on a run at this moment; one that only tidies up works on none."""
    from codexteam.adapters.machine.lock import find_holder

    holder = find_holder(project.state_dir, project.places.common_dir)
    return LiveProcess(RunId(holder.run_id), holder.is_suspended()) if holder is not None and holder.run_id else None


def live_run(project: Project) -> RunId | None:
    """Return the run that a process works on at this moment."""
    process = live_process(project)
    return None if process is None else process.run_id


async def state_of(store: Store, record: RunRecord) -> RunState:
    """Return a run's newest state.

    Raises:
        StoreError: what is stored cannot be read.
    """
    return await load_state(store, record.run_id, goal=record.goal, rules=Rules())


async def overview(store: Store, record: RunRecord, process: LiveProcess | None) -> RunOverview:
    """Return a run as it is now."""
    from codexteam.adapters.machine.clock import SystemClock

    live = process is not None and process.run_id == record.run_id
    progress = Progress()
    for fact in await store.facts(record.run_id):
        progress.take(fact)
    for fact in [] if live else await killed_calls(store, record, at_seconds=progress.now_seconds):
        progress.take(fact)
    sessions = tuple(await store.sessions(record.run_id))
    gone = await branch_gone(store, record)
    life = Life(
        SystemClock().wall_seconds(),
        await last_heartbeat(store, record.run_id, session=sessions[-1].number) if live and sessions else None,
        suspended=process is not None and live and process.suspended,
        blocked=await blocked_output(store, record.run_id, session=sessions[-1].number) if live and sessions else None,
    )
    return RunOverview(record, await state_of(store, record), progress, live, sessions, branch_gone=gone, life=life)


async def branch_gone(store: Store, record: RunRecord) -> bool:
    """Whether a run was cleaned, and its branch with it."""
    mark = await store.get(*cleaned_mark(record.run_id))
    return mark is not None and not decode(Cleaned, mark, f"how run {record.run_id} was cleaned").branch_left


async def killed_calls(store: Store, record: RunRecord, *, at_seconds: float) -> list[RunEvent]:
    """Return what calls without an answer count for, of a run that nobody drives: a process was killed before it said so."""
    return [
        RunEvent(
            "agent.unanswered",
            at_seconds,
            unanswered_fields(
                fields_of(call.key.agent, _UNKNOWN_MODEL), call.key.turn, call.key.purpose, open_amount(call)
            ),
        )
        for call in await store.open_calls(record.run_id)
    ]


async def overview_or_why(store: Store, record: RunRecord, process: LiveProcess | None) -> RunOverview | UnreadableRun:
    """Return a run as it is now, or why it cannot be read: where others are shown too, it must not hide them."""
    try:
        return await overview(store, record, process)
    except StoreError as error:
        return UnreadableRun(record, error)


async def picked(project: Project, store: Store, name: str | None) -> RunOverview:
    """Return the run that a name means, the newest without one.

    Raises:
        UsageError: there is none, or several begin so.
    """
    record = await pick_run(store, name)
    return await overview(store, record, live_process(project))


def events_path(project: Project, run_id: RunId) -> Path:
    """Return the file of a run's facts, which people and programs read; commands read the store."""
    return project.run_folder(run_id) / EVENTS_NAME


def known_names(project: Project, run: str | None) -> tuple[list[str], RunState | None]:
    """Return the ids of all runs, newest first, and the state of the one that is meant.

    Raises:
        CodexteamError: there are none, or none that is meant.
    """
    return asyncio.run(_known(project, run))


async def _known(project: Project, run: str | None) -> tuple[list[str], RunState | None]:
    async with reading_store(project) as store:
        run_ids = [str(record.run_id) for record in await store.runs()]
        return run_ids, await state_of(store, await pick_run(store, run))
