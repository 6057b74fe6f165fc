"""A collector of OpenTelemetry on loopback: it takes traces, logs and metrics by OTLP, over HTTP or gRPC, and keeps them."""

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(slots=True)
class Received:
    """What came in."""

    url: str
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    measured: list[ExportMetricsServiceRequest] = field(default_factory=list)
    told: list[ExportLogsServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order in which they came."""
        found = [*self.traces]
        return [span for one in found for r in one.resource_spans for scope in r.scope_spans for span in scope.spans]

    @property
    def records(self) -> list[LogRecord]:
        """All log records, in the order in which they came."""
        return [
            record
            for one in [*self.told]
            for r in one.resource_logs
            for scope in r.scope_logs
            for record in scope.log_records
        ]

    @property
    def metrics(self) -> dict[str, Metric]:
        """The newest of each metric."""
        found = [*self.measured]
        return {
            metric.name: metric
            for one in found
            for r in one.resource_metrics
            for scope in r.scope_metrics
            for metric in scope.metrics
        }

    @property
    def resource(self) -> dict[str, object]:
        """What the newest request says of who sent it."""
        return values_of(self.traces[-1].resource_spans[0].resource.attributes)


def values_of(pairs: Iterable[KeyValue]) -> dict[str, object]:
    """Return attributes by their names."""
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = getattr(pair.value, kind) if kind else None
    return found


@contextmanager
def collector(status: int = 200) -> Iterator[Received]:
    """Serve; `status` is what every request is answered with."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.headers.append({key.lower(): value for key, value in self.headers.items()})
            if status == 200 and self.path.endswith("/v1/traces"):
                received.traces.append(ExportTraceServiceRequest.FromString(body))
            elif status == 200 and self.path.endswith("/v1/logs"):
                received.told.append(ExportLogsServiceRequest.FromString(body))
            elif status == 200:
                received.measured.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Received(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_collector() -> Iterator[Received]:
    """Serve over gRPC."""

    class Service:
        """Any of the three."""

        def __init__(self, taken: list[Any], answer: Callable[[], object]) -> None:
            self._taken, self._answer = taken, answer

        def Export(self, request: object, context: Any) -> object:  # noqa: N802 - gRPC's name
            received.headers.append({key: str(value) for key, value in context.invocation_metadata()})
            self._taken.append(request)
            return self._answer()

    server = grpc.server(ThreadPoolExecutor(2))
    received = Received(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    add: list[tuple[Callable[..., None], Service]] = [
        (
            trace_service_pb2_grpc.add_TraceServiceServicer_to_server,
            Service(received.traces, ExportTraceServiceResponse),
        ),
        (logs_service_pb2_grpc.add_LogsServiceServicer_to_server, Service(received.told, ExportLogsServiceResponse)),
        (
            metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server,
            Service(received.measured, ExportMetricsServiceResponse),
        ),
    ]
    for register, service in add:
        register(service, server)
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()
