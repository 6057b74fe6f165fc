"""The repository port over git: one run's view, asynchronous, with the blocking work in threads of its own.

`make_repository` starts one where there is none yet, for the demo.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from codexteam.adapters.git import (
    apply,
    cleanup,
    diff_text,
    facts,
    fetch,
    landing,
    merge,
    reviewed,
    saved_snapshots,
)
from codexteam.adapters.git.base import BaseSources
from codexteam.adapters.git.composite import Member, fetch_composite, split
from codexteam.adapters.git.content import LineScanner
from codexteam.adapters.git.hub import Hub, base_ref, branch_ref, checked_run
from codexteam.adapters.git.intake import WorkIntake
from codexteam.adapters.git.landing_together import land_together, split_result
from codexteam.adapters.git.location import Places, git_runner
from codexteam.adapters.git.objects import parse_tree
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner, GitTimeout, find_git
from codexteam.adapters.git.untracked import CopyRules, ignored_files
from codexteam.core.ids import CommitId, RunId, TreeId
from codexteam.core.paths import show
from codexteam.errors import LandingError, RepoError
from codexteam.ports.repo import (
    ChangeWanted,
    Conflict,
    FoundChange,
    Identity,
    Intake,
    IntakePolicy,
    Merged,
    RepositoryFacts,
    TreeChange,
)
from codexteam.ports.sandbox import BaseSource, Snapshot
from codexteam.system.fault_points import reach

_WHO = {
    "GIT_AUTHOR_NAME": "codexteam demo",
    "GIT_AUTHOR_EMAIL": "demo@codexteam.invalid",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
}
_IDENTITY = _WHO | {name.replace("AUTHOR", "COMMITTER"): value for name, value in _WHO.items()}
_Result = TypeVar("_Result")
_READ_SECONDS = 60.0
_TREE_BYTES = 64 << 20


def make_repository(folder: Path, environment: Mapping[str, str], *, message: str) -> None:
    """Commit all files of a folder that is not a repository yet.

    Raises:
        RepoError: there is no git, or it failed.
    """
    runner = GitRunner(find_git(environment.get("PATH")), folder)
    git_dir = folder / ".git"
    what = f"{folder}: the sample repository cannot be made"
    runner.check(GitCall(("init", "--quiet", "--initial-branch=main"), git_dir, cwd=folder), what)
    runner.check(GitCall(("add", "--all", "."), git_dir, work_tree=folder, cwd=folder), what)
    commit = GitCall(("commit", "--quiet", f"--message={message}"), git_dir, work_tree=folder, environment=_IDENTITY)
    runner.check(commit, what)


class GitRepo:
    """The user's repository and its hub. Made after the repository's lock is held; closed by who made it."""

    def __init__(
        self,
        places: Places,
        state_dir: Path,
        environment: Mapping[str, str],
        *,
        history_depth: int = 50,
        copied: CopyRules | None = None,
        scanner: LineScanner | None = None,
        is_alone: bool = True,
        members: Sequence[Member] = (),
    ) -> None:
        """Take where everything is; nothing is touched before the first call.

        Args:
            places: from `locate`.
            state_dir: where the hub and the runs' files are, usually `codexteam` in the common git directory.
            environment: the user's, for finding git.
            history_depth: commits of history that a workspace shows.
            copied: which of the ignored files workspaces get; none without it.
            scanner: finds credentials at intake; None looks for exact values alone.
            is_alone: whether the repository's lock is held. Without it nothing that a run may be writing is tidied up,
                and no work is taken in.
            members: where a run works on several repositories: all of them, `places` among them.
        """
        self.places = places
        self._state_dir = state_dir
        self._environment = environment
        self._depth = history_depth
        self._copied = copied or CopyRules()
        self._scanner = scanner
        self._is_alone = is_alone
        self._members = tuple(members)
        # git calls wait for processes, not for this interpreter: a few more threads than cores are of use. With many
        # more, all of a batch's work would be taken in by the time that the first could long be merged.
        workers = len(os.sched_getaffinity(0)) + 2
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="codexteam-git")
        self._opening = Lock()
        self._bases = Lock()
        self._hub: Hub | None = None
        self._desk: WorkIntake | None = None
        self._kept = saved_snapshots.KeptWork(state_dir / "kept")

    @property
    def _quarantines(self) -> Path:
        return self._state_dir / "quarantine"

    async def close(self) -> None:
        """Let go of processes and threads, after calls that have begun: nothing writes once it is closed. May be repeated."""
        hub, self._hub = self._hub, None
        if hub is not None:
            await self._do(hub.close)
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    async def inspect(self) -> RepositoryFacts:
        return await self._do(
            lambda: facts.inspect_repository(git_runner(self._environment, self.places.start), self.places)
        )

    async def fetch_base(self, run_id: RunId, commit: CommitId) -> None:
        def work() -> None:
            with self._bases:
                if self._members:
                    fetch_composite(self._open_hub(), self._members, run_id, commit, self._depth)
                    return
                fetch.fetch_base(self._open_hub(), self.places, run_id, commit, self._depth)

        await self._do(work)

    async def find_change(self, wanted: ChangeWanted) -> FoundChange:
        """Find what is to be reviewed.

        Raises:
            UsageError: it is not there.
        """
        return await self._do(
            lambda: reviewed.find_change(git_runner(self._environment, self.places.start), self.places, wanted)
        )

    async def commit_work_tree(self, base: CommitId, message: str, author: Identity) -> CommitId:
        return await self._do(lambda: reviewed.commit_work_tree(self._open_hub(), self.places, base, message, author))

    async def base_source(self, run_id: RunId, commit: CommitId) -> BaseSource:
        folder = self._state_dir / "runs" / checked_run(run_id) / "base"

        def work() -> BaseSource:
            with self._bases:
                sources = BaseSources(
                    self._open_hub(),
                    self.places,
                    folder,
                    depth=self._depth,
                    rules=self._copied,
                    members=self._members,
                )
                return sources.give(run_id, commit)

        return await self._do(work)

    async def copied_files(self) -> list[bytes]:
        """Return the paths of the ignored files that every workspace gets."""
        beside = self._state_dir / "copied"

        def work() -> list[bytes]:
            runner = self._open_hub().runner
            looked = [(f"{each.name}/".encode(), each.places) for each in self._members] or [(b"", self.places)]
            return [
                folder + path
                for folder, places in looked
                if not places.bare
                for path in ignored_files(runner, places, self._copied, beside)
            ]

        return await self._do(work)

    async def intake(self, snapshot: Snapshot, policy: IntakePolicy, *, enforce_scope: bool = True) -> Intake:
        return await self._do(lambda: self._open_desk().take(snapshot, policy, enforce_scope=enforce_scope))

    async def commit(self, tree: TreeId, parents: Sequence[CommitId], message: str, author: Identity) -> CommitId:
        return await self._do(lambda: merge.make_commit(self._open_hub(), tree, parents, message, author))

    async def merge(self, ours: CommitId, theirs: CommitId, message: str, author: Identity) -> Merged | Conflict:
        return await self._do(lambda: merge.merge(self._open_hub(), ours, theirs, message, author))

    async def as_snapshot(self, base: CommitId, commit: CommitId, destination: Path) -> Snapshot:
        def work() -> Snapshot:
            hub = self._open_hub()
            request = f"{commit}\n^{base}\n".encode()
            data = hub.output(
                "pack-objects", "--thin", "--revs", "--stdout", "--delta-base-offset", "-q", stdin=request
            )
            reach("snapshot.write.before")
            destination.write_bytes(data)
            reach("snapshot.write.after")
            return Snapshot(commit, base, destination, len(data))

        return await self._do(work)

    async def forecast(self, ours: CommitId, theirs: CommitId) -> tuple[str, ...]:
        return await self._do(lambda: merge.forecast(self._open_hub(), ours, theirs))

    async def changes(self, old: CommitId, new: CommitId) -> tuple[TreeChange, ...]:
        return await self._do(lambda: tuple(merge.raw_changes(self._open_hub().output, old, new)))

    async def diff_text(self, old: CommitId, new: CommitId, *, limit_bytes: int) -> tuple[str, bool]:
        return await self._do(lambda: diff_text.diff_text(self._open_hub(), old, new, limit_bytes))

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        """See `Repo.read_blob`.

        Raises:
            RepoError: there is no such commit.
            ValueError: the file is larger than the limit.
        """
        return await self._do(lambda: _read_blob(self._open_hub(), commit, path, limit_bytes))

    async def read_blobs(self, blobs: Sequence[str], *, limit_bytes: int) -> list[bytes | None]:
        def work() -> list[bytes | None]:
            found = self._open_hub().reader.read_many(
                blobs, limit_bytes=limit_bytes, deadline=GitDeadline.after(_READ_SECONDS)
            )
            return [each.data if each is not None else None for each in found]

        return await self._do(work)

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        return await self._do(lambda: tuple(self._open_hub().files(commit)))

    async def tree_of(self, commit: CommitId) -> TreeId:
        return await self._do(lambda: self._open_hub().tree_of(commit))

    async def overlay(self, commit: CommitId, source: CommitId, paths: Sequence[bytes]) -> TreeId:
        return await self._do(lambda: merge.overlay(self._open_hub(), commit, source, paths))

    async def update_branch(self, run_id: RunId, new: CommitId, old: CommitId | None) -> bool:
        return await self._do(lambda: self._open_hub().move_ref(branch_ref(run_id), new, old))

    async def branch_tip(self, run_id: RunId) -> CommitId | None:
        return await self._do(lambda: self._open_hub().ref(branch_ref(run_id)))

    async def land(self, run_id: RunId, commit: CommitId) -> str:
        def work() -> str:
            if self._members:
                return land_together(self._open_hub(), self._members, run_id, commit)
            return landing.land(self._open_hub(), self.places, run_id, commit)

        return await self._do(work)

    async def keep(self, run_id: RunId, name: str, snapshot: Snapshot) -> None:
        await self._do(lambda: self._kept.keep(run_id, name, snapshot))

    # what the command line asks for beyond a run

    async def kept_work(self, run_id: RunId | None = None) -> tuple[saved_snapshots.Kept, ...]:
        """Return what was kept of a run, or of all, for `salvage`."""
        return await self._do(lambda: self._kept.list(run_id))

    async def clean(self, run_id: RunId) -> list[str]:
        """Remove what a dead run left; unsaved work is archived first. Gives what was done, for people.

        Raises:
            RepoError: unsaved work cannot be archived; then nothing was removed.
        """
        archives = self._state_dir / "archive"
        places = [each.places for each in self._members] or [self.places]
        return await self._do(lambda: cleanup.clean_run(self._open_hub(), places, self._kept, run_id, archives))

    async def remove_unused_hub(self) -> bool:
        """Remove the hub when no run has anything in it."""
        removed = await self._do(lambda: cleanup.remove_hub_if_unused(self._open_hub()))
        if removed:
            self._hub = self._desk = None
        return removed

    async def apply_together(
        self, run_id: RunId, commit: CommitId, message: str
    ) -> list[tuple[str, apply.AppliedBranch]]:
        """Merge a result into what is checked out in every repository that it changes; nothing where one cannot take it.

        Raises:
            LandingError: one cannot; says which ones have it already.
        """
        search_path = self._environment.get("PATH")

        def work() -> list[tuple[str, apply.AppliedBranch]]:
            tips = split_result(self._open_hub(), self._members, run_id, commit)
            changed = [each for each in self._members if each.name in tips]
            done: list[tuple[str, apply.AppliedBranch]] = []
            for check in (True, False):
                for each in changed:
                    try:
                        if check:
                            apply.check_applicable(each.places, tips[each.name], search_path)
                        else:
                            merged = apply.apply_result(each.places, tips[each.name], message, search_path)
                            done.append((each.name, merged))
                    except LandingError as error:
                        there = ", ".join(name for name, _ in done) or "none"
                        raise LandingError(
                            f"{each.name}: {error}; repositories that have it: {there}", hint=error.hint
                        ) from error
            return done

        return await self._do(work)

    async def own_commits(self, run_id: RunId, wanted: Sequence[tuple[str, CommitId]]) -> list[CommitId]:
        """Return what commits of the tree of several repositories are in one of them each, by its name.

        Raises:
            RepoError: a commit is missing.
        """
        members = {each.name: each for each in self._members}

        def work() -> list[CommitId]:
            hub = self._open_hub()
            base = hub.ref(base_ref(run_id))
            if base is None:
                raise RepoError(f"run {run_id} has no base commit in the hub")
            return [split(hub, members[name], base, commit) for name, commit in wanted]

        return await self._do(work)

    async def apply(self, commit: CommitId, message: str) -> apply.AppliedBranch:
        """Merge a landed commit into what the user has checked out, with the user's own git.

        Raises:
            LandingError: it cannot be merged; nothing was changed.
        """
        return await self._do(lambda: apply.apply_result(self.places, commit, message, self._environment.get("PATH")))

    def _open_hub(self) -> Hub:
        with self._opening:
            if self._hub is None:
                try:
                    self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
                except OSError as error:
                    raise RepoError(
                        f"{self._state_dir}: the state folder cannot be made: {error.strerror}",
                        hint="Give another one with --state-dir.",
                    ) from error
                runner = git_runner(self._environment, self._state_dir)
                self._hub = Hub(self._state_dir / "hub.git", self.places.object_format, runner, is_alone=self._is_alone)
                if self._is_alone:
                    self._hub.tidy()
                    cleanup.sweep_quarantines(self._quarantines)
            return self._hub

    def _open_desk(self) -> WorkIntake:
        hub = self._open_hub()
        with self._opening:
            if self._desk is None:
                self._desk = WorkIntake(hub, self._quarantines, self._scanner)
            return self._desk

    async def _do(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, partial(_in_words, work))
        except FileNotFoundError as error:
            # a folder that went away under us: the user deleted the state folder, or the repository
            raise RepoError(
                f"{os.fspath(error.filename or '')}: is gone", hint="Was the state folder removed?"
            ) from error


def _in_words(work: Callable[[], _Result]) -> _Result:
    try:
        return work()
    except GitTimeout:
        raise RepoError(
            "git took too long", hint="Is the disk slow, or another program at work on the repository?"
        ) from None


def _read_blob(hub: Hub, commit: CommitId, path: bytes, limit_bytes: int) -> bytes | None:
    deadline = GitDeadline.after(_READ_SECONDS)
    at = str(hub.tree_of(commit))
    names = path.split(b"/")
    for index, name in enumerate(names):
        tree = hub.reader.read(at, limit_bytes=_TREE_BYTES, deadline=deadline)
        if tree is None or tree.data is None or tree.type != "tree":
            return None
        entry = next((each for each in parse_tree(tree.data, len(at) // 2) if each.name == name), None)
        if entry is None or entry.is_tree is not (index < len(names) - 1) or entry.mode == b"160000":
            return None
        at = entry.id
    found = hub.reader.read(at, limit_bytes=limit_bytes, deadline=deadline)
    if found is not None and found.data is None:
        raise ValueError(f"{show(path)} has {found.size} bytes; at most {limit_bytes} are read")
    return found.data if found is not None else None
