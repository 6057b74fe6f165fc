"""When a call is asked for again, and when it is given up. One loop, where Codex has two inside each other."""

from collections.abc import Callable
from dataclasses import dataclass

from codexteam.adapters.responses.concurrency_limiter import backoff_seconds
from codexteam.adapters.responses.failures import Phase, TryAgain
from codexteam.config.settings import ProviderSettings


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often and how long a call is tried again.

    Codex opens a stream `request_max_retries` more times and does all of that `stream_max_retries` more times: with its
    defaults 30 requests within 25 s. The number is the same here, but the waits double over all of them, up to half
    a minute, so that an outage of some minutes is lived through; `outage_seconds` ends it. A stream that opened and
    broke is asked for again `stream_max_retries` times, as in Codex. A 429 is not a failure: it is waited out, with
    a Retry-After or without (Codex gives up without one), for `rate_limit_seconds` in all, unless
    `stream_max_retries` is 0.
    """

    openings: int
    streams: int
    outage_seconds: float = 300.0
    rate_limit_seconds: float = 1800.0

    @classmethod
    def of(cls, provider: ProviderSettings) -> "RetryLimits":
        """Return the limits that a provider's settings mean."""
        streams = max(0, provider.stream_max_retries)
        return cls(openings=(max(0, provider.request_max_retries) + 1) * (streams + 1) - 1, streams=streams)


class Retries:
    """One call's count of what failed."""

    def __init__(self, limits: RetryLimits, jitter: Callable[[], float]) -> None:
        self.tries = 1
        """The number of the try at hand."""
        self._limits = limits
        self._jitter = jitter
        self._openings = 0
        self._streams = 0
        self._waited_for_outage = 0.0
        self._waited_for_rate = 0.0

    def refused(self) -> int:
        """Count a try that is made again at once, otherwise; give the number of the next."""
        self.tries += 1
        return self.tries

    def wait_seconds(self, trouble: TryAgain, *, gate_seconds: float = 0.0) -> float | None:
        """Count a failed try; give the wait before the next, None when there is none.

        Args:
            trouble: How the try failed.
            gate_seconds: For a 429, how long the gate lets nothing through.
        """
        limits = self._limits
        if trouble.phase is Phase.RATE:
            wait = gate_seconds
            self._waited_for_rate += wait
            again = limits.streams > 0 and self._waited_for_rate <= limits.rate_limit_seconds
        elif trouble.phase is Phase.STREAM:
            self._streams += 1
            wait = self._backoff(self._streams, trouble)
            again = self._streams <= limits.streams
        else:
            self._openings += 1
            wait = self._backoff(self._openings, trouble)
            self._waited_for_outage += wait
            again = self._openings <= limits.openings and self._waited_for_outage <= limits.outage_seconds
        if not again:
            return None
        self.tries += 1
        return wait

    def _backoff(self, failed: int, trouble: TryAgain) -> float:
        return max(backoff_seconds(failed, self._jitter()), trouble.wait_seconds or 0.0)
