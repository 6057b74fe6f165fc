"""What is read from CI workflows: which job, its steps before the tests, its tests, and what it needs beside them."""

import pytest

from codexteam.environment.key import environment_key
from codexteam.environment.workflows.command_lines import CommandKind, as_gate, read_line, read_script
from tests.support_repositories import commands, documents, gates, plan_of

PROJECT = "[project]\nname = 'x'\nversion = '1'\n[build-system]\nrequires = ['hatchling']\n"
PACKAGE = '{"name": "x", "scripts": {"test": "node --test", "build": "tsc"}}'
CI = ".github/workflows/ci.yml"


def with_ci(job: str, *, top: str = "on: [push]\n", **files: str) -> dict[str, str]:
    """A Python project with one workflow whose one job is given."""
    return {"pyproject.toml": PROJECT, "tests/test_it.py": "", CI: f"{top}jobs:\n  test:\n{job}", **files}


STEPS = "    runs-on: ubuntu-latest\n    steps:\n"


def test_the_job_that_runs_tests_is_chosen_over_lint_docs_and_release() -> None:
    jobs = "".join(
        f"  {name}:\n    runs-on: ubuntu-latest\n    steps:\n      - run: {run}\n"
        for name, run in (
            ("lint", "pytest --lint"),
            ("docs", "pytest docs"),
            ("tests", "pytest -q"),
            ("publish", "pytest x"),
        )
    )
    plan = plan_of({"pyproject.toml": PROJECT, CI: f"on: [push, pull_request]\njobs:\n{jobs}"})
    assert gates(plan)[0] == "pytest -q"
    assert any(source.where == f"{CI} job tests" and source.used for source in plan.sources)


def test_a_workflow_on_a_schedule_does_not_beat_one_on_push() -> None:
    nightly = f"on:\n  schedule:\n    - cron: '0 0 * * *'\njobs:\n  test:\n{STEPS}      - run: pytest --nightly\n"
    plan = plan_of({**with_ci(f"{STEPS}      - run: pytest -q\n"), ".github/workflows/a.yml": nightly})
    assert gates(plan)[0] == "pytest -q"


def test_a_job_for_another_system_is_not_taken() -> None:
    plan = plan_of(with_ci("    runs-on: windows-latest\n    steps:\n      - run: pytest --windows\n"))
    assert "pytest --windows" not in gates(plan)


def test_a_job_that_takes_what_another_made_comes_after_one_that_does_not() -> None:
    jobs = (
        "  test-dist:\n    runs-on: ubuntu-latest\n    needs: [build]\n    steps:\n"
        "      - uses: actions/download-artifact@v4\n      - run: npm test\n"
        "  build:\n    runs-on: ubuntu-latest\n    steps:\n      - run: npm run test:all\n"
    )
    plan = plan_of({"package.json": PACKAGE, CI: f"on: [push]\njobs:\n{jobs}"})
    assert any(source.where == f"{CI} job build" for source in plan.sources)


def test_what_manifests_install_is_left_to_them_and_the_rest_is_kept() -> None:
    job = (
        f"{STEPS}      - run: |\n          python -m pip install -U pip\n          pip install -e .[test] extra-package\n"
        "      - run: python tools/generate.py\n      - run: ruff check .\n      - run: pytest\n      - run: echo after\n"
    )
    plan = plan_of(with_ci(job))
    text = commands(plan)
    assert "uv pip install -e '.[test]' extra-package" in text
    assert "python tools/generate.py" in text
    for absent in ("install -U pip", "ruff", "echo after"):
        assert absent not in text
    added = [step for step in plan.needs.steps if CI in step.source]
    assert all(step.optional and step.source.startswith(f"{CI} job test step") for step in added)


def test_system_packages_are_collected_by_name() -> None:
    job = f"{STEPS}      - run: sudo apt-get update && sudo apt-get install -y --no-install-recommends libpq-dev xvfb=2:1\n"
    plan = plan_of(with_ci(job + "      - run: pytest\n"))
    assert plan.needs.system_packages == ("libpq-dev", "xvfb")


