"""Python: one virtual environment outside the tree, filled from the lock file that there is, with what the tests need.

Everything goes through uv, whatever the project's own manager is: its lock file is exported and installed, because a
registry's mirror serves uv where it does not serve every manager.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents, dig, join, mapping, strings
from codexteam.environment.ecosystems.python_requirements import (
    chosen_names,
    installs_itself,
    normal,
    requirements_files,
    runner_packages,
)
from codexteam.environment.ecosystems.python_runners import RunnerEnvironment, runner_environments, runs_tests
from codexteam.environment.ecosystems.uv_bootstrap import uv_step
from codexteam.environment.plan import CACHE, TOOLS, VENV, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
_MANIFESTS = ("pyproject.toml", "setup.cfg", "setup.py", "Pipfile", "requirements.txt")
MANIFESTS = (*_LOCKS, *_MANIFESTS)
_RUNNER_FILES = ("tox.ini", "tox.toml", "noxfile.py", "hatch.toml")
_INSTALL = "uv pip install"


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Python project needs; an empty offer where there is none."""
    present = [name for name in MANIFESTS if documents.has(join(folder, name))]
    project = _Project(documents, folder, tuple(present))
    if not present and not project.requirements:
        return Offer()
    if not project.is_python:
        return Offer()
    wanted = toolchains.python(documents.view)
    return Offer(
        (uv_step(project.source), _virtual_environment(documents, wanted), *project.steps()),
        toolchains=(Toolchain(Ecosystem.PYTHON, wanted.version, wanted.source, ("python",)),),
        variables={"VIRTUAL_ENV": VENV, "PYTHONDONTWRITEBYTECODE": "1", "UV_PROJECT_ENVIRONMENT": VENV},
        setup_variables=SETUP_VARIABLES,
        offline_variables=OFFLINE_VARIABLES,
        paths=(f"{VENV}/bin",),
        test_commands=tuple(project.test_commands()),
        notices=(wanted.notice,) if wanted.notice else (),
    )


def environment_only(documents: Documents, source: str, *, of_machine: bool = False) -> Offer:
    """Return the virtual environment alone, for steps of others that fill it.

    Args:
        documents: the repository's files.
        source: who asks for it.
        of_machine: take the machine's own Python where it has one, and show what is installed for it: an image that
            somebody chose may have all that the tests import.
    """
    wanted = toolchains.python(documents.view)
    made = _virtual_environment(documents, wanted)
    if of_machine:
        mine = f'uv venv --quiet --seed --system-site-packages --python "$(command -v python3)" {VENV}'
        there, _, others = made.command.partition(" || ")
        made = replace(made, command=f"{there} || {mine} || {others}", source=source)
    return Offer(
        (uv_step(source), made),
        toolchains=(Toolchain(Ecosystem.PYTHON, wanted.version, wanted.source, ("python",)),),
        variables={"VIRTUAL_ENV": VENV, "PYTHONDONTWRITEBYTECODE": "1", "UV_PROJECT_ENVIRONMENT": VENV},
        setup_variables=SETUP_VARIABLES,
        offline_variables=OFFLINE_VARIABLES,
        paths=(f"{VENV}/bin",),
    )


SETUP_VARIABLES = {
    "UV_CACHE_DIR": f"{CACHE}/uv",
    "UV_LINK_MODE": "copy",
    "UV_TOOL_DIR": f"{TOOLS}/uv",
    "UV_PYTHON_INSTALL_DIR": f"{TOOLS}/python",
    "UV_NO_PROGRESS": "1",
    # nothing is written beside modules later
    "UV_COMPILE_BYTECODE": "1",
    "PIP_CACHE_DIR": f"{CACHE}/pip",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "POETRY_VIRTUALENVS_CREATE": "false",
    "PDM_CHECK_UPDATE": "false",
}
OFFLINE_VARIABLES = {"UV_OFFLINE": "1", "UV_NO_SYNC": "1", "UV_PYTHON_DOWNLOADS": "never", "PIP_NO_INDEX": "1"}


