"""Follows runs while they are at work: their facts, one agent's story, all runs of all repositories."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.store.journal_cursor import JournalCursor
from codexteam.app.agent_transcripts import prompt_of, turns_of
from codexteam.app.inspect import OVER
from codexteam.app.project import (
    Project,
    find_project,
    live_process,
    overview_or_why,
    pick_run,
    reading_store,
)
from codexteam.core.ids import AgentKey, RunId
from codexteam.errors import CodexteamError
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import RunEvent
from codexteam.report.overview import Life, RunOverview, UnreadableRun
from codexteam.report.progress import Progress, describe
from codexteam.report.transcripts import TranscriptEntry, TranscriptTurn
from codexteam.run.heartbeat import BlockedOutput, Heartbeat, blocked_output, last_heartbeat

#: How often a heartbeat is looked for.
_LIFE_SECONDS = 2.0
#: How often the list of all runs is read anew.
_RUNS_SECONDS = 3.0
#: Of each repository, how many runs are listed.
_RUNS_EACH = 5


def system_clock() -> Clock:
    """Return the clock of this machine."""
    return SystemClock()


class RunFollower:
    """A run that another process works on, as far as its journal and its heartbeats say."""

    def __init__(self, project: Project, run_id: RunId) -> None:
        """Follow a run from its beginning; nothing is read yet.

        Raises:
            StoreError: the state file cannot be read.
        """
        self.project = project
        self.run_id = run_id
        self.progress = Progress()
        self.life = Life()
        self.is_at_work = False
        self._cursor = JournalCursor(project.store_path, run_id)
        self._looked_at_seconds = 0.0
        self._clock = SystemClock()

    def refresh(self) -> bool:
        """Take in what is new; return whether anything is.

        Raises:
            CodexteamError: the state file cannot be read.
        """
        facts = self._cursor.read()
        for fact in facts:
            if fact.kind == "run.opened":  # whoever was at work in a killed session is not any more
                self.progress.begin_again()
            self.progress.take(fact)
        now = self._clock.monotonic_seconds()
        if not self._looked_at_seconds or now - self._looked_at_seconds >= _LIFE_SECONDS:
            self._looked_at_seconds = now
            return self._look_at_process() or bool(facts)
        return bool(facts)

    def _look_at_process(self) -> bool:
        process = live_process(self.project)
        at_work = process is not None and process.run_id == self.run_id
        before = (self.is_at_work, self.life.suspended, self.life.heartbeat)
        beat, blocked = asyncio.run(self._heartbeat()) if at_work else (None, None)
        suspended = process is not None and at_work and process.suspended
        self.life = Life(self._clock.wall_seconds(), beat, suspended=suspended, blocked=blocked)
        self.is_at_work = at_work
        self.progress.activities = beat.agents if beat is not None else ()
        if beat is not None:
            self.progress.stalled_seconds = beat.stalled_seconds
        return before != (self.is_at_work, self.life.suspended, beat)

    async def _heartbeat(self) -> tuple[Heartbeat | None, BlockedOutput | None]:
        async with reading_store(self.project) as store:
            sessions = await store.sessions(self.run_id)
            if not sessions:
                return None, None
            newest = sessions[-1].number
            return (
                await last_heartbeat(store, self.run_id, session=newest),
                await blocked_output(store, self.run_id, session=newest),
            )

    def close(self) -> None:
        """Let go of the state file."""
        self._cursor.close()


@dataclass(slots=True)
class AgentFollower:
    """One agent's story as far as it is stored: its prompt, and its turns as they come."""

    project: Project
    key: AgentKey
    prompt: tuple[TranscriptEntry, ...] = ()
    turns: list[TranscriptTurn] = field(default_factory=list)

    def refresh(self) -> bool:
        """Read what is new; return whether anything is.

        Raises:
            CodexteamError: the state file cannot be read.
        """
        return asyncio.run(self._read())

    async def _read(self) -> bool:
        async with reading_store(self.project) as store:
            changed = False
            if not self.prompt:
                self.prompt = await prompt_of(store, self.key)
                changed = bool(self.prompt)
            # a turn that was under way may have its outputs now
            open_turn = self.turns.pop() if self.turns and not self.turns[-1].is_done else None
            after = self.turns[-1].number if self.turns else 0
            async for turn in turns_of(store, self.key, after=after):
                self.turns.append(turn)
                changed = changed or turn != open_turn
            return changed


