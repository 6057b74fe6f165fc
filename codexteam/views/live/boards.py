"""What the viewer shows first: one run, of this process or another; or all runs of all repositories."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Protocol

from codexteam.app import control, steering
from codexteam.app.diff import diff_text
from codexteam.app.project import Project
from codexteam.app.run_list import AllRuns, RunThere
from codexteam.app.watching import AgentFollower, LogFollower, RunFollower
from codexteam.core.ids import RunId
from codexteam.core.replies import Choice
from codexteam.core.text import clean_line, count_of
from codexteam.errors import UsageError
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import Progress
from codexteam.views.formatting import cost, elapsed, in_words
from codexteam.views.live.board import BoardFacts, board_lines, rows_of
from codexteam.views.live.lines import Abilities, Line, cut, line, padded, styled, window
from codexteam.views.live.pages import LogPage, PageView, StoryPage, diff_page, help_page, key_of, task_page
from codexteam.views.live.state import (
    Answer,
    BoardRow,
    Page,
    Pause,
    RowKind,
    Say,
    Show,
    StopOneAgent,
    StopRun,
    ViewState,
    Wish,
)


class Board(Protocol):
    """What the viewer shows first. Its methods are called by the viewer's thread, `open` and `ask` by others too."""

    def refresh(self) -> bool:
        """Take in what is new; return whether anything is."""
        ...

    def rows(self) -> list[BoardRow]:
        """Return what can be chosen."""
        ...

    def lines(self, state: ViewState, width: int, height: int) -> list[Line]:
        """Return exactly `height` lines."""
        ...

    def open(self, show: Show) -> PageView:
        """Return a page about what was chosen.

        Raises:
            CodexteamError: there is nothing to show.
        """
        ...

    def ask(self, wish: Wish) -> str:
        """Ask something of a run; return what became of it.

        Raises:
            CodexteamError: it is refused.
        """
        ...

    def enter(self, name: str) -> "Board":
        """Return the board of one run of a list."""
        ...

    def hint(self) -> str:
        """Return the keys that are worth a line."""
        ...

    def close(self) -> None:
        """Let go of what it reads."""
        ...


_BARS = {True: "█░", False: "#."}


class RunBoard:
    """One run. Its facts are put into it by the run's own process, or read from the journal of another's."""

    def __init__(
        self, project: Project, run_id: str, able: Abilities, now: Callable[[], float], *, own: Progress | None = None
    ) -> None:
        """Show a run; `own` is the progress of a run of this process, which `take` fills.

        Raises:
            StoreError: the state file cannot be read.
        """
        self.project = project
        self.run_id = run_id
        self._able = able
        self._now = now
        self._follower = None if own is not None else RunFollower(project, RunId(run_id))
        self.progress = own if own is not None else self._follower_progress()
        # the run's own thread fills it while the viewer's draws
        self._lock: AbstractContextManager[object] = threading.Lock() if own is not None else nullcontext()
        self._is_new = True

    def _follower_progress(self) -> Progress:
        assert self._follower is not None
        return self._follower.progress

    def take(self, event: RunEvent) -> None:
        """Follow an event of a run of this process."""
        with self._lock:
            self.progress.take(event)
            self._is_new = True

    def refresh(self) -> bool:
        if self._follower is not None:
            return self._follower.refresh()
        is_new, self._is_new = self._is_new, False
        return is_new

    @property
    def _is_at_work(self) -> bool:
        return self._follower is None or self._follower.is_at_work

    def rows(self) -> list[BoardRow]:
        with self._lock:
            return rows_of(self.progress, is_at_work=self._is_at_work)

    def lines(self, state: ViewState, width: int, height: int) -> list[Line]:
        with self._lock:
            now = self._now()
            life = None if self._follower is None else replace(self._follower.life, now_seconds=now)
            facts = BoardFacts(
                now,
                {one.agent: one for one in self.progress.activities},
                trouble="" if life is None or not self._is_at_work else life.trouble,
                word="" if life is None or not self._is_at_work else life.word,
                is_ours=self._follower is None,
                is_at_work=self._is_at_work,
                more=self._able.more,
                bar=_BARS[self._able.unicode],
            )
            return board_lines(self.progress, state, facts, width, height)

    def open(self, show: Show) -> PageView:
        row = show.row
        match show.page:
            case Page.DIFF:
                return self._diff(row.task if row is not None else "")
            case Page.LOG:
                task = row.task if row is not None else ""
                title = f"log of {task}" if task else "log"
                follower = LogFollower(self.project, RunId(self.run_id), task)
                return LogPage(follower, clean_line(title), lambda: self.progress.started_at_seconds)
            case Page.STORY if row is not None:
                return self._story(row)
            case _:
                return help_page()

    def _diff(self, task: str) -> PageView:
        found = diff_text(self.project, task or None, self.run_id, stat=False)
        title = f"diff of {clean_line(task)}" if task else "diff of the run"
        return diff_page(title, found.text or "nothing was changed")

    def _story(self, row: BoardRow) -> PageView:
        with self._lock:
            name = row.name
            if row.kind is RowKind.TASK:
                mine = [agent.name for agent in self.progress.agents.values() if agent.task == row.name]
                name = mine[-1] if mine else ""
            agent = self.progress.agents.get(name)
            task = self.progress.tasks.get(row.name)
        if agent is None:
            if task is None:
                raise UsageError(f"nothing is known of {clean_line(row.name)}")
            return task_page(task)
        key = key_of(agent, self.run_id)
        if key is None:
            raise UsageError(f"{clean_line(agent.name)} is an agent of a kind that this version does not know")
        follower = AgentFollower(self.project, key)
        return StoryPage(follower, self.progress, self._now, is_run_at_work=lambda: self._is_at_work)

    def ask(self, wish: Wish) -> str:
        project, run = self.project, self.run_id
        match wish:
            case Say(task, text):
                return steering.say(project, task, text, run).message
            case Answer(item, text, approve, decline):
                choice = Choice.APPROVE if approve else Choice.DECLINE if decline else Choice.NONE
                return control.answer(project, item, run, text=text, choice=choice).message
            case Pause():
                return steering.pause(project, run, off=self.progress.paused).message
            case StopRun(now):
                return steering.stop(project, run, now=now).message
            case StopOneAgent(agent):
                return steering.stop_agent(project, agent, run).message
            case _:
                return ""

    def enter(self, name: str) -> Board:
        """There is only this run."""
        del name
        return self

    def hint(self) -> str:
        return "enter open  d diff  l log  s say  a answer  p pause  x stop  ? help  q leave"

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()