def test_a_matrix_gives_linux_and_the_version_that_the_project_wants() -> None:
    job = (
        "    runs-on: ${{ matrix.os }}\n    strategy:\n      matrix:\n        os: [windows-latest, ubuntu-latest]\n"
        "        python: ['3.9', '3.12', '3.15-dev']\n        database: [sqlite, postgres]\n"
        "        exclude:\n          - {os: ubuntu-latest, python: '3.12', database: sqlite}\n"
        "        include:\n          - {python: '3.12', extra: more}\n"
        "    steps:\n      - run: echo ${{ matrix.os }}\n"
        "      - run: pytest --db=${{ matrix.database }} --py=${{ matrix.python }} ${{ matrix.extra }}\n"
    )
    plan = plan_of(with_ci(job, **{".python-version": "3.12\n"}))
    assert gates(plan)[0] == "pytest --db=postgres --py=3.12 more"


def test_a_matrix_that_comes_from_another_job_is_said_and_left_out() -> None:
    job = (
        f"    strategy:\n      matrix:\n        v: ${{{{ fromJSON(needs.a.outputs.m) }}}}\n{STEPS}"
        "      - run: pytest --v ${{ matrix.v }}\n      - run: pytest plain\n"
    )
    plan = plan_of(with_ci(job))
    assert gates(plan)[0] == "pytest plain"
    assert sum("needs.a.outputs.m" in notice for notice in plan.needs.notices) == 1


def test_steps_with_secrets_are_left_out_and_said() -> None:
    job = f"{STEPS}      - run: ./fetch --token ${{{{ secrets.TOKEN }}}}\n      - run: pytest\n"
    plan = plan_of(with_ci(job))
    assert "./fetch" not in commands(plan)
    assert any("secrets.TOKEN is known only to a run" in notice for notice in plan.needs.notices)


def test_conditions_decide_which_steps_count() -> None:
    job = (
        f"{STEPS}      - if: runner.os == 'Windows'\n        run: ./windows\n"
        "      - if: runner.os == 'Linux'\n        run: ./linux\n      - run: pytest\n"
    )
    text = commands(plan_of(with_ci(job)))
    assert "./linux" in text
    assert "./windows" not in text


def test_folder_shell_and_variables_come_from_the_nearest_place() -> None:
    top = "on: [push]\nenv: {A: top, B: top}\ndefaults: {run: {working-directory: sub}}\n"
    job = (
        f"    env: {{B: job, C: job}}\n{STEPS}      - run: ./prepare\n        shell: sh\n        env: {{C: step}}\n"
        "      - run: pytest\n        working-directory: ./other\n"
    )
    plan = plan_of(with_ci(job, top=top))
    step = next(step for step in plan.needs.steps if step.command == "./prepare")
    assert (step.folder, step.shell, dict(step.variables)) == ("sub", "sh -e {0}", {"C": "step"})
    assert {"A": "top", "B": "job", "C": "job"}.items() <= dict(plan.needs.variables).items()
    assert plan.needs.test_commands[0].folder == "other"


def test_variables_of_package_managers_and_of_ci_are_not_taken() -> None:
    env = "{UV_PYTHON_PREFERENCE: only-managed, PIP_INDEX_URL: x, GITHUB_X: y, KEPT: z}"
    job = f"    env: {env}\n{STEPS}      - run: pytest\n"
    variables = plan_of(with_ci(job)).needs.variables
    assert "KEPT" in variables
    assert not {"UV_PYTHON_PREFERENCE", "PIP_INDEX_URL", "GITHUB_X"} & set(variables)


def test_variables_that_a_step_hands_on_are_kept_where_they_are_known() -> None:
    lines = ('echo "MODE=fast" >> $GITHUB_ENV', 'echo "X=$(date)" >> "$GITHUB_ENV"', "pytest")
    job = STEPS + "".join(f"      - run: {line}\n" for line in lines)
    variables = plan_of(with_ci(job)).needs.variables
    assert variables["MODE"] == "fast"
    assert "X" not in variables