class LogFollower:
    """A run's history, or one task's, as lines."""

    def __init__(self, project: Project, run_id: RunId, task_id: str) -> None:
        """Follow a run, or with `task_id` what is about one task.

        Raises:
            StoreError: the state file cannot be read.
        """
        self._cursor = JournalCursor(project.store_path, run_id)
        self._task_id = task_id
        self.lines: list[tuple[float, str]] = []
        """When, and in words; foreign."""

    def refresh(self) -> bool:
        """Read what is new; return whether anything is.

        Raises:
            StoreError: the state file cannot be read.
        """
        before = len(self.lines)
        for fact in self._cursor.read():
            if self._task_id and fact.fields.get("task") != self._task_id:
                continue
            if words := describe(fact) or (_action(fact) if self._task_id else ""):
                self.lines.append((fact.at_seconds, words))
        return len(self.lines) != before

    def close(self) -> None:
        """Let go of the state file."""
        self._cursor.close()


def _action(fact: RunEvent) -> str:
    match fact.kind, fact.fields.get("action") or fact.fields.get("reason"):
        case ("agent.acted" | "agent.waiting", str() as words):
            return f"{fact.fields.get('agent')}: {words}"
        case _:
            return ""


def picked_run(project: Project, name: str | None) -> RunId:
    """Return the run that a name means; the active one without a name, else the newest.

    Raises:
        UsageError: there is none.
    """
    return asyncio.run(_picked_run(project, name))


async def _picked_run(project: Project, name: str | None) -> RunId:
    process = live_process(project)
    async with reading_store(project) as store:
        return (await pick_run(store, name or (process.run_id if process is not None else None))).run_id


@dataclass(frozen=True, slots=True)
class RunThere:
    """A run, and the repository it is in."""

    project: Project
    run: RunOverview | UnreadableRun


RunsFound: TypeAlias = Sequence[RunThere]


class AllRuns:
    """The runs of this repository, and of all others in which one is at work: those at work first, then what waits."""

    def __init__(self, here: Project | None, environment: Mapping[str, str]) -> None:
        """Look at `here`, and at all repositories on which a process of this user works."""
        self._here = here
        self._environment = environment
        self._clock = SystemClock()
        self._read_at_seconds = 0.0
        self._seen: dict[str, tuple[object, list[RunThere]]] = {}
        self.found: RunsFound = ()

    def refresh(self) -> bool:
        """Read what is new, every few seconds; return whether anything may be."""
        now = self._clock.monotonic_seconds()
        if self._read_at_seconds and now - self._read_at_seconds < _RUNS_SECONDS:
            return False
        self._read_at_seconds = now
        found = [there for project in self._projects() for there in self._runs_of(project)]
        self.found = sorted(found, key=_order)
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

    def _runs_of(self, project: Project) -> list[RunThere]:
        """Return a repository's newest runs; read again only where its state file or its process changed."""
        process = live_process(project)
        mark = (process, *_marks(project))
        before = self._seen.get(str(project.state_dir))
        if before is not None and before[0] == mark and process is None:
            return before[1]
        try:
            found = [RunThere(project, run) for run in asyncio.run(_newest(project))]
        except CodexteamError:
            found = []  # `codexteam runs` there says why
        self._seen[str(project.state_dir)] = (mark, found)
        return found


def _marks(project: Project) -> list[float]:
    """Return when the files of a state were written."""
    files = (project.store_path, project.store_path.with_name(f"{project.store_path.name}-wal"))
    return [file.stat().st_mtime for file in files if file.exists()]


async def _newest(project: Project) -> list[RunOverview | UnreadableRun]:
    process = live_process(project)
    async with reading_store(project) as store:
        records = (await store.runs())[:_RUNS_EACH]
        return [await overview_or_why(store, record, process) for record in records]


def _order(there: RunThere) -> tuple[int, float]:
    run = there.run
    if isinstance(run, UnreadableRun):
        return 3, -run.record.created_at_seconds
    waits = run.record.state not in OVER and bool(run.holds)
    return 0 if run.live else 1 if waits else 2, -run.record.created_at_seconds
