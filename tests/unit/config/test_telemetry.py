"""`[otel]` and the standard variables, and what `[tui]` says of notifications."""

from pathlib import Path

import pytest

from codexteam.app.telemetry import provider_name
from codexteam.config.load import load_settings
from codexteam.config.notifications import NOTICES, TerminalNotices
from codexteam.config.request import LoadRequest
from codexteam.config.settings import ProviderSettings, Settings
from codexteam.config.telemetry import OtlpTarget, TelemetrySettings

TABLE = """\
[otel]
environment = "staging"
log_user_prompt = true
span_attributes = { team = "core" }
[otel.trace_exporter.otlp-http]
endpoint = "https://otel.example.org/v1/traces"
protocol = "binary"
headers = { "x-key" = "${OTLP_TOKEN}", "x-other" = "${NOT_SET}" }
tls = { ca-certificate = "certs/ca.pem" }
"""


def load(folder: Path, text: str, **environment: str) -> Settings:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text)
    known = {"CODEX_HOME": str(home), "HOME": str(folder), "PATH": "/usr/bin:/bin", **environment}
    return load_settings(LoadRequest(folder, known, system_folder=folder / "none"))


def telemetry(folder: Path, text: str, **environment: str) -> TelemetrySettings:
    return load(folder, text, **environment).telemetry


def test_nothing_is_sent_unless_somebody_says_where(tmp_path: Path) -> None:
    assert telemetry(tmp_path, "") == TelemetrySettings()
    assert not telemetry(tmp_path, '[otel]\ntrace_exporter = "none"\nmetrics_exporter = "statsig"\n').is_on


def test_the_table_says_where_with_what_and_for_whom(tmp_path: Path) -> None:
    found = telemetry(tmp_path, TABLE, OTLP_TOKEN="t-1")

    headers = {"x-key": "t-1", "x-other": "${NOT_SET}"}
    files = (tmp_path / "home" / "certs" / "ca.pem", None, None)
    assert found.traces == OtlpTarget("https://otel.example.org/v1/traces", headers, *files)
    assert (found.metrics, found.environment, found.with_content) == (None, "staging", True)
    assert (found.span_attributes, found.is_asked_for) == ({"team": "core"}, True)


def test_a_variable_wins_and_the_tables_secrets_stay_at_home(tmp_path: Path) -> None:
    found = telemetry(tmp_path, TABLE, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318/")

    assert found.traces == OtlpTarget("http://127.0.0.1:4318/v1/traces")
    assert found.metrics == OtlpTarget("http://127.0.0.1:4318/v1/metrics")


def test_a_signals_own_variable_is_the_whole_address(tmp_path: Path) -> None:
    found = telemetry(tmp_path, "", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:9/in")

    assert (found.traces, found.metrics, found.is_asked_for) == (OtlpTarget("http://127.0.0.1:9/in"), None, False)
    asked = telemetry(tmp_path, "", OTEL_TRACES_EXPORTER="otlp")
    assert (asked.traces, asked.is_asked_for) == (OtlpTarget("http://localhost:4318/v1/traces"), True)


def test_grpc_is_as_good_and_its_endpoint_has_no_path(tmp_path: Path) -> None:
    table = '[otel.trace_exporter.otlp-grpc]\nendpoint = "http://h:4317"\nheaders = { "X-Key" = "${K}" }\n'
    named = telemetry(tmp_path, table, K="k")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    found = telemetry(tmp_path, "", **variables)

    assert named.traces == OtlpTarget("http://h:4317", {"X-Key": "k"}, is_grpc=True)
    assert found.traces == found.metrics == found.logs == OtlpTarget("http://h:4317", is_grpc=True)
    assert (found.needs_grpc, found.without_grpc().is_on) == (True, False)


def test_log_records_go_where_exporter_says(tmp_path: Path) -> None:
    table = '[otel.exporter.otlp-http]\nendpoint = "http://h:4318/v1/logs"\nprotocol = "binary"\n'
    found = telemetry(tmp_path, table)

    assert (found.logs, found.traces, found.is_asked_for) == (OtlpTarget("http://h:4318/v1/logs"), None, True)
    assert telemetry(tmp_path, table, OTEL_LOGS_EXPORTER="none").logs is None


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_a_variable_switches_it_off(tmp_path: Path, off: dict[str, str]) -> None:
    assert not telemetry(tmp_path, TABLE, **off).is_on


@pytest.mark.parametrize(
    ("text", "variables", "said"),
    [
        ("", {"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin is not used"),
        (TABLE.replace("binary", "json"), {}, "the binary form is sent"),
        ('[otel]\nheaders_helper = "get-token"\n', {}, "a headers_helper is not run"),
    ],
)
def test_what_is_not_done_as_asked_is_said(tmp_path: Path, text: str, variables: dict[str, str], said: str) -> None:
    settings = load(tmp_path, text, **variables)

    assert [notice for notice in settings.notices if said in notice], settings.notices


def test_a_provider_is_named_as_the_conventions_do() -> None:
    azure = ProviderSettings("mine", "Mine", "https://x.openai.azure.com/openai/v1")
    local = ProviderSettings("local", "Local", "http://127.0.0.1/v1")

    assert provider_name({"mine": azure}, "mine") == "azure.ai.openai"
    assert provider_name({"local": local}, "local") == "local"
    assert provider_name({}, "openai") == "openai"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", TerminalNotices(NOTICES)),
        ("[tui]\nnotifications = false\n", TerminalNotices(())),
        ('[tui]\nnotifications = true\nnotification_method = "osc9"\n', TerminalNotices(NOTICES, "osc9")),
        ('[tui]\nnotifications = ["approval-requested"]\n', TerminalNotices(("needs-you",))),
        ('[tui]\nnotifications = ["agent-turn-complete", "stalled"]\n', TerminalNotices(("finished", "stalled"))),
    ],
)
def test_codexs_table_says_what_the_terminal_tells(tmp_path: Path, text: str, expected: TerminalNotices) -> None:
    assert load(tmp_path, text).terminal_notices == expected


def test_the_address_of_a_webhook_may_be_a_variables(tmp_path: Path) -> None:
    text = '[codexteam.notifications]\nwebhook = "https://a.example.org"\nwebhook_env_var = "HOOK"\n'
    found = load(tmp_path, text).team.notifications

    assert found.webhook_url({}) == "https://a.example.org"
    assert found.webhook_url({"HOOK": "https://b.example.org"}) == "https://b.example.org"
