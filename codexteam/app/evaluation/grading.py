"""Grading: the hidden tests are put on top of a commit, and run in the environment that its files ask for.

Each task has one repository for it, which no agent ever sees. Before any agent is paid the task itself is looked at: its
tests must fail at the start, and pass with the reference solution where there is one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.adapters.git.eval_repository import EvalRepository
from codexteam.app.environments import EnvironmentOptions, gate_outcomes
from codexteam.config.request import LoadRequest
from codexteam.core.codec import StoredForm, stored
from codexteam.core.eval_task import EvalTask, StartCommit
from codexteam.core.eval_trials import GradedWork
from codexteam.core.ids import CommitId, JSONValue
from codexteam.core.text import clean_line, count_of
from codexteam.errors import CodexteamError, RepoError
from codexteam.run.command_outcome import CommandOutcome

_HIDDEN = "Hidden tests"


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class CheckedTask:
    """What a look at a task said."""

    base: str
    problem: str = ""
    """Why nothing that an agent does would show anything; empty where it would."""
    kept_passing: bool = False
    """Whether what must keep passing passes at the start, so that a failure is a regression."""


@dataclass(slots=True)
class TaskGrading:
    """Grades the work on the tasks of one evaluation."""

    folder: Path
    load: LoadRequest
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def place(self, task: EvalTask) -> Path:
        """Return the repository in which a task is graded."""
        return self.folder / "tasks" / task.name / "repository.git"

    async def check(self, task: EvalTask) -> CheckedTask:
        """Look at a task: take its start, and see what its tests say there and of the reference solution."""
        async with self._lock(task):
            try:
                repository = self._repository(task)
                base = await asyncio.to_thread(repository.take_start, task.start)
                await asyncio.to_thread(repository.point_head, base)
                before = await self._grade(repository, task, base, base)
                problem = ""
                if before.resolved:
                    problem = "its tests pass before anybody has worked"
                elif task.reference is not None:
                    solved = await asyncio.to_thread(self._solved, repository, task, base)
                    after = await self._grade(repository, task, base, solved)
                    problem = "" if after.resolved else f"its reference solution fails here: {after.detail}"
                return CheckedTask(base, problem, kept_passing=before.regressed is False)
            except CodexteamError as error:
                return CheckedTask("", f"it cannot be set up: {clean_line(str(error))}")

    def _solved(self, repository: EvalRepository, task: EvalTask, base: CommitId) -> CommitId:
        assert task.reference is not None
        made = base
        if task.reference.patch:
            made = repository.commit_patch(made, task.reference.patch, message="The reference solution")
        if task.reference.files:
            made = repository.commit(made, task.reference.files, message="The reference solution")
        return made

    async def grade(self, task: EvalTask, checked: CheckedTask, repository: Path, commit: str) -> GradedWork:
        """Return what the hidden tests say of a commit of another repository."""
        async with self._lock(task):
            own = self._repository(task)
            try:
                taken = await asyncio.to_thread(own.take_commit, repository, commit)
                graded = await self._grade(own, task, CommitId(checked.base), taken)
            except CodexteamError as error:
                return GradedWork(resolved=False, regressed=None, could_run=False, detail=clean_line(str(error)))
            return graded if checked.kept_passing else replace(graded, regressed=None)

    async def visible(self, task: EvalTask, repository: Path, commit: str) -> tuple[int, int]:
        """Return how a commit does in the repository's own tests: commands that pass, and tests that pass, higher is better."""
        async with self._lock(task):
            own = self._repository(task)
            try:
                taken = await asyncio.to_thread(own.take_commit, repository, commit)
                outcomes = await self._outcomes(own, task, taken, ())
            except CodexteamError:
                return 0, 0
            passed = [(one.ran_tests or 0) - len(one.failed_tests or ()) for one in outcomes]
            return sum(one.ok and not one.did_not_run for one in outcomes), sum(passed)

    async def _grade(self, repository: EvalRepository, task: EvalTask, base: CommitId, commit: CommitId) -> GradedWork:
        graded = await asyncio.to_thread(_with_hidden, repository, task, base, commit)
        hidden = task.hidden
        outcomes = await self._outcomes(repository, task, graded, (*hidden.commands, *hidden.keep_commands))
        found = {outcome.command: outcome for outcome in outcomes}
        must = [found[line] for line in hidden.commands]
        keep = [found[line] for line in hidden.keep_commands]
        failed = [one for one in (*must, *keep) if not _passes(one)]
        return GradedWork(
            resolved=not failed,
            regressed=any(not _passes(one) for one in keep) if keep else None,
            could_run=not any(one.not_set_up for one in outcomes),
            detail="; ".join(_words(one) for one in failed),
        )

    async def _outcomes(
        self, repository: EvalRepository, task: EvalTask, commit: CommitId, commands: Sequence[str]
    ) -> list[CommandOutcome]:
        flags: dict[str, JSONValue] = {**self.load.flags, "codexteam.gates.commands": [*commands]}
        if task.dockerfile:
            flags["codexteam.sandbox.dockerfile"] = task.dockerfile
        load = replace(self.load, cwd=repository.folder, flags=flags)
        return await gate_outcomes(EnvironmentOptions(load), commit)

    def _repository(self, task: EvalTask) -> EvalRepository:
        repository = EvalRepository(self.place(task), self.load.environment.get("PATH"))
        repository.folder.parent.mkdir(parents=True, exist_ok=True)
        repository.make()
        return repository

    def _lock(self, task: EvalTask) -> asyncio.Lock:
        return self._locks.setdefault(task.name, asyncio.Lock())


def _passes(outcome: CommandOutcome) -> bool:
    return outcome.ok and not outcome.did_not_run


def _words(outcome: CommandOutcome) -> str:
    failed = outcome.failed_tests or ()
    tests = f" ({count_of(len(failed), 'test')} failed)" if failed else ""
    why = f", {outcome.ending.reason}" if outcome.did_not_run else ""
    line = outcome.command if len(outcome.command) <= 60 else f"{outcome.command[:57]}..."
    return clean_line(f"`{line}`: {outcome.how_it_ended}{tests}{why}")


def _with_hidden(repository: EvalRepository, task: EvalTask, base: CommitId, commit: CommitId) -> CommitId:
    """Return a commit with the hidden tests in place, whatever work did to files of their names."""
    files, removed = _hidden_files(repository, task, base)
    if not files and not removed:
        return commit
    there = set(repository.paths(commit))
    return repository.commit(commit, files, removed=[path for path in removed if path in there], message=_HIDDEN)


def _hidden_files(
    repository: EvalRepository, task: EvalTask, base: CommitId
) -> tuple[Mapping[str, bytes], frozenset[str]]:
    hidden = task.hidden
    files: dict[str, bytes] = {}
    removed: frozenset[str] = frozenset()
    if hidden.patch:
        patched = repository.commit_patch(base, hidden.patch, message=_HIDDEN)
        files, removed = repository.changed(base, patched)
    if hidden.commit and isinstance(task.start, StartCommit):
        source = EvalRepository(_git_dir(Path(task.start.repository)), None)
        for path in hidden.paths:
            files[path] = source.read(CommitId(hidden.commit), path)
    return {**files, **hidden.files}, removed


def _git_dir(repository: Path) -> Path:
    if not repository.is_dir():
        raise RepoError(f"{repository}: test files of a later commit cannot be taken from a bundle")
    inner = repository / ".git"
    return inner if inner.exists() else repository
