"""`apply` and `clean`: take the result into the current branch; remove what runs left, their work put away first."""

import asyncio
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.command_lines import lines_of, run_redactor
from codexteam.app.project import (
    CLEANED,
    Cleaned,
    Project,
    cleaned_mark,
    commits_of,
    is_review,
    live_run,
    pick_run,
    reading_store,
    repository_lock,
    state_of,
)
from codexteam.app.salvage import unfinished
from codexteam.app.session import opened_store
from codexteam.app.several import members_of
from codexteam.core.codec import encode_object
from codexteam.core.effects import Result
from codexteam.core.ids import CommitId, JSONObject, RunId, branch_name
from codexteam.core.state import FindingStatus, RunState
from codexteam.core.text import count_of
from codexteam.errors import CodexteamError, LandingError, RepoError, StoreError
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.ports.store import RunRecord, Store
from codexteam.report.overview import UnreadableRun
from codexteam.run.gates.results import results_space

if TYPE_CHECKING:
    from codexteam.adapters.git.apply import AppliedBranch
    from codexteam.adapters.git.composite import Member
    from codexteam.adapters.git.history_view import RunCommits
    from codexteam.adapters.git.repo import GitRepo
    from codexteam.config.settings import SandboxSettings
    from codexteam.ports.environments import Environment


@dataclass(frozen=True, slots=True)
class Applied:
    """A run's branch, merged into what is checked out."""

    run_id: RunId
    branch: str
    """The run's."""
    results: "tuple[tuple[str, AppliedBranch], ...]"
    """One for each repository that the run changed, with its name; that is empty where it worked on one alone."""
    warnings: tuple[str, ...]
    """What somebody who takes the result should know of it: waived findings, commands that fail."""


def apply_run(project: Project, name: str | None, *, not_green: bool) -> Applied:
    """Merge a run's branch into what is checked out, with the user's own git, identity and hooks.

    Raises:
        LandingError: there is nothing to apply, or it cannot be merged; nothing was changed.
    """
    return asyncio.run(_apply(project, name, not_green=not_green))


async def _apply(project: Project, name: str | None, *, not_green: bool) -> Applied:
    async with reading_store(project) as store:
        record = await pick_run(store, name, reviews=False)
        state = await state_of(store, record)
        live = live_run(project) == record.run_id
        redactor = run_redactor(project, await lines_of(store, record))
    if live:
        raise LandingError(f"run {record.run_id} is running", hint="codexteam status; codexteam stop ends it")
    if is_review(record):
        raise LandingError(
            f"{record.run_id} is a review: it changed nothing, so there is nothing to apply",
            hint="codexteam runs lists the others",
        )
    commit = state.landed
    if commit is None and record.state == CLEANED:
        raise LandingError(
            f"run {record.run_id} was cleaned before it put a branch into the repository",
            hint="codexteam salvage lists what is left of its work",
        )
    if commit is None:
        raise LandingError(
            f"run {record.run_id} has put no branch into the repository: it is {record.state}",
            hint="codexteam status says what it waits for; codexteam resume continues it",
        )
    if state.result is not Result.GREEN and not not_green:
        raise LandingError(
            f"run {record.run_id} is not green: {state.result_reason or record.state}",
            hint=f"look at it (codexteam diff), then codexteam apply {record.run_id} --even-if-not-green",
        )
    members = members_of(record, project.environment)
    repo = open_repo(project, members)
    try:
        branch = branch_name(record.run_id)
        title = redactor.redact(" ".join(record.goal.split()))[:72]
        message = f"Merge branch '{branch}'\n\n{title}\n"
        if members:
            done = await repo.apply_together(record.run_id, commit, message)
        else:
            done = [("", await repo.apply(commit, message))]
    finally:
        await repo.close()
    return Applied(record.run_id, branch, tuple(done), tuple(_warnings(state)))


def _warnings(state: RunState) -> Iterator[str]:
    for finding_id, known in state.findings.items():
        if known.status is FindingStatus.WAIVED:
            yield f"waived by you: {finding_id} {known.finding.title}"
    for record in state.gates.values():
        for failing in record.failing:
            yield f"fails: `{failing.command}`: {failing.reason}"


