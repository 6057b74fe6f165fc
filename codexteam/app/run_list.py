"""Follows the runs of all repositories: what `codexteam watch` lists. A run at work is read on, others where they changed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codexteam.app.inspect import OVER
from codexteam.app.project import LiveProcess, Project, find_project, live_process, overview_or_why, reading_store
from codexteam.app.watching import RunFollower
from codexteam.core.ids import RunId
from codexteam.errors import CodexteamError
from codexteam.ports.clock import Clock
from codexteam.ports.store import RunRecord
from codexteam.report.overview import UNREADABLE, RunOverview, UnreadableRun
from codexteam.report.spent import Bound

#: How often the list is read.
_RUNS_SECONDS = 3.0
#: Of each repository, how many runs are listed.
_RUNS_EACH = 5


@dataclass(frozen=True, slots=True)
class RunThere:
    """A run, the repository it is in, and how far it is."""

    project: Project
    record: RunRecord
    word: str
    """Its state."""
    is_live: bool = False
    """A process works on it."""
    merged: int = 0
    tasks: int = 0
    """But for the dropped ones."""
    waiting: int = 0
    """Questions that wait for a person."""
    usd: float | None = 0.0
    unknown: Bound = field(default_factory=Bound)

    @property
    def is_readable(self) -> bool:
        """Return whether this version can read it."""
        return self.word != UNREADABLE


class AllRuns:
    """The runs of this repository, and of all others in which one is at work: those at work first, then what waits."""

    def __init__(self, here: Project | None, environment: Mapping[str, str], clock: Clock) -> None:
        """Look at `here`, and at all repositories on which a process of this user works."""
        self._here = here
        self._environment = environment
        self._clock = clock
        self._read_at_seconds = 0.0
        self._repositories: dict[str, _RepositoryRuns] = {}
        self.found: Sequence[RunThere] = ()

    def refresh(self) -> bool:
        """Read what is new, every few seconds; return whether anything may be."""
        now = self._clock.monotonic_seconds()
        if self._read_at_seconds and now - self._read_at_seconds < _RUNS_SECONDS:
            return False
        self._read_at_seconds = now
        projects = {str(project.state_dir): project for project in self._projects()}
        for gone in [*self._repositories.keys() - projects.keys()]:
            self._repositories.pop(gone).close()
        for name, project in projects.items():
            if name not in self._repositories:
                self._repositories[name] = _RepositoryRuns(project)
        self.found = sorted((run for each in self._repositories.values() for run in each.runs()), key=_order)
        return True

    def _projects(self) -> list[Project]:
        from codexteam.adapters.machine.lock import repositories_at_work

        projects = [self._here] if self._here is not None and self._here.store_path.is_file() else []
        for known in repositories_at_work():
            if any(project.state_dir == known.state_dir for project in projects):
                continue
            try:
                projects.append(find_project(known.root, self._environment, known.state_dir))
            except CodexteamError:
                continue  # it was moved meanwhile
        return projects

    def close(self) -> None:
        """Let go of all state files."""
        for each in self._repositories.values():
            each.close()
        self._repositories.clear()


@dataclass(slots=True)
class _Seen:
    """A run that nobody works on, as it was when it was read."""

    there: RunThere
    last_fact: int
    """What is written of it later has a higher number."""


class _RepositoryRuns:
    """One repository's newest runs."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._mark: object = None
        self._seen: dict[RunId, _Seen] = {}
        self._follower: RunFollower | None = None
        self._found: list[RunThere] = []

    def runs(self) -> list[RunThere]:
        """Return its newest runs; read again only where its state file or its process changed."""
        process = live_process(self._project)
        mark = (process, *_written_at(self._project))
        if process is None and mark == self._mark:
            return self._found
        try:
            records = asyncio.run(self._read(process))
            self._follow(process)
        except CodexteamError:
            self._found = []  # `codexteam runs` there says why
            return self._found
        self._mark = mark
        self._found = [
            self._at_work(record, self._follower)
            if self._follower is not None and self._follower.run_id == record.run_id
            else self._seen[record.run_id].there
            for record in records
        ]
        return self._found

    async def _read(self, process: LiveProcess | None) -> Sequence[RunRecord]:
        """Read what changed of the runs that nobody works on."""
        live = process.run_id if process is not None else None
        async with reading_store(self._project) as store:
            records = (await store.runs())[:_RUNS_EACH]
            for record in records:
                if record.run_id == live:
                    self._seen.pop(record.run_id, None)
                    continue
                seen = self._seen.get(record.run_id)
                last = seen.last_fact if seen is not None else 0
                new = await store.facts(record.run_id, after=last)
                if seen is None or new or seen.there.record != record:
                    there = self._at_rest(await overview_or_why(store, record, None))
                    self._seen[record.run_id] = _Seen(there, new[-1].sequence if new else last)
        return [record for record in records if record.run_id == live or record.run_id in self._seen]

    def _follow(self, process: LiveProcess | None) -> None:
        """Follow the run that a process works on now, and no other."""
        live = process.run_id if process is not None else None
        if self._follower is not None and self._follower.run_id != live:
            self.close()
        if live is not None:
            self._follower = self._follower or RunFollower(self._project, live)
            self._follower.refresh()

    def _at_rest(self, run: RunOverview | UnreadableRun) -> RunThere:
        if isinstance(run, UnreadableRun):
            return RunThere(self._project, run.record, UNREADABLE)
        progress = run.progress
        return RunThere(
            self._project,
            run.record,
            run.word,
            merged=run.merged,
            tasks=len(run.counted),
            waiting=len(run.holds),
            usd=progress.usd,
            unknown=progress.unknown,
        )

    def _at_work(self, record: RunRecord, follower: RunFollower) -> RunThere:
        progress = follower.progress
        counted = [task for task in progress.tasks.values() if task.status != "dropped"]
        return RunThere(
            self._project,
            record,
            follower.life.word_of_run(paused=progress.paused),
            is_live=True,
            merged=sum(task.status == "merged" for task in counted),
            tasks=len(counted),
            waiting=len(progress.waiting),
            usd=progress.usd,
            unknown=progress.unknown,
        )

    def close(self) -> None:
        """Follow nothing any more."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None


def _written_at(project: Project) -> list[float]:
    """Return when the files of a state were written."""
    files = (project.store_path, project.store_path.with_name(f"{project.store_path.name}-wal"))
    return [file.stat().st_mtime for file in files if file.exists()]


def _order(there: RunThere) -> tuple[int, float]:
    if not there.is_readable:
        return 3, -there.record.created_at_seconds
    waits = there.record.state not in OVER and there.waiting
    return 0 if there.is_live else 1 if waits else 2, -there.record.created_at_seconds
