"""The statistics of evaluations: known values, and what they say over many simulated evaluations."""

import random
from collections.abc import Sequence

import pytest

from codexteam.core.eval_statistics import (
    bootstrap_mean,
    holm,
    mcnemar_exact,
    newcombe,
    paired_difference,
    pass_at_k,
    pass_hat_k,
    smallest_paired_difference,
    wilson,
)

TASKS = 34


def test_wilson_has_the_published_half_widths() -> None:
    half = {n: (wilson(n // 2, n).high - wilson(n // 2, n).low) / 2 for n in (34, 100, 500)}

    assert {n: round(width, 3) for n, width in half.items()} == {34: 0.159, 100: 0.096, 500: 0.044}
    assert wilson(0, 34).low == 0.0
    assert wilson(0, 34).high == pytest.approx(0.1015, abs=5e-4)
    assert wilson(0, 0).high == 1.0


def test_one_of_k_and_all_of_k_are_counted_without_bias() -> None:
    assert pass_at_k(4, 1, 1) == 0.25
    assert pass_at_k(4, 1, 2) == pytest.approx(0.5)
    assert pass_hat_k(4, 2, 2) == pytest.approx(1 / 6)
    assert (pass_at_k(3, 3, 3), pass_hat_k(3, 2, 3)) == (1.0, 0.0)


def test_mcnemar_counts_only_the_tasks_on_which_arms_differ() -> None:
    assert mcnemar_exact(8, 1) == pytest.approx(0.0390625)
    assert mcnemar_exact(5, 0) == pytest.approx(0.0625)
    assert mcnemar_exact(3, 3) == 1.0
    assert mcnemar_exact(0, 0) == 1.0


def test_a_paired_interval_is_as_newcombe_published_it() -> None:
    found = newcombe(36, 12, 2, 50)  # his table II: 0.0569 to 0.3404

    assert [found.low, found.high] == pytest.approx([0.0569, 0.3404], abs=1e-3)


def test_equal_arms_still_allow_a_difference() -> None:
    found = paired_difference([0.0] * TASKS, [0.0] * TASKS, lambda n: [*range(n)])

    assert found is not None
    assert found.interval.high > 0.05
    assert found.p_value == 1.0


def test_the_smallest_detectable_difference_falls_with_tasks() -> None:
    found = [smallest_paired_difference(n, 0.3) for n in (4, 34, 150, 500)]

    assert found[0] is None
    assert [round(value, 2) for value in found[1:] if value is not None] == [0.26, 0.13, 0.07]


def test_comparisons_are_corrected_for_their_number() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def trials(rng: random.Random, rate: float, repeats: int) -> list[float]:
    return [sum(rng.random() < rate for _ in range(repeats)) / repeats for _ in range(TASKS)]


def compared(seed: int, rates: Sequence[float], repeats: int, resamples: int) -> tuple[list[bool], list[bool]]:
    """Simulate one evaluation: whether each arm's interval covers its rate, and which differ from the first."""
    rng = random.Random(seed)

    def draw(n: int) -> list[int]:
        return rng.choices(range(n), k=n)

    arms = [trials(rng, rate, repeats) for rate in rates]
    if repeats == 1:
        covered = [wilson(int(sum(arm)), TASKS).covers(rate) for arm, rate in zip(arms, rates, strict=True)]
    else:
        found = [bootstrap_mean(arm, draw, resamples=resamples) for arm in arms]
        covered = [interval.covers(rate) for interval, rate in zip(found, rates, strict=True)]
    pairs = [paired_difference(arms[0], arm, draw, resamples=resamples) for arm in arms[1:]]
    values = holm([1.0 if pair is None else pair.p_value for pair in pairs])
    return covered, [value <= 0.05 for value in values]


@pytest.mark.parametrize(("repeats", "evaluations", "resamples"), [(1, 1_000, 0), (3, 60, 150)])
def test_simulated_evals_find_the_difference_that_is_there(repeats: int, evaluations: int, resamples: int) -> None:
    """Three arms of known rates: the second is as good as the first, the third much worse."""
    rates = (0.75, 0.75, 0.25)
    found = [compared(seed, rates, repeats, resamples) for seed in range(evaluations)]

    covered = sum(map(sum, (cover for cover, _ in found))) / (len(rates) * evaluations)
    false = sum(same for _, (same, _) in found) / evaluations
    true = sum(differs for _, (_, differs) in found) / evaluations
    assert covered >= 0.91
    assert false <= 0.05
    assert true >= 0.9
