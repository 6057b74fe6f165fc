"""The name of an environment changes with what decides its contents, and with nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from codexteam.environment.key import environment_key
from codexteam.environment.plan import SetupPlan
from tests.support_repositories import plan_of

PROJECT = "[project]\nname = 'x'\n[build-system]\nrequires = ['hatchling']\n"
FILES = {"pyproject.toml": PROJECT, "uv.lock": "version = 1\n", "README.md": "one"}


def key(
    files: dict[str, str], plan: SetupPlan | None = None, *, base: str = "image", registries: tuple[str, ...] = ()
) -> str:
    texts = {path: text.encode() for path, text in files.items()}
    return environment_key(plan or plan_of(files), texts.get, base=base, platform="linux x86_64", registries=registries)


def test_the_same_contents_have_the_same_name() -> None:
    assert key(FILES) == key(dict(reversed(FILES.items())))
    assert key(FILES) == key({**FILES, "README.md": "two", "src/x.py": ""})


@pytest.mark.parametrize("path", ["uv.lock", "pyproject.toml"])
def test_a_changed_lock_file_or_manifest_has_another_name(path: str) -> None:
    assert key(FILES) != key({**FILES, path: FILES[path] + "# x\n"})


def test_base_and_registries_count() -> None:
    assert len({key(FILES), key(FILES, base="other"), key(FILES, registries=("PIP_INDEX_URL=x",))}) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: replace(plan, user="other"),
        lambda plan: replace(plan, needs=replace(plan.needs, variables={"A": "b"})),
        lambda plan: replace(plan, needs=replace(plan.needs, system_packages=("jq",))),
        lambda plan: replace(plan, needs=replace(plan.needs, steps=plan.needs.steps[1:])),
    ],
    ids=["user", "variables", "packages", "steps"],
)
def test_what_changes_the_result_counts(change: Callable[[SetupPlan], SetupPlan]) -> None:
    plan = plan_of(FILES)
    assert key(FILES, plan) != key(FILES, change(plan))


def test_reasons_notices_and_tests_do_not_count() -> None:
    plan = plan_of(FILES)
    other = replace(plan, sources=(), needs=replace(plan.needs, notices=("x",), test_commands=()))
    assert key(FILES, plan) == key(FILES, other)
