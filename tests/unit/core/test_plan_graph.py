import pytest

from codexteam.core.plan_graph import critical_path, graph_of, waves
from codexteam.errors import PlanCycleError, PlanError
from tests.unit.core.run_world import tasks


@pytest.mark.parametrize(
    ("specs", "error", "message"),
    [
        pytest.param(["T1:T2", "T2:T3", "T3:T1"], PlanCycleError, "T1 -> T2 -> T3 -> T1", id="cycle"),
        pytest.param(["T0", "T1:T2", "T2:T1,T0"], PlanCycleError, "T1 -> T2 -> T1", id="cycle beside a good task"),
        pytest.param(["T1:T1"], PlanCycleError, "T1 waits for itself", id="itself"),
        pytest.param(["T1", "T1"], PlanError, "T1 is there twice", id="duplicate"),
        pytest.param(["T1:T9"], PlanError, "T1 waits for T9, which is not in the plan", id="unknown"),
        pytest.param(["T1", "T2", "T3"], PlanError, "3 tasks: at most 2", id="too many"),
    ],
)
def test_a_plan_that_does_not_hold_is_refused_with_what_is_wrong(
    specs: list[str], error: type[PlanError], message: str
) -> None:
    with pytest.raises(error, match=message):
        graph_of(tasks(*specs), max_tasks=2 if specs == ["T1", "T2", "T3"] else 100)


def test_a_chain_that_is_too_deep_is_refused() -> None:
    chain = tasks("T0", *(f"T{n}:T{n - 1}" for n in range(1, 1_001)))

    with pytest.raises(PlanError, match="a chain of 1001 tasks: at most 1000"):
        graph_of(chain)


def test_waves_and_the_critical_path() -> None:
    plan = tasks("T1", "T2:T1", "T3:T1", "T4:T2,T3", "T5")

    assert waves(plan) == [["T1", "T5"], ["T2", "T3"], ["T4"]]
    assert critical_path(plan) == ["T1", "T2", "T4"]
    assert graph_of(plan).depth == 3
    assert (waves(()), critical_path(())) == ([], [])
