"""A run over two hosts, real Docker engines of the test's own, one of which dies in the middle of the work."""

import pytest

from benchmarks.hosts import Figures, Fleet, measure, measure_ray, problems
from tests.faults import own_engine

#: `python -m benchmarks.hosts` has more of everything.
SHORT = Fleet(agents=6, turns=3, turn_seconds=0.3)


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(own_engine.problem()), reason=own_engine.problem())
def test_a_host_that_dies_loses_nothing_and_no_turn_is_paid_twice() -> None:
    told: list[Figures] = []
    [killed] = measure(2, SHORT, told.append, kill_only=True)
    assert problems([killed], SHORT) == []
    assert set(killed.agents_on) == {"host1", "host2"}
    assert killed.turns_asked_again == 0, "the harness is not on the host"
    assert any("host host2 does not answer" in notice for notice in killed.notices)


@pytest.mark.complete
@pytest.mark.bubblewrap
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_node_of_ray_that_dies_costs_each_agent_at_most_one_turn() -> None:
    told: list[Figures] = []
    [killed] = measure_ray(2, SHORT, told.append, kill_only=True)
    assert problems([killed], SHORT) == []
    assert len(killed.agents_on) == 2
    assert any("is gone from the Ray cluster" in notice for notice in killed.notices)
