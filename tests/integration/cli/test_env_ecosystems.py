"""Small repositories of each ecosystem, with their real package managers: what they need is set up, and their tests run.

Packages come from folders and from registries on loopback. A manager that a machine lacks leaves its repository out.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.test_sandbox import SANDBOX_IMAGE
from tests.integration.cli import loopback_registries as registries
from tests.integration.cli.conftest import Cli
from tests.integration.cli.test_env_commands import committed, last

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
GREET_PY = "def greet(name):\n    return f'hello {name}'\n"
GREET_JS = "exports.greet = (name) => `hello ${name}`;\n"
TEST_PY = {"test_greet.py": "import greet\n\n\ndef test_greets():\n    assert greet.greet('you') == 'hello you'\n"}
TEST_JS = {
    "test/greet.test.js": 'const test = require("node:test");\nconst assert = require("node:assert");\n'
    'const { greet } = require("greet");\ntest("greets", () => assert.strictEqual(greet("you"), "hello you"));\n'
}
PROJECT = '[project]\nname = "app"\nversion = "1.0"\nrequires-python = ">=3.9"\ndependencies = ["greet"]\n'
SETUPTOOLS = (
    '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    "[tool.setuptools]\npy-modules = []\n"
)


@dataclass(frozen=True)
class Registry:
    """Registries on loopback, and what lock files say of the package in them."""

    address: str
    wheel: Path
    archive: bytes

    @property
    def variables(self) -> Mapping[str, str]:
        """What a user with these mirrors has set."""
        npm = dict.fromkeys(("npm_config_registry", "NPM_CONFIG_REGISTRY"), f"{self.address}/")
        return {"PIP_INDEX_URL": f"{self.address}/simple", **npm}


Files = Callable[[Registry], dict[str, str]]


@pytest.fixture(scope="module")
def python_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    root = tmp_path_factory.mktemp("registry")
    wheel = registries.write_wheel(root, "greet", GREET_PY)
    registries.write_index(root, [wheel, *registries.fetched_wheels().glob("*.whl")])
    with registries.served(root) as address:
        yield Registry(address, wheel, b"")


@pytest.fixture(scope="module")
def npm_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    root = tmp_path_factory.mktemp("registry")
    archive = registries.pack("greet", GREET_JS)
    managers = [path.read_bytes() for path in sorted(registries.fetched_npm().glob("*.tgz"))]
    with registries.served(root) as address:
        registries.write_npm(root, address, [archive, *managers])
        yield Registry(address, Path(), archive)


def _uv_lock(registry: Registry) -> str:
    url = f"{registry.address}/simple/greet/{registry.wheel.name}"
    digest = hashlib.sha256(registry.wheel.read_bytes()).hexdigest()
    return (
        'version = 1\nrevision = 3\nrequires-python = ">=3.9"\n\n[[package]]\nname = "app"\nversion = "1.0"\n'
        'source = { editable = "." }\ndependencies = [\n    { name = "greet" },\n]\n\n[package.metadata]\n'
        'requires-dist = [{ name = "greet" }]\n\n[[package]]\nname = "greet"\nversion = "1.0"\n'
        f'source = {{ registry = "{registry.address}/simple" }}\nwheels = [\n'
        f'    {{ url = "{url}", hash = "sha256:{digest}" }},\n]\n'
    )


def _package(**more: object) -> str:
    about = {"name": "app", "version": "1.0.0", "private": True, "scripts": {"test": "node --test"}}
    return json.dumps({**about, "dependencies": {"greet": "1.0.0"}, **more})


def _npm_lock(registry: Registry) -> str:
    found = {
        "version": "1.0.0",
        "resolved": f"{registry.address}/-/greet-1.0.0.tgz",
        "integrity": registries.integrity(registry.archive),
    }
    root = {"name": "app", "version": "1.0.0", "dependencies": {"greet": "1.0.0"}}
    return json.dumps(
        {"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, "node_modules/greet": found}}
    )


#: As the real managers wrote them for the project above.
POETRY_LOCK = """
[[package]]
name = "greet"
version = "1.0"
description = ""
optional = false
python-versions = "*"
groups = ["main"]
files = []

[metadata]
lock-version = "2.1"
python-versions = ">=3.9"
content-hash = "0602f2423add778c1ba781697bb6bf71f10720c594fb0e413c65720ed2cdb752"
"""
PDM_LOCK = """
[metadata]
groups = ["default"]
strategy = ["inherit_metadata"]
lock_version = "4.5.0"
content_hash = "sha256:0"

[[metadata.targets]]
requires_python = ">=3.9"

