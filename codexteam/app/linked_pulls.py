"""The pull requests of a run in several repositories: one in each that it changed, in an order, each naming the others.

All of them are asked for before anything is pushed, and all branches are pushed before the first one is opened. What was
done already is found again by the branch and not done twice, so that a command that died may simply be run again.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codexteam.app.github import pulls_of, push_variables
from codexteam.app.project import Project, pick_run, reading_store
from codexteam.app.pull_request import (
    Proposal,
    PublishedPull,
    PullWanted,
    body_with,
    check_access,
    our_part,
    proposal_of,
    publish_pull,
    refuse_ready,
)
from codexteam.app.repositories import NamedRepository
from codexteam.app.several import members_of
from codexteam.core.ids import branch_name
from codexteam.core.repositories import merge_order
from codexteam.core.state import RunState, TaskPhase
from codexteam.errors import LandingError
from codexteam.report.run_report import RunReport

if TYPE_CHECKING:
    from codexteam.adapters.github.pulls import GitHubPulls, PullRequest


@dataclass(frozen=True, slots=True)
class LinkedPart:
    """One repository's part of a change, as the bodies of all name it."""

    repository: str
    url: str = ""
    """Of its pull request; empty until it is opened."""


#: Writes the body of one part, by its place among all in their order.
Renderer = Callable[[Sequence[LinkedPart], int], str]


@dataclass(slots=True)
class _Proposed:
    """A repository that takes part, and its pull request as it is now."""

    name: str
    project: Project
    pulls: "GitHubPulls"
    base: str
    pull: "PullRequest | None"
    created: bool = False


def parts_of(report: RunReport) -> tuple[LinkedPart, ...]:
    """Return the repositories that a run changed, in the order to merge them in; none where it works on one."""
    return changed_parts(report.run.state)


def changed_parts(state: RunState) -> tuple[LinkedPart, ...]:
    """Return the repositories that a run changed, as `parts_of` does."""
    tasks = {known.task.id: known.task for known in state.tasks.values() if known.phase is TaskPhase.MERGED}
    return tuple(LinkedPart(name) for name in merge_order(tasks, state.landed_repositories))


def publish_pulls(
    project: Project, report: RunReport, wanted: PullWanted, render: Renderer
) -> tuple[PublishedPull, ...]:
    """Push the branch of a run in each repository that it changed, and open or update its pull request there.

    Raises:
        LandingError: the run has nothing to propose, or a remote or GitHub refuses; says which, and what is there already.
    """
    if not report.run.state.rules.repositories:
        return (publish_pull(project, report, wanted, render((), 0)),)
    proposal = proposal_of(report, wanted, "")
    members = {each.name: each for each in members_of(report.run.record, project.environment)}
    parts = [(part.repository, replace(project, places=members[part.repository].places)) for part in parts_of(report)]
    return publish_linked(parts, proposal, wanted, render)


def publish_linked(
    parts: Sequence[tuple[str, Project]], proposal: Proposal, wanted: PullWanted, render: Renderer
) -> tuple[PublishedPull, ...]:
    """Push the branch that each repository has, in the order to merge them in, and open or update its pull request.

    Raises:
        LandingError: a remote or GitHub refuses; says which, and what is there already.
    """
    with ExitStack() as stack:
        asked = []
        for name, own in parts:
            with named_part(name, "nothing was pushed"):
                asked.append(_asked(stack, name, own, proposal, wanted))
        _push_all(asked, proposal, wanted)
        for place, each in enumerate(asked):
            if each.pull is None:
                with named_part(each.name, _opened(asked)):
                    each.pull = _opened_pull(each, proposal, wanted, render(_parts_now(asked), place))
                    each.created = True
        done = []
        for place, each in enumerate(asked):
            with named_part(each.name, _opened(asked)):
                done.append(_linked(each, proposal, wanted, render(_parts_now(asked), place)))
        return tuple(done)


def check_access_to_all(project: Project, named: Sequence[NamedRepository], wanted: PullWanted) -> None:
    """See, before a run is paid for, that its pull requests could be opened; without names, that of the one repository.

    Raises:
        LandingError: one could not; says which and why.
    """
    if not named:
        check_access(project, wanted)
    for each in named:
        with named_part(each.name):
            check_access(replace(project, places=each.places), wanted)


def repositories_of_run(project: Project, name: str | None) -> tuple[NamedRepository, ...]:
    """Return the repositories of a run in several, the newest run without a name; none where it works on one.

    Raises:
        UsageError: there is no such run.
        RepoError: a repository is not where it was.
    """

    async def read() -> tuple[NamedRepository, ...]:
        async with reading_store(project) as store:
            members = members_of(await pick_run(store, name), project.environment)
        return tuple(NamedRepository(each.name, each.places) for each in members)

    return asyncio.run(read())


@contextmanager
def named_part(name: str, state: str = "") -> Iterator[None]:
    """Say of what goes wrong in which of several repositories it does, and how far the others are."""
    try:
        yield
    except LandingError as error:
        if not name:
            raise
        words = f"{name}: {error}" + (f"; {state}" if state else "")
        raise LandingError(words, hint=error.hint) from error


def _asked(stack: ExitStack, name: str, project: Project, proposal: Proposal, wanted: PullWanted) -> _Proposed:
    pulls = stack.enter_context(pulls_of(project, wanted.remote, push=True))
    known = pulls.find(branch_name(proposal.run_id))
    refuse_ready(known, proposal)
    return _Proposed(name, project, pulls, wanted.base or (known.base if known else pulls.default_branch()), known)


def _push_all(asked: Sequence[_Proposed], proposal: Proposal, wanted: PullWanted) -> None:
    from codexteam.adapters.git.push import push_branch

    pushed: list[str] = []
    for each in asked:
        project = each.project
        with named_part(each.name, f"pushed: {', '.join(pushed) or 'none'} of {len(asked)}"):
            variables = push_variables(project, wanted.remote) if wanted.sign_in else None
            path = project.environment.get("PATH")
            push_branch(project.places, wanted.remote, branch_name(proposal.run_id), path, variables=variables)
        pushed.append(each.name)


def _opened(asked: Sequence[_Proposed]) -> str:
    there = [f"{each.name} ({each.pull.url})" for each in asked if each.pull is not None]
    return f"all branches are pushed, and {len(there)} of {len(asked)} pull requests are open: {', '.join(there) or 'none'}"


def _parts_now(asked: Sequence[_Proposed]) -> tuple[LinkedPart, ...]:
    return tuple(LinkedPart(each.name, each.pull.url if each.pull else "") for each in asked)


def _opened_pull(each: _Proposed, proposal: Proposal, wanted: PullWanted, body: str) -> "PullRequest":
    return each.pulls.open(
        branch=branch_name(proposal.run_id),
        base=each.base,
        title=wanted.title or proposal.title,
        body=our_part(proposal.run_id, body),
        draft=proposal.draft,
    )


def _linked(each: _Proposed, proposal: Proposal, wanted: PullWanted, body: str) -> PublishedPull:
    """Give a pull request the body that names all others."""
    assert each.pull is not None
    whole = body_with(each.pull, our_part(proposal.run_id, body))
    if whole != each.pull.body or (not each.created and (wanted.title or wanted.base)):
        each.pull = each.pulls.change(
            each.pull.number,
            body=whole,
            title="" if each.created else wanted.title,
            base="" if each.created else wanted.base,
        )
    return PublishedPull(
        proposal.run_id,
        each.pull.number,
        each.pull.url,
        branch_name(proposal.run_id),
        each.pull.base,
        each.pull.draft,
        each.created,
        each.name,
    )
