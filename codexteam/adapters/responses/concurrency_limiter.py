"""How many calls of one provider and model may run at once, and from when on; pure state, times are arguments.

If one call is asked to slow down, all of them slow down: width is halved, nothing starts before the pause is over.
Each call that is let in widens again, by `4 / width`, so that a width comes back step by step in some rounds.
"""

from dataclasses import dataclass, replace

from codexteam.ports.model import Quota

#: What a call that is let in adds to the width, divided by the width.
_GROWTH = 4.0
#: Longer than this a header alone holds nothing back: a provider that means it says 429.
_MOST_QUOTA_SECONDS = 120.0
_LONG_AGO = float("-inf")


def backoff_seconds(tries: int, jitter: float, *, first_seconds: float = 0.2, most_seconds: float = 30.0) -> float:
    """Return the wait after `tries` failed tries (from 1): doubling up to a cap, spread by half to either side.

    Args:
        tries: How many have failed.
        jitter: A random number from 0 to 1, so that many who failed together do not come back together.
        first_seconds: The wait after the first, before the spread. 0.2 s is Codex's.
        most_seconds: The longest wait, before the spread.
    """
    # beyond this the cap holds anyway, and the power would leave the range of floats
    doublings = min(tries - 1, 60)
    return min(first_seconds * 2.0**doublings, most_seconds) * (0.5 + jitter)


@dataclass(frozen=True, slots=True)
class ConcurrencyLimiter:
    """The state of one provider and model. Times are monotonic seconds."""

    max_width: int = 1000
    width: float = 1000.0
    """Calls that may run at the same time."""
    in_flight: int = 0
    paused_until: float = _LONG_AGO
    shrunk_at: float = _LONG_AGO
    """When the width was last cut: calls that began before say nothing new about the width after."""
    strikes: int = 0
    """Cuts in a row without a call let in between; what the pause grows by where the provider names none."""
    headroom: int | None = None
    """Starts left until `headroom_until`; None is unknown."""
    headroom_until: float = _LONG_AGO

    def admits(self, now: float) -> bool:
        """Return whether one more call may start."""
        if now < self.paused_until or self.in_flight >= max(1, int(self.width)):
            return False
        return self.headroom is None or self.headroom > 0 or now >= self.headroom_until

    def wait_seconds(self, now: float) -> float:
        """Return how long it is until time alone may admit a call; 0 when what is missing is a call that ends."""
        until = self.paused_until
        if self.headroom == 0:
            until = max(until, self.headroom_until)
        return max(0.0, until - now)

    def started(self, now: float) -> "ConcurrencyLimiter":
        """Count a call in."""
        headroom = self.headroom
        if headroom is not None:
            headroom = None if now >= self.headroom_until else headroom - 1
        return replace(self, in_flight=self.in_flight + 1, headroom=headroom)

    def ended(self) -> "ConcurrencyLimiter":
        """Count a call out, however it ended."""
        return replace(self, in_flight=self.in_flight - 1)

    def let_in(self) -> "ConcurrencyLimiter":
        """Widen: the provider took a call."""
        return replace(self, width=min(float(self.max_width), self.width + _GROWTH / max(1.0, self.width)), strikes=0)

    def slowed_down(
        self, now: float, *, began_at: float, retry_after_seconds: float | None, jitter: float
    ) -> "ConcurrencyLimiter":
        """Narrow and pause: the provider said 429 to a call that began at `began_at`.

        Args:
            now: The time.
            began_at: When that call began.
            retry_after_seconds: The pause that the provider asked for; without one the pause backs off.
            jitter: A random number from 0 to 1.
        """
        state = self
        if began_at >= self.shrunk_at:
            # many calls at one moment get the same answer; it counts once
            width = max(1.0, min(self.width, float(self.in_flight)) / 2)
            state = replace(self, width=width, shrunk_at=now, strikes=self.strikes + 1)
        if retry_after_seconds is None:
            pause = backoff_seconds(state.strikes, jitter, first_seconds=1.0, most_seconds=60.0)
        else:
            # a little later than asked, and not all programs of a user at the same moment
            pause = retry_after_seconds + jitter * min(1.0, retry_after_seconds / 10)
        return state.pause(now, pause)

    def pause(self, now: float, seconds: float) -> "ConcurrencyLimiter":
        """Let nothing start for a while; a pause that is longer already stays."""
        return replace(self, paused_until=max(self.paused_until, now + seconds))

    def observed(self, now: float, *, requests: Quota | None, tokens: Quota | None) -> "ConcurrencyLimiter":
        """Take in what an answer's headers say is left."""
        state = self
        if requests is not None:
            until = now + min(requests.reset_seconds, _MOST_QUOTA_SECONDS)
            state = replace(state, headroom=max(0, requests.remaining), headroom_until=until)
        if tokens is not None and tokens.remaining <= 0:
            state = state.pause(now, min(tokens.reset_seconds, _MOST_QUOTA_SECONDS))
        return state
