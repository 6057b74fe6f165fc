"""`eval mine`: tasks made of the user's own history, as Harbor's task folders.

Every commit of the first-parent history that changes code and its tests is looked at, the newest first: its tests must pass
with it and fail without it, in the environment that the program builds. The rest is dropped, and the reasons are counted.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from codexteam.adapters.git.eval_repository import EvalRepository
from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.suites.mined import write_mined
from codexteam.app.environments import EnvironmentOptions, gate_outcomes
from codexteam.app.project import find_project
from codexteam.app.run_metrics import MOMENT_FORMS, read_moment
from codexteam.app.signals import run_guarded_by_signals
from codexteam.config.request import LoadRequest
from codexteam.core.ids import CommitId, JSONValue
from codexteam.core.mining import HistoryCommit, SplitChange, keep_line, lines_of_tests, split_change, task_goal
from codexteam.errors import CodexteamError, UsageError
from codexteam.run.command_outcome import CommandOutcome

Outcomes: TypeAlias = Callable[[CommitId, Sequence[str]], Awaitable[list[CommandOutcome]]]

#: The folder of what mining itself needs, beside the tasks; readers of suites pass over it.
_OWN = ".mining"


@dataclass(frozen=True, slots=True)
class MineOptions:
    """What `eval mine` was told."""

    load: LoadRequest
    folder: Path
    since: str | None = None
    most: int = 20
    """Tasks to keep."""
    said: Callable[[str, str, str], None] = lambda _commit, _title, _what: None
    """Gets each commit that was run: its id, its title, and what came of it."""


@dataclass(frozen=True, slots=True)
class Mined:
    """What came of it."""

    folder: Path
    looked_at: int
    """Commits of the history."""
    candidates: int
    """Those that change code and its tests, and were run."""
    kept: tuple[str, ...]
    dropped: tuple[tuple[str, int], ...]
    """Why commits are no tasks, most frequent first."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A task, before it is written."""

    commands: tuple[str, ...]
    keep_commands: tuple[str, ...]


def mine(options: MineOptions) -> Mined:
    """Make tasks of the history of the repository.

    Raises:
        UsageError: `--since` is no moment.
        CodexteamError: there is no repository, or no sandbox can be started.
    """
    now = SystemClock().wall_seconds()
    since = read_moment(options.since, now_seconds=now) if options.since is not None else 0.0
    if since is None:
        raise UsageError(
            f"--since {options.since}: found no moment; allowed are {MOMENT_FORMS}", hint="for example --since 52w"
        )
    project = find_project(options.load.cwd, options.load.environment)
    options.folder.mkdir(parents=True, exist_ok=True)
    place = options.folder / _OWN / "repository.git"

    async def outcomes(commit: CommitId, commands: Sequence[str]) -> list[CommandOutcome]:
        flags: dict[str, JSONValue] = dict(options.load.flags)
        if commands:
            flags["codexteam.gates.commands"] = [*commands]
        return await gate_outcomes(EnvironmentOptions(replace(options.load, cwd=place, flags=flags)), commit)

    work = Mining(options, project.places.common_dir, since, place, outcomes)
    return run_guarded_by_signals(lambda _signals: work.drive())


