"""Which of the test commands that a repository offers may serve as gates: alternatives, one group for each language."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from codexteam.environment.plan import Ecosystem, TestCommand

_PROGRAMS: Mapping[Ecosystem, str] = {
    Ecosystem.PYTHON: r"python[\d.]*|pytest|py\.test|tox|nox|hatch|uvx?|poetry|pdm|pipenv|pipx|rye|poe|nose2",
    Ecosystem.NODE: r"npm|npx|pnpm|yarn|bunx?|node|deno|jest|vitest|mocha|ava|tap|borp",
    Ecosystem.GO: r"go|gotestsum|ginkgo",
    Ecosystem.RUST: r"cargo|cross",
    Ecosystem.RUBY: r"bundle|rake|rspec|ruby|rails",
    Ecosystem.PHP: r"composer|php|phpunit|pest",
    Ecosystem.JAVA: r"mvnw?|gradlew?",
    Ecosystem.DOTNET: r"dotnet",
    Ecosystem.ELIXIR: r"mix",
    Ecosystem.PERL: r"prove|perl|yath|dzil|\./Build",
    Ecosystem.NATIVE: r"ctest|cmake|meson|ninja",
}
_ASSIGNMENT = re.compile(r"^\w+=")
#: More groups than this are a monorepo's, whose root says how all of it is tested.
_MOST_GROUPS = 4
_MOST_ALTERNATIVES = 4


def gate_groups(commands: Sequence[TestCommand], repositories: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
    """Return groups of shell lines: of each group the first one that runs is a gate; the first group matters most.

    A command of no known language, such as `make test`, may run anything: it is an alternative in the first group. A
    folder's commands count where the root has none of that language, or where tasks write in it. Each of several
    `repositories`, which are folders then, has groups of its own.
    """
    if not repositories:
        return _groups(commands)
    return tuple(
        tuple(f"cd {shlex.quote(name)} && {line}" for line in group)
        for name in repositories
        for group in _groups(_within(commands, name))
    )


def _within(commands: Sequence[TestCommand], name: str) -> list[TestCommand]:
    """Return a repository's commands as they run in its own folder."""
    return [
        replace(each, folder=each.folder.removeprefix(name).removeprefix("/"))
        for each in commands
        if each.folder.split("/")[0] == name
    ]


def _groups(commands: Sequence[TestCommand]) -> tuple[tuple[str, ...], ...]:
    groups: dict[tuple[Ecosystem, str], list[str]] = {}
    unknown: list[tuple[int, str]] = []
    at_root = {ecosystem_of(each.command) for each in commands if not each.folder}
    for place, each in enumerate(commands):
        ecosystem = ecosystem_of(each.command)
        if ecosystem is Ecosystem.OTHER:
            unknown.append((place, gate_line(each)))
        elif not each.folder or each.touched or ecosystem not in at_root:
            groups.setdefault((ecosystem, each.folder), []).append(gate_line(each))
    listed = list(groups.values())
    if not listed:
        return _cut([[line for _, line in unknown]] if unknown else [])
    first = listed[0]
    for place, line in reversed(unknown):
        # where it stood among the others
        before = sum(gate_line(each) in first for each in commands[:place])
        first.insert(before, line)
    return _cut(listed)


def _cut(groups: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(dict.fromkeys(group))[:_MOST_ALTERNATIVES] for group in groups)[:_MOST_GROUPS]


def gate_line(test: TestCommand) -> str:
    """Return a test command as a line that runs at the repository's root."""
    return f"cd {shlex.quote(test.folder)} && {test.command}" if test.folder else test.command


def ecosystem_of(command: str) -> Ecosystem:
    """Return whose program a command begins with."""
    try:
        words = shlex.split(command)
    except ValueError:  # the script's line cannot be split into words
        words = command.split()
    while words and (words[0] in {"env", "exec", "time"} or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    program = words[0].rpartition("/")[2] if words else ""
    return next((kind for kind, pattern in _PROGRAMS.items() if re.fullmatch(pattern, program)), Ecosystem.OTHER)
