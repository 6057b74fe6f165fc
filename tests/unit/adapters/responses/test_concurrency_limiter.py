"""How calls of one provider and model slow down together and come back."""

from hypothesis import given
from hypothesis import strategies as st

from codexteam.adapters.responses.concurrency_limiter import ConcurrencyLimiter, backoff_seconds
from codexteam.ports.model import Quota


def _started(limiter: ConcurrencyLimiter, calls: int, now: float = 0.0) -> ConcurrencyLimiter:
    for _ in range(calls):
        limiter = limiter.started(now)
    return limiter


def test_backoff_doubles_up_to_its_cap() -> None:
    waits = [backoff_seconds(tries, 0.5, first_seconds=1, most_seconds=10) for tries in range(1, 7)]
    assert waits == [1, 2, 4, 8, 10, 10]
    assert backoff_seconds(10_000, 0.5) == 30


@given(st.integers(1, 500), st.floats(0, 1))
def test_backoff_is_spread_by_half_to_either_side(tries: int, jitter: float) -> None:
    plain = backoff_seconds(tries, 0.5)
    assert 0.5 * plain <= backoff_seconds(tries, jitter) <= 1.5 * plain


def test_a_429_halves_what_runs_and_pauses_everybody() -> None:
    limiter = _started(ConcurrencyLimiter(), 40).slowed_down(10, began_at=5, retry_after_seconds=20, jitter=0)
    assert limiter.width == 20
    assert not limiter.admits(29.9)
    assert limiter.wait_seconds(10) == 20
    assert limiter.ended().in_flight == 39
    # the pause is over, but there are still more calls at work than may be
    assert not limiter.admits(30)
    assert limiter.wait_seconds(30) == 0


def test_429s_of_one_moment_are_one() -> None:
    limiter = _started(ConcurrencyLimiter(), 40)
    for _ in range(40):
        limiter = limiter.slowed_down(10, began_at=5, retry_after_seconds=1, jitter=0)
    assert limiter.width == 20
    assert limiter.strikes == 1


def test_a_429_after_the_cut_cuts_again() -> None:
    limiter = _started(ConcurrencyLimiter(), 40).slowed_down(10, began_at=5, retry_after_seconds=1, jitter=0)
    assert limiter.slowed_down(12, began_at=11, retry_after_seconds=1, jitter=0).width == 10


def test_the_width_never_falls_below_one() -> None:
    limiter = ConcurrencyLimiter()
    for now in range(50):
        limiter = limiter.started(now).slowed_down(now, began_at=now, retry_after_seconds=None, jitter=1).ended()
    assert limiter.width == 1
    assert limiter.admits(limiter.paused_until)


def test_pauses_without_retry_after_grow_until_a_call_is_let_in() -> None:
    limiter = ConcurrencyLimiter()
    pauses = []
    for now in (100.0, 200.0, 300.0):
        limiter = limiter.started(now).slowed_down(now, began_at=now, retry_after_seconds=None, jitter=0.5).ended()
        pauses.append(limiter.wait_seconds(now))
    assert pauses == [1, 2, 4]
    limiter = limiter.started(400).let_in().ended().started(500)
    limiter = limiter.slowed_down(500, began_at=500, retry_after_seconds=None, jitter=0.5)
    assert limiter.wait_seconds(500) == 1


def test_the_width_grows_back_in_some_rounds() -> None:
    limiter = _started(ConcurrencyLimiter(max_width=64, width=64), 64)
    limiter = limiter.slowed_down(0, began_at=0, retry_after_seconds=0, jitter=0)
    rounds = 0
    while limiter.width < 64:
        for _ in range(int(limiter.width)):
            limiter = limiter.let_in()
        rounds += 1
    assert 5 <= rounds <= 12
    assert limiter.let_in().width == 64


def test_quota_headers_stop_calls_before_they_are_refused() -> None:
    limiter = ConcurrencyLimiter().observed(0, requests=Quota(2, 30), tokens=None)
    assert limiter.admits(1)
    limiter = _started(limiter, 2, now=1)
    assert not limiter.admits(1)
    assert limiter.wait_seconds(1) == 29
    assert limiter.admits(30)
    # what was said is over then
    assert limiter.started(30).headroom is None


def test_no_tokens_left_pauses_until_they_are_back() -> None:
    limiter = ConcurrencyLimiter().observed(0, requests=None, tokens=Quota(0, 6))
    assert not limiter.admits(5.9)
    assert limiter.admits(6)
    assert ConcurrencyLimiter().observed(0, requests=None, tokens=Quota(17, 6)).admits(0)


@given(st.lists(st.tuples(st.sampled_from("scler"), st.floats(0, 5), st.floats(0, 1)), max_size=200))
def test_whatever_happens_there_is_always_a_way_on(steps: list[tuple[str, float, float]]) -> None:
    limiter, now, running = ConcurrencyLimiter(max_width=8, width=8), 0.0, 0
    for kind, passed, jitter in steps:
        now += passed
        if kind == "s" and limiter.admits(now):
            limiter, running = limiter.started(now), running + 1
        elif kind == "c" and running:
            limiter, running = limiter.ended(), running - 1
        elif kind == "l":
            limiter = limiter.let_in()
        elif kind == "e":
            limiter = limiter.slowed_down(now, began_at=now, retry_after_seconds=None, jitter=jitter)
        elif kind == "r":
            limiter = limiter.observed(now, requests=Quota(0, passed), tokens=None)
        assert limiter.in_flight == running
        assert 1 <= limiter.width <= 8
    while running:
        limiter, running = limiter.ended(), running - 1
    assert limiter.admits(now + limiter.wait_seconds(now) + 1e-6)


def test_a_quota_that_returns_tomorrow_does_not_stop_everything() -> None:
    limiter = ConcurrencyLimiter().observed(0, requests=Quota(0, 86_400), tokens=Quota(0, 86_400))
    assert 0 < limiter.wait_seconds(0) <= 120
