"""What sends a signal to its collector: by OTLP over HTTP, or over gRPC. Slow to import.

Compression, time limits and further headers are as the standard variables say: the SDK reads them.
"""

import os
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import SpanExporter

from codexteam.config.telemetry import OtlpTarget


def span_exporter(target: OtlpTarget) -> SpanExporter:
    """Return what sends spans there."""
    if not target.is_grpc:
        return OTLPSpanExporter(**_over_http(target))
    _quiet_grpc()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter

    return GrpcSpanExporter(**_over_grpc(target))


def metric_exporter(target: OtlpTarget) -> MetricExporter:
    """Return what sends metrics there."""
    if not target.is_grpc:
        return OTLPMetricExporter(**_over_http(target))
    _quiet_grpc()
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter

    return GrpcMetricExporter(**_over_grpc(target))


def log_exporter(target: OtlpTarget) -> LogRecordExporter:
    """Return what sends log records there."""
    if not target.is_grpc:
        return OTLPLogExporter(**_over_http(target))
    _quiet_grpc()
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter

    return GrpcLogExporter(**_over_grpc(target))


def _quiet_grpc() -> None:
    """Keep gRPC's C core from writing to the terminal, and out of the forks of a process that starts many."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def _over_http(target: OtlpTarget) -> dict[str, Any]:
    """Return what the exporters' constructors take; what is None, they look up in the standard variables."""
    files = {
        "certificate_file": target.ca_certificate,
        "client_certificate_file": target.client_certificate,
        "client_key_file": target.client_private_key,
    }
    return {
        "endpoint": target.endpoint,
        "headers": dict(target.headers) or None,
        **{name: None if file is None else str(file) for name, file in files.items()},
    }


def _over_grpc(target: OtlpTarget) -> dict[str, Any]:
    headers = {key.lower(): value for key, value in target.headers.items()}  # gRPC takes no others
    return {"endpoint": target.endpoint, "headers": headers or None, "credentials": _credentials(target)}


def _credentials(target: OtlpTarget) -> Any:
    files = (target.ca_certificate, target.client_private_key, target.client_certificate)
    if not any(files):
        return None
    import grpc  # type: ignore[import-untyped]

    return grpc.ssl_channel_credentials(*(_bytes_of(file) for file in files))


def _bytes_of(file: Path | None) -> bytes | None:
    return None if file is None else file.read_bytes()
