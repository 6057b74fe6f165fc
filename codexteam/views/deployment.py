"""What is printed of a deployment, before and after it."""

from codexteam.app.deployment import Deployment
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.views.streams import OutputStreams


def print_deployment(out: OutputStreams, found: Deployment, *, waits: bool) -> None:
    """Print what a person is to approve, with the release notes."""
    if out.json_lines:
        if waits:
            out.record({**_record(found), "type": "deployment.waits", "notes": found.notes})
        return
    out.note(f"run {found.run_id} at {found.commit[:12]}")
    out.note(clean_line(found.how))
    out.note(f"\n{found.notes.strip() or 'There are no release notes.'}\n")
    if waits:
        out.note(f"it waits for approval: codexteam deploy {found.run_id} --approve {found.commit[:12]}")


def print_deployed(out: OutputStreams, found: Deployment) -> None:
    """Print that it is done."""
    if out.json_lines:
        out.record({**_record(found), "type": "deployment.done"})
        return
    done = "deployed" if found.how.startswith("command") else "dispatched the workflow for"
    out.write(f"{done} {found.commit} of run {found.run_id}\n")


def _record(found: Deployment) -> JSONObject:
    return {"run": found.run_id, "commit": found.commit, "how": found.how}
