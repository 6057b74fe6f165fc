"""Which image a repository gets, and why: a table."""

import json

import pytest

from codexteam.adapters.sandbox.docker.hardening import memory_shares, sandbox_name, split_environment
from codexteam.adapters.sandbox.docker.image_selection import Built, ImageChoice, Pulled, choose
from codexteam.config.settings import SandboxLimits, SandboxSettings
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.environment.documents import without_comments
from codexteam.environment.repository_view import RepositoryView
from codexteam.environment.toolchains import node_fits
from codexteam.errors import ConfigError


def chosen(
    files: dict[str, str], *, trusted: bool = True, environment: dict[str, str] | None = None, **settings: str
) -> ImageChoice:
    found = SandboxSettings(**settings)  # type: ignore[arg-type]  # only texts are used here
    view = RepositoryView(lambda path: files[path].encode() if path in files else None, sorted(files))
    return choose(found, view, trusted=trusted, environment=environment)


@pytest.mark.parametrize(
    ("files", "image"),
    [
        ({}, "buildpack-deps:bookworm-scm"),
        ({"calc.py": ""}, "python:3.12-bookworm"),
        ({"calc.py": "", "Makefile": "", "docs/a.md": ""}, "python:3.12-bookworm"),
        ({"src/a.ts": "", "src/b.js": "", "tool.py": ""}, "node:22-bookworm"),
        ({"main.c": "", "Makefile": ""}, "buildpack-deps:bookworm"),
        ({"Makefile": ""}, "buildpack-deps:bookworm"),
        ({"pyproject.toml": ""}, "python:3.12-bookworm"),
        ({"setup.py": "", ".python-version": "3.11.4\n"}, "python:3.11-bookworm"),
        ({"requirements.txt": "", ".python-version": "pypy\n"}, "python:3.12-bookworm"),
        ({"package.json": "{}"}, "node:22-bookworm"),
        ({"package.json": "{}", ".nvmrc": "v20.11.0\n"}, "node:20-bookworm"),
        ({"mix.exs": ""}, "elixir:1.18"),
        (
            {"setup.py": "", ".github/workflows/ci.yml": '        with: {python-version: "3.11"}\n'},
            "python:3.11-bookworm",
        ),
        ({"mix.exs": "", ".tool-versions": "elixir 1.17.3-otp-27\n"}, "elixir:1.17"),
        ({"mix.exs": "", ".tool-versions": "elixir 1.17.3\n"}, "elixir:1.17"),
        ({"Makefile.PL": ""}, "perl:5.40-bookworm"),
        ({"CMakeLists.txt": ""}, "buildpack-deps:bookworm"),
        ({"package.json": "{}", "Makefile": ""}, "node:22-bookworm"),
        ({"go.mod": "module x\n\ngo 1.23.1\n"}, "golang:1.24-bookworm"),
        ({"go.mod": "module x\n\ngo 1.26\n"}, "golang:1.26-bookworm"),
        ({"go.mod": "module x\n\ngo 1.22\n\ntoolchain go1.23.4\n"}, "golang:1.23-bookworm"),
        ({"go.work": "go 1.25\n", "go.mod": "module x\n\ngo 1.22\n"}, "golang:1.25-bookworm"),
        (
            {"go.mod": "go 1.21\n", ".github/workflows/ci.yml": "        go-version: ['1.22', '1.23.x']\n"},
            "golang:1.23-bookworm",
        ),
        (
            {"go.mod": "go 1.24\n", ".github/workflows/ci.yml": "go-version:\n  - 1.22\n  - '1.23'\n"},
            "golang:1.24-bookworm",
        ),
        ({"go.mod": "go 1.21\n", ".tool-versions": "golang 1.22.5\n"}, "golang:1.22-bookworm"),
        ({"setup.py": "", ".python-version": "my-env2\n"}, "python:3.12-bookworm"),
        ({"setup.py": "", ".python-version": "# ours\nmy-env2\n3.10.4\n"}, "python:3.10-bookworm"),
        ({"setup.py": "", ".tool-versions": "nodejs 20\npython 3.11.4 3.10\n"}, "python:3.11-bookworm"),
        ({"setup.py": "", "mise.toml": '[tools]\npython = "3.13"\n'}, "python:3.13-bookworm"),
        ({"setup.py": "", ".mise.toml": '[tools]\npython = ["3.11", "3.10"]\n'}, "python:3.11-bookworm"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.9"\n'}, "python:3.12-bookworm"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.13"\n'}, "python:3.13-bookworm"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.8,<3.11"\n'}, "python:3.10-bookworm"),
        ({"pyproject.toml": '[project]\nrequires-python = "~=3.9.2"\n'}, "python:3.9-bookworm"),
        (
            {
                "pyproject.toml": '[project]\nrequires-python = ">=3.9"\nclassifiers = '
                '["Programming Language :: Python :: 3.9", "Programming Language :: Python :: 3.10"]\n'
            },
            "python:3.10-bookworm",
        ),
        (
            {
                "pyproject.toml": '[project]\nrequires-python = ">=3.9"\n',
                ".github/workflows/ci.yml": '    python-version: ["3.9", "3.11", "pypy3.10", "3.11-dev"]\n',
            },
            "python:3.11-bookworm",
        ),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.10"\n'}, "python:3.12-bookworm"),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "~3.10"\n'}, "python:3.10-bookworm"),
        ({"setup.cfg": "[options]\npython_requires = >=3.13\n"}, "python:3.13-bookworm"),
        ({"Pipfile": '[requires]\npython_version = "3.11"\n'}, "python:3.11-bookworm"),
        ({"requirements.txt": "", "runtime.txt": "python-3.9.18\n"}, "python:3.9-bookworm"),
        ({"pyproject.toml": "[" * 3000}, "python:3.12-bookworm"),
        ({"package.json": '{"engines": {"node": ">=18"}}'}, "node:22-bookworm"),
        ({"package.json": '{"engines": {"node": ">=18 <21"}}'}, "node:20-bookworm"),
        ({"package.json": '{"engines": {"node": "^18.12.0 || ^20.9.0"}}'}, "node:20-bookworm"),
        ({"package.json": '{"engines": {"node": "18.x"}}'}, "node:18-bookworm"),
        ({"package.json": '{"engines": {"node": ">=24"}}'}, "node:24-bookworm"),
        ({"package.json": '{"engines": {"node": "~21.1"}}'}, "node:21-bookworm"),
        ({"package.json": '{"volta": {"node": "20.1.0"}}'}, "node:20-bookworm"),
        ({"package.json": "[" * 100_000}, "node:22-bookworm"),
        ({"package.json": "{}", ".nvmrc": "lts/iron\n"}, "node:20-bookworm"),
        ({"package.json": "{}", ".nvmrc": "lts/*\n"}, "node:22-bookworm"),
        ({"package.json": "{}", ".nvmrc": "node\n"}, "node:22-bookworm"),
        ({"package.json": "{}", ".node-version": "20\n"}, "node:20-bookworm"),
        ({"package.json": "{}", ".tool-versions": "nodejs 18.19.0\n"}, "node:18-bookworm"),
        ({"package.json": "{}", ".github/workflows/t.yaml": "  node-version: 18\n"}, "node:18-bookworm"),
        ({"global.json": '{"sdk": {"version": "9.0.100-rc.1"}}'}, "mcr.microsoft.com/dotnet/sdk:9.0"),
        ({"App.sln": ""}, "mcr.microsoft.com/dotnet/sdk:8.0"),
        ({"Gemfile": 'ruby "~> 3.2"\n'}, "ruby:3.2-bookworm"),
        ({"Gemfile": "", ".ruby-version": "ruby-3.3.1\n"}, "ruby:3.3-bookworm"),
        ({"pom.xml": "<maven.compiler.release>17</maven.compiler.release>"}, "maven:3-eclipse-temurin-17"),
        ({"build.gradle.kts": "", ".tool-versions": "java temurin-17.0.9+9\n"}, "gradle:8-jdk17"),
        ({"go.mod": "module x\n"}, "golang:1.24-bookworm"),
        ({"Cargo.toml": ""}, "rust:1.87-bookworm"),
        ({"Cargo.toml": "", "rust-toolchain.toml": '[toolchain]\nchannel = "1.80.0"\n'}, "rust:1.80-bookworm"),
        ({"Cargo.toml": "", "rust-toolchain.toml": "nonsense ["}, "rust:1.87-bookworm"),
        (
            {"Cargo.toml": "", "rust-toolchain.toml": '[toolchain]\nchannel = "nightly-2025-05-01"\n'},
            "rust:1.87-bookworm",
        ),
        ({"Cargo.toml": "", "rust-toolchain": "1.79\n"}, "rust:1.79-bookworm"),
        ({"Cargo.toml": '[package]\nrust-version = "1.90"\n'}, "rust:1.90-bookworm"),
        ({"Cargo.toml": '[package]\nrust-version = "1.70"\n'}, "rust:1.87-bookworm"),
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


def test_a_devcontainer_comes_before_the_dockerfile() -> None:
    found = chosen({".devcontainer/devcontainer.json": DEVCONTAINER, "Dockerfile": ""}, dockerfile="Dockerfile")
    assert isinstance(found, Pulled)
    assert found.reference == "mcr.example/dev:1"
    assert found.notices == (".devcontainer/devcontainer.json: features not used",)


def test_a_devcontainer_may_have_comments() -> None:
    assert json.loads(without_comments(DEVCONTAINER))["url"] == "http://kept//kept"


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
    ("devcontainer", "named"),
    [
        ({"image": "base", "features": {"ghcr.io/devcontainers/features/go:1": {}}}, "features"),
        ({"dockerComposeFile": "compose.yml", "service": "app"}, "dockerComposeFile"),
        ({"dockerComposeFile": ["a.yml"], "service": "app", "image": "base"}, "dockerComposeFile"),
        ({"image": "ghcr.io/${localEnv:OWNER}/dev"}, "${localEnv:OWNER}"),
        ({"name": "only a name", "mounts": ["a"]}, "mounts"),
    ],
)
def test_a_devcontainer_without_tools_yields_to_the_languages_image(
    devcontainer: dict[str, object], named: str
) -> None:
    found = chosen({".devcontainer/devcontainer.json": json.dumps(devcontainer), "go.mod": "go 1.22\n"})
    assert isinstance(found, Pulled)
    assert found.reference == "golang:1.24-bookworm"
    assert any(named in notice for notice in found.notices)
    assert any("is not used: " in notice for notice in found.notices)


