"""Codex's table `[otel]` and the standard variables of OpenTelemetry: where traces, logs and metrics go, and what is in them.

A variable wins over the table. What the table alone knows (headers, certificates) goes to the table's own endpoint only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.config.layers import MergedLayers, resolve_path
from codexteam.core.ids import JSONObject

#: Where a collector on this machine listens, if a variable asks for one and none says where.
_LOCAL_ENDPOINT = "http://localhost:4318"
_LOCAL_GRPC_ENDPOINT = "http://localhost:4317"
#: A signal to its key of the table.
_SIGNALS = {"traces": "trace_exporter", "logs": "exporter", "metrics": "metrics_exporter"}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """A collector, as one signal is sent to it. What is not set here, the standard variables may say."""

    endpoint: str
    """The whole URL, such as `http://localhost:4318/v1/traces`; over gRPC without a path."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_certificate: Path | None = None
    client_certificate: Path | None = None
    client_private_key: Path | None = None
    is_grpc: bool = False


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What is sent where; nothing by default."""

    traces: OtlpTarget | None = None
    metrics: OtlpTarget | None = None
    logs: OtlpTarget | None = None
    environment: str = "dev"
    """`[otel] environment`."""
    with_content: bool = False
    """`[otel] log_user_prompt`: whether goals, commands, questions and reasons are sent, too."""
    span_attributes: Mapping[str, str] = field(default_factory=dict)
    """Given to every span."""
    is_asked_for: bool = False
    """Whether codexteam in particular was told to send: an endpoint in the environment alone may be meant for others."""

    @property
    def is_on(self) -> bool:
        """Whether anything is sent."""
        return any((self.traces, self.metrics, self.logs))

    @property
    def needs_grpc(self) -> bool:
        """Whether anything is sent over gRPC."""
        return any(target is not None and target.is_grpc for target in (self.traces, self.metrics, self.logs))

    def without_grpc(self) -> "TelemetrySettings":
        """Return what is sent over HTTP alone."""
        traces, metrics, logs = (
            None if target is None or target.is_grpc else target for target in (self.traces, self.metrics, self.logs)
        )
        return replace(self, traces=traces, metrics=metrics, logs=logs)


def telemetry_of(merged: MergedLayers, environment: Mapping[str, str], notices: list[str]) -> TelemetrySettings:
    """Return what the table and the variables say; what cannot be done as they say is a notice."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return TelemetrySettings()
    if merged.text("otel", "headers_helper"):
        notices.append(
            f"{merged.place(('otel', 'headers_helper'))}: a headers_helper is not run; use headers = {{ ... }}"
        )
    attributes = merged.table("otel", "span_attributes")
    asked = any(environment.get(f"OTEL_{signal}_EXPORTER") == "otlp" for signal in ("TRACES", "METRICS", "LOGS"))
    return TelemetrySettings(
        traces=_target("traces", merged, environment, notices),
        metrics=_target("metrics", merged, environment, notices),
        logs=_target("logs", merged, environment, notices),
        environment=merged.text("otel", "environment") or TelemetrySettings().environment,
        with_content=merged.flag("otel", "log_user_prompt", default=False),
        span_attributes={key: str(value) for key, value in attributes.items()},
        is_asked_for=asked or any(_exporter(merged, signal)[0] for signal in _SIGNALS),
    )


def _target(signal: str, merged: MergedLayers, environment: Mapping[str, str], notices: list[str]) -> OtlpTarget | None:
    name = signal.upper()
    wanted = environment.get(f"OTEL_{name}_EXPORTER", "").strip().lower()
    if wanted not in {"", "otlp"}:
        if wanted != "none":
            notices.append(f"OTEL_{name}_EXPORTER={wanted} is not used: {signal} go out by otlp, or not at all")
        return None
    kind, table = _exporter(merged, signal)
    protocol = environment.get(f"OTEL_EXPORTER_OTLP_{name}_PROTOCOL") or environment.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", ""
    )
    is_grpc = protocol == "grpc"
    whole = environment.get(f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT", "").strip()
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    endpoint = whole or _of_signal(base, signal, is_grpc=is_grpc)
    if not endpoint and not kind and wanted:
        endpoint = _of_signal(_LOCAL_GRPC_ENDPOINT if is_grpc else _LOCAL_ENDPOINT, signal, is_grpc=is_grpc)
    if endpoint:
        _note_json(protocol, f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}", notices)
        return OtlpTarget(endpoint, is_grpc=is_grpc)
    if not kind:
        return None
    path = ("otel", _SIGNALS[signal], kind)
    _note_json(str(table.get("protocol")), f"{merged.place(path)}: {'.'.join(path)}", notices)
    headers = table.get("headers")
    given = (
        {key: _filled(str(value), environment) for key, value in headers.items()} if isinstance(headers, dict) else {}
    )
    ca_certificate, certificate, key = (_tls_file(merged, path, table, key) for key in _TLS_KEYS)
    return OtlpTarget(str(table.get("endpoint")), given, ca_certificate, certificate, key, is_grpc=kind == "otlp-grpc")


def _of_signal(base: str, signal: str, *, is_grpc: bool) -> str:
    """Return where a signal goes at a collector; gRPC tells signals apart by itself."""
    return base if is_grpc or not base else f"{base.rstrip('/')}/v1/{signal}"


_TLS_KEYS = ("ca-certificate", "client-certificate", "client-private-key")


def _exporter(merged: MergedLayers, signal: str) -> tuple[str, JSONObject]:
    """Return the kind of a signal's exporter and its table; nothing where there is none, or it is Codex's own."""
    for kind in ("otlp-http", "otlp-grpc"):
        table = merged.table("otel", _SIGNALS[signal], kind)
        if table:
            return kind, table
    return "", {}


def _note_json(protocol: str, place: str, notices: list[str]) -> None:
    """Say what is sent instead of JSON."""
    if protocol in {"json", "http/json"}:
        notices.append(f"{place}: the binary form is sent instead of JSON; OTLP over HTTP takes both")


def _filled(value: str, environment: Mapping[str, str]) -> str:
    """Put variables in the place of `${NAME}`; one that is not set stays as it is."""
    return _VARIABLE.sub(lambda found: environment.get(found[1], found[0]), value)


def _tls_file(merged: MergedLayers, path: tuple[str, ...], table: JSONObject, key: str) -> Path | None:
    found = table.get("tls")
    value = (found.get(key) or found.get(key.replace("-", "_"))) if isinstance(found, dict) else None
    layer = merged.origin((*path, "tls"))
    return resolve_path(value, layer.base) if isinstance(value, str) and layer is not None else None
