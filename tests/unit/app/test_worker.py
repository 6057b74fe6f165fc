"""What of a run's settings goes to workers of a cluster."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.app.doctor import examine
from codexteam.app.doctor_check import Status
from codexteam.app.worker_surroundings import surroundings_of
from codexteam.config.request import LoadRequest
from codexteam.config.settings import ProviderSettings, Settings
from codexteam.errors import ConfigError, SandboxUnavailable
from tests.unit.run.test_agents import settings_in

_PROVIDER = ProviderSettings("own", "Own", "https://model.example/v1", api_key_variable="OWN_KEY")


def _settings(folder: Path, provider: ProviderSettings) -> Settings:
    settings = settings_in(folder)
    roles = {
        name: replace(role, model=replace(role.model, provider_id=provider.id)) for name, role in settings.roles.items()
    }
    return replace(settings, providers={**settings.providers, provider.id: provider}, roles=roles)


def test_no_key_of_a_file_is_sent(tmp_path: Path) -> None:
    provider = replace(_PROVIDER, bearer_token="of-the-file-1234", http_headers={"X-Team": "blue"})
    sent = surroundings_of(_settings(tmp_path, provider), "docker")
    assert sent.providers == {"own": replace(provider, bearer_token=None)}
    assert b"of-the-file-1234" not in pickle.dumps(sent)


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (replace(_PROVIDER, api_key_variable=None, bearer_token="of-the-file-1234"), "stands in a file"),
        (replace(_PROVIDER, http_headers={"Authorization": "Basic abc"}), "header Authorization of model provider own"),
        (replace(_PROVIDER, replay_file=Path("calls.jsonl")), "on this machine alone"),
    ],
)
def test_a_key_that_workers_could_not_have_is_refused(tmp_path: Path, provider: ProviderSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        surroundings_of(_settings(tmp_path, provider), "docker")
    assert raised.value.hint


async def test_a_cluster_without_tokens_is_not_joined() -> None:
    from codexteam.adapters.ray_cluster.cluster import RayWorkers

    with pytest.raises(SandboxUnavailable, match="token authentication is not on") as raised:
        await RayWorkers.connect("auto", {}, entry="codexteam.app.worker", version="1")
    assert "RAY_AUTH_MODE=token" in raised.value.hint


def test_doctor_says_what_keeps_a_run_from_its_cluster(tmp_path: Path) -> None:
    def found(text: str, **environment: str) -> list[tuple[Status, str]]:
        (tmp_path / "config.toml").write_text(text)
        request = LoadRequest(
            tmp_path,
            {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path), **environment},
            system_folder=tmp_path / "none",
        )
        return [(check.status, check.found) for check in examine(request).checks if check.name == "ray"]

    ray = '[codexteam.executor]\nkind = "ray"\n'
    assert found("") == []
    [(status, said)] = found(ray)
    assert (status, "token authentication is not on" in said) == (Status.FAIL, True)
    provider = (
        'model_provider = "own"\n[model_providers.own]\nname = "Own"\nbase_url = "http://127.0.0.1:9/v1"\n'
        'experimental_bearer_token = "of-the-file-1234"\n'
    )
    [(status, said)] = found(provider + ray)
    assert (status, "stands in a file" in said) == (Status.FAIL, True)
