"""Moves branches between the user's repository and a remote with git as the user has it; nothing is ever forced on a remote."""

import base64
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import find_git
from codexteam.adapters.git.user_git import UserGit
from codexteam.core.text import clean_line
from codexteam.errors import LandingError

#: What stands before the host in an address that git repeats.
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
#: Where a pull request is in the user's repository while it is reviewed.
_PULLS = "refs/codexteam/pull"
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_BRANCH = re.compile(r"[^\s:~^?*\[\\]+")


def remote_address(places: Places, remote: str, search_path: str | None, *, push: bool) -> str:
    """Return the address that a remote is pushed to, or fetched from.

    Raises:
        LandingError: there is no such remote.
    """
    git = UserGit(find_git(search_path), places.root)
    found = git.run("remote", "get-url", *(("--push",) if push else ()), "--", remote)
    if found.code == 0 and found.out.strip():
        return found.out.decode("utf-8", "replace").splitlines()[0].strip()
    known = ", ".join(git.run("remote").out.decode("utf-8", "replace").split()) or "none"
    raise LandingError(
        f"there is no remote {clean_line(remote)!r}; there are: {clean_line(known)}",
        hint="git remote add origin URL, or another name where the command has --remote",
    )


def token_variables(address: str, token: str) -> dict[str, str]:
    """Return the variables that let git sign in to an address with a token, which is then in no file and no argument.

    An address that is not http's is signed in to as the user has it.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return {}
    word = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc.rpartition('@')[2]}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {word}",
    }


def push_branch(
    places: Places,
    remote: str,
    branch: str,
    search_path: str | None,
    *,
    variables: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> None:
    """Push a branch under its own name; one that is there already is not an error.

    Args:
        places: the repository.
        remote: where to.
        branch: its name, here and there.
        search_path: where git is found.
        variables: of `token_variables`, where the user has no credentials of their own.
        options: what the remote is told with it, `name=value`.

    Raises:
        LandingError: the remote refuses it, or cannot be reached.
    """
    ref = f"refs/heads/{branch}"
    done = UserGit(find_git(search_path), places.root, more=variables).run(
        "push", *(word for option in options for word in ("-o", option)), "--", remote, f"{ref}:{ref}"
    )
    if done.code != 0:
        raise LandingError(
            f"{branch} cannot be pushed to {clean_line(remote)}: {_CREDENTIALS.sub('//', done.text())}",
            hint=f"nothing was opened; try it by hand: git push {clean_line(remote)} {branch}",
        )


def branch_holds(places: Places, branch: str, commit: str, search_path: str | None) -> bool:
    """Return whether a branch of the user's repository holds a commit; one that is not known here is in none."""
    ancestor = ("merge-base", "--is-ancestor", commit, f"refs/heads/{branch}")
    return bool(_COMMIT.fullmatch(commit)) and UserGit(find_git(search_path), places.root).run(*ancestor).code == 0


def branch_tip(places: Places, branch: str, search_path: str | None) -> str:
    """Return the commit of a branch of the user's repository; empty where there is no such branch."""
    found = UserGit(find_git(search_path), places.root).run(
        "rev-parse", "-q", "--verify", f"refs/heads/{branch}^{{commit}}"
    )
    return found.out.decode("utf-8", "replace").strip() if found.code == 0 else ""


def fetch_pull(places: Places, remote: str, number: int, base: str, search_path: str | None) -> tuple[str, str]:
    """Fetch a pull request and the branch it goes to, under refs of ours; return the names of both, base first.

    `drop_pull` removes the refs.

    Raises:
        LandingError: the remote has no such pull request, or cannot be reached.
    """
    if not _BRANCH.fullmatch(base):
        raise LandingError(f"pull request {number} goes to {clean_line(base)!r}, which is not the name of a branch")
    refs = tuple(f"{_PULLS}/{number}/{side}" for side in ("base", "head"))
    wanted = (f"+refs/heads/{base}:{refs[0]}", f"+refs/pull/{number}/head:{refs[1]}")
    git = UserGit(find_git(search_path), places.root)
    done = git.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", remote, *wanted)
    if done.code != 0:
        raise LandingError(
            f"pull request {number} cannot be fetched from {clean_line(remote)}: {_CREDENTIALS.sub('//', done.text())}",
            hint="nothing was reviewed; see that the remote can be reached: git ls-remote",
        )
    return refs[0], refs[1]


def drop_pull(places: Places, number: int, search_path: str | None) -> None:
    """Remove the refs of `fetch_pull`, if they are there."""
    git = UserGit(find_git(search_path), places.root)
    for side in ("base", "head"):
        git.run("update-ref", "-d", f"{_PULLS}/{number}/{side}")
