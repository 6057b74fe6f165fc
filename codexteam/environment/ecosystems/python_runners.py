"""What tox, nox and hatch install for a project's tests, and the command that they run.

Their environments are not made: what goes into them goes into the one that agents have, so that `pytest` alone works.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from dataclasses import dataclass

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.environment.documents import Documents, dig, join, mapping, strings

_RUNS_TESTS = re.compile(
    r"^(?:(?:coverage|python -m coverage) run (?:[^ ]+ )*?-m )?(?:python[\d.]* (?:-[bBWX]\S* )*-m )?"
    r"(pytest|py\.test|unittest|nose2|trial|stestr|twisted\.trial|zope\.testrunner|ward|behave)\b"
    r"|^(?:python[\d.]* )?(?:\./)?(?:manage\.py|setup\.py|runtests\.py|tests?/runtests\.py|run_tests\.py) ?test?s?\b"
)
_HATCH_TEST_DEPENDENCIES = (
    "pytest",
    "pytest-mock",
    "pytest-randomly",
    "pytest-rerunfailures",
    "pytest-xdist",
    "coverage",
)


@dataclass(frozen=True, slots=True)
class RunnerEnvironment:
    """What one of these tools would install, and run."""

    source: str = ""
    """The file, and the environment in it."""
    packages: tuple[str, ...] = ()
    """Arguments for an installer: requirements, `-r FILE`."""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    """Those that run tests."""
    reads: tuple[str, ...] = ()


def runner_environments(documents: Documents, folder: str) -> list[RunnerEnvironment]:
    """Return what a project's tools would install for its tests."""
    found = [_tox(documents, folder), _nox(documents, folder), _hatch(documents, folder)]
    return [each for each in found if each is not None]


def runs_tests(command: str) -> bool:
    """Return whether a command line starts a Python test runner by itself."""
    return _RUNS_TESTS.search(command.strip()) is not None


# tox


def _tox(documents: Documents, folder: str) -> RunnerEnvironment | None:
    for name, section in (("tox.ini", "testenv"), ("setup.cfg", "testenv"), ("setup.cfg", "tox:testenv")):
        path = join(folder, name)
        if documents.has(path):
            parser = documents.ini(path)
            if parser.has_section(section):
                return _tox_ini(parser, path, section)
    for name, keys in (("tox.toml", ()), ("pyproject.toml", ("tool", "tox"))):
        path = join(folder, name)
        found = dig(documents.toml(path), *keys)
        if isinstance(found, dict) and "env_run_base" in found:
            return _tox_toml(found, path)
        legacy = mapping(found).get("legacy_tox_ini")
        if isinstance(legacy, str):
            parser = ConfigParser(interpolation=None, strict=False)
            try:
                parser.read_string(legacy)
            except Exception as error:  # noqa: BLE001 - a text in a file of the repository's, of any shape
                documents.say(f"{path} tool.tox.legacy_tox_ini cannot be read: {error}")
                continue
            if parser.has_section("testenv"):
                return _tox_ini(parser, path, "testenv")
    return None


def _tox_ini(parser: ConfigParser, path: str, base: str) -> RunnerEnvironment:
    """Read `[testenv]`, or the environment that runs tests where that does not."""
    section = parser[base]
    prefix = base.removesuffix("testenv")
    named = [
        name for name in parser.sections() if re.fullmatch(rf"{re.escape(prefix)}testenv:(?:py\d*|tests?|unit).*", name)
    ]
    commands = _tox_commands(parser, section.get("commands", ""))
    chosen = section
    if not commands:
        for name in named:
            if commands := _tox_commands(parser, parser[name].get("commands", "")):
                chosen = parser[name]
                break
    deps = _tox_lines(parser, chosen.get("deps", section.get("deps", "")))
    packages = [part for line in deps for part in _tox_requirement(line)]
    extras = _tox_lines(parser, chosen.get("extras", section.get("extras", "")).replace(",", "\n"))
    groups = _tox_lines(parser, chosen.get("dependency_groups", section.get("dependency_groups", "")))
    reads = tuple(dict.fromkeys(match for line in deps for match in re.findall(r"-[rc]\s*(\S+)", line)))
    return RunnerEnvironment(
        f"{path} [{chosen.name}]", tuple(packages), tuple(extras), tuple(groups), tuple(commands), reads
    )