class Mining:
    """Makes tasks of one history."""

    def __init__(
        self, options: MineOptions, source: Path, since_seconds: float, place: Path, outcomes: Outcomes
    ) -> None:
        """Take what is wanted.

        Args:
            options: what was told.
            source: the repository with the history.
            since_seconds: the oldest moment that counts.
            place: where the history is copied to, for sandboxes.
            outcomes: runs commands on a commit of that copy; the repository's own where none are given.
        """
        self._options = options
        self._source = source
        self._since_seconds = since_seconds
        self._outcomes = outcomes
        place.parent.mkdir(parents=True, exist_ok=True)
        self._repository = EvalRepository(place, options.load.environment.get("PATH"))
        self._dropped: Counter[str] = Counter()

    async def drive(self) -> Mined:
        """Try commits, the newest first, until there are as many tasks as are wanted.

        Raises:
            RepoError: the history cannot be read.
        """
        repository = self._repository
        await asyncio.to_thread(repository.make)
        head = await asyncio.to_thread(repository.take_commit, self._source, "HEAD")
        await asyncio.to_thread(repository.point_head, head)
        commits = await asyncio.to_thread(repository.first_parent_history, head)
        commits = [one for one in commits if one.at_seconds >= self._since_seconds]
        kept: list[str] = []
        looked_at = candidates = 0
        for one in commits:
            if len(kept) >= self._options.most:
                break
            looked_at += 1
            paths = await asyncio.to_thread(repository.changed_paths, CommitId(one.parent), CommitId(one.commit))
            change, goal = split_change(paths), task_goal(one.message)
            if isinstance(change, str) or not goal:
                self._dropped[change if isinstance(change, str) else "its message says too little"] += 1
                continue
            candidates += 1
            title = goal.split("\n")[0]
            found = await self._tried(one, change)
            if isinstance(found, str):
                self._dropped[found] += 1
                self._options.said(one.commit, title, f"dropped: {found}")
                continue
            name = f"{one.commit[:10]}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')[:40].strip('-')}"
            await asyncio.to_thread(self._write, name, goal, one, change, found)
            kept.append(name)
            self._options.said(one.commit, title, "kept")
        return Mined(self._options.folder, looked_at, candidates, tuple(kept), tuple(self._dropped.most_common()))

    async def _tried(self, one: HistoryCommit, change: SplitChange) -> _Kept | str:
        """Return what decides on a task, or why there is none."""
        fix, parent = CommitId(one.commit), CommitId(one.parent)
        try:
            gates = () if any(path.endswith(".py") for path in change.tests) else await self._own_commands(fix)
            for line in lines_of_tests(change.tests, gates):
                [after] = await self._outcomes(fix, [line])
                if not after.did_not_run:
                    break
            else:
                return "its tests cannot be run here"
            if not after.ok:
                return "its tests fail with the fix, too"
            before_commit = await asyncio.to_thread(self._with_tests, parent, fix, change)
            [before] = await self._outcomes(before_commit, [line])
            if before.timed_out:
                return "its tests do not end without the fix"
            if before.ok and not before.did_not_run:
                return "its tests pass without the fix"
            keep = keep_line(line, before.failed_tests or ())
            if keep and not await self._passes_in_both(keep, before_commit, fix):
                keep = ""
        except CodexteamError as error:
            return f"it cannot be set up ({type(error).__name__})"
        return _Kept((line,), (keep,) if keep else ())

    async def _passes_in_both(self, line: str, before: CommitId, after: CommitId) -> bool:
        for commit in (after, before):
            [outcome] = await self._outcomes(commit, [line])
            if not outcome.ok or outcome.did_not_run:
                return False
        return True

    def _with_tests(self, parent: CommitId, fix: CommitId, change: SplitChange) -> CommitId:
        files, removed = self._repository.changed(parent, fix)
        hidden = {path: data for path, data in files.items() if path in change.tests}
        gone = [path for path in removed if path in change.tests]
        return self._repository.commit(parent, hidden, removed=gone, message="Hidden tests")

    async def _own_commands(self, commit: CommitId) -> tuple[str, ...]:
        outcomes = await self._outcomes(commit, [])
        return tuple(outcome.command for outcome in outcomes if outcome.ok and not outcome.did_not_run)

    def _write(self, name: str, goal: str, one: HistoryCommit, change: SplitChange, kept: _Kept) -> None:
        files, _ = self._repository.changed(CommitId(one.parent), CommitId(one.commit))
        place = self._options.folder / name
        bundle = self._options.folder / _OWN / f"{name}.bundle"
        self._repository.write_bundle(bundle, CommitId(one.parent))
        patch = self._repository.patch(CommitId(one.parent), CommitId(one.commit), change.others)
        write_mined(
            place,
            goal,
            {
                "base": one.parent,
                "commit": one.commit,
                "commands": [*kept.commands],
                "keep_commands": [*kept.keep_commands],
            },
            hidden={path: data for path, data in files.items() if path in change.tests},
            patch=patch,
            bundle=bundle,
        )
