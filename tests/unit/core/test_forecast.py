from codexteam.core.forecast import PastTask, Range, forecast
from codexteam.core.ids import TaskId
from codexteam.core.usage import Price, Usage
from tests.unit.core.run_world import tasks

PLAN = tasks("T1@a.py", "T2@a.py", "T3@b.py", "T4:T1")
PRICE = Price(input_usd=1.0, output_usd=10.0)


def past(tokens: int, effort: int = 1) -> PastTask:
    return PastTask("implementer", effort, Usage(input_tokens=tokens))


def test_without_history_there_are_no_figures_but_a_shape() -> None:
    found = forecast(PLAN, [], {}, max_threads=6)

    assert (found.history_tasks, found.tokens, found.usd) == (0, Range(None, None), Range(None, None))
    assert found.width == 2, "T1 and T2 write the same file"
    assert found.depth == 2
    assert found.critical_path == ("T1", "T4")


def test_figures_are_quantiles_of_an_effort_point() -> None:
    history = [past(1_000), past(2_000), past(6_000, effort=2), past(10_000)]

    found = forecast(PLAN, history, {"implementer": PRICE}, max_threads=1)

    assert found.width == 1
    assert found.per_task[TaskId("T1")].expected == 2_500
    assert found.tokens.expected == 10_000
    assert found.usd.expected == 0.01
    assert found.tokens.worst is not None
    assert found.tokens.worst > 10_000


def test_an_unknown_price_is_no_price() -> None:
    assert forecast(PLAN, [past(1_000)], {}, max_threads=1).usd == Range(None, None)


def test_an_empty_plan_is_nothing() -> None:
    found = forecast((), [past(1)], {}, max_threads=4)

    assert (found.width, found.depth, found.tokens.expected) == (0, 0, None)
