"""Sending spans: to a collector that takes them, one that does not answer, and one that refuses."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from codexteam.adapters.telemetry.otlp import OtlpReporter
from codexteam.config.telemetry import OtlpTarget, TelemetrySettings
from codexteam.ports.reporter import RunEvent
from codexteam.report.spans import SpanReader
from tests.otlp_receiver import Received, collector, grpc_collector, values_of
from tests.unit.report.test_spans import RUN, facts, read

FACTS = facts()


class Sent:
    """A reporter, and what it said and kept."""

    def __init__(
        self,
        url: str,
        earlier: list[RunEvent],
        *,
        sent: int = 0,
        metrics: bool = False,
        logs: bool = False,
        grpc: bool = False,
        last_seconds: float = 20.0,
    ) -> None:
        settings = TelemetrySettings(
            OtlpTarget(f"{url}/v1/traces"),
            OtlpTarget(f"{url}/v1/metrics") if metrics else None,
            OtlpTarget(f"{url}/v1/logs") if logs else None,
        )
        if grpc:
            target = OtlpTarget(url, {"X-Key": "k-1"}, is_grpc=True)
            settings = TelemetrySettings(target, target, target)
        reader = SpanReader(RUN, providers={}, provider="openai")
        self.kept: list[int] = []
        self.lines: list[str] = []
        self.reporter = OtlpReporter(
            settings, reader, version="1", keep=self.kept.append, warn=self.lines.append, last_seconds=last_seconds
        )
        self.reporter.begin(earlier, sent=sent)

    def end(self, more: list[RunEvent]) -> float:
        """Report facts and close; give how long closing took."""
        for fact in more:
            self.reporter.report(fact)
        begun = time.monotonic()
        self.reporter.close()
        return time.monotonic() - begun


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_span_is_sent_while_the_run_lasts_and_the_rest_at_its_end() -> None:
    with collector() as received:
        sent = Sent(received.url, [])
        sent.reporter.report(FACTS[0])
        until(lambda: received.spans)
        assert [span.name for span in received.spans] == ["workflow_start.codexteam"]

        sent.end(FACTS[1:])

        assert len({span.span_id for span in received.spans}) == len(received.spans) == len(read(FACTS))
        assert (sent.kept[-1], sent.lines) == (FACTS[-1].sequence, [])


def test_a_later_session_sends_what_an_earlier_one_did_not() -> None:
    with collector() as received:
        Sent(received.url, FACTS[:10], sent=5).end(FACTS[10:])

        ended = {span.name for span in received.spans}
        assert "workflow_start.codexteam" in ended, "the second session begins after that"
        assert len(received.spans) == sum(span.sequence > 5 for span in read(FACTS))


def _check_records(received: Received) -> None:
    """Each record is of the trace, in one of its spans, and told once."""
    spans = {span.span_id: span for span in received.spans}
    assert {record.trace_id for record in received.records} == {span.trace_id for span in spans.values()}
    assert {record.span_id for record in received.records} <= spans.keys()
    numbers = [int(str(values_of(record.attributes)["codexteam.sequence"])) for record in received.records]
    assert numbers == sorted(set(numbers)), "in order, and once each"


def test_what_logs_prints_is_sent_as_records_within_their_spans() -> None:
    with collector() as received:
        Sent(received.url, FACTS[:10], sent=5, logs=True).end(FACTS[10:])
        first = [values_of(record.attributes)["codexteam.sequence"] for record in received.records]
        assert first, "nothing was sent"
        assert min(int(str(number)) for number in first) > 5

    with collector() as received:
        Sent(received.url, [], logs=True).end(FACTS)

        _check_records(received)
        assert "codexteam.task.merged" in {record.event_name for record in received.records}
        assert "task merged" in {record.body.string_value for record in received.records}, "no words of models"


def test_everything_goes_over_grpc_as_well() -> None:
    with grpc_collector() as received:
        sent = Sent(received.url, [], grpc=True)
        sent.end(FACTS)

        assert len(received.spans) == len(read(FACTS))
        _check_records(received)
        assert "gen_ai.client.token.usage" in received.metrics
        assert {headers["x-key"] for headers in received.headers} == {"k-1"}
        assert (sent.kept[-1], sent.lines) == (FACTS[-1].sequence, [])


def test_metrics_are_of_this_session_alone() -> None:
    with collector() as received:
        Sent(received.url, FACTS[:16], metrics=True).end(FACTS[16:])

        [tokens] = [
            point.sum
            for point in received.metrics["gen_ai.client.token.usage"].histogram.data_points
            if values_of(point.attributes)["gen_ai.token.type"] == "input"
        ]
        assert tokens == 100
        assert received.metrics["codexteam.cost.usd"].sum.data_points[0].as_double == 0.5


def test_a_collector_that_is_down_costs_one_line_and_no_time() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        sent = Sent(url, [])
        sent.reporter.report(FACTS[0])
        until(lambda: sent.reporter.is_troubled)

        assert sent.end(FACTS[1:]) < 2.0

        until(lambda: sent.lines)
        assert len(sent.lines) == 1
        assert sent.lines[0].startswith(f"telemetry: {url} takes nothing (")
        assert sent.kept == []


def test_a_collector_that_hangs_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sent = Sent(f"http://127.0.0.1:{silent.getsockname()[1]}", [], last_seconds=0.3)

        assert sent.end(FACTS) < 8.0  # the collector's own limit is ten seconds

        assert len(sent.lines) == 1


def test_a_collector_that_refuses_is_asked_again_later() -> None:
    with collector(status=401) as received:
        sent = Sent(received.url, [])
        sent.reporter.report(FACTS[0])
        until(lambda: sent.lines)

        sent.end(FACTS[1:])

        assert len(sent.lines) == 1
        assert "401" in sent.lines[0]
        assert sent.kept == []


def test_a_sampler_of_the_standard_variables_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with collector() as received:
        Sent(received.url, []).end(FACTS)

        assert received.spans == []


def test_no_thread_is_left() -> None:
    with collector() as received:
        Sent(received.url, []).end(FACTS)

    assert not [one for one in threading.enumerate() if one.name == "codexteam-telemetry"]
