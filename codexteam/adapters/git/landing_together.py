"""Puts one result into several repositories: everything is written and looked at first, then the refs move one by one.

Nothing moves where one of them refuses. A process that dies between two refs has moved some; landing again finds those
where they belong and moves the others.
"""

from collections.abc import Sequence

from codexteam.adapters.git.composite import Member, in_order, split
from codexteam.adapters.git.hub import Hub, base_ref, branch_ref, landed_ref
from codexteam.adapters.git.landing import point, prepare_landing
from codexteam.adapters.git.runner import GitCall
from codexteam.core.ids import CommitId, RunId
from codexteam.core.text import clean_line
from codexteam.errors import LandingError, RepoError
from codexteam.system.fault_points import reach


def split_result(hub: Hub, members: Sequence[Member], run_id: RunId, commit: CommitId) -> dict[str, CommitId]:
    """Return the result of each repository that it changes, by name.

    Raises:
        RepoError: a commit is missing.
    """
    base = hub.ref(base_ref(run_id))
    if base is None:
        raise RepoError(f"run {run_id} has no base commit in the hub")
    found = {each.name: split(hub, each, base, commit) for each in in_order(members)}
    heads = {each.name: each.head for each in members}
    return {name: tip for name, tip in found.items() if hub.tree_of(tip) != hub.tree_of(heads[name])}


def land_together(hub: Hub, members: Sequence[Member], run_id: RunId, commit: CommitId) -> str:
    """Put a result into every repository that it changes; give the branch, named the same in all. May be repeated.

    Raises:
        LandingError: one of them cannot take it; says which ones have it already.
    """
    ref = branch_ref(run_id)
    tips = split_result(hub, members, run_id, commit)
    changed = [each for each in in_order(members) if each.name in tips]
    before: dict[str, CommitId | None] = {}
    for each in changed:
        try:
            before[each.name] = prepare_landing(hub, each.places, run_id, tips[each.name], each.head)
            if before[each.name] != tips[each.name]:
                _try_ref(hub, each, ref, tips[each.name], before[each.name])
        except LandingError as error:
            raise LandingError(f"{each.name}: {error}; no repository was changed", hint=error.hint) from error
    landed: list[str] = []
    for each in changed:
        if before[each.name] != tips[each.name]:
            reach("landing.member.before")
            try:
                point(hub, each.places, ref, tips[each.name], before[each.name])
            except LandingError as error:
                there = f"{len(landed)} of {len(changed)} repositories have the branch ({', '.join(landed) or 'none'})"
                raise LandingError(f"{each.name}: {error}; {there}", hint=error.hint) from error
            reach("landing.member.after")
        landed.append(each.name)
    hub.set_ref(landed_ref(run_id), commit)
    return ref.removeprefix("refs/heads/")


def _try_ref(hub: Hub, member: Member, ref: str, commit: CommitId, old: CommitId | None) -> None:
    """See that git would move a ref: everything but the move is done, and taken back."""
    lines = f"start\nupdate {ref} {commit} {old or '0' * len(commit)}\nprepare\nabort\n"
    call = GitCall(("update-ref", "--no-deref", "--stdin"), member.places.git_dir, stdin=lines.encode())
    result = hub.runner.run(call)
    if not result.ok:
        raise LandingError(
            f"{ref.removeprefix('refs/heads/')} cannot be written in {clean_line(str(member.places.root))}: {result.err}",
            hint="Another git process may be running there, or a branch named like `codexteam` is in the way.",
        )
