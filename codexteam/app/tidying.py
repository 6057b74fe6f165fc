"""`apply` and `clean`: take the result into the current branch; remove what runs left, their work put away first."""

import asyncio
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.adapters.clock import SystemClock
from codexteam.app.looking import Where, live_run, reading_store, state_of
from codexteam.app.output import Output
from codexteam.app.salvaging import commits_of, unfinished
from codexteam.app.sitting import opened_store
from codexteam.app.start import CLEANED, Ground, cleaned_mark, pick_run, repository_lock
from codexteam.core.effects import Result
from codexteam.core.ids import CommitId, RunId, branch_name
from codexteam.core.json_types import JSONObject
from codexteam.core.state import RunState
from codexteam.core.text import count_of
from codexteam.errors import CodexteamError, LandingError, StoreError
from codexteam.ports.sandbox import SandboxEngine
from codexteam.ports.store import RunRecord, Store
from codexteam.report.overview import UnreadableRun

if TYPE_CHECKING:
    from codexteam.adapters.git.repo import GitRepo
    from codexteam.adapters.git.showing import RunCommits


def apply(where: Where, output: Output, name: str | None, *, not_green: bool) -> int:
    """Merge a run's branch into what is checked out, with the user's own git, identity and hooks.

    Raises:
        LandingError: there is nothing to apply, or it cannot be merged; nothing was changed.
    """
    return asyncio.run(_apply(where, output, name, not_green=not_green))


async def _apply(where: Where, output: Output, name: str | None, *, not_green: bool) -> int:
    ground = where.ground()
    async with reading_store(ground) as store:
        record = await pick_run(store, name)
        state = await state_of(store, record)
        live = live_run(ground) == record.run_id
    if live:
        raise LandingError(f"run {record.run_id} goes on", hint="codexteam status; codexteam stop ends it")
    commit = state.landed
    if commit is None:
        raise LandingError(
            f"run {record.run_id} has put no branch into the repository: it is {record.state}",
            hint="codexteam status says what it waits for; codexteam resume goes on with it",
        )
    if state.result is not Result.GREEN and not not_green:
        raise LandingError(
            f"run {record.run_id} is not green: {state.result_reason or record.state}",
            hint=f"look at it (codexteam diff), then codexteam apply {record.run_id} --even-if-not-green",
        )
    repo = open_repo(ground, where)
    try:
        branch = branch_name(record.run_id)
        title = " ".join(record.goal.split())[:72]
        done = await repo.apply(commit, f"Merge branch '{branch}'\n\n{title}\n")
    finally:
        await repo.close()
    onto = done.branch or "the detached HEAD"
    if done.already:
        words = f"{onto} has it already, at {done.head[:10]}"
    elif done.fast_forward:
        words = f"{onto} is now at {done.head[:10]} (fast-forward to {branch})"
    else:
        words = f"merged {branch} into {onto} as {done.head[:10]}"
    if output.json_lines:
        output.record(
            {
                "type": "apply.completed",
                "run": record.run_id,
                "branch": done.branch,
                "head": done.head,
                "fast_forward": done.fast_forward,
                "already": done.already,
            }
        )
    else:
        output.write(f"{words}\n")
    return 0


