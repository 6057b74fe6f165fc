"""Sends a run's spans and log records while it lasts: a cursor over its facts whose place is kept in the store.

A thread of its own sends; the run never waits for it but for a moment at its end. A collector that does not answer is said
once, and asked again now and then. What a session could not send, or did not before it was killed, the next one sends.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codexteam.config.telemetry import TelemetrySettings
from codexteam.core.text import clean_line
from codexteam.ports.reporter import RunEvent
from codexteam.report.log_records import RunLogRecord, log_record_of
from codexteam.report.spans import RunSpan, SpanReader

if TYPE_CHECKING:
    from codexteam.adapters.telemetry.otlp_client import OtlpClient

#: The most spans and log records that are sent at once.
_BATCH = 512
#: The most facts whose spans wait for a collector that does not answer; the oldest are dropped first.
_WAITING = 20_000
#: How long spans wait for others to come along.
_LINGER_SECONDS = 1.0
#: How long a collector that did not answer is left alone, at first and at most.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 60.0
#: How long the run's end waits for the last spans to be taken.
_LAST_SECONDS = 3.0
#: What is said of why nothing could be sent.
_SAID_CHARS = 200


@dataclass(slots=True)
class _Waiting:
    """What waits to be sent, and what a thread sends of it."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    spans: deque[list[RunSpan | RunLogRecord]] = field(default_factory=deque)
    """Of a fact each."""
    closing: bool = False
    troubled: bool = False
    """The newest try has failed, or part of it."""
    dropped: int = 0


class OtlpReporter:
    """The Reporter that sends what happens to a collector."""

    def __init__(
        self,
        settings: TelemetrySettings,
        reader: SpanReader,
        *,
        version: str,
        keep: Callable[[int], None],
        warn: Callable[[str], None],
        last_seconds: float = _LAST_SECONDS,
    ) -> None:
        """Send nothing yet.

        Args:
            settings: where to.
            reader: makes spans of the run's facts.
            version: of codexteam.
            keep: keeps the number of the fact up to which all spans are sent; called from the sending thread.
            warn: says a line to a person; called from the sending thread.
            last_seconds: how long the run's end waits for the last spans to be taken.
        """
        self._settings = settings
        self._reader = reader
        self._version = version
        self._keep = keep
        self._warn = warn
        self._last_seconds = last_seconds
        self._waiting = _Waiting()
        self._live_after = 0
        self._said = ""
        self._has_warned = False
        self._client: OtlpClient | None = None
        self._thread = threading.Thread(target=self._work, name="codexteam-telemetry", daemon=True)

    @property
    def is_troubled(self) -> bool:
        """Whether the newest try to send has failed until now."""
        return self._waiting.troubled

    def begin(self, earlier: Sequence[RunEvent], *, sent: int) -> None:
        """Read what earlier sessions wrote, and send what they did not; `sent` is the fact up to which they did."""
        self._live_after = earlier[-1].sequence if earlier else 0
        for fact in earlier:
            found = self._of(fact)
            if found and fact.sequence > sent:
                self._add(found)
        self._thread.start()

    def report(self, event: RunEvent) -> None:
        """Take a fact."""
        if found := self._of(event):
            self._add(found)

    def _of(self, fact: RunEvent) -> list[RunSpan | RunLogRecord]:
        """Return what is sent of a fact: the spans that end with it, and its log record."""
        record = None
        if self._settings.logs is not None:
            within, content = self._reader.span_of(fact), self._settings.with_content
            record = log_record_of(self._reader.run_id, fact, within, with_content=content)
        found: list[RunSpan | RunLogRecord] = [*self._reader.take(fact)]
        return found if record is None else [*found, record]

    def close(self) -> None:
        """Send what is left, if the collector answers; otherwise at once."""
        if not self._thread.is_alive():
            return
        waiting = self._waiting
        with waiting.changed:
            waiting.closing = True
            waiting.changed.notify()
            in_vain = waiting.troubled
        until = time.monotonic() + (0.0 if in_vain else self._last_seconds)
        while self._thread.is_alive() and (left := until - time.monotonic()) > 0 and not waiting.troubled:
            self._thread.join(min(left, 0.05))
        if self._thread.is_alive():
            if self._client is not None:
                self._client.give_up()
            self._thread.join(0.1)
            if not self._has_warned:
                self._complain("it did not take the last spans in time")

    def _add(self, spans: list[RunSpan | RunLogRecord]) -> None:
        waiting = self._waiting
        with waiting.changed:
            waiting.spans.append(spans)
            if len(waiting.spans) > _WAITING:
                waiting.dropped += len(waiting.spans.popleft())
            waiting.changed.notify()

    def _work(self) -> None:
        try:
            from codexteam.adapters.telemetry.otlp_client import OtlpClient

            self._client = client = OtlpClient(
                self._settings, trace_id=self._reader.trace_id, version=self._version, troubled=self._on_trouble
            )
            self._send_all(client)
            if not self._waiting.troubled:
                client.close()
        except Exception as error:  # noqa: BLE001 - a person is told; the run does not depend on it
            self._complain(str(error) or type(error).__name__)

    def _send_all(self, client: "OtlpClient") -> None:
        waiting, measured, pause = self._waiting, self._live_after, 0.0
        while batch := self._next(pause):
            for span in batch:
                if isinstance(span, RunSpan) and span.sequence > measured:
                    client.measure(span)
            measured = max(measured, batch[-1].sequence)
            waiting.troubled = False
            if client.send(batch):
                waiting.troubled, pause = False, 0.0
                self._keep(batch[-1].sequence)
                continue
            waiting.troubled = True
            self._complain(self._said)
            with waiting.changed:
                waiting.spans.appendleft(batch)
                if waiting.closing:
                    return
            pause = min(max(2 * pause, _PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def _next(self, pause_seconds: float) -> list[RunSpan | RunLogRecord]:
        """Wait for spans, and after a failure that long; nothing at the end."""
        waiting = self._waiting
        with waiting.changed:
            waiting.changed.wait_for(lambda: waiting.closing, pause_seconds)
            waiting.changed.wait_for(lambda: waiting.closing or bool(waiting.spans))
            waiting.changed.wait_for(lambda: waiting.closing or len(waiting.spans) >= _BATCH, _LINGER_SECONDS)
            batch: list[RunSpan | RunLogRecord] = []
            while waiting.spans and len(batch) < _BATCH:
                batch += waiting.spans.popleft()
            return batch

    def _on_trouble(self, words: str) -> None:
        self._said, self._waiting.troubled = words, True

    def _complain(self, why: str) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        target = self._settings.traces or self._settings.logs or self._settings.metrics
        place = urlsplit(target.endpoint) if target is not None else None
        where = (
            f"{place.scheme}://{place.hostname}{f':{place.port}' if place.port else ''}" if place else "the collector"
        )
        said = clean_line(why)[:_SAID_CHARS]
        self._warn(f"telemetry: {where} takes nothing ({said}); the run does not depend on it")
