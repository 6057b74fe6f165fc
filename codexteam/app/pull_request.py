"""`pr`: pushes a run's branch, and opens or updates its one pull request."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codexteam.app.github import pulls_of, push_variables
from codexteam.app.project import CLEANED, Project, is_review
from codexteam.core.effects import Result
from codexteam.core.green import nothing_changed
from codexteam.core.ids import RunId, branch_name
from codexteam.core.text import clean_line
from codexteam.errors import LandingError
from codexteam.report.run_report import RunReport

if TYPE_CHECKING:
    from codexteam.adapters.github.pulls import PullRequest

#: The ends of what we write into a body: what stands around it is somebody else's, and stays.
_BEGIN, _END = "<!-- codexteam run={} -->", "<!-- /codexteam -->"
_OURS = re.compile(r"<!-- codexteam run=[^>]* -->.*?<!-- /codexteam -->", re.DOTALL)
_TITLE_CHARS = 72


@dataclass(frozen=True, slots=True)
class PullWanted:
    """How a pull request is to be."""

    base: str = ""
    """The branch to merge into; empty: the repository's default branch, or the one it has already."""
    remote: str = "origin"
    title: str = ""
    """Empty: the goal's first line, or the title it has already."""
    draft: bool = False
    not_green: bool = False
    """Whether a run may be proposed that is not green; it is a draft then."""
    sign_in: bool = False
    """Whether git signs in with the token of the API too, as where nobody has set up credentials."""


@dataclass(frozen=True, slots=True)
class PublishedPull:
    """A pull request that was opened or brought up to date."""

    run_id: RunId
    number: int
    url: str
    branch: str
    base: str
    draft: bool
    created: bool
    repository: str = ""
    """What the run calls its repository; empty where it works on one."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed of a run whose branch is in the repository."""

    run_id: RunId
    title: str
    """Used where the user names none."""
    body: str
    """What codexteam writes into it, in Markdown."""
    draft: bool = False
    green: bool = True


def publish_pull(project: Project, report: RunReport, wanted: PullWanted, body: str) -> PublishedPull:
    """Push the branch of a run and open its pull request, or bring the one up to date that it has.

    Everything is asked before anything is pushed; what was done already is not done again.

    Raises:
        LandingError: the run has nothing to propose, or works on several repositories, or the remote or GitHub refuses;
            names which.
    """
    refuse_several(report)
    return publish_proposal(project, proposal_of(report, wanted, body), wanted)


def refuse_several(report: RunReport) -> None:
    """Refuse a run whose result is in several repositories.

    Raises:
        LandingError: it is one.
    """
    if names := report.run.state.rules.repositories:
        raise LandingError(
            f"run {report.run.record.run_id} works on several repositories ({', '.join(names)}), and this is of one",
            hint=f"codexteam pr {report.run.record.run_id} opens and updates a pull request in each",
        )


def proposal_of(report: RunReport, wanted: PullWanted, body: str) -> Proposal:
    """Return what is proposed of a run.

    Raises:
        LandingError: it has nothing to propose.
    """
    _refuse_unfit(report, wanted)
    record = report.run.record
    green = report.run.state.result is Result.GREEN
    return Proposal(RunId(record.run_id), _title(record.goal), body, wanted.draft or not green, green)


def publish_proposal(project: Project, proposal: Proposal, wanted: PullWanted) -> PublishedPull:
    """Push a branch that is in the repository and open its pull request, or bring the one up to date that it has.

    Raises:
        LandingError: the remote or GitHub refuses; names which.
    """
    from codexteam.adapters.git.push import push_branch

    branch, draft = branch_name(proposal.run_id), proposal.draft
    text = our_part(proposal.run_id, proposal.body)
    with pulls_of(project, wanted.remote, push=True) as pulls:
        known = pulls.find(branch)
        refuse_ready(known, proposal)
        base = wanted.base or (known.base if known else pulls.default_branch())
        variables = push_variables(project, wanted.remote) if wanted.sign_in else None
        push_branch(project.places, wanted.remote, branch, project.environment.get("PATH"), variables=variables)
        if known is None:
            pull = pulls.open(branch=branch, base=base, title=wanted.title or proposal.title, body=text, draft=draft)
        else:
            pull = pulls.change(known.number, body=body_with(known, text), title=wanted.title, base=wanted.base)
    return PublishedPull(proposal.run_id, pull.number, pull.url, branch, pull.base, pull.draft, known is None)