class RunsBoard:
    """The runs of this repository, and of all others in which one is at work."""

    def __init__(
        self, runs: AllRuns, able: Abilities, now: Callable[[], float], environment: Mapping[str, str]
    ) -> None:
        """Show what `runs` finds."""
        self._runs = runs
        self._able = able
        self._now = now
        self._home = environment.get("HOME", "")

    def refresh(self) -> bool:
        return self._runs.refresh()

    def rows(self) -> list[BoardRow]:
        return [BoardRow(RowKind.RUN, _name(there)) for there in self._runs.found]

    def lines(self, state: ViewState, width: int, height: int) -> list[Line]:
        found = self._runs.found
        at_work = sum(there.is_live for there in found)
        lines = [line((f"{at_work} at work, {count_of(len(found), 'run')}", "bold"))]
        if not found:
            lines.append(line(("no run has been started yet: codexteam run GOAL", "dim")))
        rows = [self._cells(there) for there in found]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        place = next((n for n, row in enumerate(self.rows()) if state.chosen == row), 0)
        room = max(1, height - len(lines))
        first = max(0, place - room + 1)
        for number in range(first, min(len(rows), first + room)):
            cells, there = rows[number], found[number]
            chosen = state.chosen is not None and state.chosen.name == _name(there)
            texts = [padded(cell, size, more=self._able.more) for cell, size in zip(cells[:4], widths, strict=True)]
            shown = line(
                f"{'> ' if chosen else '  '}",
                (texts[0], _word_style(there)),
                f" {' '.join(texts[1:])} {cells[4]}",
            )
            lines.append(styled(shown, "reverse") if chosen else shown)
        return [cut(one, width, self._able.more) for one in window(lines, 0, height)]

    def _cells(self, there: RunThere) -> tuple[str, str, str, str, str]:
        root = str(there.project.places.root)
        place = f"~{root[len(self._home) :]}" if self._home and root.startswith(f"{self._home}/") else root
        goal = " ".join(there.record.goal.split())
        where = clean_line(f"{place}: {goal}")
        age = elapsed(self._now() - there.record.created_at_seconds)
        if not there.is_readable:
            return there.word, "", "", age, where
        merged = f"{there.merged} of {there.tasks} merged" if there.tasks else ""
        waits = f"{there.word}, {there.waiting} for you" if there.waiting else there.word
        return in_words(waits), merged, cost(there.usd, there.unknown), age, where

    def open(self, show: Show) -> PageView:
        del show
        return help_page()

    def ask(self, wish: Wish) -> str:
        del wish
        raise UsageError("open a run first: enter")

    def enter(self, name: str) -> Board:
        for there in self._runs.found:
            if _name(there) == name and there.is_readable:
                return RunBoard(there.project, there.record.run_id, self._able, self._now)
        raise UsageError("that run cannot be opened", hint="codexteam status says why")

    def hint(self) -> str:
        return "enter open the run  ? help  q leave"

    def close(self) -> None:
        self._runs.close()


def _name(there: RunThere) -> str:
    return f"{there.project.state_dir}\0{there.record.run_id}"


def _word_style(there: RunThere) -> str:
    if not there.is_readable:
        return "red"
    if there.waiting or there.word in {"suspended", "stalled", "blocked", "interrupted", "waiting"}:
        return "yellow"
    return "cyan" if there.is_live else "green" if there.word in {"green", "answered"} else ""