def test_a_local_action_is_read_with_its_inputs() -> None:
    action = (
        "inputs: {what: {default: nothing}}\nruns:\n  using: composite\n  steps:\n"
        "    - run: ./prepare ${{ inputs.what }}\n      shell: bash\n"
    )
    job = f"{STEPS}      - uses: ./.github/actions/prepare\n        with: {{what: all}}\n      - run: pytest\n"
    plan = plan_of(with_ci(job, **{".github/actions/prepare/action.yml": action}))
    assert "./prepare all" in commands(plan)


def test_a_local_action_that_calls_itself_ends() -> None:
    action = "runs:\n  using: composite\n  steps:\n    - uses: ./.github/actions/loop\n"
    job = f"{STEPS}      - uses: ./.github/actions/loop\n      - run: pytest\n"
    plan = plan_of(with_ci(job, **{".github/actions/loop/action.yml": action}))
    assert gates(plan)[0] == "pytest"


def test_a_workflow_of_the_repository_that_is_called_is_read() -> None:
    files = {
        "pyproject.toml": PROJECT,
        CI: "on: [push]\njobs:\n  tests:\n    uses: ./.github/workflows/called.yml\n    with: {mode: quick}\n",
        ".github/workflows/called.yml": "on:\n  workflow_call:\n    inputs: {mode: {type: string}}\n"
        f"jobs:\n  run:\n{STEPS}      - run: pytest --mode ${{{{ inputs.mode }}}}\n",
    }
    assert gates(plan_of(files))[0] == "pytest --mode quick"


def test_actions_that_are_not_known_are_named() -> None:
    plan = plan_of(with_ci(f"{STEPS}      - uses: someone/start-database@v1\n      - run: pytest\n"))
    assert any("someone/start-database is not known" in notice for notice in plan.needs.notices)


def test_actions_that_tests_do_not_need_are_passed_over() -> None:
    steps = "".join(
        f"      - uses: {name}@v4\n"
        for name in ("actions/checkout", "actions/cache", "actions/setup-python", "codecov/codecov-action")
    )
    assert not plan_of(with_ci(f"{STEPS}{steps}      - run: pytest\n")).needs.notices


WITH_DATABASE = "    services: {db: {image: 'postgres:16'}}\n" + STEPS


def test_commands_that_fill_a_database_are_run_in_every_sandbox() -> None:
    job = (
        f"{WITH_DATABASE}      - run: createdb app\n      - run: poetry run alembic upgrade head\n"
        "        working-directory: api\n        env: {URL: postgres://localhost/app}\n      - run: pytest\n"
        "      - run: dropdb app\n"
    )
    needs = plan_of(with_ci(job)).needs
    assert [(each.command, each.folder) for each in needs.service_commands] == [
        ("createdb app", ""),
        ("alembic upgrade head", "api"),
    ]
    assert dict(needs.service_commands[1].variables) == {"URL": "postgres://localhost/app"}
    # a set-up runs them too: what follows them may need them
    assert "createdb app" in commands(plan_of(with_ci(job)))


def test_without_services_only_what_needs_no_server_is_run() -> None:
    job = f"{STEPS}      - run: createdb app\n      - run: python manage.py migrate\n      - run: pytest\n"
    plan = plan_of(with_ci(job))
    assert plan.needs.service_commands == ()
    assert "createdb" not in commands(plan)
    assert "python manage.py migrate" in commands(plan)


def test_another_service_makes_another_environment() -> None:
    one, other = (
        plan_of(with_ci(f"    services: {{db: {{image: '{image}'}}}}\n{STEPS}      - run: pytest\n"))
        for image in ("postgres:16", "postgres:17")
    )
    assert len({environment_key(each, lambda _: None, base="b", platform="p") for each in (one, other)}) == 2


def test_services_have_their_ports_and_a_health_check() -> None:
    job = (
        "    services:\n      db:\n        image: postgres:16\n        env: {POSTGRES_PASSWORD: secret}\n"
        "        ports: ['5433:5432']\n        options: >-\n"
        '          --health-cmd "pg_isready -U x" --health-interval 10s --privileged\n'
        "      cache: {image: redis}\n      odd: {image: ''}\n"
        f"{STEPS}      - run: pytest\n"
    )
    plan = plan_of(with_ci(job))
    database, cache = plan.needs.services
    assert (database.name, database.image, database.ports, database.health) == (
        "db",
        "postgres:16",
        ((5433, 5432),),
        "pg_isready -U x",
    )
    assert (cache.ports, cache.health) == (((6379, 6379),), "redis-cli ping")
    assert any("--privileged not used" in notice for notice in plan.needs.notices)
    assert any("service odd has no image" in notice for notice in plan.needs.notices)