def _tox_lines(parser: ConfigParser, text: str, depth: int = 0) -> list[str]:
    """Return the lines of a setting that count for a Python of no particular version."""
    found: list[str] = []
    for raw in text.splitlines():
        line = raw.partition(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        factor = re.match(r"^([!\w.,{}-]+):\s+(.*)$", line) or re.match(r"^([!\w.,{}-]+):(?!//)(\S.*)$", line)
        if factor and "[" not in factor[1]:
            # what is for one factor is not for the plain environment, unless it excludes one or names a Python
            if not factor[1].startswith("!") and not re.match(r"(?:py|py3\d*|cov|tests?)(?:[,-]|$)", factor[1]):
                continue
            line = factor[2]
        reference = re.fullmatch(r"\{\[([^\]]+)\]([^}]+)\}", line)
        if reference and depth < 5:
            other = parser.get(reference[1], reference[2].lower().replace("-", "_"), fallback="")
            found += _tox_lines(parser, other, depth + 1)
        else:
            found.append(line)
    return found


def _tox_filled_in(text: str) -> str:
    text = re.sub(r"\{(?:tox_root|toxinidir|tox-root)\}/?", "", text)
    text = re.sub(r"\{posargs(?::((?:[^{}]|\{[^{}]*\})*))?\}", lambda match: match[1] or "", text)
    text = re.sub(r"\{(?:envpython|env_python)\}", "python", text)
    return re.sub(r"\{env:[^:{}]+(?::([^{}]*))?\}", lambda match: match[1] or "", text)


def _tox_requirement(line: str) -> list[str]:
    text = _tox_filled_in(line).strip()
    if "{" in text or not text:
        return []
    option = re.match(r"^(-r|-c|-e|--requirement|--constraint)\s*=?\s*(.+)$", text)
    return [option[1], option[2].strip()] if option else [text]


def _tox_commands(parser: ConfigParser, text: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", text)
    found = []
    for line in _tox_lines(parser, joined):
        plain = re.sub(r"\s+", " ", _tox_filled_in(line).strip().lstrip("-!").strip())
        if runs_tests(plain) and "{" not in plain:
            found.append(plain)
    return found


def _tox_toml(found: JSONObject, path: str) -> RunnerEnvironment:
    base = mapping(found.get("env_run_base"))
    environments = mapping(found.get("env"))
    parts, name = base, "env_run_base"
    if not _toml_commands(base.get("commands")):
        for key, value in environments.items():
            if isinstance(value, dict) and _toml_commands(value.get("commands")):
                parts, name = {**base, **value}, f"env.{key}"
                break
    packages = [part for line in strings(parts.get("deps")) for part in _tox_requirement(line)]
    return RunnerEnvironment(
        f"{path} {name}",
        tuple(packages),
        tuple(strings(parts.get("extras"))),
        tuple(strings(parts.get("dependency_groups"))),
        tuple(_toml_commands(parts.get("commands"))),
    )


def _toml_commands(value: JSONValue) -> list[str]:
    found = []
    for command in value if isinstance(value, list) else []:
        words: list[str] = []
        for part in command if isinstance(command, list) else []:
            if isinstance(part, str):
                words.append(_tox_filled_in(part))
            elif isinstance(part, dict) and part.get("replace") == "posargs":
                words += strings(part.get("default"))
        line = " ".join(word for word in words if word)
        if runs_tests(line) and "{" not in line:
            found.append(line)
    return found


# nox


def _nox(documents: Documents, folder: str) -> RunnerEnvironment | None:
    """Read the sessions of a noxfile without running it: only what stands there as plain words counts."""
    path = join(folder, "noxfile.py")
    if not documents.has(path):
        return None
    try:
        tree = ast.parse(documents.text(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        documents.say(f"{path} cannot be read as Python: {error}")
        return None
    sessions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and _is_session(node)]
    named = sorted(sessions, key=lambda node: (not re.match(r"(?:unit|tests?$|tests?_|py)", node.name), node.lineno))
    for session in named:
        commands = [line for line in _calls(session, "run") if runs_tests(line)]
        if commands:
            installs = [words for words in _call_words(session, "install") if words]
            packages = [word for words in installs for word in words if word not in {"-e", ".", "-U", "--upgrade"}]
            extras = [
                each for word in packages for match in re.findall(r"^\.\[([^\]]+)\]", word) for each in match.split(",")
            ]
            plain = [word for word in packages if not word.startswith((".", "--"))]
            if not _is_installable(plain):
                plain = []
            return RunnerEnvironment(f"{path} {session.name}", tuple(plain), tuple(extras), (), tuple(commands))
    return None


def _is_installable(words: Sequence[str]) -> bool:
    return all(re.fullmatch(r"-r|-c|[\w./-]+(?:\[[\w,-]+\])?(?:[<>=!~].*)?", word) for word in words)


def _is_session(node: ast.FunctionDef) -> bool:
    return any("session" in ast.unparse(decorator) for decorator in node.decorator_list)


def _call_words(session: ast.FunctionDef, method: str) -> Iterator[list[str]]:
    for node in ast.walk(session):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            yield [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]


def _calls(session: ast.FunctionDef, method: str) -> Iterator[str]:
    for words in _call_words(session, method):
        yield " ".join(words)


# hatch


def _hatch(documents: Documents, folder: str) -> RunnerEnvironment | None:
    for name, keys in (("hatch.toml", ("envs",)), ("pyproject.toml", ("tool", "hatch", "envs"))):
        path = join(folder, name)
        found = dig(documents.toml(path), *keys)
        if not isinstance(found, dict):
            continue
        for environment in ("hatch-test", "test", "tests", "testing", "default", "dev"):
            value = found.get(environment)
            if isinstance(value, dict):
                read = _hatch_environment(value, f"{path} envs.{environment}", environment)
                if read.packages or read.extras or read.groups or read.commands:
                    return read
    return None


def _hatch_environment(value: JSONObject, source: str, name: str) -> RunnerEnvironment:
    packages = [*strings(value.get("dependencies")), *strings(value.get("extra-dependencies"))]
    if name == "hatch-test":
        packages = [*_HATCH_TEST_DEPENDENCIES, *packages]
    commands = []
    for script in ("test", "tests", "run", "unit", "pytest", "cov", "test-cov"):
        for line in strings(mapping(value.get("scripts")).get(script)):
            plain = re.sub(r"\{args(?::([^{}]*))?\}", lambda match: match[1] or "", line).strip()
            if runs_tests(plain) and "{" not in plain:
                commands.append(plain)
    return RunnerEnvironment(
        source,
        tuple(each for each in packages if "{" not in each),
        tuple(strings(value.get("features"))),
        tuple(strings(value.get("dependency-groups"))),
        tuple(commands),
    )