def test_what_a_devcontainer_asks_is_named_and_its_image_used() -> None:
    text = json.dumps(
        {
            "image": "dev:1",
            "runArgs": ["--gpus=all"],
            "mounts": ["x"],
            "postCreateCommand": "make deps",
            "features": {"ghcr.io/devcontainers/features/git:1": {}},
            "privileged": False,
        }
    )
    found = chosen({".devcontainer.json": text, "go.mod": ""})
    assert found == Pulled(
        "dev:1", ".devcontainer.json", (".devcontainer.json: features, runArgs, mounts, postCreateCommand not used",)
    )


def test_the_only_devcontainer_in_a_folder_is_seen_and_of_several_none() -> None:
    one = {".devcontainer/backend/devcontainer.json": '{"image": "dev:1"}'}
    assert chosen(one).reason == ".devcontainer/backend/devcontainer.json"
    found = chosen({**one, ".devcontainer/web/devcontainer.json": '{"image": "dev:2"}', "go.mod": ""})
    assert isinstance(found, Pulled)
    assert found.reference.startswith("golang:")
    assert "backend/devcontainer.json, .devcontainer/web/devcontainer.json: none of these is used" in found.notices[0]


def test_variables_of_the_user_are_resolved_where_the_user_passes_them_on() -> None:
    text = (
        '{"build": {"dockerfile": "${localEnv:FILE:Dockerfile}", "args": {"V": "${localEnv:V}", "W": "${localEnv:W}"}}}'
    )
    found = chosen({".devcontainer.json": text}, environment={"V": "3"})
    assert isinstance(found, Built)
    assert found.dockerfile == "Dockerfile"
    assert found.arguments == (("V", "3"),)
    assert any("${localEnv:FILE} is not passed on, so it is its default 'Dockerfile'" in each for each in found.notices)
    assert any("${localEnv:W} is not passed on" in each for each in found.notices)


