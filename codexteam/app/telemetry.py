"""From the settings to who sends a run's spans and records: nobody without a collector, and nothing is imported then."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codexteam.config.settings import ProviderSettings, Settings
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import Store
from codexteam.report.spans import SpanReader

if TYPE_CHECKING:
    from codexteam.adapters.telemetry.otlp import OtlpReporter

#: Said where a collector is named and the packages are missing.
NOT_INSTALLED = "telemetry is not sent: the packages are missing; pip install 'codexteam[otel]'"
#: Said where a collector is to be reached over gRPC and the package for that is missing.
NO_GRPC = "telemetry is not sent over gRPC: its package is missing; pip install 'codexteam[otel-grpc]'"
_PACKAGE = "opentelemetry"
_GRPC_PACKAGE = f"{_PACKAGE}.exporter.otlp.proto.grpc"


async def telemetry_reporter(
    settings: Settings, run_id: RunId, store: Store, earlier: Sequence[RunEvent], warn: Callable[[str], None]
) -> "OtlpReporter | None":
    """Return who sends a run's spans, begun with what earlier sessions did not send; None where nothing is sent.

    `warn` says a line to a person, and is called from another thread, too.
    """
    telemetry = settings.telemetry
    if not telemetry.is_on:
        return None
    if find_spec(_PACKAGE) is None or find_spec(f"{_PACKAGE}.exporter") is None:
        if telemetry.is_asked_for:
            warn(NOT_INSTALLED)
        return None
    if telemetry.needs_grpc and (find_spec("grpc") is None or find_spec(_GRPC_PACKAGE) is None):
        if telemetry.is_asked_for:
            warn(NO_GRPC)
        telemetry = telemetry.without_grpc()
        if not telemetry.is_on:
            return None
    from codexteam import __version__
    from codexteam.adapters.telemetry.otlp import OtlpReporter

    place = (f"{run_id}/telemetry", "spans")
    kept = await store.get(*place)
    sent = kept.get("sequence") if kept is not None else 0

    def keep(sequence: int) -> None:
        value: JSONObject = {"sequence": sequence}
        store.put_soon(*place, value)

    reader = SpanReader(
        run_id,
        providers={
            name: provider_name(settings.providers, role.model.provider_id) for name, role in settings.roles.items()
        },
        provider=provider_name(settings.providers, settings.model.provider_id),
        with_content=telemetry.with_content,
    )
    reporter = OtlpReporter(telemetry, reader, version=__version__, keep=keep, warn=warn)
    reporter.begin(earlier, sent=sent if isinstance(sent, int) else 0)
    return reporter


def provider_name(providers: Mapping[str, ProviderSettings], provider_id: str) -> str:
    """Return what the conventions call a provider; one that they do not know is called as the user calls it."""
    known = providers.get(provider_id)
    host = (urlsplit(known.base_url).hostname or "") if known is not None else ""
    if host.endswith((".openai.azure.com", ".cognitiveservices.azure.com")):
        return "azure.ai.openai"
    return provider_id
