import pytest

from codexteam.run.gates.gate_files import (
    families_in,
    included_in,
    is_harmless,
    loaded_by,
    named_in,
    plugins_in,
    resolve,
    stands_in_for,
)


@pytest.mark.parametrize("folder", ["", "sub/", "a/b/c/"])
@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("conftest.py", "python"),
        ("pytest.ini", "python"),
        ("tox.ini", "python"),
        ("setup.cfg", "python"),
        ("pyproject.toml", "python"),
        ("noxfile.py", "python"),
        (".coveragerc", "python"),
        ("sitecustomize.py", "python"),
        ("x.pth", "python"),
        ("tests/__init__.py", "python"),
        ("__pycache__/f.cpython-311.pyc", "python"),
        ("Makefile", "make"),
        ("GNUmakefile", "make"),
        ("makefile", "make"),
        ("rules.mk", "make"),
        ("justfile", "task"),
        ("Taskfile.yml", "task"),
        ("Rakefile", "ruby"),
        ("package.json", "node"),
        ("jest.config.cjs", "node"),
        ("vitest.config.mts", "node"),
        ("build.rs", "rust"),
        ("node_modules/.bin/jest", "ci"),
        ("x.egg-info/entry_points.txt", "ci"),
    ],
)
def test_what_runners_load_is_known_in_any_folder(folder: str, name: str, family: str) -> None:
    assert loaded_by(folder + name) == family


@pytest.mark.parametrize("path", ["src/app.py", "src/Makefile.py", "app/__init__.py", "docs/index.md", "src/main.rs"])
def test_ordinary_files_are_loaded_by_no_runner(path: str) -> None:
    assert loaded_by(path) is None
    assert stands_in_for(path) is None


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("unittest/__init__.py", "unittest"),
        ("unittest.py", "unittest"),
        ("pytest.py", "pytest"),
        ("tests/json.py", "json"),
    ],
)
def test_a_file_that_a_runner_imports_in_place_of_its_own_is_known(path: str, module: str) -> None:
    assert stands_in_for(path) == module


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("sh scripts/ci.sh", "scripts/ci.sh"),
        ("./scripts/ci.sh --fast && true", "scripts/ci.sh"),
        ("cd web && sh ci.sh", "web/ci.sh"),
        ("make -C sub -f build/x.mk", "sub/build/x.mk"),
        ("python -m tools.check", "tools/check.py"),
        ("python3 -mtools.check", "tools/check/__main__.py"),
        ("bash -c 'a=1; . lib/x.sh'", "lib/x.sh"),
        ("pytest -c conf/p.ini", "conf/p.ini"),
        ("pytest --config-file=conf/p.ini", "conf/p.ini"),
        ("sh scripts/../ci.sh", "ci.sh"),
    ],
)
def test_the_files_that_a_command_names_are_read_from_it(command: str, path: str) -> None:
    assert path in list(named_in(command))


def test_a_folder_that_a_command_checks_names_none_of_the_code_in_it() -> None:
    named = set(named_in("pytest --cov=app tests && mypy app && ruff check ."))

    assert not {"app/__init__.py", "app.py", "app/__main__.py"} & named


def test_plugins_are_read_from_configuration() -> None:
    assert "tools/plug.py" in list(plugins_in("[pytest]\naddopts = -p tools.plug\n"))
    assert "tests/more.py" in list(plugins_in('pytest_plugins = ["tests.more", "x"]\n'))


def test_what_scripts_and_makefiles_include_is_read_from_them() -> None:
    assert list(included_in("include rules/common\n-include x.d\n")) == ["rules/common", "x.d"]
    assert list(included_in("set -e\n. ./lib/steps; source b\n")) == ["lib/steps", "b"]


def test_a_link_stands_for_what_it_leads_to() -> None:
    links = {"Makefile": "build/main.mk", "build": "other", "loop": "loop"}

    assert list(resolve("Makefile", links.get)) == ["Makefile", "build/main.mk", "other/main.mk"]
    assert len(list(resolve("loop", links.get))) == 16


def test_the_tools_of_gate_commands_are_read_and_all_count_if_unknown() -> None:
    assert families_in(["python3 -m pytest -q", "cd x && npm test"]) == {"python", "node"}
    assert {"python", "make"} <= families_in(["./run"])


PYPROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["a>=1"]\n[tool.pytest.ini_options]\naddopts = "-q"\n'
PACKAGE = '{"name": "x", "version": "1", "scripts": {"test": "jest"}, "dependencies": {"a": "^1.0.0"}}'


@pytest.mark.parametrize(
    ("path", "before", "after", "harmless"),
    [
        ("package.json", PACKAGE, PACKAGE.replace('"a": "^1.0.0"', '"a": "^1.0.0", "b": "~2.1"'), True),
        ("package.json", PACKAGE, PACKAGE.replace('"version": "1"', '"version": "2"'), True),
        ("package.json", PACKAGE, PACKAGE.replace("jest", "echo ok"), False),
        ("package.json", PACKAGE, PACKAGE.replace('"^1.0.0"', '"file:./a"'), False),
        ("package.json", PACKAGE, PACKAGE.replace('"^1.0.0"', '"npm:evil@1"'), False),
        ("package.json", PACKAGE, PACKAGE[:-1] + ', "jest": {"testMatch": []}}', False),
        ("package.json", PACKAGE, "{", False),
        ("package.json", None, '{"scripts": {"test": "true"}}', False),
        (
            "pyproject.toml",
            PYPROJECT,
            PYPROJECT.replace('"a>=1"', '"a>=1", "b[x]~=2.0; python_version < \'3.12\'"'),
            True,
        ),
        ("pyproject.toml", PYPROJECT, PYPROJECT.replace('"-q"', '"--collect-only"'), False),
        ("pyproject.toml", PYPROJECT, PYPROJECT.replace('"a>=1"', '"a @ file:///work/a"'), False),
        ("pyproject.toml", PYPROJECT, PYPROJECT + '[project.entry-points.pytest11]\nx = "x"\n', False),
        (
            "Cargo.toml",
            '[dependencies]\na = "1"\n',
            '[dependencies]\na = "1"\nb = { version = "2", features = ["c"] }\n',
            True,
        ),
        ("Cargo.toml", '[dependencies]\na = "1"\n', '[dependencies]\na = { path = "x" }\n', False),
        ("Cargo.toml", "[lib]\n", "[lib]\ntest = false\n", False),
        ("setup.cfg", "[metadata]\nversion = 1\n", "[metadata]\nversion = 2\n", True),
        ("setup.cfg", "[metadata]\nversion = 1\n", "[tool:pytest]\naddopts = --collect-only\n", False),
        ("tests/__init__.py", None, '"""Tests."""\n# nothing\n', True),
        ("tests/__init__.py", None, "import os; os._exit(0)\n", False),
        ("tests/__init__.py", None, '"""Tests."""; import os\n', False),
        ("conftest.py", None, "x = 1\n", False),
    ],
)
def test_only_changes_that_no_runner_acts_on_are_harmless(
    path: str, before: str | None, after: str | None, harmless: bool
) -> None:
    assert is_harmless(path, before, after) is harmless
