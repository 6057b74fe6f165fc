"""The repository port over git: one run's view, asynchronous, with the blocking work in threads of its own."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from codexteam.adapters.git import apply, changes, cleanup, facts, incoming, kept, landing, merge
from codexteam.adapters.git.base import BaseSources
from codexteam.adapters.git.content import LineScanner
from codexteam.adapters.git.hub import Hub, branch_ref, checked_run
from codexteam.adapters.git.intake import IntakeDesk
from codexteam.adapters.git.objects import parse_tree
from codexteam.adapters.git.places import Places, git_runner, locate
from codexteam.adapters.git.runner import Deadline, GitTimeout
from codexteam.core.ids import CommitId, RunId, TreeId
from codexteam.core.paths import show
from codexteam.errors import RepoError
from codexteam.ports.fault_points import reach
from codexteam.ports.repo import Conflict, Identity, Intake, IntakePolicy, Merged, RepositoryFacts, TreeChange
from codexteam.ports.sandbox import BaseSource, Snapshot

_Result = TypeVar("_Result")
_READ_SECONDS = 60.0
_TREE_BYTES = 64 << 20


async def locate_repository(start: Path, environment: Mapping[str, str]) -> Places:
    """Find the repository around a folder, before there is a state folder.

    Raises:
        RepoError: there is none, it belongs to somebody else, git is missing or too old.
    """
    return await asyncio.to_thread(locate, start, environment)


class GitRepo:
    """The user's repository and its hub. Made after the repository's lock is held; closed by who made it."""

    def __init__(
        self,
        places: Places,
        state_dir: Path,
        environment: Mapping[str, str],
        *,
        history_depth: int = 50,
        copy_ignored: Sequence[str] = (),
        scanner: LineScanner | None = None,
    ) -> None:
        """Take where everything is; nothing is touched before the first call.

        Args:
            places: from `locate_repository`.
            state_dir: where the hub and the runs' files are, usually `codexteam` in the common git directory.
            environment: the user's, for finding git.
            history_depth: commits of history that a workspace shows.
            copy_ignored: globs of ignored files that workspaces need.
            scanner: finds credentials at intake; None looks for exact values alone.
        """
        self.places = places
        self._state_dir = state_dir
        self._environment = environment
        self._depth = history_depth
        self._copy_ignored = copy_ignored
        self._scanner = scanner
        # git calls wait for processes, not for this interpreter: a few more threads than cores are of use. With many
        # more, all of a batch's work would be taken in by the time that the first could long be merged.
        workers = len(os.sched_getaffinity(0)) + 2
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="codexteam-git")
        self._opening = Lock()
        self._bases = Lock()
        self._hub: Hub | None = None
        self._desk: IntakeDesk | None = None
        self._kept = kept.KeptWork(state_dir / "kept")

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
        """See `Repo.inspect`."""
        return await self._do(
            lambda: facts.inspect_repository(git_runner(self._environment, self.places.start), self.places)
        )

    async def fetch_base(self, run_id: RunId, commit: CommitId) -> None:
        """See `Repo.fetch_base`."""

        def work() -> None:
            with self._bases:
                incoming.fetch_base(self._open_hub(), self.places, run_id, commit, self._depth)

        await self._do(work)

    async def base_source(self, run_id: RunId, commit: CommitId) -> BaseSource:
        """See `Repo.base_source`."""
        folder = self._state_dir / "runs" / checked_run(run_id) / "base"

        def work() -> BaseSource:
            with self._bases:
                sources = BaseSources(
                    self._open_hub(), self.places, folder, depth=self._depth, copy_ignored=self._copy_ignored
                )
                return sources.give(run_id, commit)

        return await self._do(work)

    async def intake(self, snapshot: Snapshot, policy: IntakePolicy, *, enforce_scope: bool = True) -> Intake:
        """See `Repo.intake`."""
        return await self._do(lambda: self._open_desk().take(snapshot, policy, enforce_scope=enforce_scope))

    async def commit(self, tree: TreeId, parents: Sequence[CommitId], message: str, author: Identity) -> CommitId:
        """See `Repo.commit`."""
        return await self._do(lambda: merge.make_commit(self._open_hub(), tree, parents, message, author))

    async def merge(self, ours: CommitId, theirs: CommitId, message: str, author: Identity) -> Merged | Conflict:
        """See `Repo.merge`."""
        return await self._do(lambda: merge.merge(self._open_hub(), ours, theirs, message, author))

    async def as_snapshot(self, base: CommitId, commit: CommitId, destination: Path) -> Snapshot:
        """See `Repo.as_snapshot`."""

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
        """See `Repo.forecast`."""
        return await self._do(lambda: merge.forecast(self._open_hub(), ours, theirs))

    async def changes(self, old: CommitId, new: CommitId) -> tuple[TreeChange, ...]:
        """See `Repo.changes`."""
        return await self._do(lambda: tuple(changes.raw_changes(self._open_hub().output, old, new)))

    async def diff_text(self, old: CommitId, new: CommitId, *, limit_bytes: int) -> tuple[str, bool]:
        """See `Repo.diff_text`."""
        return await self._do(lambda: changes.diff_text(self._open_hub(), old, new, limit_bytes))

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        """See `Repo.read_blob`.

        Raises:
            RepoError: there is no such commit.
            ValueError: the file is larger than the limit.
        """
        return await self._do(lambda: _read_blob(self._open_hub(), commit, path, limit_bytes))

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """See `Repo.list_files`."""
        return await self._do(lambda: tuple(self._open_hub().files(commit)))

    async def tree_of(self, commit: CommitId) -> TreeId:
        """See `Repo.tree_of`."""
        return await self._do(lambda: self._open_hub().tree_of(commit))

    async def overlay(self, commit: CommitId, source: CommitId, paths: Sequence[bytes]) -> TreeId:
        """See `Repo.overlay`."""
        return await self._do(lambda: merge.overlay(self._open_hub(), commit, source, paths))

    async def update_branch(self, run_id: RunId, new: CommitId, old: CommitId | None) -> bool:
        """See `Repo.update_branch`."""
        return await self._do(lambda: self._open_hub().move_ref(branch_ref(run_id), new, old))

    async def branch_tip(self, run_id: RunId) -> CommitId | None:
        """See `Repo.branch_tip`."""
        return await self._do(lambda: self._open_hub().ref(branch_ref(run_id)))

    async def land(self, run_id: RunId, commit: CommitId) -> str:
        """See `Repo.land`."""
        return await self._do(lambda: landing.land(self._open_hub(), self.places, run_id, commit))

    async def keep(self, run_id: RunId, name: str, snapshot: Snapshot) -> None:
        """See `Repo.keep`."""
        await self._do(lambda: self._kept.keep(run_id, name, snapshot))

    # what the command line asks for beyond a run

    async def kept_work(self, run_id: RunId | None = None) -> tuple[kept.Kept, ...]:
        """Give what was kept of a run, or of all, for `salvage`."""
        return await self._do(lambda: self._kept.list(run_id))

    async def export_kept(self, work: kept.Kept, destination: Path) -> None:
        """Write a kept snapshot's changes as a patch.

        Raises:
            RepoError: it cannot be opened or written.
        """
        await self._do(lambda: kept.export_patch(self._open_hub(), self._quarantines, work, destination))

    async def clean(self, run_id: RunId) -> list[str]:
        """Remove what a dead run left; unsaved work is archived first. Gives what was done, for people.

        Raises:
            RepoError: unsaved work cannot be archived; then nothing was removed.
        """
        archives = self._state_dir / "archive"
        return await self._do(lambda: cleanup.clean_run(self._open_hub(), self.places, self._kept, run_id, archives))

    async def remove_unused_hub(self) -> bool:
        """Remove the hub when no run has anything in it."""
        removed = await self._do(lambda: cleanup.remove_hub_if_unused(self._open_hub()))
        if removed:
            self._hub = self._desk = None
        return removed

    async def apply(self, commit: CommitId, message: str) -> apply.Applied:
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
                self._hub = Hub(self._state_dir / "hub.git", self.places.object_format, runner)
                self._hub.tidy()
                cleanup.sweep_quarantines(self._quarantines)
            return self._hub

    def _open_desk(self) -> IntakeDesk:
        hub = self._open_hub()
        with self._opening:
            if self._desk is None:
                self._desk = IntakeDesk(hub, self._quarantines, self._scanner)
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
    deadline = Deadline.after(_READ_SECONDS)
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
