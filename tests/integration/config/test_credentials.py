"""Keys: which one is taken, and that none of them is ever shown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.config.display import effective_values
from codexteam.config.load import load_layers, load_settings
from codexteam.config.price_list import PLAN_CREDIT, price_list
from codexteam.config.request import LoadRequest
from codexteam.core.budget_amounts import CreditRule
from codexteam.errors import ConfigError


@pytest.fixture
def request_(tmp_path: Path) -> LoadRequest:
    (tmp_path / "home").mkdir()
    return LoadRequest(
        cwd=tmp_path,
        environment={"CODEX_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)},
        system_folder=tmp_path / "system",
    )


def key(request: LoadRequest, **environment: str) -> str | None:
    settings = load_settings(replace(request, environment={**request.environment, **environment}))
    return settings.providers["openai"].bearer_token


def auth(request: LoadRequest, content: object) -> Path:
    path = request.cwd / "home" / "auth.json"
    path.write_text(json.dumps(content))
    return path


def test_the_variable_beats_the_stored_key_and_that_beats_openais(request_: LoadRequest) -> None:
    assert key(request_) is None
    assert key(request_, OPENAI_API_KEY="sk-openai") == "sk-openai"
    auth(request_, {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-stored"})
    assert key(request_, OPENAI_API_KEY="sk-openai") == "sk-stored"
    assert key(request_, OPENAI_API_KEY="sk-openai", CODEX_API_KEY="sk-codex") == "sk-codex"


def test_what_codex_would_not_use_is_said(request_: LoadRequest) -> None:
    with_key = replace(request_, environment={**request_.environment, "OPENAI_API_KEY": "sk-openai"})
    assert any("OPENAI_API_KEY" in notice for notice in load_settings(with_key).notices)
    # who calls another provider need not hear of it
    other = replace(with_key, overrides=('model_providers.p={name="P",base_url="http://x"}', "model_provider=p"))
    assert not any("OPENAI_API_KEY" in notice for notice in load_settings(other).notices)


def test_a_chatgpt_login_is_known_as_one_and_no_key(request_: LoadRequest) -> None:
    path = auth(request_, {"auth_mode": "chatgpt", "tokens": {"access_token": "secret-token-value"}})
    settings = load_settings(request_)
    assert settings.providers["openai"].bearer_token is None
    assert settings.providers["openai"].chatgpt_login == path
    assert "secret-token-value" not in repr(settings)
    model = settings.roles["implementer"].model.model
    assert price_list(settings).get(model).credit == PLAN_CREDIT
    own = load_settings(replace(request_, overrides=('codexteam.budget.credit="2k-tokens"',)))
    assert price_list(own).get(model).credit == CreditRule(2_000)


def test_a_stored_key_behind_a_byte_order_mark_is_refused_as_in_codex(request_: LoadRequest) -> None:
    path = auth(request_, {"OPENAI_API_KEY": "sk-stored"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(ConfigError, match="not JSON"):
        load_settings(request_)


def test_a_broken_auth_json_is_an_error_that_quotes_nothing_of_it(request_: LoadRequest) -> None:
    path = request_.cwd / "home" / "auth.json"
    path.write_text('{"OPENAI_API_KEY": "sk-secret-value"')
    with pytest.raises(ConfigError) as caught:
        load_settings(request_)
    assert str(path) in str(caught.value)
    assert "sk-secret-value" not in f"{caught.value} {caught.value.hint}"


def test_a_providers_key_comes_from_the_variable_it_names(request_: LoadRequest) -> None:
    request = replace(
        request_,
        environment={**request_.environment, "MY_KEY": "sk-mine"},
        overrides=(
            'model_providers.p={name="P",base_url="http://x",env_key="MY_KEY",env_key_instructions="Ask Ada."}',
        ),
    )
    provider = load_settings(request).providers["p"]
    assert (provider.bearer_token, provider.api_key_variable, provider.api_key_help) == (
        "sk-mine",
        "MY_KEY",
        "Ask Ada.",
    )


def test_a_provider_that_wants_openais_login_gets_openais_key(request_: LoadRequest) -> None:
    request = replace(
        request_,
        environment={**request_.environment, "CODEX_API_KEY": "sk-codex"},
        overrides=(
            'model_providers.p={name="P",base_url="http://x",requires_openai_auth=true}',
            'model_providers.q={name="Q",base_url="http://x"}',
        ),
    )
    providers = load_settings(request).providers
    assert providers["p"].bearer_token == "sk-codex"
    assert providers["q"].bearer_token is None


def test_no_secret_is_in_what_is_shown(request_: LoadRequest) -> None:
    (request_.cwd / "home" / "config.toml").write_text(
        '[model_providers.p]\nname = "P"\nbase_url = "http://x"\nexperimental_bearer_token = "secret-1"\n'
        'http_headers = { X-Key = "secret-2" }\nquery_params = { key = "secret-3" }\n'
        '[mcp_servers.a]\ncommand = "x"\nenv = { TOKEN = "secret-4" }\n'
        '[mcp_servers.b]\nurl = "http://x"\nhttp_headers = { A = "secret-5" }\n'
        '[mcp_servers.b.oauth]\nclient_secret = "secret-6"\n'
    )
    request = replace(request_, environment={**request_.environment, "CODEX_API_KEY": "secret-7"})
    settings = load_settings(request)
    shown = effective_values(load_layers(request), settings)
    for text in (repr(settings.notices), repr(shown), repr(settings.mcp_servers)):
        assert "secret-" not in text
    for number in (1, 2, 7):
        assert f"secret-{number}" not in repr(settings.providers)
