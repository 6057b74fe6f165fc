"""Waiting for a usage limit to reset: the run's next session begins then, in the same command."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from codexteam.app.signals import Signals
from codexteam.core.ids import RunId
from codexteam.errors import UsageLimitError
from codexteam.ports.clock import Clock

_T = TypeVar("_T")

#: Where nobody says until when a limit holds, or it holds longer than was said.
_UNKNOWN_SECONDS = 300.0
#: A clock that differs from the server's by this much costs no second refusal.
_MARGIN_SECONDS = 2.0
#: The wall clock is looked at this often: a machine that slept has waited too.
_PIECE_SECONDS = 30.0


async def until_served(
    begin: Awaitable[_T],
    go_on: Callable[[RunId], Awaitable[_T]],
    *,
    clock: Clock,
    signals: Signals,
    warn: Callable[[str], None],
) -> _T:
    """Drive a run across usage limits, waiting for each; `warn` reports each of them.

    Raises:
        CodexteamError: it cannot continue for another reason, or never began.
    """
    step = begin
    while True:
        try:
            return await step
        except UsageLimitError as error:
            if not error.run_id:
                raise
            run_id = RunId(error.run_id)
            seconds = _seconds_until(error.resets_at_seconds, clock.wall_seconds())
            warn(str(error))
            warn(f"waiting {_in_words(seconds)} for that; Ctrl-C stops waiting. To continue {run_id}: codexteam resume")
            with signals.between_sessions():
                await _sleep_until(clock.wall_seconds() + seconds, clock)
        step = go_on(run_id)


def _seconds_until(resets_at_seconds: float | None, now: float) -> float:
    if resets_at_seconds is None or resets_at_seconds <= now:
        return _UNKNOWN_SECONDS
    return resets_at_seconds - now + _MARGIN_SECONDS


async def _sleep_until(at_seconds: float, clock: Clock) -> None:
    while (left := at_seconds - clock.wall_seconds()) > 0:
        await clock.sleep(min(left, _PIECE_SECONDS))


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
