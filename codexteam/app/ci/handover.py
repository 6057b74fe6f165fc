"""What the job that ran leaves to the job that publishes: a run's branch, and the text of its pull request.

The one has the model's key and no right to write; the other has that right and no key.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.app.linked_pulls import LinkedPart, Renderer, parts_of, publish_linked
from codexteam.app.project import Project
from codexteam.app.pull_request import (
    Proposal,
    PublishedPull,
    PullWanted,
    changed_nothing,
    proposal_of,
    publish_proposal,
)
from codexteam.app.reports import write_report
from codexteam.app.repositories import NamedRepository, is_name
from codexteam.app.several import members_of
from codexteam.core.ids import CommitId, JSONObject, JSONValue, RunId, branch_name
from codexteam.core.text import clean_line
from codexteam.errors import LandingError, UsageError
from codexteam.report.run_report import RunReport

BUNDLE = "branch.bundle"
#: Those of several repositories.
BUNDLES = "branch.*.bundle"
PULL = "pull-request.json"
RESULT = "result.json"
#: What a green run is called in it whose pull request could not be opened: another job may try again.
NOT_PUBLISHED = "not_published"
_KIND = "codexteam.pull-request"
_RUN, _COMMIT = re.compile(r"[0-9]{8}-[0-9]{4}-[0-9a-f]{4}"), re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_BYTES = 8_000_000
#: Stands in the text of a pull request where the address of another one belongs, which nobody knows yet.
_ADDRESS = "https://codexteam.invalid/pull-request-of/{}/"
_NOT_OPEN = "its pull request, which is not open yet"


@dataclass(frozen=True, slots=True)
class HandedPart:
    """What a run in several repositories leaves of one."""

    name: str
    head: CommitId
    body: str
    """The text of its pull request."""

    @property
    def bundle(self) -> str:
        return BUNDLES.replace("*", self.name)


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A run's branch as one job has left it."""

    folder: Path
    head: CommitId
    proposal: Proposal
    failed: str
    """Why the job failed that left it; empty where it did not."""
    parts: tuple[HandedPart, ...] = ()
    """Of several repositories, in the order to merge them in; empty where there is one."""


def hand_over(project: Project, report: RunReport, render: Renderer, folder: Path) -> bool:
    """Leave a run's branch in a folder, that of each repository; return whether there is one to leave.

    Raises:
        CodexteamError: it cannot be written.
    """
    from codexteam.adapters.git.bundle import write_bundle

    state = report.run.state
    if state.landed is None or state.base is None or changed_nothing(report):
        return False
    parts: tuple[HandedPart, ...] = ()
    if state.rules.repositories:
        proposal = proposal_of(report, PullWanted(not_green=True), "")
        parts = _leave_parts(project, report, render, folder, branch_name(proposal.run_id))
    else:
        proposal = proposal_of(report, PullWanted(not_green=True), render((), 0))
        branch = branch_name(proposal.run_id)
        write_bundle(project.places, folder / BUNDLE, branch, state.base, project.environment.get("PATH"))
    fields: JSONObject = {
        "type": _KIND,
        "run": proposal.run_id,
        "head": state.landed,
        "title": proposal.title,
        "body": proposal.body,
        "draft": proposal.draft,
    }
    if parts:
        fields["repositories"] = [{"name": each.name, "head": each.head, "body": each.body} for each in parts]
    write_report(json.dumps(fields, indent=1) + "\n", proposal.run_id, folder / PULL)
    return True


def _leave_parts(
    project: Project, report: RunReport, render: Renderer, folder: Path, branch: str
) -> tuple[HandedPart, ...]:
    from codexteam.adapters.git.bundle import write_bundle

    members = {each.name: each for each in members_of(report.run.record, project.environment)}
    linked = [LinkedPart(each.repository, _ADDRESS.format(each.repository)) for each in parts_of(report)]
    left = []
    for place, each in enumerate(linked):
        member, file = members[each.repository], folder / BUNDLES.replace("*", each.repository)
        head = write_bundle(member.places, file, branch, member.head, project.environment.get("PATH"))
        left.append(HandedPart(each.repository, head, render(linked, place)))
    return tuple(left)


