"""Metrics over runs, and how they are printed for other programs."""

import io
import json
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from codexteam.app.run_metrics import read_moment
from codexteam.ports.reporter import RunEvent
from codexteam.report.metrics import metrics_of, quantile
from codexteam.report.run_figures import AgentTime, RunFigures, figures_of
from codexteam.report.spent import Bound
from codexteam.views.metrics import prometheus_text, show_metrics
from codexteam.views.streams import OutputStreams
from tests.support_reports import report_of

#: 2026-11-30, midnight, UTC.
MIDNIGHT = 1_795_996_800.0


def figures(**changes: object) -> RunFigures:
    return replace(report_of(tasks=3).figures, **changes)  # type: ignore[arg-type]  # fields of it


def test_figures_of_a_run_count_what_its_events_say() -> None:
    found = report_of(tasks=3, turns_each=2).figures

    assert (found.tasks, found.merged, found.failed, found.attempts, found.first_try) == (3, 3, 0, 3, 3)
    assert (found.model_seconds, found.command_seconds) == (42.0, 28.0)
    assert (found.rounds, found.findings, found.regressions, found.conflicts) == (1, 1, 1, 1)
    assert (found.input_tokens, found.cached_share) == (7_000, 0.8)
    assert found.usd == pytest.approx(0.07)


def test_services_that_give_up_are_not_counted_as_failed_tasks() -> None:
    report = report_of()
    gave_up = RunEvent("agent.finished", 1.0, {"agent": "a", "outcome": "ModelGaveUp"})
    broke_off = RunEvent("run.broken_off", 2.0, {"reason": "disk"})

    found = figures_of(report.run, [gave_up, broke_off])
    assert (found.infrastructure_failures, found.failed) == (2, 0)


def test_rates_are_over_all_runs_and_not_means_of_runs() -> None:
    found = metrics_of(
        [
            figures(tasks=10, merged=8, failed=2, attempts=20, attempted=10, first_try=4, work_seconds=3_600.0),
            figures(tasks=1, merged=1, failed=0, attempts=1, attempted=1, first_try=1, work_seconds=1_800.0),
        ]
    )

    assert found.attempts_per_task == pytest.approx(21 / 11)
    assert found.first_try_rate == pytest.approx(5 / 9)
    assert found.merged_per_hour == pytest.approx(6.0)


def test_a_run_of_unknown_cost_is_left_out_of_what_tasks_cost() -> None:
    known = figures(usd=2.0, merged=4, tasks=5, unknown=Bound())
    found = metrics_of([known, figures(usd=None, merged=100, tasks=100)])

    assert (found.usd.total, found.usd.per_merged, found.usd.per_task) == (2.0, 0.5, 0.4)
    assert found.usd.unknown_runs == 1


def test_a_run_with_calls_of_unknown_usage_is_of_unknown_cost() -> None:
    found = metrics_of([figures(usd=2.0, unknown=Bound(1, 9_000, 1.0))])

    assert (found.usd.total, found.usd.unknown_runs, found.tokens.unknown_runs) == (0.0, 1, 1)


def test_without_runs_nothing_is_divided_by_nothing() -> None:
    found = metrics_of([])

    assert (found.first_try_rate, found.attempts_per_task, found.merged_per_hour) == (None, None, None)
    assert (found.usd.per_merged, found.cached_share, found.forecast_usd.ratio) == (None, None, None)


def test_latency_is_by_role_over_all_runs() -> None:
    agents = tuple(AgentTime("implementer", float(seconds)) for seconds in range(1, 101))
    found = metrics_of([figures(agents=agents[:50]), figures(agents=agents[50:])])

    [latency] = found.latencies
    assert (latency.agents, latency.median_seconds, latency.p95_seconds) == (100, 50.5, 95.0)
    assert quantile([3.0], 0.95) == 3.0


def test_a_forecast_is_held_against_what_was_spent_where_both_are_known() -> None:
    found = metrics_of([figures(expected_usd=1.0, usd=2.0), figures(expected_usd=None, usd=50.0)])

    assert (found.forecast_usd.runs, found.forecast_usd.ratio) == (1, 2.0)


def test_prometheus_reads_what_is_printed_for_it() -> None:
    found = metrics_of([figures(usd=None, state='odd "state"\\')])
    families = {family.name: family for family in text_string_to_metric_families(prometheus_text(found))}

    assert families["codexteam_tasks"].type == "gauge"
    assert {one.labels["outcome"]: one.value for one in families["codexteam_tasks"].samples}["merged"] == 3.0
    assert [one.labels["state"] for one in families["codexteam_runs"].samples] == ['odd "state"\\']
    assert families["codexteam_usd_unknown_runs"].samples[0].value == 1.0
    assert "codexteam_usd_per_merged_task" not in families, "what is unknown is not 0"


def test_metrics_in_json_end_with_a_terminal_record() -> None:
    out = io.StringIO()
    show_metrics(OutputStreams(True, "never", {}, out, io.StringIO()), metrics_of([figures()]), prometheus=False)

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["type"] for line in lines] == ["metrics", "metrics.completed"]
    assert lines[0]["tasks_merged"] == 3


def test_a_screen_of_metrics_names_runs_that_cannot_be_read() -> None:
    out, err = io.StringIO(), io.StringIO()
    show_metrics(
        OutputStreams(False, "never", {}, out, err), metrics_of([figures()], unreadable=["r1"]), prometheus=False
    )

    assert "3 merged, 0 failed, of 3" in out.getvalue()
    assert "run r1 cannot be read" in err.getvalue()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12h", MIDNIGHT - 43_200),
        ("7d", MIDNIGHT - 604_800),
        ("2W", MIDNIGHT - 1_209_600),
        ("2026-11-29", MIDNIGHT - 86_400),
        ("2026-02-30", None),
        ("2026-13-01", None),
        ("yesterday", None),
        ("7", None),
        ("", None),
    ],
)
def test_a_moment_is_a_date_or_how_long_ago(text: str, seconds: float | None) -> None:
    assert read_moment(text, now_seconds=MIDNIGHT) == seconds
