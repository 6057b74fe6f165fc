"""Rows of SWE-bench and of SWE-bench Pro: a JSON list, an object of rows, or JSON Lines.

The lists of tests are JSON lists, JSON in a text, or Python's form of a list in a text; names of fields are in capitals or
not. A row names its repository as `owner/name`; a clone of it is looked for in the folder that the user gives.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from codexteam.core.eval_task import EvalTask, HiddenTests, ReferenceSolution, StartCommit, safe_name
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import UsageError

#: Where the names of the tests stand beside them, for a command line has no room for thousands.
_LISTS = ".codexteam-eval"
#: What stands in a user's line for the names of tests; of names in one line there are so many bytes at most.
_TESTS, _MOST_NAMED_BYTES = "{tests}", 60_000
_FILE_IN_PATCH = re.compile(r"^diff --git a/(\S+) b/(\S+)$", re.MULTILINE)
#: As SWE-bench Pro says which commit's test files count.
_CHECKOUT = re.compile(r"git checkout ([0-9a-f]{7,64}) -- (.+)")
#: Reads test ids from a file and has pytest run them; pytest's own `@file` came with version 8.2.
_RUNNER = (
    "import sys, pytest; ids = open(sys.argv[1], encoding='utf-8').read().split('\\n'); "
    "sys.exit(pytest.main(['-q', '-rfE', '--tb=short', '-p', 'no:cacheprovider', *ids]))"
)


def read_rows(file: Path) -> list[JSONObject]:
    """Return the rows of a file.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: it cannot be read: {error}", hint="give rows as JSON or JSON Lines") from None
    try:
        found: JSONValue = json.loads(text)
    except ValueError:
        found = list(_lines(file, text))
    if isinstance(found, dict):
        inner = next((value for key, value in found.items() if key in {"rows", "data", "instances"}), None)
        found = inner if isinstance(inner, list) else [found]
    rows = [_unwrapped(row) for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    if not rows:
        raise UsageError(f"{file}: there is no row in it", hint="a row is an object with instance_id and base_commit")
    return rows


def _unwrapped(row: JSONObject) -> JSONObject:
    """Return the row itself, where a service that lists rows put it into an object of its own."""
    inner = row.get("row")
    return inner if isinstance(inner, dict) else row


def _lines(file: Path, text: str) -> Iterator[JSONValue]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise UsageError(
                    f"{file}:{number}: not JSON: {error}", hint="give rows as JSON or JSON Lines; Parquet is not read"
                ) from None


def row_task(row: JSONObject, repositories: Path | None, test_command: str) -> EvalTask | tuple[str, str]:
    """Return the task of a row, or its name and why it is none.

    Args:
        row: the row.
        repositories: the folder with clones, as `owner/name`, `owner__name` or `name`.
        test_command: what runs tests that are not pytest's; `{tests}` is their names, `{files}` the files of the tests.
    """
    given = {key.lower(): value for key, value in row.items()}
    name = safe_name(_text(given, "instance_id") or "row")
    repository, base = _text(given, "repo"), _text(given, "base_commit")
    goal = "\n\n".join(
        part for part in (_text(given, key) for key in ("problem_statement", "requirements", "interface")) if part
    )
    if not (repository and base and goal):
        return name, "it lacks repo, base_commit or problem_statement"
    clone = _clone(repository, repositories)
    if clone is None:
        where = "no --repos DIR was given" if repositories is None else f"{repositories} has no clone of it"
        return name, f"its repository {repository} is not here: {where}"
    fail, keep = named_tests(given.get("fail_to_pass")), named_tests(given.get("pass_to_pass"))
    if not fail:
        return name, "it names no test that must pass (fail_to_pass)"
    test_patch = _text(given, "test_patch")
    checkout = _CHECKOUT.search(_text(given, "before_repo_set_cmd"))
    paths = tuple(shlex.split(checkout[2])) if checkout else ()
    keep_commands: tuple[str, ...] = ()
    lists: dict[str, bytes] = {}
    if test_command:
        files = [*named_tests(given.get("selected_test_files_to_run")), *paths, *_files_of(test_patch)]
        commands = tuple(_lines_of(test_command, fail, files))
        # a line that names files alone runs the others with them
        keep_commands = tuple(_lines_of(test_command, keep, files)) if keep and _TESTS in test_command else ()
    elif all("::" in test or test.endswith(".py") for test in (*fail, *keep)):
        commands, lists[f"{_LISTS}/must_pass"] = (_listed("must_pass"),), "\n".join(fail).encode()
        if keep:
            keep_commands, lists[f"{_LISTS}/keep_passing"] = (_listed("keep_passing"),), "\n".join(keep).encode()
    else:
        return name, f"{fail[0]!r} is no test of pytest's: say what runs it with --test-command"
    hidden = HiddenTests(commands, keep_commands, lists, test_patch, checkout[1] if checkout else "", paths)
    patch = _text(given, "patch")
    return EvalTask(
        name, goal, StartCommit(str(clone), base), hidden, ReferenceSolution(patch=patch) if patch else None
    )


def named_tests(value: JSONValue) -> tuple[str, ...]:
    """Return the tests that a field names: a list, or a text that holds one as JSON or as Python writes it."""
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(value)
            except (ValueError, SyntaxError):
                continue
            return tuple(map(str, found)) if isinstance(found, list | tuple) else (str(found),)
        return (value,) if value.strip() else ()
    return tuple(str(test) for test in value) if isinstance(value, list) else ()


def _text(row: Mapping[str, JSONValue], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _clone(repository: str, folder: Path | None) -> Path | None:
    if folder is None:
        return None
    names = (repository, repository.replace("/", "__"), repository.rpartition("/")[2])
    places = [folder / f"{name}{end}" for name in names for end in ("", ".git", "/repo")]
    return next((place for place in places if (place / "HEAD").exists() or (place / ".git").exists()), None)


def _files_of(patch: str) -> list[str]:
    return [found[1] for found in _FILE_IN_PATCH.findall(patch)]


def _listed(name: str) -> str:
    return f"python3 -c {shlex.quote(_RUNNER)} {_LISTS}/{name}"


def _lines_of(command: str, tests: Sequence[str], files: Sequence[str]) -> Iterator[str]:
    """Give the lines that run tests: as many as it takes, for the system takes none that is too long."""
    if _TESTS not in command:
        yield _filled(command, tests, files)
        return
    some: list[str] = []
    length = 0
    for test in tests:
        length += len(test.encode()) + 4
        if some and length > _MOST_NAMED_BYTES:
            yield _filled(command, some, files)
            some, length = [], len(test.encode()) + 4
        some.append(test)
    yield _filled(command, some, files)


def _filled(command: str, tests: Sequence[str], files: Sequence[str]) -> str:
    words = {_TESTS: tests, "{files}": list(dict.fromkeys(files))}
    for mark, found in words.items():
        command = command.replace(mark, shlex.join(found))
    return command
