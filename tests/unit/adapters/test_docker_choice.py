"""Which image a repository gets, and why: a table."""

import json

import pytest

from codexteam.adapters.docker.choice import Built, Choice, Pulled, choose, strip_comments
from codexteam.adapters.docker.hardening import memory_shares, split_environment
from codexteam.adapters.docker.naming import sandbox_name
from codexteam.config.settings import SandboxLimits, SandboxSettings
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.errors import ConfigError


def chosen(files: dict[str, str], *, trusted: bool = True, **settings: str) -> Choice:
    found = SandboxSettings(**settings)  # type: ignore[arg-type]  # only texts are used here
    return choose(found, lambda path: files[path].encode() if path in files else None, trusted=trusted)


@pytest.mark.parametrize(
    ("files", "image"),
    [
        ({}, "buildpack-deps:bookworm-scm"),
        ({"pyproject.toml": ""}, "python:3.12-bookworm"),
        ({"setup.py": "", ".python-version": "3.11.4\n"}, "python:3.11-bookworm"),
        ({"requirements.txt": "", ".python-version": "pypy\n"}, "python:3.12-bookworm"),
        ({"package.json": "{}"}, "node:22-bookworm"),
        ({"package.json": "{}", ".nvmrc": "v20.11.0\n"}, "node:20-bookworm"),
        ({"go.mod": "module x\n\ngo 1.23.1\n"}, "golang:1.23-bookworm"),
        ({"go.mod": "module x\n"}, "golang:1.24-bookworm"),
        ({"Cargo.toml": ""}, "rust:1.87-bookworm"),
        ({"Cargo.toml": "", "rust-toolchain.toml": '[toolchain]\nchannel = "1.80.0"\n'}, "rust:1.80-bookworm"),
        ({"Cargo.toml": "", "rust-toolchain.toml": "nonsense ["}, "rust:1.87-bookworm"),
        ({"Gemfile": ""}, "ruby:3.4-bookworm"),
        ({"pom.xml": ""}, "maven:3-eclipse-temurin-21"),
    ],
)
def test_without_configuration_the_language_decides(files: dict[str, str], image: str) -> None:
    found = chosen(files)
    assert isinstance(found, Pulled)
    assert found.reference == image
    assert found.reason


def test_a_second_language_is_said() -> None:
    found = chosen({"pyproject.toml": "", "setup.py": "", "package.json": "{}"})
    assert "package.json also there" in found.reason
    assert "setup.py" not in found.reason


def test_the_configured_image_comes_first() -> None:
    files = {".devcontainer.json": '{"image": "other"}', "Dockerfile": ""}
    assert chosen(files, image="mine:1", dockerfile="Dockerfile") == Pulled("mine:1", "[codexteam.sandbox] image")


DEVCONTAINER = """// a comment with "quotes"
{
  /* and
     one more */ "image": "mcr.example/dev:1", // http://not-a-comment
  "features": {"ghcr.io/x": {}},
  "url": "http://kept//kept",
}
"""


def test_a_devcontainer_comes_before_the_dockerfile_and_may_have_comments() -> None:
    found = chosen({".devcontainer/devcontainer.json": DEVCONTAINER, "Dockerfile": ""}, dockerfile="Dockerfile")
    assert isinstance(found, Pulled)
    assert found.reference == "mcr.example/dev:1"
    assert found.notices == (".devcontainer/devcontainer.json: features not used",)
    assert json.loads(strip_comments(DEVCONTAINER))["url"] == "http://kept//kept"


def test_a_devcontainers_dockerfile_is_relative_to_it() -> None:
    text = '{"build": {"dockerfile": "Dockerfile.dev", "context": "..", "args": {"A": 1}, "target": "dev"}}'
    found = chosen({".devcontainer/devcontainer.json": text})
    assert found == Built(
        ".devcontainer/Dockerfile.dev", "", ".devcontainer/devcontainer.json", "dev", (("A", "1"),), ()
    )


def test_a_devcontainer_of_an_untrusted_project_is_not_used() -> None:
    found = chosen({".devcontainer.json": '{"image": "evil"}', "go.mod": ""}, trusted=False)
    assert isinstance(found, Pulled)
    assert found.reference.startswith("golang:")
    assert "not trusted" in found.notices[0]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"build": {"dockerfile": "../../x"}}', '{"build": {"dockerfile": "/etc/x"}}']
)
def test_a_devcontainer_that_cannot_be_used_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="devcontainer"):
        chosen({".devcontainer/devcontainer.json": text})


def test_a_missing_dockerfile_is_an_error() -> None:
    with pytest.raises(ConfigError, match="there is no docker/x"):
        chosen({}, dockerfile="docker/x")


def test_an_images_environment_is_sorted() -> None:
    container, commands = split_environment(
        ["PATH=/opt/go/bin:/usr/bin", "GOPATH=/go", "LD_PRELOAD=/evil.so", "OPENAI_BASE_URL=http://evil", "MY_TOKEN=x"]
    )
    assert commands == {"PATH": "/opt/go/bin:/usr/bin", "GOPATH": "/go"}
    emptied = {name for name, value in container.items() if not value}
    assert emptied == {"GOPATH", "LD_PRELOAD", "OPENAI_BASE_URL", "MY_TOKEN"}
    assert set(container) - emptied == {"PATH", "LANG"}


@pytest.mark.parametrize("memory", [128 << 20, 512 << 20, 4 << 30])
def test_what_lies_in_memory_leaves_room_to_run(memory: int) -> None:
    limits = SandboxLimits(memory_bytes=memory, workspace_bytes=8 << 30, tmp_bytes=1 << 30)
    assert sum(memory_shares(limits)) <= max(memory - (320 << 20), memory // 2)
    assert min(memory_shares(limits)) > 0


def test_names_are_computed_and_differ() -> None:
    def name(role: str) -> str:
        return sandbox_name(AgentKey(RunId("20261121-0231-7f3a"), role, Purpose.IMPLEMENT, "T3", 2))

    assert name("implementer") == "codexteam-20261121-0231-7f3a-implementer-implement-T3-2"
    assert name("a b") != name("a_b")
    assert name("a b") != name("a/b")