[[package]]
name = "greet"
version = "1.0"
summary = ""
groups = ["default"]
files = []
"""
PYTHON: dict[str, Files] = {
    "requirements": lambda _: {**TEST_PY, "requirements.txt": "greet==1.0\n", "requirements-test.txt": "pytest\n"},
    "extras": lambda _: {
        **TEST_PY,
        "pyproject.toml": f'{PROJECT}[project.optional-dependencies]\ntest = ["pytest"]\n{SETUPTOOLS}',
    },
    "uv.lock": lambda registry: {**TEST_PY, "pyproject.toml": PROJECT + SETUPTOOLS, "uv.lock": _uv_lock(registry)},
    "poetry.lock": lambda _: {
        **TEST_PY,
        "pyproject.toml": f"{PROJECT}[tool.poetry]\npackage-mode = false\n",
        "poetry.lock": POETRY_LOCK,
    },
    "pdm.lock": lambda _: {**TEST_PY, "pyproject.toml": PROJECT, "pdm.lock": PDM_LOCK},
    "Pipfile.lock": lambda _: {
        **TEST_PY,
        "Pipfile": '[packages]\ngreet = "*"\n',
        "Pipfile.lock": json.dumps(
            {"_meta": {"pipfile-spec": 6, "sources": []}, "default": {"greet": {"version": "==1.0"}}, "develop": {}}
        ),
    },
}
NODE: dict[str, Files] = {
    "npm": lambda _: {**TEST_JS, "package.json": _package()},
    "npm with a lock file": lambda registry: {
        **TEST_JS,
        "package.json": _package(),
        "package-lock.json": _npm_lock(registry),
    },
    "pnpm": lambda _: {**TEST_JS, "package.json": _package(packageManager="pnpm@9.15.9")},
    "yarn": lambda _: {**TEST_JS, "package.json": _package(packageManager="yarn@1.22.22")},
    "yarn berry": lambda _: {**TEST_JS, "package.json": _package(packageManager="yarn@4.18.1")},
    "bun": lambda _: {**TEST_JS, "package.json": _package(packageManager="bun@1.4.5")},
}
#: By name: what has to be on the machine, and the files.
OTHERS: dict[str, tuple[str, dict[str, str]]] = {
    "make": ("make", {"Makefile": "test:\n\tgrep -q one data.txt\n", "data.txt": "one\n"}),
    "cmake": (
        "cmake cc",
        {
            "CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(app C)\nenable_testing()\n"
            "add_executable(app app.c)\nadd_test(NAME app COMMAND app)\n",
            "app.c": "int main(void) { return 0; }\n",
        },
    ),
    "go": (
        "go",
        {
            "go.mod": "module example.org/app\n\ngo 1.19\n\nrequire example.org/greet v1.0.0\n\n"
            "replace example.org/greet => ./greet\n",
            "greet/go.mod": "module example.org/greet\n\ngo 1.19\n",
            "greet/greet.go": 'package greet\n\nfunc Greet() string { return "hello" }\n',
            "app_test.go": 'package app\n\nimport (\n\t"testing"\n\n\t"example.org/greet"\n)\n\nfunc TestGreet(t *testing.T) '
            '{\n\tif greet.Greet() != "hello" {\n\t\tt.Fatal("no")\n\t}\n}\n',
        },
    ),
    "cargo": (
        "cargo cc",
        {
            "Cargo.toml": '[package]\nname = "app"\nversion = "1.0.0"\nedition = "2021"\n\n[dependencies]\n'
            'greet = { path = "greet" }\n',
            "Cargo.lock": 'version = 3\n\n[[package]]\nname = "app"\nversion = "1.0.0"\ndependencies = [\n "greet",\n]\n\n'
            '[[package]]\nname = "greet"\nversion = "1.0.0"\n',
            "greet/Cargo.toml": '[package]\nname = "greet"\nversion = "1.0.0"\nedition = "2021"\n',
            "greet/src/lib.rs": 'pub fn greet() -> &\'static str {\n    "hello"\n}\n',
            "src/lib.rs": '#[test]\nfn greets() {\n    assert_eq!(greet::greet(), "hello");\n}\n',
            ".gitignore": "target/\n",
        },
    ),
    "bundler": (
        "bundle rake",
        {
            "Gemfile": 'gem "greet", path: "greet"\ngem "rake"\ngem "test-unit"\n',
            "greet/greet.gemspec": 'Gem::Specification.new do |s|\n  s.name = "greet"\n  s.version = "1.0"\n  s.summary = "g"\n'
            '  s.authors = ["a"]\n  s.files = ["lib/greet.rb"]\nend\n',
            "greet/lib/greet.rb": "module Greet\n  HELLO = 'hello'\nend\n",
            "Rakefile": 'require "rake/testtask"\nRake::TestTask.new(:test)\n',
            "test/test_greet.rb": 'require "test/unit"\nrequire "greet"\nclass TestGreet < Test::Unit::TestCase\n'
            '  def test_greets\n    assert_equal "hello", Greet::HELLO\n  end\nend\n',
            ".gitignore": "Gemfile.lock\n",
        },
    ),
    "composer": (
        "composer phpunit",
        {
            "composer.json": json.dumps(
                {
                    "name": "example/app",
                    "repositories": [{"packagist.org": False}, {"type": "path", "url": "greet"}],
                    "require": {"example/greet": "*"},
                    "minimum-stability": "dev",
                    "scripts": {"test": "phpunit --bootstrap vendor/autoload.php tests"},
                }
            ),
            "greet/composer.json": json.dumps(
                {"name": "example/greet", "version": "1.0.0", "autoload": {"psr-4": {"Greet\\": "src/"}}}
            ),
            "greet/src/Greet.php": "<?php namespace Greet; class Greet { const HELLO = 'hello'; }\n",
            "tests/GreetTest.php": "<?php class GreetTest extends PHPUnit\\Framework\\TestCase { function testGreets() "
            "{ $this->assertSame('hello', \\Greet\\Greet::HELLO); } }\n",
            ".gitignore": "vendor/\ncomposer.lock\n.phpunit.result.cache\n",
        },
    ),
    "mix": (
        "mix",
        {
            "mix.exs": "defmodule A.MixProject do\n  use Mix.Project\n"
            '  def project, do: [app: :a, version: "0.1.0", deps: []]\n'
            "end\n",
            "test/test_helper.exs": "ExUnit.start()\n",
            "test/a_test.exs": 'defmodule ATest do\n  use ExUnit.Case\n  test "a" do\n    assert 1 == 1\n  end\nend\n',
            ".gitignore": "_build/\ndeps/\n",
        },
    ),
    "perl": (
        "perl prove",
        {
            "Makefile.PL": "use ExtUtils::MakeMaker;\nWriteMakefile(NAME => 'Greet', VERSION => '1.0');\n",
            "lib/Greet.pm": "package Greet;\nsub greet { 'hello' }\n1;\n",
            "t/greet.t": "use Test::More tests => 1;\nuse Greet;\nis(Greet::greet(), 'hello');\n",
        },
    ),
}


@dataclass(frozen=True)
class Machine:
    """A user's machine with one repository on it."""

    cli: Cli
    folder: Path

    def build(self, engine: str, files: dict[str, str]) -> dict[str, object]:
        """Build the environment of a repository; give the last record, the repository untouched."""
        committed(self.folder, files)
        options = ("-c", f'codexteam.sandbox.kind="{engine}"', "-c", f'codexteam.sandbox.image="{SANDBOX_IMAGE}"')
        built = self.cli(*options, "env", "build", "--json")
        found = last(built)
        assert built.code == 0, f"{found}\n{built.out[-3000:]}\n{built.err}"
        line = ["git", "status", "--porcelain", "--ignored"]
        assert subprocess.run(line, cwd=self.folder, capture_output=True, check=True).stdout == b""
        self.cli(*options, "env", "prune", "--all")
        return found