def test_a_script_that_branches_stays_whole() -> None:
    job = f"{STEPS}      - run: |\n          if [ -f x ]; then\n            ./prepare\n          fi\n      - run: pytest\n"
    assert "if [ -f x ]; then\n  ./prepare\nfi" in commands(plan_of(with_ci(job)))


def test_a_target_that_leads_to_tests_counts_as_tests() -> None:
    files = with_ci(f"{STEPS}      - run: make ci\n", Makefile="ci: deps\n\t@pytest -q\ndeps:\n\ttrue\n")
    found = gates(plan_of(files))
    assert "make ci" in found
    assert found.index("python -m pytest") < found.index("make ci")


def test_a_program_that_goes_on_running_is_left_out_and_said() -> None:
    plan = plan_of(with_ci(f"{STEPS}      - run: ./server --port 80 &\n      - run: pytest\n"))
    assert "./server" not in commands(plan)
    assert any("./server" in notice for notice in plan.needs.notices)


def test_tests_in_an_environment_of_their_own_come_last() -> None:
    found = gates(plan_of(with_ci(f"{STEPS}      - run: tox -e py\n")))
    assert found == ["python -m pytest", "tox -e py"]


def test_groups_that_ci_asks_of_a_lock_file_are_added() -> None:
    files = with_ci(
        f"{STEPS}      - run: uv sync --locked --group more --all-extras\n      - run: uv run pytest\n",
        **{"uv.lock": "version = 1\n"},
    )
    assert "uv sync --frozen --inexact --group more --all-extras" in commands(plan_of(files))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("uv run --frozen pytest tests", CommandKind.TEST),
        ("uvx --with tox-uv tox run -e py", CommandKind.TEST),
        ("npm run test:unit -- --coverage", CommandKind.TEST),
        ("pnpm -r test", CommandKind.TEST),
        ("go test -race ./...", CommandKind.TEST),
        ("cargo nextest run", CommandKind.TEST),
        ("./mvnw -B verify", CommandKind.TEST),
        ("./gradlew build", CommandKind.TEST),
        ("bundle exec rake", CommandKind.TEST),
        ("scripts/test", CommandKind.TEST),
        ("bash ci/run-tests.sh", CommandKind.TEST),
        ("tox run --notest", CommandKind.MANIFEST),
        ("tox -e lint", CommandKind.ASIDE),
        ("npm ci", CommandKind.MANIFEST),
        ("mvn -B install -DskipTests", CommandKind.MANIFEST),
        ("npm run lint", CommandKind.ASIDE),
        ("docker compose up -d", CommandKind.ASIDE),
        ("npm run build", CommandKind.OTHER),
        ("python setup.py build_ext --inplace", CommandKind.OTHER),
        ("pip install -U pip setuptools tox", CommandKind.MANIFEST),
        ("poetry run pip install numpy", CommandKind.PIP),
        ("pip install $PACKAGES", CommandKind.OTHER),
    ],
)
def test_a_line_is_known_by_its_words(text: str, kind: CommandKind) -> None:
    assert read_line(text).kind is kind


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("uv run --locked pytest -q", "pytest -q"),
        ("poetry run python -m pytest", "python -m pytest"),
        ("hatch run coverage:combine", "hatch run coverage:combine"),
        ("pytest --cov=x --cov-fail-under=95 tests", "pytest --cov=x tests"),
        ("sudo -E go test ./...", "go test ./..."),
    ],
)
def test_a_gate_is_what_runs_in_an_environment_that_is_ready(text: str, gate: str) -> None:
    assert as_gate(text) == gate


def test_a_folder_that_is_changed_into_counts_for_the_rest() -> None:
    lines = read_script("cd build\ncmake --build .\nctest")
    assert lines is not None
    assert [line.text for line in lines] == ["cd build && cmake --build .", "cd build && ctest"]