def read_handover(folder: Path) -> HandedOver | None:
    """Return what a folder holds of a run's branch; None where the run ended well and changed nothing.

    Raises:
        UsageError: it holds none, or not as codexteam writes it.
    """
    file = folder / PULL
    fields, result = _read(file), _read(folder / RESULT) or {}
    if fields is None:
        if result.get("exit_code") == 0 and result.get("command") in {"run", "resume"}:
            return None
        raise UsageError(
            f"{file}: there is no such file: the run has left no branch", hint="its result.json says how it ended"
        )
    texts = {name: value for name in ("run", "head", "title", "body") if isinstance(value := fields.get(name), str)}
    parts = _parts(fields.get("repositories"))
    known = parts is not None and len(texts) == 4 and _RUN.fullmatch(texts["run"]) and _COMMIT.fullmatch(texts["head"])
    if not known or fields.get("type") != _KIND:
        raise UsageError(f"{file}: it is not what codexteam leaves of a run", hint="name the folder of its artifacts")
    run_id, draft = (
        RunId(texts["run"]),
        fields.get("draft") is not False,
    )  # what a run leaves is a draft if it is not green
    failed = _failure(result, run_id)
    proposal = Proposal(run_id, texts["title"], texts["body"], draft or bool(failed), green=not (draft or failed))
    return HandedOver(folder, CommitId(texts["head"]), proposal, failed, parts or ())


def _parts(listed: JSONValue) -> tuple[HandedPart, ...] | None:
    """Return what is left of several repositories; None where it is not as codexteam writes it."""
    parts = []
    for each in listed if isinstance(listed, list) else []:
        match each:
            case {"name": str(name), "head": str(head), "body": str(body)} if is_name(name) and _COMMIT.fullmatch(head):
                parts.append(HandedPart(name, CommitId(head), body))
            case _:
                return None
    return tuple(parts) if listed is None or parts else None


def _read(file: Path) -> JSONObject | None:
    try:
        with file.open("rb") as source:
            fields: JSONValue = json.loads(source.read(_MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: it cannot be read: {error}") from error
    return fields if isinstance(fields, dict) else {}


def _failure(result: JSONObject, run_id: RunId) -> str:
    """Say why a job failed; what it does not say of this run has not ended well."""
    if result.get("run") != run_id:
        return f"{RESULT} says nothing of it"
    code = result.get("exit_code")
    if (code == 0 and not isinstance(code, bool)) or result.get("result") == NOT_PUBLISHED:
        return ""
    why = result.get("over_limits") or result.get("reason") or result.get("result")
    return f"its job ended with exit code {clean_line(str(code))}: {clean_line(str(why))}"


def refuse_failed(handed: HandedOver, *, not_green: bool) -> None:
    """Refuse what is not green, and what a job has left that failed, unless that is wanted as a draft.

    A pipeline may start the job that publishes although the one before it failed.

    Raises:
        LandingError: it is not to be published.
    """
    if not_green or handed.proposal.green:
        return
    why = f": {handed.failed}" if handed.failed else ""
    raise LandingError(
        f"run {handed.proposal.run_id} is not green{why}", hint="--even-if-not-green opens a draft of what it has done"
    )


def publish_handover(project: Project, handed: HandedOver, wanted: PullWanted) -> PublishedPull:
    """Put a branch that another job left into the repository, push it, and open its pull request.

    Raises:
        LandingError: it cannot be taken, or the remote or GitHub refuses.
    """
    from codexteam.adapters.git.bundle import take_bundle

    refuse_failed(handed, not_green=wanted.not_green)
    proposal = replace(handed.proposal, draft=handed.proposal.draft or wanted.draft)
    branch = branch_name(proposal.run_id)
    take_bundle(project.places, handed.folder / BUNDLE, branch, handed.head, project.environment.get("PATH"))
    return publish_proposal(project, proposal, wanted)


def publish_parts(
    project: Project, handed: HandedOver, named: Sequence[NamedRepository], wanted: PullWanted
) -> tuple[PublishedPull, ...]:
    """Put the branches that another job left of several repositories into them, push them, and open their pull requests.

    Raises:
        UsageError: a repository is not named, or one is that the run did not change.
        LandingError: one cannot be taken, or a remote or GitHub refuses; says which.
    """
    from codexteam.adapters.git.bundle import take_bundle

    refuse_failed(handed, not_green=wanted.not_green)
    projects = {each.name: replace(project, places=each.places) for each in named}
    changed = [each.name for each in handed.parts]
    if missing := [name for name in changed if name not in projects]:
        raise UsageError(
            f"the run changed {', '.join(changed)}, and --repo does not name {', '.join(missing)}",
            hint=" ".join(f"--repo {name}=PATH" for name in changed),
        )
    proposal = replace(handed.proposal, draft=handed.proposal.draft or wanted.draft)
    for part in handed.parts:
        try:
            path = project.environment.get("PATH")
            file = handed.folder / part.bundle
            take_bundle(projects[part.name].places, file, branch_name(proposal.run_id), part.head, path)
        except LandingError as error:
            raise LandingError(f"{part.name}: {error}; nothing was pushed", hint=error.hint) from error

    def render(linked: Sequence[LinkedPart], place: int) -> str:
        body = handed.parts[place].body
        for each in linked:
            body = body.replace(_ADDRESS.format(each.repository), each.url or _NOT_OPEN)
        return body

    return publish_linked([(name, projects[name]) for name in changed], proposal, wanted, render)
