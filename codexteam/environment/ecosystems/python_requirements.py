"""What a Python project's tests need beside the project: extras, groups, requirements files, runners and their plugins.

They are found by name (PEP 503 form), never all of them: those for documentation and typing conflict, or want another
Python. Where no name tells, the one that holds a test runner is taken.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from codexteam.core.ids import JSONValue
from codexteam.environment.documents import Documents, dig, join, mapping, strings, texts_below

#: Names under which projects keep what their tests need.
_TEST_NAMES = ("test", "tests", "testing", "test-base", "pytest", "unit", "unit-tests", "unittest", "ci")
_DEVELOPMENT_NAMES = ("dev", "develop", "development", "devel", "dev-dependencies")
RUNNERS = frozenset({"pytest", "nose2", "pynose", "nose", "trial", "twisted", "ward", "testtools", "stestr", "behave"})
_REQUIREMENTS_NAME = re.compile(
    r"(?:[\w.-]*[-_.])?(?:tests?|testing|dev|devel|develop|development|ci|pytest|unit)(?:[-_.][\w-]+)?"
)
_NOT_TESTS = re.compile(
    r"pypy|integration|docs?\b|lint|typ(?:es|ing)|mypy|build|release|min(?:imal|imum)?\b|oldest|windows|macos|gpu|bench"
)
#: Options in `addopts`, and settings of pytest, that only a plugin knows.
_PLUGINS = {
    "--cov": "pytest-cov",
    "--no-cov": "pytest-cov",
    "-n": "pytest-xdist",
    "--numprocesses": "pytest-xdist",
    "--dist": "pytest-xdist",
    "--maxprocesses": "pytest-xdist",
    "--timeout": "pytest-timeout",
    "--asyncio-mode": "pytest-asyncio",
    "--randomly-seed": "pytest-randomly",
    "--reruns": "pytest-rerunfailures",
    "--benchmark-disable": "pytest-benchmark",
    "--benchmark-skip": "pytest-benchmark",
    "--mypy": "pytest-mypy",
    "--html": "pytest-html",
    "--ds": "pytest-django",
    "--nomigrations": "pytest-django",
    "--reuse-db": "pytest-django",
    "--snapshot-update": "syrupy",
    "--disable-socket": "pytest-socket",
    "--instafail": "pytest-instafail",
    "--random-order": "pytest-random-order",
    "--nbval": "nbval",
}
_PLUGIN_SETTINGS = {
    "asyncio_mode": "pytest-asyncio",
    "asyncio_default_fixture_loop_scope": "pytest-asyncio",
    "django_settings_module": "pytest-django",
    "timeout": "pytest-timeout",
    "env": "pytest-env",
    "qt_api": "pytest-qt",
    "mypy_plugins": "pytest-mypy",
    "socket_allow_hosts": "pytest-socket",
}
_MODULE_PLUGINS = {"cov": "pytest-cov", "xdist": "pytest-xdist", "pytest_cov": "pytest-cov"}


def normal(name: str) -> str:
    """Return a name in its PEP 503 form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(text: str) -> str:
    """Return the name in a requirement, normalised; empty where there is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return normal(Requirement(text.partition(" #")[0].strip()).name)
    except InvalidRequirement:
        return ""


def chosen_names(offered: Mapping[str, JSONValue]) -> list[str]:
    """Return which of a project's extras or groups its tests need, as the project spells them."""
    plain = {normal(name): name for name in offered}
    tests = [plain[name] for name in _TEST_NAMES if name in plain]
    if any(_has_runner(offered, name) for name in tests):
        return tests
    developing = [plain[name] for name in _DEVELOPMENT_NAMES if name in plain]
    if developing or tests:
        return [*tests, *developing]
    holding = [name for name in offered if _has_runner(offered, name)]
    by_size = sorted(holding, key=lambda name: (len(list(texts_below(offered[name]))), name))
    return by_size[:1] or [plain[name] for name in ("all",) if name in plain]


def _has_runner(offered: Mapping[str, JSONValue], name: str) -> bool:
    """Return whether an extra or group holds a test runner, by itself or through one that it includes."""
    seen: set[str] = set()
    waiting = [normal(name)]
    plain = {normal(each): value for each, value in offered.items()}
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        value = plain.get(current)
        for text in value if isinstance(value, list) else []:
            if isinstance(text, dict):
                waiting += [normal(each) for each in strings(text.get("include-group"))]
            elif isinstance(text, str):
                if requirement_name(text) in RUNNERS or requirement_name(text).startswith("pytest-"):
                    return True
                # an extra that names others of the same project: `package[test,docs]`
                waiting += [normal(each) for part in re.findall(r"\[([^\]]*)\]", text) for each in part.split(",")]
    return False


