"""A run's branch in a file, as one job of a pipeline leaves it to the next; the commit it was made from is on both sides."""

from pathlib import Path

from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import find_git
from codexteam.adapters.git.user_git import UserGit
from codexteam.core.ids import CommitId
from codexteam.errors import LandingError


def write_bundle(places: Places, file: Path, branch: str, base: CommitId, search_path: str | None) -> CommitId:
    """Write what a branch adds to its base commit into a file; return the branch's commit.

    Raises:
        LandingError: git cannot.
    """
    git = UserGit(find_git(search_path), places.root)
    git.must("bundle", "create", "--quiet", str(file), f"{base}..refs/heads/{branch}")
    return CommitId(git.must("rev-parse", "--verify", f"refs/heads/{branch}^{{commit}}").decode().strip())


def take_bundle(places: Places, file: Path, branch: str, head: CommitId, search_path: str | None) -> None:
    """Put the branch of a file into the repository, if it is at the commit that is expected.

    Nothing is forced: a branch of this name that has other commits stays.

    Raises:
        LandingError: the file has no such branch, or the commit that it was made from is not here.
    """
    git = UserGit(find_git(search_path), places.root)
    ref = f"refs/heads/{branch}"
    listed = git.run("bundle", "list-heads", str(file))
    if listed.code != 0 or listed.out.decode("utf-8", "replace").split() != [head, ref]:
        raise LandingError(
            f"{file}: it does not hold {branch} at {head[:12]}, and that alone",
            hint="publish what the same run has left",
        )
    done = git.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(file), f"{ref}:{ref}")
    if done.code != 0:
        raise LandingError(
            f"{file}: {branch} cannot be taken from it: {done.text()}",
            hint="the repository needs the commit that the run began from: fetch it, with actions/checkout by fetch-depth: 0",
        )