def _virtual_environment(documents: Documents, wanted: toolchains.Wanted) -> SetupStep:
    """Return the step that makes it, with the Python that is asked for, else with any that the project allows."""
    make = f"uv venv --quiet --seed --python {shlex.quote(wanted.version)} {VENV}"
    allowed = _allowed(documents)
    other = f"uv venv --quiet --clear --seed --python {shlex.quote(allowed)} {VENV}"
    # without pip in it where the registry has none
    bare = f"uv venv --quiet --clear --python {shlex.quote(allowed)} {VENV}"
    reads = [path for path in (".python-version", ".tool-versions", "runtime.txt") if documents.has(path)]
    return SetupStep(
        f"[ -x {VENV}/bin/python ] || {make} || {other} || {bare}",
        wanted.source or "the default Python",
        Ecosystem.PYTHON,
        reads=tuple(reads),
    )


def _allowed(documents: Documents) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    found = dig(documents.toml("pyproject.toml"), "project", "requires-python")
    if isinstance(found, str):
        try:
            return str(SpecifierSet(found)) or ">=3.8"
        except InvalidSpecifier:
            documents.say(f"pyproject.toml requires-python: {found[:60]!r} is not a version specifier")
    return ">=3.8"


@dataclass(frozen=True, slots=True)
class _Project:
    """One Python project of a repository."""

    documents: Documents
    folder: str
    present: tuple[str, ...]

    @property
    def requirements(self) -> list[str]:
        return requirements_files(self.documents, self.folder)

    @property
    def is_python(self) -> bool:
        """Whether it is one: a pyproject.toml that only configures a linter is not."""
        if any(name != "pyproject.toml" for name in self.present) or self.requirements:
            return True
        found = self.documents.toml(self._path("pyproject.toml"))
        tool = mapping(found.get("tool"))
        return any(key in found for key in ("project", "build-system", "dependency-groups")) or any(
            key in tool for key in ("poetry", "pdm", "hatch", "flit", "uv", "pytest")
        )

    @property
    def source(self) -> str:
        return self._path(self._first)

    @property
    def _first(self) -> str:
        return next(iter(self.present), "") or next(iter(self.requirements), "")

    def _path(self, name: str) -> str:
        return join(self.folder, name)

    @property
    def is_package(self) -> bool:
        """Whether it can be installed itself."""
        found = self.documents.toml(self._path("pyproject.toml"))
        if "setup.py" in self.present or "build-system" in found:
            return dig(found, "tool", "poetry", "package-mode") is not False
        if "setup.cfg" in self.present and self.documents.ini(self._path("setup.cfg")).has_section("metadata"):
            return True
        # without a build system the old default applies, which needs a layout that it knows
        return "project" in found and dig(found, "tool", "uv", "package") is not False

    @property
    def extras(self) -> list[str]:
        """The extras that tests need."""
        found = self.documents.toml(self._path("pyproject.toml"))
        declared = dig(found, "project", "optional-dependencies")
        offered = dict(mapping(declared))
        if not offered and isinstance(poetry := dig(found, "tool", "poetry", "extras"), dict):
            offered = dict(poetry)
        if not offered and "setup.cfg" in self.present:
            parser = self.documents.ini(self._path("setup.cfg"))
            if parser.has_section("options.extras_require"):
                offered = {
                    key: [line.strip() for line in value.splitlines() if line.strip()]
                    for key, value in parser["options.extras_require"].items()
                }
        if not offered and "setup.py" in self.present:
            block = re.search(
                r"extras_require\s*=\s*\{(.*?)\n\s*\}", self.documents.text(self._path("setup.py")), re.DOTALL
            )
            offered = {name: [] for name in re.findall(r"""["']([\w.-]+)["']\s*:""", block[1])} if block else {}
        return chosen_names(offered)

    @property
    def groups(self) -> list[str]:
        found = self.documents.toml(self._path("pyproject.toml"))
        groups = mapping(found.get("dependency-groups"))
        return chosen_names(groups)

    def step(self, command: str, source: str, *reads: str, optional: bool = False) -> SetupStep:
        """Return a step that depends on the manifests, and on what else it names."""
        names = dict.fromkeys((source, *reads, *self.present, *(name for name in _RUNNER_FILES if self._has(name))))
        paths = tuple(self._path(name) for name in names if self._has(name))
        return SetupStep(command, self._path(source), Ecosystem.PYTHON, self.folder, paths, optional)

    def _has(self, name: str) -> bool:
        return self.documents.has(self._path(name))

    def steps(self) -> Iterable[SetupStep]:
        """Return what installs the project, what its tests import, and their runner."""
        lock = next((name for name in _LOCKS if name in self.present), None)
        if lock is not None and not self._lock_parses(lock):
            lock = None
        yield self._locked(lock) if lock is not None else self._unlocked()
        if lock == "Pipfile.lock" and self.is_package:
            yield self.step(f"{_INSTALL} -e .", "setup.py" if "setup.py" in self.present else "pyproject.toml")
        yield from self._of_runners(locked=lock is not None)
        packages = runner_packages(self.documents, self.folder)
        if packages:
            names = " ".join(shlex.quote(name) for name in packages)
            # one that is there already stays at its version
            yield self.step(f"{_INSTALL} {names}", self._configuration())
        if self.is_package and lock != "uv.lock":
            # last: a tool for tests may have brought a release of this very project
            source = next(name for name in ("pyproject.toml", "setup.py", "setup.cfg") if name in self.present)
            yield self.step(f"{_INSTALL} --no-deps -e .", source, optional=lock in {None, "Pipfile.lock"})

    def _configuration(self) -> str:
        names = ("pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
        return next((name for name in names if self._has(name)), self._first)

    def _lock_parses(self, lock: str) -> bool:
        before = len(self.documents.problems)
        path = self._path(lock)
        found = self.documents.json(path) if lock == "Pipfile.lock" else self.documents.toml(path)
        if not found and len(self.documents.problems) == before:
            return bool(self.documents.text(path).strip()) and path not in " ".join(self.documents.problems)
        return bool(found)

    def _locked(self, lock: str) -> SetupStep:
        found = self.documents.toml(self._path("pyproject.toml"))
        extras = "".join(f" --extra {shlex.quote(name)}" for name in self.extras)
        match lock:
            case "uv.lock":
                return self._uv_lock(extras)
            case "poetry.lock":
                groups = [
                    name
                    for name, value in mapping(dig(found, "tool", "poetry", "group")).items()
                    if not mapping(value).get("optional") or normal(name) in {"test", "tests", "dev", "testing"}
                ]
                groups += ["dev"] if dig(found, "tool", "poetry", "dev-dependencies") else []
                groups += [name for name in mapping(found.get("dependency-groups")) if name not in groups]
                options = "".join(f" --with {shlex.quote(name)}" for name in groups if not _is_beside_tests(name))
                options += "".join(f" --extras {shlex.quote(name)}" for name in self.extras)
                export = (
                    f"uv tool run --from poetry --with poetry-plugin-export poetry export --without-hashes{options}"
                )
                return self.step(f'f=$(mktemp --suffix=.txt)\n{export} -o "$f"\n{_INSTALL} -r "$f"', lock)
            case "pdm.lock":
                options = "".join(f" -G {shlex.quote(name)}" for name in self.extras)
                export = f"uv tool run pdm export --dev{options} -f requirements --without-hashes"
                # what pdm knows as editable is this project's own: the next step installs it
                return self.step(
                    f'f=$(mktemp --suffix=.txt)\n{export} -o "$f"\nsed -i "/^-e /d" "$f"\n{_INSTALL} -r "$f"', lock
                )
            case "Pipfile.lock":
                export = "uv tool run pipenv requirements --dev"
                return self.step(f'f=$(mktemp --suffix=.txt)\n{export} > "$f"\n{_INSTALL} -r "$f"', lock)
            case _:
                return self.step(f"{_INSTALL} -r {lock}", lock)

    def _uv_lock(self, extras: str) -> SetupStep:
        found = self.documents.toml(self._path("pyproject.toml"))
        workspace = " --all-packages" if dig(found, "tool", "uv", "workspace") else ""
        default = dig(found, "tool", "uv", "default-groups")
        defaults = strings(default) if default is not None else ["dev"]
        groups = "".join(f" --group {shlex.quote(name)}" for name in self.groups if name not in defaults)
        options = f"{workspace}{extras}{groups}"
        # the lock names files of one registry; where that is not reached, its versions are asked of the configured one
        again = f'uv export --quiet --frozen --no-hashes{options} -o "$f"\n{_INSTALL} -r "$f"'
        return self.step(
            f"uv sync --frozen --inexact{options} && exit 0\nf=$(mktemp --suffix=.txt)\n{again}",
            "uv.lock",
        )

    def _unlocked(self) -> SetupStep:
        arguments: list[str] = []
        names = self.requirements
        if self.is_package and not installs_itself(self.documents, self.folder, names):
            extras = f"[{','.join(self.extras)}]" if self.extras else ""
            arguments += ["-e", shlex.quote(f".{extras}")]
        for name in self.groups:
            arguments += ["--group", shlex.quote(name)]
        for name in names:
            arguments += ["-r", shlex.quote(name)]
        if "Pipfile" in self.present and not arguments:
            export = "uv tool run pipenv lock && uv tool run pipenv requirements --dev"
            return self.step(f'f=$(mktemp --suffix=.txt)\n{export} > "$f"\n{_INSTALL} -r "$f"', "Pipfile")
        source = next((name for name in self.present if name not in _LOCKS), "") or next(iter(names), "pyproject.toml")
        if not arguments:
            return self.step("true", source)
        whole = f"{_INSTALL} {' '.join(arguments)}"
        if self.is_package and len(arguments) > 2 and arguments[0] == "-e":
            # a layout that its build system does not take is not the end: tests may run from the tree
            whole = f"{whole} || {_INSTALL} {' '.join(arguments[2:])}"
        return self.step(whole, source, *names)

    def _of_runners(self, *, locked: bool) -> Iterable[SetupStep]:
        for found in runner_environments(self.documents, self.folder):
            step = self._of_runner(found, locked=locked)
            if step is not None:
                yield step

    def _of_runner(self, found: RunnerEnvironment, *, locked: bool) -> SetupStep | None:
        arguments = [shlex.quote(word) for word in found.packages]
        extras = [name for name in found.extras if normal(name) not in {normal(each) for each in self.extras}]
        if extras and self.is_package and not locked:
            arguments += ["-e", shlex.quote(f".[{','.join(extras)}]")]
        known = {normal(name) for name in self.groups}
        declared = {
            normal(name) for name in mapping(self.documents.toml(self._path("pyproject.toml")).get("dependency-groups"))
        }
        for name in found.groups:
            if normal(name) in declared and not (locked and normal(name) in known):
                arguments += ["--group", shlex.quote(name)]
        if not arguments:
            return None
        # what tox would install may need what only its own environment has
        command = f"{_INSTALL} {' '.join(arguments)}"
        path = found.source.partition(" ")[0].removeprefix(f"{self.folder}/" if self.folder else "")
        step = self.step(command, path, *found.reads, optional=True)
        return SetupStep(step.command, found.source, step.ecosystem, step.folder, step.reads, optional=True)

    def test_commands(self) -> Iterable[TestCommand]:
        """Return commands that run the tests, most telling first."""
        found = self.documents.toml(self._path("pyproject.toml"))
        for keys in (("tool", "pdm", "scripts", "test"), ("tool", "poe", "tasks", "test")):
            script = dig(found, *keys)
            line = script if isinstance(script, str) else dig(script, "cmd")
            if isinstance(line, str) and runs_tests(line):
                yield TestCommand(line, self._path(f"pyproject.toml {'.'.join(keys)}"), self.folder)
        for each in runner_environments(self.documents, self.folder):
            for command in each.commands:
                yield TestCommand(without_coverage_limits(command), each.source, self.folder)
        if runner_packages(self.documents, self.folder):
            yield TestCommand("python -m pytest", self._path(self._configuration()), self.folder)
        elif self._has("manage.py"):
            yield TestCommand("python manage.py test", self._path("manage.py"), self.folder)
        elif any(
            re.search(r"(?:^|/)tests?(?:/|\.py$)", path) for path in self.documents.view.paths if path.endswith(".py")
        ):
            yield TestCommand("python -m unittest discover", self.source, self.folder)


def _is_beside_tests(name: str) -> bool:
    return normal(name) in {"docs", "doc", "documentation", "lint", "typing", "release", "publish", "benchmark"}


def without_coverage_limits(command: str) -> str:
    """Return a test command that does not fail for coverage alone."""
    return re.sub(r"\s+--cov-fail-under[= ]\S+", "", command)
