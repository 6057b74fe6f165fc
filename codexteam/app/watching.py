"""Follows a run while it is at work: its facts, one agent's story, its log."""

import asyncio
from dataclasses import dataclass, field

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.looked_at import Look
from codexteam.adapters.store.journal_cursor import JournalCursor
from codexteam.app.agent_transcripts import prompt_of, turns_of
from codexteam.app.project import Project, live_process, pick_run, reading_store
from codexteam.core.ids import AgentKey, RunId
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import RunEvent
from codexteam.report.overview import Life
from codexteam.report.progress import Progress, describe
from codexteam.report.transcripts import TranscriptEntry, TranscriptTurn
from codexteam.run.heartbeat import BlockedOutput, Heartbeat, blocked_output, last_heartbeat

#: How often a heartbeat is looked for.
_LIFE_SECONDS = 2.0


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
    output: str = ""
    """What its commands print at this moment, as far as its process shows it; foreign."""
    _look: Look | None = None

    def refresh(self) -> bool:
        """Read what is new; return whether anything is.

        Raises:
            CodexteamError: the state file cannot be read.
        """
        return asyncio.run(self._read())

    def look(self) -> bool:
        """Ask the run's process for what the agent's commands print, and read what it has written so far."""
        self._look = self._look or Look(self.project.run_folder(self.key.run_id), str(self.key))
        before, self.output = self.output, self._look.read()
        return before != self.output

    def close(self) -> None:
        """Ask for nothing any more. May be repeated."""
        if self._look is not None:
            self._look.close()

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
