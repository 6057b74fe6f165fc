"""When the loop of gates and fixes is not getting anywhere, and a person has to look."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: The same complaint in this many rounds means that the fixes do not reach it.
MAX_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """An open must_fix finding, as convergence sees it."""

    name: str
    times: int


def why_stuck(
    open_findings: Iterable[Seen], weights: Sequence[int], *, round_number: int, round_limit: int
) -> str | None:
    """Say why a person has to look; None while the loop converges.

    `weights` are the weighted open findings after each round, oldest first, since a person last looked.
    """
    for seen in open_findings:
        if seen.times >= MAX_REPEATS:
            return f"{seen.name} was found in {seen.times} rounds and is still there"
    if len(weights) >= 3 and min(weights[-1], weights[-2]) >= weights[-3]:
        return f"open findings did not fall over two rounds (weights {', '.join(map(str, weights[-3:]))})"
    if round_number >= round_limit:
        return f"round {round_number} of at most {round_limit} is over and findings are open"
    return None
