"""What a run used of a plan's windows, as far as what their service says allows to know it."""

import pytest

from codexteam.core.budget_scope import BudgetScope, joined, need_words, resume_command
from codexteam.core.plan_windows import PlanWindows, UsageWindow, WindowShare, WindowUse, read_window_share, window_name

RESET = 1_800_000_000.0


def weekly(percent: float, resets_at_seconds: float | None = RESET) -> UsageWindow:
    return UsageWindow("weekly", percent, resets_at_seconds)


def windows(limit: float = 20, *, used: float = 0, kept_share: float = 0.0) -> PlanWindows:
    found = PlanWindows({"weekly": limit}, frozenset({"implementer"}), kept_share=kept_share)
    found.take([weekly(used)])
    return found


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("20%weekly", WindowShare(20, "weekly")),
        ("50%5h", WindowShare(50, "5h")),
        ("2.5 % of Weekly", WindowShare(2.5, "weekly")),
        ("20%", None),
        ("5usd", None),
        ("weekly", None),
        ("20%%", None),
    ],
)
def test_a_share_of_a_window_is_read_as_people_write_it(text: str, share: WindowShare | None) -> None:
    assert read_window_share(text) == share


@pytest.mark.parametrize(
    ("minutes", "name"),
    [(300, "5h"), (299, "5h"), (10_080, "weekly"), (44_640, "monthly"), (1_440, "1440 min"), (None, "limit")],
)
def test_windows_are_called_by_their_length(minutes: int | None, name: str) -> None:
    assert window_name(minutes) == name


def test_what_was_used_before_the_run_is_not_its_own() -> None:
    plan = windows(used=70)
    assert plan.uses["weekly"].run_percent == 0
    plan.take([weekly(74)])
    assert plan.uses["weekly"] == WindowUse(4, 74, RESET)
    assert plan.spent() is None


def test_a_share_that_is_used_up_says_what_would_do() -> None:
    plan = windows(used=70)
    plan.take([weekly(90)])
    spent = plan.spent()
    assert spent == BudgetScope(spent=20, needed=30, limit=20, window="weekly", resets_at_seconds=RESET)
    assert resume_command(joined([spent])) == "codexteam resume --budget 30%weekly"
    assert "weekly window" in need_words(joined([spent]))


def test_a_share_of_nothing_is_used_up_from_the_start() -> None:
    assert windows(0).spent() is not None


def test_a_part_of_a_share_is_kept_for_hand_overs() -> None:
    plan = windows(kept_share=0.05)
    plan.take([weekly(19)])
    assert plan.spent() is not None
    assert plan.spent(hand_over=True) is None


def test_a_window_that_reset_may_be_used_anew() -> None:
    plan = windows(used=60)
    plan.take([weekly(80)])
    assert plan.spent() is not None
    plan.take([weekly(3, RESET + 604_800)])
    assert plan.uses["weekly"].run_percent == 3
    assert plan.spent() is None


def test_a_reset_is_seen_where_no_time_of_it_is_said() -> None:
    plan = PlanWindows({"5h": 50})
    for percent in (90, 95, 2):
        plan.take([UsageWindow("5h", percent)])
    assert plan.uses["5h"].run_percent == 2


def test_a_percent_that_falls_back_is_not_counted_twice() -> None:
    plan = windows(used=10)
    for percent in (12, 11, 12):
        plan.take([weekly(percent)])
    assert plan.uses["weekly"].run_percent == 2


def test_use_between_two_sessions_is_not_the_runs() -> None:
    first = windows(used=10)
    first.take([weekly(15)])
    second = PlanWindows({"weekly": 20}, uses=dict(first.uses))
    second.take([weekly(60)])
    assert second.uses["weekly"].run_percent == 5
    second.take([weekly(61)])
    assert second.uses["weekly"].run_percent == 6


def test_a_window_nobody_speaks_of_is_unknown() -> None:
    plan = PlanWindows({"weekly": 20, "5h": 50})
    plan.take([weekly(1)])
    assert plan.unknown == ("5h",)


@pytest.mark.parametrize(("used", "width"), [(0, 8), (79, 8), (80, 8), (85, 6), (90, 4), (99, 1), (100, 1)])
def test_the_fuller_a_window_the_fewer_work_at_once(used: float, width: int) -> None:
    assert windows(100, used=used).width(8) == width


def test_a_share_that_runs_out_lets_fewer_work_at_once_too() -> None:
    plan = windows(20)
    plan.take([weekly(18)])
    assert plan.width(8) == 4
