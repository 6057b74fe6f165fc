"""Makes OpenTelemetry's spans, log records and metrics of ours, and sends them by OTLP. Slow to import.

Limits and sampling are as the standard variables say: the SDK reads them.
"""

import logging
from collections.abc import Callable, Sequence

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from codexteam.adapters.telemetry.exporters import log_exporter, metric_exporter, span_exporter
from codexteam.config.telemetry import TelemetrySettings
from codexteam.report.log_records import LogSeverity, RunLogRecord
from codexteam.report.spans import RunSpan

#: Buckets that the conventions recommend.
_TOKEN_BUCKETS = [float(4**power) for power in range(14)]
_SECOND_BUCKETS = [0.01 * 2**power for power in range(14)]
_NANO = 1_000_000_000
_SEVERITIES = {
    LogSeverity.INFO: SeverityNumber.INFO,
    LogSeverity.WARN: SeverityNumber.WARN,
    LogSeverity.ERROR: SeverityNumber.ERROR,
}


class OtlpClient:
    """One trace, and the metrics of one process. Not for several threads at once, but for `give_up`."""

    def __init__(
        self, settings: TelemetrySettings, *, trace_id: int, version: str, troubled: Callable[[str], None]
    ) -> None:
        """Connect to nothing yet; `troubled` is called with what a try to send failed of, also if it is tried again."""
        _listen(troubled)
        ours = {
            "service.name": "codexteam",
            "service.version": version,
            "deployment.environment.name": settings.environment,
        }
        resource = Resource.create(ours).merge(OTELResourceDetector().detect())
        self._spans = span_exporter(settings.traces) if settings.traces is not None else None
        self._logs = log_exporter(settings.logs) if settings.logs is not None else None
        self._resource, self._scope = resource, InstrumentationScope("codexteam", version)
        self._ids = _GivenIds(trace_id)
        self._ended = _EndedSpans()
        provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("codexteam", version)
        self._more = dict(settings.span_attributes)
        sampled = provider.sampler.should_sample(None, trace_id, "invoke_workflow codexteam")
        self._is_sampled = sampled.decision is Decision.RECORD_AND_SAMPLE
        self._meters: MeterProvider | None = None
        if settings.metrics is not None:
            reader = PeriodicExportingMetricReader(metric_exporter(settings.metrics))
            self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
            self._instruments = _Instruments(self._meters, version)

    def send(self, found: Sequence[RunSpan | RunLogRecord]) -> bool:
        """Send spans and log records; whether the collectors have taken them, or they are not to be sent."""
        spans = [one for one in found if isinstance(one, RunSpan)]
        records = [one for one in found if isinstance(one, RunLogRecord)]
        return self._send_spans(spans) and self._send_records(records)

    def _send_spans(self, spans: Sequence[RunSpan]) -> bool:
        if self._spans is None or not self._is_sampled or not spans:
            return True
        for span in spans:
            self._make(span)
        return self._spans.export(self._ended.taken()) is SpanExportResult.SUCCESS

    def _send_records(self, records: Sequence[RunLogRecord]) -> bool:
        if self._logs is None or not records:
            return True
        made = [ReadableLogRecord(self._record(one), self._resource, self._scope) for one in records]
        return self._logs.export(made) is LogRecordExportResult.SUCCESS

    def _record(self, record: RunLogRecord) -> LogRecord:
        at = round(record.at_seconds * _NANO)
        return LogRecord(
            timestamp=at,
            observed_timestamp=at,
            context=set_span_in_context(NonRecordingSpan(self._context(record.span_id))),
            severity_text=record.severity.value,
            severity_number=_SEVERITIES[record.severity],
            body=record.body,
            attributes=dict(record.values),
            event_name=record.name,
        )

    def _make(self, span: RunSpan) -> None:
        parent = set_span_in_context(NonRecordingSpan(self._context(span.parent_id))) if span.parent_id else None
        self._ids.next_span_id = span.span_id
        made = self._tracer.start_span(
            span.name,
            parent,
            SpanKind.CLIENT if span.is_call else SpanKind.INTERNAL,
            {**self._more, **span.values},
            [Link(self._context(link.span_id), {"codexteam.link": link.why}) for link in span.links],
            round(span.start_seconds * _NANO),
        )
        for note in span.notes:
            made.add_event(note.name, note.values, round(note.at_seconds * _NANO))
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(round(span.end_seconds * _NANO))

    def _context(self, span_id: int) -> SpanContext:
        return SpanContext(self._ids.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def measure(self, span: RunSpan) -> None:
        """Count a span that has ended in this process."""
        if self._meters is not None:
            self._instruments.take(span)

    def close(self) -> None:
        """Send the last metrics, and let go of the collectors."""
        if self._meters is not None:
            self._meters.shutdown()
        self.give_up()

    def give_up(self) -> None:
        """Stop trying to send what is being sent; from any thread."""
        if self._spans is not None:
            self._spans.shutdown()
        if self._logs is not None:
            self._logs.shutdown()  # type: ignore[no-untyped-call]  # as it comes


class _GivenIds(IdGenerator):
    """Gives the ids that it was given."""

    def __init__(self, trace_id: int) -> None:
        self.trace_id = trace_id
        self.next_span_id = 0

    def generate_span_id(self) -> int:
        return self.next_span_id

    def generate_trace_id(self) -> int:
        return self.trace_id


class _EndedSpans(SpanProcessor):
    """Keeps spans that have ended until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def taken(self) -> list[ReadableSpan]:
        taken, self._spans = self._spans, []
        return taken


class _Instruments:
    """The metrics: those of the conventions, and what codexteam adds."""

    def __init__(self, provider: MeterProvider, version: str) -> None:
        meter = provider.get_meter("codexteam", version)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of a call",
            explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "How long an operation took",
            explicit_bucket_boundaries_advisory=_SECOND_BUCKETS,
        )
        self._usd = meter.create_counter("codexteam.cost.usd", "{USD}", "What calls cost, where the price is known")
        self._merges = meter.create_counter("codexteam.merges", "{attempt}", "Attempts that left the merge train")
        self._verdicts = meter.create_counter("codexteam.gate.verdicts", "{verdict}", "Verdicts of gates")

    def take(self, span: RunSpan) -> None:
        """Count a span."""
        values = span.values
        operation = str(values.get("gen_ai.operation.name", ""))
        if "codexteam.outcome" in values:
            self._merges.add(1, {"codexteam.outcome": str(values["codexteam.outcome"])})
        if "gen_ai.evaluation.score.label" in values:
            verdict = {key: str(values[key]) for key in ("gen_ai.evaluation.name", "gen_ai.evaluation.score.label")}
            self._verdicts.add(1, verdict)
        if operation not in {"chat", "execute_tool", "invoke_agent", "plan"}:
            return
        keys = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.agent.name")
        named = {key: str(values[key]) for key in (*keys, "gen_ai.tool.name", "error.type") if key in values}
        self._seconds.record(span.end_seconds - span.start_seconds, named)
        if operation == "chat":
            for kind in ("input", "output"):
                if (count := values.get(f"gen_ai.usage.{kind}_tokens")) is not None:
                    self._tokens.record(float(count), {**named, "gen_ai.token.type": kind})
            if (usd := values.get("codexteam.cost.usd")) is not None:
                self._usd.add(float(usd), named)


class _Troubles(logging.Handler):
    """Hears what the SDK would log; nobody else does."""

    def __init__(self, troubled: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._troubled = troubled

    def emit(self, record: logging.LogRecord) -> None:
        self._troubled(record.getMessage())


def _listen(troubled: Callable[[str], None]) -> None:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    for handler in [*logger.handlers]:
        if isinstance(handler, _Troubles):
            logger.removeHandler(handler)
    logger.addHandler(_Troubles(troubled))