@pytest.mark.parametrize("channel", ["nightly-2025-05-01", "beta", "nightly", "1.80.0-beta.3", "my-toolchain2"])
def test_a_channel_is_no_version_and_is_said(channel: str) -> None:
    found = chosen({"Cargo.toml": "", "rust-toolchain.toml": f'[toolchain]\nchannel = "{channel}"\n'})
    assert isinstance(found, Pulled)
    assert found.reference == "rust:1.87-bookworm"
    assert channel in found.notices[0]


@pytest.mark.parametrize(
    ("text", "majors"),
    [
        ("*", {18, 20, 22}), ("", {18, 20, 22}), (">=20", {20, 22}), (">= 18.0.0 < 22", {18, 20}), ("18 || 22", {18, 22}),
        ("18 - 20", {18, 20}), ("^20.1.0", {20}), (">18", {20, 22}), ("<=20", {18, 20}), ("<=20.1.0", {18}), ("v20.x", {20}),
    ],
)  # fmt: skip
def test_an_npm_range_holds_the_newest_of_a_major_version(text: str, majors: set[int]) -> None:
    assert {major for major in (18, 20, 22) if node_fits(text, major)} == majors


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"build": {"dockerfile": "../../x"}}',
        '{"build": {"dockerfile": "/etc/x"}}',
    ],
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