@pytest.mark.parametrize(
    "text",
    [
        "jobs: [1, 2]\n",
        "jobs:\n  test: 3\n",
        "on: push\njobs:\n  test:\n    steps: {a: b}\n",
        "on: push\njobs:\n  test:\n    steps: [1, [2], {run: 3}, {uses: 4}, {run: pytest, env: 5, with: 6, if: [7]}]\n",
        "on: [push]\njobs:\n  test:\n    strategy: {matrix: {a: {b: c}, include: 3, exclude: x}}\n    steps: [{run: pytest}]\n",
        "on: [push]\njobs:\n  test:\n    services: [a]\n    container: [b]\n    env: x\n    steps: [{run: pytest}]\n",
        "on: [push]\njobs:\n  test:\n    services: {a: {image: x, ports: [{}, 'a:b'], options: \"'\"}}\n"
        "    steps: [{run: pytest}]\n",
        "a: &a [*a]\n",
        "[" * 10_000,
    ],
)
def test_a_workflow_of_any_shape_is_read_without_an_error(text: str) -> None:
    plan = plan_of({"pyproject.toml": PROJECT, "tests/test_it.py": "", CI: text})
    assert "python -m pytest" in gates(plan)
    assert all("\n" not in notice for notice in plan.needs.notices)


def test_a_workflow_full_of_expressions_is_a_few_lines() -> None:
    steps = "".join(f"      - run: ./x ${{{{ secrets.S{index} }}}}\n" for index in range(500))
    plan = plan_of(with_ci(f"{STEPS}{steps}      - run: pytest\n"))
    assert len(plan.needs.notices) <= 201
    assert "python -m pytest" in gates(plan)


def test_a_matrix_of_many_axes_is_not_multiplied_out() -> None:
    axes = "".join(f"        a{index}: [1, 2, 3, 4, 5, 6, 7, 8]\n" for index in range(30))
    plan = plan_of(with_ci(f"    strategy:\n      matrix:\n{axes}{STEPS}      - run: pytest\n"))
    assert gates(plan)[0] == "pytest"


def test_steps_for_agents_are_taken_as_they_stand() -> None:
    copilot = (
        "on: workflow_dispatch\njobs:\n  copilot-setup-steps:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - uses: actions/checkout@v4\n      - uses: actions/setup-node@v4\n"
        "      - run: sudo apt-get install -y jq\n      - run: npm ci\n      - run: npm run build\n"
    )
    files = {
        "package.json": PACKAGE,
        "package-lock.json": '{"a": 1}',
        ".github/workflows/copilot-setup-steps.yml": copilot,
    }
    plan = plan_of(files)
    mine = [
        step for step in plan.needs.steps if "copilot-setup-steps" in step.source and step.command.startswith("npm")
    ]
    assert [(step.command, step.optional) for step in mine] == [("npm ci", False), ("npm run build", False)]
    assert plan.needs.system_packages == ("jq",)
    assert gates(plan) == ["npm test"]


def test_the_documents_of_a_workflow_are_parsed_once() -> None:
    found = documents({CI: "a: [\n"})
    assert found.yaml(CI) == found.yaml(CI) == {}
    assert len(found.problems) == 1


def test_a_command_that_cannot_fail_is_not_offered() -> None:
    plan = plan_of(with_ci(f"{STEPS}      - run: pytest -q\n      - run: pytest tests/weak.py || true\n"))
    assert "pytest tests/weak.py || true" not in gates(plan)


def test_the_release_of_an_action_is_no_version_of_a_language() -> None:
    matrix = "    strategy:\n      matrix:\n        go-version:\n          - '1.20'\n"
    steps = "      - uses: actions/setup-go@v3\n        with:\n          go-version: ${{ matrix.go-version }}\n"
    job = f"{matrix}{STEPS}{steps}      - uses: actions/checkout@v3\n      - run: go test ./...\n"
    (go,) = plan_of({"go.mod": "module x\n", CI: f"on: [push]\njobs:\n  test:\n{job}"}).needs.toolchains
    assert go.version == "1.20"
