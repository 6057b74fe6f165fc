"""CI files of other services: which job runs the tests, what it needs, and what is said of the rest."""

import pytest

from tests.support_repositories import commands, gates, plan_of

PROJECT = "[project]\nname = 'x'\nversion = '1'\n[build-system]\nrequires = ['hatchling']\n"
PYTHON = {"pyproject.toml": PROJECT, "tests/test_it.py": ""}
GITLAB = """
image: python:3.12
variables: {MODE: {value: quick, description: which tests}, DB_IMAGE: "postgres:15"}
include: [{local: /ci/shared.yml}, {remote: "https://example.org/x.yml"}]
.base:
  before_script:
    - apt-get update && apt-get install -y libfoo-dev
    - python tools/generate.py
lint: {stage: lint, script: [pytest --lint]}
unit:
  extends: [.base, .shared]
  stage: test
  services: [{name: $DB_IMAGE, alias: db, variables: {POSTGRES_PASSWORD: x}}]
  script:
    - !reference [.base, before_script]
    - pip install -e .
    - pytest -q --mode $MODE
release: {stage: deploy, only: [tags], script: [pytest --release]}
"""
TRAVIS = """
language: python
python: ["3.11"]
services: [redis-server]
addons: {apt: {packages: [libbar-dev]}}
env: {global: [MODE=quick]}
install: [pip install -r requirements.txt, python tools/generate.py]
script: [pytest -q]
"""
CIRCLE = """
version: 2.1
orbs: {python: circleci/python@2}
executors: {box: {docker: [{image: "cimg/python:3.12", environment: {MODE: quick}}, {image: "postgres:15", name: db}]}}
commands:
  tools: {parameters: {name: {default: generate}}, steps: [{run: "python tools/<< parameters.name >>.py"}]}
jobs:
  lint: {executor: box, steps: [checkout, {run: pytest --lint}]}
  test:
    executor: {name: box}
    steps:
      - checkout
      - python/install-packages
      - tools
      - run: {command: pytest -q, working_directory: ~/project}
"""


@pytest.mark.parametrize(
    ("path", "text", "gate", "package"),
    [
        (".gitlab-ci.yml", GITLAB, "env DB_IMAGE=postgres:15 MODE=quick pytest -q --mode $MODE", "libfoo-dev"),
        (".travis.yml", TRAVIS, "env MODE=quick pytest -q", "libbar-dev"),
        (".circleci/config.yml", CIRCLE, "env MODE=quick pytest -q", ""),
    ],
)
def test_the_job_that_runs_tests_is_read(path: str, text: str, gate: str, package: str) -> None:
    plan = plan_of({**PYTHON, path: text, "ci/shared.yml": ".shared: {tags: [x]}"})
    assert gate in gates(plan)
    assert "python tools/generate.py" in commands(plan)
    assert (package in plan.needs.system_packages) is bool(package)
    assert any(source.used and source.where.startswith(path) for source in plan.sources)


def test_services_and_images_have_their_variables_written_out() -> None:
    plan = plan_of({**PYTHON, ".gitlab-ci.yml": GITLAB})
    (service,) = plan.needs.services
    assert (service.name, service.image, service.environment) == ("db", "postgres:15", {"POSTGRES_PASSWORD": "x"})
    assert plan.image == "python:3.12"
    (service,) = plan_of({**PYTHON, ".circleci/config.yml": CIRCLE}).needs.services
    assert (service.name, service.image) == ("db", "postgres:15")


def test_what_comes_from_elsewhere_is_said() -> None:
    plan = plan_of({**PYTHON, ".gitlab-ci.yml": GITLAB})
    assert any("what it includes from elsewhere is not read" in line for line in plan.needs.notices)
    plan = plan_of({**PYTHON, ".circleci/config.yml": CIRCLE})
    assert any("python/install-packages of an orb is left out" in line for line in plan.needs.notices)


def test_a_workflow_that_runs_tests_counts_over_other_services() -> None:
    workflow = "on: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps: [{run: pytest -x}]\n"
    plan = plan_of({**PYTHON, ".github/workflows/ci.yml": workflow, ".gitlab-ci.yml": GITLAB})
    assert gates(plan)[0] == "pytest -x"
    assert not plan.image


def test_a_service_whose_files_are_not_read_is_named() -> None:
    plan = plan_of({**PYTHON, "azure-pipelines.yml": "jobs: []"})
    assert [(s.where, s.used) for s in plan.sources if "azure" in s.where] == [("azure-pipelines.yml", False)]


@pytest.mark.parametrize("path", [".gitlab-ci.yml", ".travis.yml", ".circleci/config.yml"])
@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "jobs: 3",
        "jobs: {test: {steps: [3, {run: null}, {run: {command: []}}]}}",
        "test: {script: 3, services: [null, 3], extends: test}",
        "script: {a: b}\nenv: 3\nservices: {x: y}",
        "a: &a [*a]",
        "commands: {x: {steps: [x]}}\njobs: {test: {steps: [x, {x: 3}], docker: 3}}",
        "x: {script: [[[[[[[[[[[pytest]]]]]]]]]]]}\ninclude: {local: 3}",
    ],
)
def test_a_file_of_any_shape_is_read_without_an_error(path: str, text: str) -> None:
    assert plan_of({**PYTHON, path: text}).needs.steps
