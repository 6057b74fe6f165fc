"""A run in several repositories: which ones, from which commits, under which settings, and that nobody else works on them."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.app.project import Project, repository_lock
from codexteam.app.repositories import NamedRepository, find_named
from codexteam.config.settings import Settings
from codexteam.core.ids import CommitId, JSONObject, JSONValue
from codexteam.core.paths import GUARDED_PATHS
from codexteam.core.repositories import in_each
from codexteam.core.text import clean_line
from codexteam.errors import RepoError, StoreError, UsageError
from codexteam.ports.repo import RepositoryFacts
from codexteam.ports.store import RunRecord

if TYPE_CHECKING:
    from codexteam.adapters.git.composite import Member
    from codexteam.adapters.git.untracked import CopyRules

#: What is kept of a run's repositories with its record.
_KEY = "repositories"


def wanted_repositories(
    project: Project, typed: Mapping[str, Path], configured: Mapping[str, Path]
) -> tuple[NamedRepository, ...]:
    """Return the repositories of a run; none where it works on the one that it is begun in.

    What is configured counts only in a repository that is among it.

    Raises:
        UsageError: fewer than two are named, or the command works in none of them.
        RepoError: one is no repository.
    """
    if not typed and not configured:
        return ()
    found = find_named(typed or configured, project.environment)
    here = project.places.common_dir.resolve()
    if all(each.places.common_dir.resolve() != here for each in found):
        if not typed:
            return ()
        raise UsageError(
            f"{clean_line(str(project.places.root))} is none of the repositories that --repo names",
            hint="the run's plan.md and state are in one of them: go there, or name it with -C DIR",
        )
    if len(found) < 2:
        if not typed:
            return ()
        raise UsageError(
            f"--repo names one repository ({found[0].name}), and a run in several needs two or more",
            hint="leave it out to work on this repository alone, or name the others too",
        )
    return found


async def inspect_several(
    project: Project, named: Sequence[NamedRepository]
) -> "tuple[tuple[Member, ...], RepositoryFacts]":
    """Look at every repository; give what takes part, and what is to be known of all of it.

    Raises:
        RepoError: a run cannot start from one; says which and why.
    """
    from codexteam.adapters.git.composite import Member, composite_base, in_order
    from codexteam.adapters.git.facts import inspect_repository
    from codexteam.adapters.git.location import git_runner

    def look() -> tuple[tuple[Member, ...], RepositoryFacts]:
        runner = git_runner(project.environment, project.places.start)
        members: list[Member] = []
        notices: list[str] = []
        dirty = False
        for each in named:
            try:
                facts = inspect_repository(runner, each.places)
            except RepoError as error:
                raise RepoError(f"{each.name}: {error}", hint=error.hint) from error
            members.append(Member(each.name, each.places, facts.head))
            notices += [f"{each.name}: {notice}" for notice in facts.notices]
            dirty = dirty or facts.dirty
        base = composite_base(runner, members)
        places = project.places
        return in_order(members), RepositoryFacts(
            places.root, places.common_dir, base.commit, None, dirty, tuple(notices)
        )

    return await asyncio.to_thread(look)


def settings_for(settings: Settings, members: "Sequence[Member]") -> Settings:
    """Return the settings of a run in several repositories: what is said from a root is said of each folder."""
    if not members:
        return settings
    names = [each.name for each in members]
    team = settings.team
    scan = team.gates.scan
    return replace(
        settings,
        team=replace(
            team,
            guarded_paths=(*team.guarded_paths, *in_each((*GUARDED_PATHS, *team.guarded_paths), names)),
            allow_guarded=(*team.allow_guarded, *in_each(team.allow_guarded, names)),
            gates=replace(
                team.gates,
                protected_tests=(*team.gates.protected_tests, *in_each(team.gates.protected_tests, names)),
                scan=replace(scan, exclude=(*scan.exclude, *in_each(scan.exclude, names))),
            ),
        ),
    )


def copy_rules(settings: Settings, members: "Sequence[Member]") -> "CopyRules":
    """Return which ignored files workspaces get; of several repositories each is trusted by itself."""
    from codexteam.adapters.git.untracked import CopyRules
    from codexteam.config.locations import trust_level

    roots = [each.places.root for each in members]
    untrusted = frozenset(root for root in roots if trust_level(settings.projects, root, root) is not True)
    trusted = settings.trusted is True or len(untrusted) < len(roots)
    return CopyRules(settings.team.sandbox.copy_ignored, trusted=trusted, untrusted=untrusted)


def members_mark(members: "Sequence[Member]") -> JSONObject:
    """Return what is kept of a run's repositories with its record; nothing where there is one."""
    listed: list[JSONValue] = [
        {"name": each.name, "path": str(each.places.root), "head": each.head} for each in members
    ]
    return {_KEY: listed} if listed else {}


def members_of(record: RunRecord, environment: Mapping[str, str]) -> "tuple[Member, ...]":
    """Return the repositories of a run in several; none where there is one.

    Raises:
        RepoError: one is not where it was.
        StoreError: what is stored cannot be read.
    """
    listed = record.settings.get(_KEY)
    if not listed:
        return ()
    from codexteam.adapters.git.composite import Member, in_order

    heads: dict[str, str] = {}
    paths: dict[str, Path] = {}
    for each in listed if isinstance(listed, list) else []:
        match each:
            case {"name": str(name), "path": str(path), "head": str(head)}:
                heads[name], paths[name] = head, Path(path)
            case _:
                raise StoreError(f"run {record.run_id}: what is stored of its repositories cannot be read")
    found = find_named(paths, environment)
    return in_order([Member(each.name, each.places, CommitId(heads[each.name])) for each in found])


@contextlib.contextmanager
def locked_with(project: Project, members: "Sequence[Member]", now: float) -> Iterator[None]:
    """Hold the locks of a run's other repositories.

    Raises:
        RepositoryBusyError: somebody else works on one.
    """
    from codexteam.app.project import STATE_FOLDER

    own = project.places.common_dir.resolve()
    others = sorted(
        (each.places for each in members if each.places.common_dir.resolve() != own), key=lambda each: each.common_dir
    )
    with contextlib.ExitStack() as stack:
        for places in others:
            other = replace(project, places=places, state_dir=places.common_dir / STATE_FOLDER)
            stack.enter_context(repository_lock(other, now))
        yield
