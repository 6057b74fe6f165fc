"""The outcome of a request to a run."""

from codexteam.app.live_requests import Reply
from codexteam.views.streams import OutputStreams


def print_reply(output: OutputStreams, reply: Reply) -> None:
    """Print a reply that says anything, for people or for programs."""
    if not reply.message:
        return
    if output.json_lines:
        what, fate, message = reply.what, reply.fate, reply.message
        output.record(
            {"type": "request.completed", "run": reply.run_id, "what": what, "fate": fate, "message": message}
        )
    else:
        output.write(f"{reply.what}: {reply.message}\n")
