"""How long to wait before asking again."""


def backoff_seconds(tries: int, jitter: float, *, first_seconds: float = 0.2, most_seconds: float = 30.0) -> float:
    """Give the wait after `tries` failed tries (from 1): doubling up to a cap, spread by half to either side.

    Args:
        tries: How many have failed.
        jitter: A random number from 0 to 1, so that many who failed together do not come back together.
        first_seconds: The wait after the first, before the spread. 0.2 s is Codex's.
        most_seconds: The longest wait, before the spread.
    """
    # beyond this the cap holds anyway, and the power would leave the range of floats
    doublings = min(tries - 1, 60)
    return min(first_seconds * 2.0**doublings, most_seconds) * (0.5 + jitter)