def open_repo(project: Project, members: "Sequence[Member]" = ()) -> "GitRepo":
    """Return the repository's adapter, of several for a run in these. Closed by the caller."""
    from codexteam.adapters.git.repo import GitRepo

    return GitRepo(project.places, project.state_dir, project.environment, members=members)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was done, or would be."""

    run_id: str
    what: str
    stays: bool = False
    """It would be left."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {"type": "left" if self.stays else "removed", "run": self.run_id, "what": self.what}


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What was removed, or would be."""

    removed: tuple[Removed, ...]
    notes: tuple[str, ...]
    """What was left as it is, and why."""
    dry_run: bool


def clean_runs(project: Project, name: str | None, *, every: bool, dry_run: bool) -> CleanUp:
    """Remove what runs left: sandboxes, workspaces, refs, snapshots; work that is nowhere else is archived first.

    Raises:
        UsageError: there is no such run.
        RepositoryBusyError: a run is at work.
        RepoError: work cannot be archived; nothing of that run was removed.
    """
    notes: list[str] = []
    if not project.store_path.exists():
        done = []
    elif dry_run:
        done = asyncio.run(_look(project, name, every=every))
    else:
        done = asyncio.run(_clean(project, notes, name, every=every))
    return CleanUp(tuple(done), tuple(notes), dry_run)


def chosen(records: Sequence[RunRecord], named: RunRecord | None, *, every: bool) -> list[RunRecord]:
    """Return the runs that are cleaned whole: the named one, all, or without either those that ended green."""
    if named is not None:
        return [named]
    return [record for record in records if every or record.state == Result.GREEN.value]


async def _look(project: Project, name: str | None, *, every: bool) -> list[Removed]:
    commits = commits_of(project)
    try:
        async with reading_store(project) as store:
            records = await store.runs()
            live = live_run(project)
            named = await pick_run(store, name) if name else None
            found: list[Removed] = []
            for record in chosen(records, named, every=every):
                if record.run_id == live:
                    found.append(Removed(record.run_id, "nothing: it is running"))
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
                found += [Removed(record.run_id, f"{path}") for path in _workspaces(project, record.run_id)]
                outcomes = len(await store.list(results_space(record.run_id)))
                found += [Removed(record.run_id, _outcomes(outcomes))] if outcomes else []
            found += [Removed(r.run_id, "its sandboxes, if any are left") for r in records if r.run_id != live]
            found += [] if live else [Removed("all", "checkouts under workspaces that no sandbox uses")]
            found += (
                [] if live or named else await _look_at_environments(project, await _used(store, records, every=every))
            )
            return found
    finally:
        commits.close()


async def _look_at_environments(project: Project, also: Collection[str]) -> list[Removed]:
    settings = _sandbox_settings(project, [])
    found: list[Removed] = []
    for engine in _engines(project, settings):
        try:
            found += [Removed("all", _named(made)) for made in await _unneeded(engine, settings, also)]
        except CodexteamError:
            continue  # it does not answer; when it is cleaned, that is said
        finally:
            await engine.close()
    return found


def _fate_of_branch(commits: "RunCommits", run_id: RunId, at: CommitId) -> Removed:
    from codexteam.adapters.git.cleanup import ONLY_HOLDER

    words = f"branch {branch_name(run_id)} at {at[:10]}"
    stays = commits.only_holder(run_id, at)
    return Removed(run_id, f"{words}: {ONLY_HOLDER}" if stays else words, stays=stays)


async def _clean(project: Project, notes: list[str], name: str | None, *, every: bool) -> list[Removed]:
    with repository_lock(project, SystemClock().wall_seconds()):
        async with opened_store(project) as store:
            records = await store.runs()
            named = await pick_run(store, name) if name else None
            # the lock is ours: no run is active
            swept = [named.run_id] if named else [*([] if every else [record.run_id for record in records]), None]
            done = await _sweep(
                project, notes, swept, environments=None if named else await _used(store, records, every=every)
            )
            had_hub = (project.state_dir / "hub.git").exists()
            repo = open_repo(project)
            try:
                for record in chosen(records, named, every=every):
                    try:
                        state = await state_of(store, record)
                    except StoreError as error:
                        if named is not None:
                            raise
                        notes.append(f"{UnreadableRun(record, error).why}; it was left as it is")
                        continue
                    cleaned = await _clean_in_all(project, notes, store, repo, record=record, state=state)
                    done += [Removed(record.run_id, what) for what in cleaned]
                if every and await repo.remove_unused_hub() and had_hub:
                    done.append(Removed("all", "removed the hub: nothing was left in it"))
            finally:
                await repo.close()
            return done


async def _clean_in_all(
    project: Project, notes: list[str], store: Store, repo: "GitRepo", *, record: RunRecord, state: RunState
) -> list[str]:
    """Clean a run, in all of its repositories that are still where they were."""
    try:
        members = members_of(record, project.environment)
    except RepoError as error:
        notes.append(f"{record.run_id}: {error}; its branch is left in its other repositories")
        members = ()
    if not members:
        return await _clean_run(project, store, repo, record, state)
    several = open_repo(project, members)
    try:
        return await _clean_run(project, store, several, record, state)
    finally:
        await several.close()


async def _clean_run(project: Project, store: Store, repo: "GitRepo", record: RunRecord, state: RunState) -> list[str]:
    for each in (await unfinished(store, state, await repo.kept_work(record.run_id))).values():
        await repo.keep(record.run_id, each.name, each.snapshot())  # so that it is archived with the rest
    done = await repo.clean(record.run_id)
    for path in await asyncio.to_thread(_workspaces, project, record.run_id):
        await asyncio.to_thread(_remove, path)
        done.append(f"removed {path}")
    if outcomes := await store.clear(results_space(record.run_id)):
        done.append(f"removed {_outcomes(outcomes)}")
    left = any(what.startswith("left branch") for what in done)
    await store.put(*cleaned_mark(record.run_id), encode_object(Cleaned(left)))
    if _can_go_on(state, record) and record.state != CLEANED:
        await store.set_run_state(record.run_id, CLEANED)
        done.append("it cannot be resumed any more; codexteam salvage lists its work")
    return done


def _outcomes(number: int) -> str:
    return f"what {count_of(number, 'command')} returned"


def _can_go_on(state: RunState, record: RunRecord) -> bool:
    return state.result is not Result.GREEN and record.state != Result.GREEN.value


def _workspaces(project: Project, run_id: RunId) -> list[Path]:
    """Return a run's checkouts and the snapshots of single turns; its history, logs and reports stay."""
    folder = project.run_folder(run_id)
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
    project: Project, notes: list[str], runs: Sequence[RunId | None], *, environments: Collection[str] | None
) -> list[Removed]:
    """Remove sandboxes of these runs from every engine that answers; None stands for all, and for idle checkouts.

    With `environments`, those of these keys are removed, and those that are old or have no room; None leaves all.
    """
    done: list[Removed] = []
    settings = _sandbox_settings(project, notes)
    for engine in _engines(project, settings):
        try:
            for run_id in runs:
                names = await engine.sweep(run_id)
                done += [Removed(run_id or "all", f"removed {engine.name} {name}") for name in names]
            found = () if environments is None else await _unneeded(engine, settings, environments)
            gone = set(await engine.environments.remove([made.key for made in found])) if found else set()
            done += [Removed("all", f"removed {_named(made)}") for made in found if made.key in gone]
        except CodexteamError as error:
            notes.append(f"{engine.name}: not looked at: {error}")
        finally:
            await engine.close()
    return done