def refuse_ready(known: "PullRequest | None", proposal: Proposal) -> None:
    """Refuse to push what is not green to a pull request that is ready to be merged.

    Raises:
        LandingError: it is.
    """
    if known is not None and not known.draft and not proposal.green:
        raise LandingError(
            f"pull request {known.number} is ready for review, and run {proposal.run_id} is not green",
            hint=f"make it a draft first (gh pr ready --undo {known.number}), then run this again; nothing was pushed",
        )


def our_part(run_id: RunId, body: str) -> str:
    """Return what codexteam writes into a body, between the marks that it is found by."""
    # no text of models may end our part: what comes after it would be taken for somebody else's
    return _BEGIN.format(run_id) + f"\n{body.strip().replace('<!--', '<! --')}\n\n" + _END


def body_with(pull: "PullRequest", ours: str) -> str:
    """Return the body of a pull request with our part in it.

    Raises:
        LandingError: it is too long for GitHub.
    """
    from codexteam.adapters.github.pulls import MAX_BODY_CHARS

    whole = with_ours(pull.body, ours)
    if len(whole) > MAX_BODY_CHARS:
        raise LandingError(
            f"the body of pull request {pull.number} would have {len(whole):,} characters: GitHub takes {MAX_BODY_CHARS:,}",
            hint="shorten what stands around codexteam's part; the branch is pushed",
        )
    return whole


def _title(goal: str) -> str:
    line = " ".join(clean_line(goal.strip().partition("\n")[0]).split())
    return line if len(line) <= _TITLE_CHARS else f"{line[: _TITLE_CHARS - 3]}..."


def with_ours(body: str, ours: str) -> str:
    """Put our part into a body in place of what it had of ours; what others wrote around it stays."""
    if _OURS.search(body):
        return _OURS.sub(lambda _: ours, body, count=1)
    return f"{body.rstrip()}\n\n{ours}" if body.strip() else ours


def changed_nothing(report: RunReport) -> bool:
    """Return whether a run left the files as they were: there is nothing to propose."""
    return nothing_changed(report.run.state)


def check_access(project: Project, wanted: PullWanted) -> None:
    """See, before a run is paid for, that its pull request could be opened: remote, token and repository are there.

    Raises:
        LandingError: one is not; names which.
    """
    with pulls_of(project, wanted.remote, push=True) as pulls:
        if not pulls.may_push():
            raise LandingError(
                f"{pulls.name}: the token may read, and not push",
                hint="use one with `contents: write` and `pull requests: write`; nothing was spent",
            )


def _refuse_unfit(report: RunReport, wanted: PullWanted) -> None:
    record, state = report.run.record, report.run.state
    if report.run.live:
        raise LandingError(f"run {record.run_id} is running", hint="wait for its end; codexteam status shows it")
    if is_review(record):
        raise LandingError(f"{record.run_id} is a review: it has no branch", hint="codexteam runs lists the others")
    if record.state == CLEANED or state.landed is None:
        raise LandingError(
            f"run {record.run_id} has put no branch into the repository: it is {record.state}",
            hint="codexteam status says what it waits for; codexteam resume continues it",
        )
    if changed_nothing(report):
        raise LandingError(
            f"run {record.run_id} changed nothing: there is nothing to propose",
            hint="codexteam status says what the gates saw",
        )
    if state.result is not Result.GREEN and not wanted.not_green:
        raise LandingError(
            f"run {record.run_id} is not green: {state.result_reason or record.state}",
            hint=f"look at it (codexteam diff), then codexteam pr {record.run_id} --even-if-not-green, which opens a draft",
        )
