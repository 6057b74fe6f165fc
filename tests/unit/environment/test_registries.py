"""Where set-ups find packages: public registries, and the user's mirrors."""

import pytest

from codexteam.environment.mirrors import read_registries
from codexteam.environment.plan import Ecosystem
from codexteam.environment.registries import registry_hosts


def test_hosts_are_those_of_the_ecosystems_that_were_found() -> None:
    assert registry_hosts([Ecosystem.RUBY]) == ("rubygems.org", "index.rubygems.org")
    assert "registry.npmjs.org" in registry_hosts([Ecosystem.NODE])
    assert "deb.debian.org" not in registry_hosts([Ecosystem.NODE])
    assert "deb.debian.org" in registry_hosts([Ecosystem.NODE], system_packages=True)
    assert registry_hosts([Ecosystem.OTHER]) == ()


def test_hosts_are_plain_names() -> None:
    for host in registry_hosts(Ecosystem, system_packages=True):
        assert not set(host) & set("/:*@ ")


PIP = "[global]\nindex-url = https://user:secret@pypi.corp.example/simple\nextra-index-url = https://b.example/s\n  file:///opt/more\n"


def test_uv_hears_what_pip_knows() -> None:
    found = read_registries({}, {".config/pip/pip.conf": PIP + "find-links = /opt/wheels\ntrusted-host = b.example\n"})
    assert found.variables["UV_DEFAULT_INDEX"] == "https://user:secret@pypi.corp.example/simple"
    assert found.variables["UV_INDEX"] == "https://b.example/s file:///opt/more"
    assert found.variables["UV_FIND_LINKS"] == "/opt/wheels"
    assert found.variables["UV_INSECURE_HOST"] == "b.example"
    assert found.hosts == ("pypi.corp.example", "b.example")
    assert set(found.folders) == {"/opt/more", "/opt/wheels"}


def test_a_registry_on_a_port_of_its_own_keeps_it() -> None:
    netrc = "machine pypi.corp.example login me password key1\n"
    variables = {"PIP_INDEX_URL": "http://pypi.corp.example:8081/simple", "GOPROXY": "https://go.example:443"}
    found = read_registries(variables, {".netrc": netrc, ".npmrc": "registry=http://127.0.0.1:4873/\n"})
    assert set(found.hosts) == {"pypi.corp.example:8081", "go.example", "127.0.0.1:4873"}
    assert found.secrets == {"netrc": netrc}


def test_the_environment_counts_over_files() -> None:
    found = read_registries({"PIP_INDEX_URL": "https://env.example/simple"}, {"/etc/pip.conf": PIP})
    assert found.variables["PIP_INDEX_URL"] == "https://env.example/simple"
    assert found.variables["UV_DEFAULT_INDEX"] == "https://env.example/simple"


def test_credentials_are_in_no_identity_and_in_no_text() -> None:
    variables = {
        "UV_INDEX_CORP_PASSWORD": "secret",
        "NPM_CONFIG_//npm.corp.example/:_authToken": "secret",
        "GOPROXY": "https://user:secret@go.example,direct",
        "COMPOSER_AUTH": "secret",
    }
    found = read_registries(variables, {"/etc/pip.conf": PIP})
    assert "secret" not in "".join(found.identity)
    assert "secret" not in repr(found)
    assert "go.example" in found.hosts
    assert found.variables["UV_INDEX_CORP_PASSWORD"] == "secret"


def test_npm_settings_are_taken_with_their_variables() -> None:
    text = "; comment\nregistry=https://npm.corp.example/\n//npm.corp.example/:_authToken=${TOKEN}\n@corp:registry=https://c.example/\nfund=false\n"
    found = read_registries({"TOKEN": "t"}, {".npmrc": text})
    assert found.variables["npm_config_registry"] == "https://npm.corp.example/"
    assert found.variables["npm_config_//npm.corp.example/:_authToken"] == "t"
    assert found.variables["YARN_NPM_REGISTRY_SERVER"] == "https://npm.corp.example/"
    assert set(found.hosts) == {"npm.corp.example", "c.example"}
    assert "npm_config_fund" not in found.variables


def test_cargo_sources_are_taken() -> None:
    text = (
        "[source.crates-io]\nreplace-with = 'mirror'\n[source.mirror]\nregistry = 'sparse+https://crates.corp.example/'\n"
        "[http]\ncainfo = '/etc/ca.pem'\n"
    )
    found = read_registries({}, {".cargo/config.toml": text})
    assert found.variables["CARGO_SOURCE_CRATES_IO_REPLACE_WITH"] == "mirror"
    assert found.hosts == ("crates.corp.example",)


def test_what_go_keeps_of_its_own_environment_counts() -> None:
    found = read_registries({}, {".config/go/env": "GOPROXY=https://go.corp.example\nGOFLAGS=-mod=mod\n"})
    assert dict(found.variables) == {"GOPROXY": "https://go.corp.example"}
    assert found.hosts == ("go.corp.example",)


def test_one_certificate_is_given_to_every_tool_and_is_visible() -> None:
    found = read_registries({"SSL_CERT_FILE": "/etc/corp.pem"}, {})
    for name in ("PIP_CERT", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "GIT_SSL_CAINFO"):
        assert found.variables[name] == "/etc/corp.pem"
    assert found.folders == ("/etc/corp.pem",)


def test_variables_that_are_not_about_registries_are_not_passed_on() -> None:
    assert not read_registries({"OPENAI_API_KEY": "x", "PATH": "/bin", "HOME": "/root", "PIP_USER": "1"}, {}).variables


@pytest.mark.parametrize("path", [".config/pip/pip.conf", ".config/uv/uv.toml", ".cargo/config.toml"])
def test_a_file_that_cannot_be_read_is_one_line(path: str) -> None:
    found = read_registries({}, {path: "[[[ broken\n= x"})
    assert len(found.notices) == 1
    assert path in found.notices[0]
    assert not found.variables


def test_a_netrc_is_handed_on_for_registries_alone() -> None:
    netrc = "machine pypi.corp.example login me password key1\nmachine code.example login me password key2\n"
    found = read_registries({"PIP_INDEX_URL": "https://pypi.corp.example/simple"}, {".netrc": netrc})
    assert found.secrets == {"netrc": "machine pypi.corp.example login me password key1\n"}
    assert found.variables["NETRC"] == "/run/secrets/netrc"
    assert "key1" not in f"{found} {found.identity}"
    assert not read_registries({}, {".netrc": netrc}).secrets


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        (".m2/settings.xml", "<mirror><url>https://jars.corp.example/all</url></mirror>", "maven-settings.xml"),
        (".nuget/NuGet/NuGet.Config", '<add key="a" value="https://jars.corp.example/v3" />', "nuget.config"),
    ],
)
def test_settings_that_only_a_file_can_hold_are_secrets_of_set_ups(path: str, text: str, name: str) -> None:
    found = read_registries({}, {path: text})
    assert found.secrets == {name: text}
    assert found.hosts == ("jars.corp.example",)


def test_yarns_and_cargos_own_files_are_taken() -> None:
    yarn = "npmRegistryServer: https://npm.corp.example\nnpmScopes: {a: {npmRegistryServer: https://b.example}}\n"
    found = read_registries({}, {".yarnrc.yml": yarn, ".cargo/credentials.toml": "[registries.corp]\ntoken = 'key'\n"})
    assert found.variables["YARN_NPM_REGISTRY_SERVER"] == "https://npm.corp.example"
    assert found.variables["CARGO_REGISTRIES_CORP_TOKEN"] == "key"
    assert found.hosts == ("npm.corp.example",)
    assert found.notices