async def _used(store: Store, records: Sequence[RunRecord], *, every: bool) -> set[str]:
    """Return the keys of the environments of runs that are removed altogether."""
    if not every:
        return set()
    kept = [await store.list(f"{record.run_id}/environment") for record in records]
    return {str(known.get("key", "")) for of_run in kept for _, known in of_run} - {""}


async def _unneeded(
    engine: SandboxEngine, settings: "SandboxSettings", also: Collection[str]
) -> "Sequence[Environment]":
    """Return the environments that are removed: those that are old or have no room, of whatever repository, and `also`."""
    from codexteam.run.environment.builder import unneeded

    return await unneeded(
        engine.environments,
        now_seconds=SystemClock().wall_seconds(),
        limit_bytes=settings.environments_bytes,
        also=also,
    )


def _named(made: "Environment") -> str:
    size = f", {made.size_bytes / (1 << 20):.0f} MiB" if made.size_bytes else ""
    return f"environment {made.key} ({', '.join(made.sources) or made.made_from}{size})"


def _sandbox_settings(project: Project, notes: list[str]) -> "SandboxSettings":
    from codexteam.config.load import load_settings
    from codexteam.config.request import LoadRequest
    from codexteam.config.settings import SandboxSettings

    try:
        return load_settings(LoadRequest(cwd=project.cwd, environment=project.environment)).team.sandbox
    except CodexteamError as error:
        notes.append(f"the configuration does not load, defaults are used: {error}")
        return SandboxSettings()


def _engines(project: Project, settings: "SandboxSettings") -> Sequence[SandboxEngine]:
    from codexteam.app.compose import possible_engines

    return possible_engines(settings, state_dir=project.state_dir, environment=project.environment)
