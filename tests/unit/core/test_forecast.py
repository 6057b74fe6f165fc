"""A forecast covers the whole run; it rests on earlier runs, or on assumptions that are said to be such."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.config.price_list import PriceList
from codexteam.core.budget_amounts import CreditRule, Price, Usage
from codexteam.core.forecast import PRIORS, Cost, Forecast, Range, Team, forecast
from codexteam.core.ids import AgentKey, Purpose, RunId, TaskId
from codexteam.core.run_costs import PastRun, SpentBy, Stage, stage_of
from tests.unit.core.run_world import tasks

PLAN = tasks("T1@a.py", "T2@a.py", "T3@b.py", "T4:T1")
PRICES = PriceList({"m": Price(input_usd=1.0, output_usd=10.0)}, CreditRule(), frozenset())
ROLES = ("explorer", "orchestrator", "implementer", "ci_runner", "reviewer", "qa_test_author", "security_reviewer")
TEAM = Team(PRICES, dict.fromkeys((*ROLES, "documentation", "release_manager"), "m"))


def spent(stage: Stage, tokens: int, task_id: str = "", role: str = "implementer") -> SpentBy:
    return SpentBy(stage, role, "m", Usage(input_tokens=tokens), 1, task_id)


def run(*per_task: int, gates: int = 0, fixes: int = 0, rounds: int = 1) -> PastRun:
    of_tasks = tuple(spent(Stage.TASKS, tokens, f"T{n}") for n, tokens in enumerate(per_task, start=1))
    others = (spent(Stage.GATES, gates, role="reviewer"), spent(Stage.FIXES, fixes, "T90"))
    return PastRun((*of_tasks, *others), {TaskId(f"T{n}"): 1 for n in range(1, len(per_task) + 1)}, rounds)


def of(found: Range) -> tuple[float, float]:
    assert found.expected is not None
    assert found.worst is not None
    return found.expected, found.worst


def test_a_first_run_is_forecast_from_assumptions_in_every_stage_and_unit() -> None:
    found = forecast(PLAN, [], TEAM, planned=False)

    assert set(found.stages) == set(Stage)
    assert found.history_runs == 0
    assert all(cost.runs == 0 and not cost.spent for cost in found.stages.values())
    point = PRIORS["point of effort"]
    assert found.per_task[TaskId("T1")] == Range(point.expected.total_tokens, point.worst.total_tokens)
    for whole in (found.tokens, found.usd, found.credits):
        expected, worst = of(whole)
        assert 0 < 3 * expected < worst, "an honest range is wide"
    assert of(found.credits)[0] == pytest.approx(of(found.tokens)[0] / 1_000, rel=0.01)


def test_the_shape_of_a_plan_is_its_width_depth_and_longest_chain() -> None:
    found = forecast(PLAN, [], TEAM)
    assert found.width == 2, "T1 and T2 write the same file"
    assert found.depth == 2
    assert found.critical_path == ("T1", "T4")
    assert forecast(PLAN, [], replace(TEAM, max_threads=1)).width == 1


def test_what_is_spent_before_the_plan_is_no_forecast_any_more() -> None:
    so_far = (spent(Stage.SCOUTS, 5_000, role="explorer"), spent(Stage.PLANNING, 7_000, role="orchestrator"))
    found = forecast(PLAN, [], TEAM, spent=so_far)
    assert of(found.stages[Stage.SCOUTS].tokens) == (5_000, 5_000)
    assert found.stages[Stage.PLANNING].spent
    assert of(found.stages[Stage.PLANNING].usd)[0] == pytest.approx(0.007)


def test_tasks_take_what_a_point_of_effort_took_here() -> None:
    found = forecast(PLAN, [run(1_000, 2_000), run(3_000), run(10_000)], TEAM)

    expected, worst = of(found.stages[Stage.TASKS].tokens)
    assert expected == 4 * 2_500
    assert worst > expected
    assert of(found.stages[Stage.TASKS].usd)[0] == pytest.approx(0.01)


def test_the_worst_case_comes_nearer_the_more_is_known() -> None:
    def ratio(count: int) -> float:
        expected, worst = of(forecast(PLAN, [run(1_000) for _ in range(count)], TEAM).stages[Stage.TASKS].tokens)
        return worst / expected

    assert ratio(1) == 3
    assert ratio(4) == 2
    assert 1 < ratio(16) < ratio(4)


def test_gates_are_forecast_by_pass_and_fixes_as_a_part_of_the_tasks() -> None:
    history = [run(1_000, gates=6_000, fixes=500, rounds=3), run(1_000, gates=2_000, rounds=1)]
    found = forecast(tasks("T1"), history, TEAM)
    assert of(found.stages[Stage.GATES].tokens)[0] == 2_000 * 2, "one pass for the merges, one more as in the middle"
    assert of(found.stages[Stage.FIXES].tokens)[0] == 0.25 * 1_000


def test_what_is_switched_off_is_not_forecast() -> None:
    team = replace(TEAM, scouts=0, gates=(), document=False, release=False)
    found = forecast(tasks("T1"), [], team, planned=False)
    assert Stage.SCOUTS not in found.stages
    assert Stage.DOCUMENTATION not in found.stages
    assert Stage.RELEASE not in found.stages
    assert of(found.stages[Stage.GATES].tokens) == (0, 0)


def test_an_unknown_price_is_no_price() -> None:
    found = forecast(PLAN, [], replace(TEAM, prices=PriceList({}, None, frozenset())))
    assert found.usd == found.credits == Range(None, None)
    assert found.tokens.expected


def test_an_empty_plan_takes_no_task() -> None:
    found = forecast((), [run(1)], TEAM)
    assert (found.width, found.depth, of(found.stages[Stage.TASKS].tokens)) == (0, 0, (0, 0))


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), max_size=8), st.integers(0, 5))
def test_expected_is_never_above_worst(history: list[list[int]], rounds: int) -> None:
    found: Forecast = forecast(PLAN, [run(*each, gates=7, fixes=3, rounds=rounds) for each in history], TEAM)
    whole = Cost(found.tokens, found.usd, found.credits)
    for cost in (*found.stages.values(), whole):
        for each in (cost.tokens, cost.usd, cost.credits):
            expected, worst = of(each)
            assert expected <= worst + 1e-9


def test_every_agent_works_for_a_stage() -> None:
    def stage(purpose: Purpose, task: str = "", role: str = "r") -> Stage:
        return stage_of(AgentKey(RunId("r"), role, purpose, task, 1), {TaskId("T9")})

    assert stage(Purpose.IMPLEMENT, "T1") is Stage.TASKS
    assert stage(Purpose.CLARIFY, "T1", "orchestrator") is Stage.TASKS
    assert stage(Purpose.IMPLEMENT, "T9") is Stage.FIXES
    assert stage(Purpose.REPLAN) is Stage.FIXES
    assert stage(Purpose.SCOUT, role="requirement_analyst") is Stage.PLANNING
    assert {stage(purpose) for purpose in Purpose} == set(Stage)


def test_a_stage_that_earlier_runs_did_without_is_not_expected() -> None:
    few = forecast(PLAN, [run(1_000), run(1_000)], TEAM).stages[Stage.DOCUMENTATION]
    assumed = forecast(PLAN, [], TEAM).stages[Stage.DOCUMENTATION]
    assert of(few.tokens) == (0, of(assumed.tokens)[1] / 3), "that two runs did without is little to go by"
    assert of(forecast(PLAN, [run(1_000)] * 10, TEAM).stages[Stage.DOCUMENTATION].tokens) == (0, 0)


def test_one_run_without_a_finding_does_not_rule_fixes_out() -> None:
    found = forecast(PLAN, [run(1_000)], TEAM)
    expected, worst = of(found.stages[Stage.FIXES].tokens)
    assert expected == 0
    assert worst > 0
    assert of(forecast(PLAN, [run(1_000)] * 10, TEAM).stages[Stage.FIXES].tokens) == (0, 0)
