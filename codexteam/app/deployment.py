"""`deploy`: what a person lets happen with a green run, by a command or a workflow that the user has set.

No agent reaches this: it is not a tool, and the setting counts in no file of a project.
"""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.github import pulls_of
from codexteam.app.project import (
    Project,
    is_review,
    live_run,
    pick_run,
    reading_store,
    repository_lock,
    state_of,
)
from codexteam.app.session import opened_store
from codexteam.config.settings import DeploySettings
from codexteam.core.effects import Result
from codexteam.core.ids import CommitId, JSONObject, RunId, branch_name
from codexteam.core.text import clean
from codexteam.errors import LandingError, UsageError
from codexteam.ports.store import Store

_SPACE, _BEGUN, _DONE = "deployment", "begun", "done"
_LEAST_CHARS = 7
_MOST_NOTES_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Deployment:
    """What would be deployed, and how."""

    run_id: RunId
    commit: CommitId
    how: str
    """What runs, as a person is shown it."""
    notes: str
    """The release notes; escaped for people. Empty where there are none."""
    notes_file: Path | None
    before: str
    """How an earlier deployment of this commit went: `begun`, `done`, or empty."""


def find_deployment(project: Project, settings: DeploySettings, name: str | None) -> Deployment:
    """Return what would be deployed; nothing is changed.

    Raises:
        UsageError: nothing is set that deploys, or there is no such run.
        LandingError: the run is not green, or has no branch.
    """
    return asyncio.run(_find(project, settings, name))


async def _find(project: Project, settings: DeploySettings, name: str | None) -> Deployment:
    if (settings.command is None) == (settings.workflow is None):
        found = "neither is set" if settings.command is None else "both are set"
        raise UsageError(
            f"[codexteam.deploy] needs a command or a workflow: {found}",
            hint="set one of them in $CODEX_HOME/codexteam.config.toml; a project's own file may not",
        )
    async with reading_store(project) as store:
        record = await pick_run(store, name, reviews=False)
        state = await state_of(store, record)
        before = "" if state.landed is None else await _before(store, record.run_id, state.landed)
    if live_run(project) == record.run_id:
        raise LandingError(f"run {record.run_id} is running", hint="wait for its end; codexteam status shows it")
    if is_review(record):
        raise LandingError(f"{record.run_id} is a review: it made nothing", hint="codexteam runs lists the others")
    if state.rules.repositories:
        raise LandingError(f"run {record.run_id} is of several repositories: deploy them yourself")
    if state.landed is None or state.result is not Result.GREEN:
        raise LandingError(
            f"run {record.run_id} is not green: {state.result_reason or record.state}",
            hint="only what is green is deployed; codexteam status says what is missing",
        )
    commit = state.landed
    file = Path(state.release_notes) if state.release_notes else None
    return Deployment(record.run_id, commit, _how(settings), _notes(file), file, before)


async def _before(store: Store, run_id: str, commit: CommitId) -> str:
    """Return how an earlier deployment of a commit went."""
    for word in (_DONE, _BEGUN):
        if await store.get(f"{run_id}/{_SPACE}", word) == {"commit": commit}:
            return word
    return ""


def _how(settings: DeploySettings) -> str:
    if settings.command is not None:
        return f"command: {settings.command}"
    where = settings.ref or "the default branch"
    return f"workflow: {settings.workflow} of {where}, at {settings.remote}"


def _notes(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        with file.open("rb") as source:
            return clean(source.read(_MOST_NOTES_BYTES).decode("utf-8", "replace"))
    except OSError:  # somebody removed them
        return ""


def check_approval(found: Deployment, commit: str) -> None:
    """See that an approval is of the commit that would be deployed.

    Raises:
        UsageError: it is of another one.
    """
    if len(commit) < _LEAST_CHARS or not found.commit.startswith(commit.lower()):
        raise UsageError(
            f"--approve {commit!r}: run {found.run_id} is at {found.commit[:12]}, and an approval names that commit",
            hint=f"look at it first (codexteam diff --run {found.run_id}), then --approve {found.commit[:12]}",
        )


def refuse_second(found: Deployment) -> None:
    """Refuse to deploy a commit again.

    Raises:
        UsageError: it was deployed, or nobody knows how far a deployment came.
    """
    if found.before:
        what = f"{found.commit[:12]} of run {found.run_id}"
        raise UsageError(
            f"{what} was deployed"
            if found.before == _DONE
            else f"a deployment of {what} was begun, and did not end well",
            hint="see what is there; --again deploys it once more",
        )


def do_deployment(project: Project, settings: DeploySettings, found: Deployment, *, again: bool) -> None:
    """Deploy what a person has approved. That it begins is recorded first, so that a crash does not lead to a second one.

    Nobody else deploys here meanwhile, and what somebody has done while the person was asked counts.

    Raises:
        UsageError: it was deployed or begun before, and `again` is not given.
        LandingError: the run is at another commit by now, the command fails, or GitHub refuses.
        RepositoryBusyError: a run is at work here.
    """
    with repository_lock(project, SystemClock().wall_seconds()):
        now = asyncio.run(_now(project, found))
        if not again:
            refuse_second(now)
        if settings.command is not None:
            _run_command(project, settings, settings.command, now)
        elif settings.workflow is not None:
            _start_workflow(project, settings, settings.workflow, now)
        asyncio.run(_record(project, now, _DONE))


async def _now(project: Project, found: Deployment) -> Deployment:
    """Return what is to be deployed as it stands now.

    Raises:
        LandingError: it is not what the person has approved.
    """
    async with reading_store(project) as store:
        state = await state_of(store, await pick_run(store, found.run_id, reviews=False))
        before = await _before(store, found.run_id, found.commit)
    if state.landed != found.commit or state.result is not Result.GREEN:
        raise LandingError(
            f"run {found.run_id} is not what it was: {found.commit[:12]} was approved, and the run went on meanwhile",
            hint="codexteam status shows it; nothing was deployed",
        )
    return replace(found, before=before)


def _run_command(project: Project, settings: DeploySettings, command: str, found: Deployment) -> None:
    from codexteam.adapters.machine.deploy_command import run_deploy_command

    variables = {
        **project.environment,
        "CODEXTEAM_COMMIT": found.commit,
        "CODEXTEAM_BRANCH": branch_name(found.run_id),
        "CODEXTEAM_RUN": found.run_id,
        "CODEXTEAM_RELEASE_NOTES": str(found.notes_file or ""),
    }
    asyncio.run(_record(project, found, _BEGUN))
    run_deploy_command(command, project.places.root, variables, timeout_seconds=settings.timeout_seconds)


def _start_workflow(project: Project, settings: DeploySettings, workflow: str, found: Deployment) -> None:
    from codexteam.adapters.github.workflows import check_commit, dispatch_workflow

    with pulls_of(project, settings.remote, push=True, command="codexteam deploy") as pulls:
        ref = settings.ref or pulls.default_branch()
        check_commit(pulls.api, found.commit)
        # without a token or the commit nothing was begun, and it may simply be done again
        asyncio.run(_record(project, found, _BEGUN))
        dispatch_workflow(pulls.api, workflow, ref, {"commit": found.commit, "run": found.run_id})


async def _record(project: Project, found: Deployment, key: str) -> None:
    kept: JSONObject = {"commit": found.commit}
    async with opened_store(project) as store:
        await store.put(f"{found.run_id}/{_SPACE}", key, kept)
