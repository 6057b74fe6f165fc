"""What sets several repositories up that lie side by side in one checkout."""

from codexteam.environment.detection import DetectionInput
from codexteam.environment.gate_choice import gate_groups
from codexteam.environment.plan import TestCommand
from codexteam.environment.several import detect_in_each
from tests.support_repositories import repository

CI = "on: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps: [{run: python3 -m unittest -q}]\n"
FILES = {
    "api/.github/workflows/ci.yml": CI,
    "api/prices.py": "",
    "tools/package.json": '{"name": "x", "scripts": {"test": "node --test"}}',
    "tools/package-lock.json": '{"lockfileVersion": 3, "packages": {}}',
    "docker/setup.sh": "",
}


def test_each_repository_is_examined_as_if_it_were_alone() -> None:
    (plan,) = detect_in_each(repository(FILES), DetectionInput(touched=("api/prices.py",)), ("api", "tools"))

    tests = {(each.folder, each.command, each.source.split()[0]) for each in plan.needs.test_commands}
    assert ("api", "python3 -m unittest -q", "api/.github/workflows/ci.yml") in tests
    assert any(folder == "tools" for folder, _, _ in tests)
    folders = {step.folder for step in plan.needs.steps if step.reads}
    assert "tools" in folders
    assert all(path.split("/")[0] in {"api", "tools"} for step in plan.needs.steps for path in step.reads)


def test_a_script_of_the_users_sets_all_of_them_up() -> None:
    (plan,) = detect_in_each(repository(FILES), DetectionInput(setup="docker/setup.sh"), ("api", "tools"))

    assert [step.command for step in plan.needs.steps if not step.optional] == ["sh ./docker/setup.sh"]


def test_each_repository_has_gates_of_its_own() -> None:
    commands = [
        TestCommand("make test", "x", "api"),
        TestCommand("pytest", "x", "api"),
        TestCommand("make check", "x", "my web"),
        *(TestCommand(f"npm run {number}", "x", "my web/app") for number in range(2)),
    ]

    assert gate_groups(commands, ("api", "my web")) == (
        ("cd api && make test", "cd api && pytest"),
        ("cd 'my web' && make check", "cd 'my web' && cd app && npm run 0", "cd 'my web' && cd app && npm run 1"),
    )
