"""What the jobs of a GitLab pipeline write: a note on a merge request, and a branch with its merge request."""

from collections.abc import Mapping
from dataclasses import dataclass

from codexteam.app.ci.handover import BUNDLE, HandedOver, refuse_failed
from codexteam.app.project import Project
from codexteam.core.ids import branch_name
from codexteam.core.text import clean_line
from codexteam.errors import UsageError

_TITLE_CHARS = 200


@dataclass(frozen=True, slots=True)
class PushedBranch:
    """A branch that was pushed, with the wish for a merge request."""

    branch: str
    base: str


def on_gitlab(environment: Mapping[str, str]) -> bool:
    """Return whether a job of GitLab runs this."""
    return environment.get("GITLAB_CI") == "true"


def put_plan_note(environment: Mapping[str, str], number: int, mark: str, text: str) -> tuple[str, bool]:
    """Write the plan's note, or bring it up to date; return the merge request's address, and if the note is new.

    Raises:
        UsageError: a variable of the job is missing.
        LandingError: GitLab refuses it.
    """
    from codexteam.adapters.gitlab.notes import put_note

    api_url, project = _value(environment, "CI_API_V4_URL"), _value(environment, "CI_PROJECT_ID")
    token = _value(environment, "CODEXTEAM_TOKEN")
    created = put_note(api_url, project, number, token=token, mark=mark, body=text)
    return f"{environment.get('CI_PROJECT_URL', '')}/-/merge_requests/{number}", created


def push_handover(project: Project, handed: HandedOver, base: str, *, draft: bool, not_green: bool) -> PushedBranch:
    """Push a branch that another job left; GitLab opens its merge request.

    Raises:
        UsageError: a variable of the job is missing.
        LandingError: the branch cannot be taken, or GitLab refuses it.
    """
    from codexteam.adapters.git.bundle import take_bundle
    from codexteam.adapters.git.push import push_branch, token_variables

    environment, proposal = project.environment, handed.proposal
    refuse_failed(handed, not_green=not_green)
    base = base or _value(environment, "CI_DEFAULT_BRANCH")
    address = f"{_value(environment, 'CI_SERVER_URL')}/{_value(environment, 'CI_PROJECT_PATH')}.git"
    variables = token_variables(address, _value(environment, "CODEXTEAM_TOKEN"))
    branch, path = branch_name(proposal.run_id), environment.get("PATH")
    job = environment.get("CI_JOB_URL", "")
    options = [
        "merge_request.create",
        f"merge_request.target={base}",
        f"merge_request.title={clean_line(proposal.title)[:_TITLE_CHARS]}",
        f"merge_request.description=codexteam run {proposal.run_id}. Its report is among the artifacts of {job}",
        *(["merge_request.draft"] if draft or proposal.draft else []),
    ]
    take_bundle(project.places, handed.folder / BUNDLE, branch, handed.head, path)
    push_branch(project.places, address, branch, path, variables=variables, options=options)
    return PushedBranch(branch, base)


def _value(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise UsageError(
            f"{name} is not set", hint="codexteam ci init gitlab writes the jobs; CODEXTEAM_TOKEN is yours to set"
        )
    return environment[name]