def open_repo(ground: Ground, where: Where) -> "GitRepo":
    """Give the repository's adapter. Closed by the caller."""
    from codexteam.adapters.git.repo import GitRepo

    return GitRepo(ground.places, ground.state_dir, where.environment)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was done, or would be."""

    run_id: str
    what: str
    stays: bool = False
    """It would be left."""

    def as_json(self) -> JSONObject:
        """Give it for programs."""
        return {"type": "left" if self.stays else "removed", "run": self.run_id, "what": self.what}


def clean(where: Where, output: Output, name: str | None, *, every: bool, dry_run: bool) -> int:
    """Remove what runs left: sandboxes, workspaces, refs, snapshots; work that is nowhere else is archived first.

    Raises:
        UsageError: there is no such run.
        RepositoryBusyError: a run goes on.
        RepoError: work cannot be archived; nothing of that run was removed.
    """
    ground = where.ground()
    if not ground.store_path.exists():
        done = []
    elif dry_run:
        done = asyncio.run(_look(ground, where, name, every=every))
    else:
        done = asyncio.run(_clean(ground, where, output, name, every=every))
    if output.json_lines:
        output.records((one.as_json() for one in done), "clean.completed", dry_run=dry_run)
    elif not done:
        output.note("nothing to clean")
    else:
        for one in done:
            would = f"would {'leave' if one.stays else 'remove'} " if dry_run else ""
            output.write(f"{one.run_id}: {would}{one.what}\n")
    return 0


def chosen(records: Sequence[RunRecord], named: RunRecord | None, *, every: bool) -> list[RunRecord]:
    """Give the runs that are cleaned whole: the named one, all, or without either those that ended green."""
    if named is not None:
        return [named]
    return [record for record in records if every or record.state == Result.GREEN.value]


async def _look(ground: Ground, where: Where, name: str | None, *, every: bool) -> list[Removed]:
    commits = commits_of(ground, where)
    try:
        async with reading_store(ground) as store:
            records = await store.runs()
            live = live_run(ground)
            named = await pick_run(store, name) if name else None
            found: list[Removed] = []
            for record in chosen(records, named, every=every):
                if record.run_id == live:
                    found.append(Removed(record.run_id, "nothing: it goes on"))
                    continue
                try:
                    await state_of(store, record)
                except StoreError as error:
                    if named is not None:
                        raise
                    found.append(Removed(record.run_id, f"nothing: it cannot be read: {error}"))
                    continue
                kept = commits.kept(record.run_id)
                snapshots = f"{count_of(len(kept), 'kept snapshot')}, archived first"
                found += [Removed(record.run_id, snapshots)] if kept else []
                found += [Removed(record.run_id, "its refs in the hub")] if commits.in_hub(record.run_id) else []
                landed = commits.landed(record.run_id)
                found += [_fate_of_branch(commits, record.run_id, landed)] if landed else []
                found += [Removed(record.run_id, f"{path}") for path in _workspaces(ground, record.run_id)]
            found += [Removed(r.run_id, "its sandboxes, if any are left") for r in records if r.run_id != live]
            return found
    finally:
        commits.close()


def _fate_of_branch(commits: "RunCommits", run_id: RunId, at: CommitId) -> Removed:
    from codexteam.adapters.git.cleanup import ONLY_HOLDER

    words = f"branch {branch_name(run_id)} at {at[:10]}"
    stays = commits.only_holder(run_id, at)
    return Removed(run_id, f"{words}: {ONLY_HOLDER}" if stays else words, stays=stays)


async def _clean(ground: Ground, where: Where, output: Output, name: str | None, *, every: bool) -> list[Removed]:
    with repository_lock(ground, SystemClock().wall_seconds()):
        async with opened_store(ground) as store:
            records = await store.runs()
            named = await pick_run(store, name) if name else None
            # the lock is ours: no run goes on
            done = await _sweep(ground, where, output, [named] if named else records, every=every)
            had_hub = (ground.state_dir / "hub.git").exists()
            repo = open_repo(ground, where)
            try:
                for record in chosen(records, named, every=every):
                    try:
                        state = await state_of(store, record)
                    except StoreError as error:
                        if named is not None:
                            raise
                        output.note(f"{UnreadableRun(record, error).why}; it was left as it is")
                        continue
                    cleaned = await _clean_run(ground, store, repo, record, state)
                    done += [Removed(record.run_id, what) for what in cleaned]
                if every and await repo.remove_unused_hub() and had_hub:
                    done.append(Removed("all", "removed the hub: nothing was left in it"))
            finally:
                await repo.close()
            return done


async def _clean_run(ground: Ground, store: Store, repo: "GitRepo", record: RunRecord, state: RunState) -> list[str]:
    for each in (await unfinished(store, state, await repo.kept_work(record.run_id))).values():
        await repo.keep(record.run_id, each.name, each.snapshot())  # so that it is archived with the rest
    done = await repo.clean(record.run_id)
    for path in await asyncio.to_thread(_workspaces, ground, record.run_id):
        await asyncio.to_thread(_remove, path)
        done.append(f"removed {path}")
    await store.put(*cleaned_mark(record.run_id), {})
    if _can_go_on(state, record) and record.state != CLEANED:
        await store.set_run_state(record.run_id, CLEANED)
        done.append("it cannot be resumed any more; codexteam salvage lists its work")
    return done


def _can_go_on(state: RunState, record: RunRecord) -> bool:
    return state.result is not Result.GREEN and record.state != Result.GREEN.value


def _workspaces(ground: Ground, run_id: RunId) -> list[Path]:
    """Give a run's checkouts and the snapshots of single turns; its history, logs and reports stay."""
    folder = ground.run_folder(run_id)
    found = [folder / "base"] if (folder / "base").is_dir() else []
    return [*found, *sorted(path for path in folder.rglob("turn-*.pack") if path.is_file())]


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for here, _, _ in os.walk(path):  # a checkout may be read-only
        Path(here).chmod(stat.S_IRWXU)
    shutil.rmtree(path, ignore_errors=True)


async def _sweep(
    ground: Ground, where: Where, output: Output, records: Sequence[RunRecord], *, every: bool
) -> list[Removed]:
    """Remove sandboxes of dead runs from every engine that answers."""
    done: list[Removed] = []
    for engine in _engines(ground, where, output):
        try:
            for run_id in [None] if every else [record.run_id for record in records]:
                names = await engine.sweep(run_id)
                done += [Removed(run_id or "all", f"removed {engine.name} {name}") for name in names]
        except CodexteamError as error:
            output.note(f"{engine.name}: not looked at: {error}")
        finally:
            await engine.close()
    return done


def _engines(ground: Ground, where: Where, output: Output) -> Sequence[SandboxEngine]:
    from codexteam.app.engines import possible_engines
    from codexteam.config.load import load_settings
    from codexteam.config.request import LoadRequest
    from codexteam.config.settings import SandboxSettings

    try:
        settings = load_settings(LoadRequest(cwd=where.cwd, environment=where.environment)).team.sandbox
    except CodexteamError as error:
        output.note(f"the configuration does not load, defaults are used: {error}")
        settings = SandboxSettings()
    return possible_engines(settings, state_dir=ground.state_dir, environment=where.environment)