@pytest.fixture
def machine(cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (home / ".codex").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Machine(cli, folder)


def _passed(found: dict[str, object]) -> bool:
    gates = found["gates"]
    assert isinstance(gates, list)
    return any(gate["ending"] == "passed" for gate in gates)


def _python_version() -> str:
    """The version of the Python that bubblewrap's sandboxes and the test image have, in a project's own file."""
    line = ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


#: A container's start costs most: one repository shows that the same steps serve there.
ON_ENGINES = [
    *(pytest.param(name, "bubblewrap", marks=pytest.mark.bubblewrap, id=f"{name} on bubblewrap") for name in PYTHON),
    pytest.param("uv.lock", "docker", marks=pytest.mark.docker, id="uv.lock on docker"),
]


@pytest.mark.parametrize(("name", "engine"), ON_ENGINES)
def test_python_packages_come_from_a_loopback_index(
    machine: Machine, python_registry: Registry, name: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in python_registry.variables.items():
        monkeypatch.setenv(variable, value)

    found = machine.build(engine, {**PYTHON[name](python_registry), ".python-version": _python_version()})

    assert _passed(found), found


@pytest.mark.bubblewrap
@pytest.mark.skipif(shutil.which("npm", path="/usr/bin:/bin") is None, reason="npm is not installed")
@pytest.mark.parametrize("name", NODE)
def test_node_packages_come_from_a_loopback_registry(
    machine: Machine, npm_registry: Registry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in npm_registry.variables.items():
        monkeypatch.setenv(variable, value)

    found = machine.build("bubblewrap", NODE[name](npm_registry))

    assert _passed(found), found


@pytest.mark.bubblewrap
@pytest.mark.parametrize("name", OTHERS)
def test_packages_of_other_languages_come_from_folders(machine: Machine, name: str) -> None:
    programs, files = OTHERS[name]
    missing = [each for each in programs.split() if shutil.which(each, path="/usr/local/bin:/usr/bin:/bin") is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")

    assert _passed(machine.build("bubblewrap", files))


@pytest.mark.docker
def test_a_makefiles_tests_run_in_containers(machine: Machine) -> None:
    assert _passed(machine.build("docker", OTHERS["make"][1]))
