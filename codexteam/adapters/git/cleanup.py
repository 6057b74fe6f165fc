"""Removes what a run left in the hub, the state folder and the user's repository; unsaved work is archived first."""

import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from codexteam.adapters.git.composite import members_prefix
from codexteam.adapters.git.hub import Hub, base_ref, branch_ref, checked_run, landed_ref
from codexteam.adapters.git.landing import landed_at, remove_branch
from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import GitCall
from codexteam.adapters.git.saved_snapshots import KeptWork
from codexteam.core.ids import CommitId, RunId, branch_name
from codexteam.errors import LandingError, RepoError

#: Why a run's branch stays.
ONLY_HOLDER = "no other branch has its commits"


def clean_run(hub: Hub, places: Sequence[Places], kept: KeptWork, run_id: RunId, archives: Path) -> list[str]:
    """Remove a dead run's refs, snapshots and branch; may be repeated.

    What was kept, and an integration branch that is not in the user's repository, go into `<archives>/<run>.tar`
    first. The user's branch goes only when another branch has its commits. `places` are the run's repositories.

    Returns:
        What was done, a sentence each, for people.

    Raises:
        RepoError: the archive cannot be written; then nothing was removed.
    """
    done: list[str] = []
    # what was put into several repositories is in none of them under the run's own commit
    landed = hub.ref(landed_ref(run_id)) if len(places) > 1 else landed_at(hub, places[0], run_id)
    archive = _archive(hub, landed, kept, run_id, archives)
    if archive is not None:
        done.append(f"archived unmerged work as {archive}")
    for each in places:
        done += _clean_branch(hub, each, run_id)
    if kept.list(run_id):
        kept.remove(run_id)
        done.append("removed kept snapshots")
    members = sorted(hub.refs(members_prefix(run_id)))
    for ref in (branch_ref(run_id), landed_ref(run_id), base_ref(run_id), *members):
        if hub.ref(ref) is not None:
            hub.delete_ref(ref)
            done.append(f"removed {ref} from the hub")
    return done


def sweep_quarantines(folder: Path) -> None:
    """Remove quarantines of a process that died; for the holder of the repository's lock, before any intake."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_hub_if_unused(hub: Hub) -> bool:
    """Remove the hub when no run has a ref in it; the next run makes a new one."""
    if hub.refs("refs/"):
        return False
    hub.remove()
    return True


def _archive(hub: Hub, landed: CommitId | None, kept: KeptWork, run_id: RunId, archives: Path) -> Path | None:
    saved = kept.list(run_id)
    tip = hub.ref(branch_ref(run_id))
    unlanded = tip is not None and tip not in {hub.ref(base_ref(run_id)), landed}
    if not saved and not unlanded:
        return None
    archive = archives / f"{checked_run(run_id)}.tar"
    try:
        archives.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = archive.with_suffix(".new")
        bundle = archives / f"{run_id}.bundle.new"
        # of a git that was killed over it; the repository's lock is ours
        bundle.with_name(f"{bundle.name}.lock").unlink(missing_ok=True)
        with tarfile.open(fresh, "w") as tar:
            for each in saved:
                tar.add(each.pack, f"{run_id}/kept/{each.pack.name}")
            for facts in sorted((kept.folder / run_id).glob("*.json")):
                tar.add(facts, f"{run_id}/kept/{facts.name}")
            if unlanded:
                base = hub.ref(base_ref(run_id))
                hub.output("bundle", "create", "-q", str(bundle), branch_ref(run_id), *([f"^{base}"] if base else []))
                tar.add(bundle, f"{run_id}/branch.bundle")
                bundle.unlink()
        descriptor = os.open(fresh, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        target = _free(archive)
        fresh.replace(target)
    except OSError as error:
        raise RepoError(f"{archive}: unsaved work cannot be archived: {error.strerror}; nothing was removed") from error
    return target


def _free(archive: Path) -> Path:
    """Never over an earlier archive."""
    number = 1
    target = archive
    while target.exists():
        number += 1
        target = archive.with_stem(f"{archive.stem}-{number}")
    return target


def is_only_holder(hub: Hub, places: Places, run_id: RunId, at: CommitId) -> bool:
    """Return whether no branch of the user's repository but the run's own has the commits that the run's has at `at`."""
    call = GitCall(
        ("for-each-ref", f"--contains={at}", "--format=%(refname)", "refs/heads/", "refs/remotes/"), places.git_dir
    )
    found = set(hub.runner.check(call, "the branches").decode("utf-8", "replace").split())
    return not found - {branch_ref(run_id)}


def _clean_branch(hub: Hub, places: Places, run_id: RunId) -> list[str]:
    name = branch_name(run_id)
    at = landed_at(hub, places, run_id)
    if at is None:
        return []
    if is_only_holder(hub, places, run_id, at):
        return [f"left branch {name}: {ONLY_HOLDER}"]
    try:
        remove_branch(hub, places, run_id, at)
    except LandingError as error:
        return [f"left branch {name}: {error}"]
    return [f"removed branch {name}"]
