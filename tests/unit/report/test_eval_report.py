"""The figures of an evaluation, on screen, as JSON and as a page."""

import io
from pathlib import Path

from codexteam.app.evaluation.command import EvalResult
from codexteam.core.eval_task import Arm, ArmKind
from codexteam.core.eval_trials import TrialRecord, TrialSpend, TrialVerdict
from codexteam.report.eval_report import EvalReport, EvalSubject, eval_report
from codexteam.views.eval_page import render_evaluation
from codexteam.views.evaluation import show_result
from codexteam.views.streams import OutputStreams

ARMS = (Arm("team", ArmKind.TEAM), Arm("solo", ArmKind.SOLO))
NAMES = tuple(f"t{n}" for n in range(10))


def record(task: str, arm: str, verdict: TrialVerdict, repeat: int = 1, usd: float | None = 0.5) -> TrialRecord:
    spend = TrialSpend(1_000, usd, 2.0, 4, 30.0)
    return TrialRecord(
        task, arm, repeat, verdict, "why <b>\x1b[31m", spend, regressed=verdict is not TrialVerdict.RESOLVED
    )


def report(solo: TrialVerdict = TrialVerdict.NOT_RESOLVED, *, repeats: int = 1, usd: float | None = 0.5) -> EvalReport:
    """The team resolves all; the solo arm nothing."""
    subject = EvalSubject("suite", "exercises", NAMES, (("x", "no tests <i>"),), ARMS, repeats, {"usd": 9.0})
    records = [
        record(task, arm, verdict, repeat, usd)
        for task in NAMES
        for arm, verdict in (("team", TrialVerdict.RESOLVED), ("solo", solo))
        for repeat in range(1, repeats + 1)
    ]
    return eval_report(subject, records, lambda: lambda n: list(range(n)))


def test_a_difference_is_shown_with_its_test_and_interval() -> None:
    [found] = report().comparisons

    assert (found.found.method, found.is_shown, found.words) == (
        "McNemar's exact test",
        True,
        "team resolves more than solo",
    )
    assert found.found.interval.low > 0.5


def test_what_is_spent_counts_for_resolved_tasks_and_unknown_stays_unknown() -> None:
    team, solo = report().arms

    assert (team.per_resolved["usd"], team.per_resolved["tokens"], solo.per_resolved["usd"]) == (0.5, 1_000, None)
    assert report(usd=None).arms[0].per_resolved["usd"] is None
    assert (team.regressed, solo.regressed, solo.regression_known) == (0, 10, 10)


def test_infrastructure_failures_count_and_stand_apart() -> None:
    solo = report(TrialVerdict.INFRASTRUCTURE).arms[1]

    assert (solo.all.trials, solo.all.rate) == (10, 0.0)
    assert solo.without_infrastructure.trials == 0
    assert solo.verdicts[TrialVerdict.INFRASTRUCTURE] == 10


def test_repeats_have_pass_at_k_and_pass_hat_k() -> None:
    team, solo = report(repeats=3).arms

    assert (team.pass_at, team.pass_hat) == ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert solo.pass_at == (0.0, 0.0, 0.0)
    assert solo.all.interval.high > 0.2  # ten tasks that all failed still allow some


def test_a_page_and_a_screen_say_it_and_escape_what_is_foreign() -> None:
    page = render_evaluation(report())
    out = io.StringIO()
    streams = OutputStreams(json_lines=False, color="never", environment={}, out=out, err=io.StringIO())

    assert show_result(streams, EvalResult(report(), Path("/e"), 0), Path("/e/report.html")) == 0

    assert "team resolves more than solo" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "\x1b" not in page
    assert "McNemar" in out.getvalue()
    assert "left out: x: no tests <i>" in out.getvalue()


def test_the_json_has_every_trial_and_how_sure_all_is() -> None:
    data = report(repeats=2).as_json()

    assert (data["done"], data["total"]) == (40, 40)
    arms, trials = data["arms"], data["trials"]
    assert isinstance(arms, list)
    assert isinstance(trials, list)
    assert len(trials) == 40
    first = arms[0]
    assert isinstance(first, dict)
    assert {"rate", "interval_95", "pass_at_k", "pass_hat_k", "per_resolved", "verdicts"} <= first.keys()