def requirements_files(documents: Documents, folder: str) -> list[str]:
    """Return the requirements files that tests need, relative to a project's folder; those that others include left out."""
    prefix = f"{folder}/" if folder else ""
    found: list[str] = []
    for path in documents.view.paths:
        if not path.startswith(prefix) or not path.endswith((".txt", ".in")):
            continue
        name = path[len(prefix) :]
        if _is_for_tests(name) and not _NOT_TESTS.search(PurePosixPath(name).stem):
            found.append(name)
    # a compiled file stands beside what it was compiled from
    chosen = [name for name in sorted(found) if not (name.endswith(".in") and f"{name[:-3]}.txt" in found)]
    tests = [name for name in chosen if "test" in PurePosixPath(name).stem or "test" in name.partition("/")[0]]
    if tests and any(_mentions_runner(documents, join(folder, name)) for name in tests):
        chosen = [name for name in chosen if name in tests or name == "requirements.txt"]
    included = {
        str(PurePosixPath(name).parent / part).removeprefix("./")
        for name in chosen
        for part in _included(documents.text(join(folder, name)))
    }
    return [name for name in chosen if name not in included]


def _is_for_tests(name: str) -> bool:
    path = PurePosixPath(name)
    parents = path.parts[:-1]
    stem = path.name.rpartition(".")[0].lower()
    if not parents:
        return name == "requirements.txt" or (
            "require" in stem
            and bool(_REQUIREMENTS_NAME.fullmatch(re.sub(r"[-_.]?requirements?[-_.]?", ".", stem).strip(".")))
        )
    if len(parents) == 1 and parents[0].lower() in {"requirements", "requires", "reqs", "requirement"}:
        return bool(_REQUIREMENTS_NAME.fullmatch(stem))
    return len(parents) == 1 and parents[0] in {"tests", "test"} and stem in {"requirements", "test-requirements"}


def _included(text: str) -> Iterator[str]:
    for match in re.finditer(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]+(\S+)", text, re.MULTILINE):
        yield match[1]


def _mentions_runner(documents: Documents, path: str) -> bool:
    return any(requirement_name(line) in RUNNERS for line in documents.text(path).splitlines())


def installs_itself(documents: Documents, folder: str, names: Sequence[str]) -> bool:
    """Return whether a requirements file installs the project itself (`-e .`, `.`)."""
    pattern = re.compile(r"^\s*(?:(?:-e|--editable)[\s=]+)?(?:file:)?\./?(?:\[[^\]]*\])?\s*(?:#.*)?$", re.MULTILINE)
    return any(pattern.search(documents.text(join(folder, name))) for name in names)


def runner_packages(documents: Documents, folder: str) -> list[str]:
    """Return pytest and the plugins without which it refuses this project's configuration; empty where it has no tests."""
    settings = _pytest_settings(documents, folder)
    prefix = f"{folder}/" if folder else ""
    tests = any(
        re.search(r"(?:^|/)(?:test_[^/]*|[^/]*_test|conftest)\.py$", path)
        for path in documents.view.paths
        if path.startswith(prefix)
    )
    if not settings and not tests:
        return []
    found = ["pytest"]
    addopts = settings.get("addopts")
    words = _words(addopts) if isinstance(addopts, str) else strings(addopts)
    for index, word in enumerate(words):
        option = word.partition("=")[0]
        if option == "-p" or word.startswith("-p"):
            module = word[2:] or (words[index + 1] if index + 1 < len(words) else "")
            found += [_MODULE_PLUGINS[module]] if module in _MODULE_PLUGINS else []
        known = "--cov" if option.startswith("--cov-") else option
        found += [_PLUGINS[known]] if known in _PLUGINS else []
    found += [plugin for key, plugin in _PLUGIN_SETTINGS.items() if key in settings]
    required = settings.get("required_plugins")
    found += [
        name
        for text in (_words(required) if isinstance(required, str) else strings(required))
        if (name := requirement_name(text))
    ]
    return list(dict.fromkeys(found))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _pytest_settings(documents: Documents, folder: str) -> dict[str, JSONValue]:
    for name in ("pytest.toml", ".pytest.toml"):
        if found := mapping(dig(documents.toml(join(folder, name)), "pytest")):
            return _lowered(found)
    for name in ("pytest.ini", ".pytest.ini"):
        if documents.has(join(folder, name)):
            parser = documents.ini(join(folder, name))
            return dict(parser["pytest"]) if parser.has_section("pytest") else {"addopts": ""}
    tool = dig(documents.toml(join(folder, "pyproject.toml")), "tool", "pytest")
    if isinstance(tool, dict):
        ini = tool.get("ini_options")
        return _lowered(ini if isinstance(ini, dict) else tool)
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if documents.has(join(folder, name)):
            parser = documents.ini(join(folder, name))
            if parser.has_section(section):
                return dict(parser[section])
    return {}


def _lowered(found: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    return {key.lower(): value for key, value in found.items()}
