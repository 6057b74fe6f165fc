"""How a sitting that ends with an error says so: to its history, and to the programs that read along."""

from collections.abc import Sequence
from contextlib import suppress

from codexteam.errors import CodexteamError, note_told
from codexteam.ports.reporter import Reporter, RunEvent


def tell_broken_off(
    error: Exception, reason: str, *, at_seconds: float, history: Reporter, programs: Sequence[Reporter]
) -> None:
    """Report that a sitting broke off; `reason` is the error in words, secrets taken out.

    People are told at the command's end.
    """
    code = error.exit_code if isinstance(error, CodexteamError) else 1
    event = RunEvent("run.broken_off", at_seconds, {"reason": reason, "exit_code": code})
    with suppress(OSError):  # it may be what the error is about; programs must hear of it all the same
        history.report(event)
    for each in programs:
        with suppress(OSError):
            each.report(event)
            note_told(error)
