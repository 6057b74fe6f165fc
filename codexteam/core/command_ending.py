"""How a gate or acceptance command ended: did it check something, and what came of it?

An exit code alone does not say. `pytest: command not found`, a plugin that is missing and a red test all return
something other than 0, and several runners return 0 when no test ran. Taking the first two for "red, as before" makes a
run green that nothing has checked, so the order of the questions matters (first match wins):

1. our limit ended it: `TIMED_OUT`;
2. a signal did (128 + n): `KILLED`;
3. tests ran, by a runner's own report: `PASSED` or `FAILED`. Words of 4 and 5 in single tests do not count then;
4. the program, its interpreter, a module, a service or the network is missing, or the runner says that it could not
   collect, compile or configure: `CANNOT_RUN`;
5. a runner looked for tests and found none, or skipped all of them: `NOTHING_RAN`;
6. exit 0: `PASSED`;
7. a runner that reported not one test, or a command that is a test runner, by its name, and left no report: `CANNOT_RUN`;
8. else `FAILED`: linters, type checkers, scripts and `grep -q` have no report, and their exit code is their verdict.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from codexteam.core.runner_reports import RunnerReport, failed_tests, plain, read_reports


class Ending(StrEnum):
    """What the end of a command means."""

    PASSED = "passed"
    FAILED = "failed"
    """It ran, and what it checks does not hold."""
    CANNOT_RUN = "cannot_run"
    """It could not check anything, and would not on another commit either until its environment is mended."""
    NOTHING_RAN = "nothing_ran"
    """It ended well, and not one test was executed."""
    TIMED_OUT = "timed_out"
    KILLED = "killed"


class Cause(StrEnum):
    """What keeps a command from running."""

    PROGRAM = "program"
    """A program that is not there or cannot be executed."""
    MODULE = "module"
    """A library, package or module."""
    SCRIPT = "script"
    """A target, script or task that the project does not define."""
    USAGE = "usage"
    """The runner refuses its options or its configuration, often for want of a plugin."""
    COLLECTION = "collection"
    """Tests cannot be loaded or compiled."""
    TOOLCHAIN = "toolchain"
    """The language's own tools are missing or of another version."""
    NATIVE = "native"
    """A compiler, a header or a shared library."""
    NETWORK = "network"
    SERVICE = "service"
    """A database, a browser or another server."""
    PATH = "path"
    """A file or test that the command names."""
    DISK = "disk"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CommandEnding:
    """A command's end, read."""

    ending: Ending
    reason: str = ""
    """One line of the output, or of ours, that says why; hostile text."""
    cause: Cause | None = None
    """Set where it cannot run."""
    missing: str = ""
    """The program, module, script or path that is missing, where it is named."""
    executed: int | None = None
    """Tests that ran; None where no runner reported."""
    failed: int = 0
    skipped: int = 0

    @property
    def checked(self) -> bool:
        """Whether it checked something: it passed or failed on what it looked at."""
        return self.ending in {Ending.PASSED, Ending.FAILED}


#: Signs of what is missing, most specific first. The group `missing`, where there is one, names it.
_SIGNS: tuple[tuple[Cause, str], ...] = (
    (Cause.PROGRAM, r"^(?:\S*/)?(?:ba|da|z|k)?sh: (?:line \d+: |\d+: )?(?P<missing>[^:\n]+): (?:command )?not found$"),
    (Cause.PROGRAM, r"^(?:\S*/)?(?:ba|da|z|k)?sh: (?:line \d+: |\d+: )?(?P<missing>[^:\n]+): cannot execute"),
    (Cause.PROGRAM, r"^(?:\S*/)?(?:ba|da|z|k)?sh: (?:line \d+: |\d+: )?(?P<missing>[^:\n]+): bad interpreter"),
    (
        Cause.PROGRAM,
        r"^(?:/usr/bin/)?env: ['\u2018\"]?(?P<missing>[^'\u2019\":\n]+)['\u2019\"]?: No such file or directory",
    ),
    (
        Cause.PROGRAM,
        r"^g?make(?:\[\d+\])?: (?P<missing>\S+): (?:No such file or directory|Command not found|not found)",
    ),
    (Cause.PROGRAM, r"^nox > Program (?P<missing>\S+) (?:was )?not found"),
    (Cause.PROGRAM, r"^\S*: (?:exit|failed with) .*No such file or directory: '(?P<missing>[^']+)'"),
    (Cause.PROGRAM, r"^error: Failed to spawn: `?(?P<missing>[^`\n]+)`?"),
    (Cause.PROGRAM, r"^(?:\[ERR_PNPM_RECURSIVE_EXEC_FIRST_FAIL\].*)?Command \"(?P<missing>[^\"]+)\" not found"),
    (Cause.TOOLCHAIN, r"rustup could not choose a version of (?P<missing>\S+)"),
    (Cause.TOOLCHAIN, r"(?P<missing>go\.mod requires go >= \S+)|toolchain not available"),
    (Cause.TOOLCHAIN, r"compatible \.NET SDK was not found|NETSDK1045|Unsupported class file major version"),
    (Cause.TOOLCHAIN, r"No matching toolchains? found|release version \d+ not supported|invalid target release"),
    (
        Cause.TOOLCHAIN,
        r"pyenv: (?P<missing>\S+): command not found|^Session \S+ skipped: Python interpreter (?P<named>\S+) not",
    ),
    (
        Cause.TOOLCHAIN,
        r"skipped because could not find python interpreter|The JAVA_HOME environment variable is not defined",
    ),
    (Cause.SCRIPT, r"Missing script: \"(?P<missing>[^\"]+)\"|^Error: no test specified$|ERR_PNPM_NO_SCRIPT"),
    (
        Cause.SCRIPT,
        r"^error Command \"(?P<missing>[^\"]+)\" not found|Couldn't find a script named \"(?P<named>[^\"]+)\"",
    ),
    (
        Cause.SCRIPT,
        r"No rule to make target [`'\u2018](?P<missing>[^'\u2019]+)['\u2019]|No targets specified and no makefile found",
    ),
    (Cause.SCRIPT, r"Don't know how to build task '(?P<missing>[^']+)'|No Rakefile found|^nox > Sessions not found"),
    (Cause.SCRIPT, r"Task '(?P<missing>[^']+)' not found|^Command \"(?P<named>[^\"]+)\" is not defined"),
    (Cause.SCRIPT, r"Could not read package\.json|could not find `Cargo\.toml`|Could not locate Gemfile"),
    (Cause.SCRIPT, r"Could not find a Mix\.Project|MSB1003|MissingProjectException|cannot find main module"),
    (Cause.MODULE, r"^\S*python[\d.]*: No module named (?P<missing>\S+)$"),
    (Cause.MODULE, r"(?:ModuleNotFoundError: )No module named '(?P<missing>[^']+)'"),
    (Cause.MODULE, r"Cannot find (?:module|package|dependency) ['\"](?P<missing>[^'\"]+)['\"]|ERR_MODULE_NOT_FOUND"),
    (Cause.MODULE, r"no required module provides package (?P<missing>[^;\s]+)|missing go\.sum entry"),
    (Cause.MODULE, r"Could not find gem '(?P<missing>[^']+)'|cannot load such file -- (?P<named>\S+)"),
    (
        Cause.MODULE,
        r"Cannot open file \"(?P<missing>[^\"]*vendor/autoload\.php)\"|Class \"(?P<named>[^\"]+)\" not found"
        r"|Failed opening required '(?P<required>[^']*vendor/autoload\.php)'",
    ),
    (Cause.MODULE, r"^(?:# +Error: +)?Can't locate (?P<missing>\S+) in @INC"),
    (Cause.MODULE, r"no matching package named `(?P<missing>[^`]+)`|Unchecked dependencies for environment"),
    (Cause.MODULE, r"Could not find Hex|in offline mode and the artifact (?P<missing>\S+)|error NU1101"),
    (Cause.MODULE, r"No cached version of (?P<missing>\S+) available for offline mode|ENOTCACHED"),
    (Cause.MODULE, r"Missing required plugins: (?P<missing>.+)|async def functions are not natively supported"),
    (Cause.MODULE, r"^ImportError: (?:cannot import name )?(?P<missing>.+)$"),
    (Cause.USAGE, r"unrecognized arguments?: (?P<missing>.+)|Unrecognized CLI Parameter|^CACError: |bad option: "),
    (
        Cause.USAGE,
        r"^HandledError\||● Validation Error|Unknown lifecycle phase|^error: unexpected argument|^invalid option: ",
    ),
    (Cause.NATIVE, r"(?P<missing>\S+\.h): No such file or directory|cannot open shared object file|ld: cannot find -l"),
    (Cause.NATIVE, r"command '(?P<missing>\S*(?:gcc|cc|clang))' failed|linker `(?P<named>\S+)` not found"),
    (Cause.NATIVE, r"GLIBC_[\d.]+' not found|pg_config executable not found|node-gyp.*not found"),
    (Cause.SERVICE, r"(?:ECONNREFUSED|Connection refused)\D+(?P<missing>(?:\d+\.){3}\d+:\d+|localhost:\d+)"),
    (
        Cause.SERVICE,
        r"could not connect to server|Can't connect to (?:local )?MySQL server|ServerSelectionTimeoutError",
    ),
    (
        Cause.SERVICE,
        r"Cannot connect to the Docker daemon|Could not find a valid Docker environment|cannot open display",
    ),
    (Cause.SERVICE, r"Failed to launch the browser|Executable doesn't exist at .*playwright"),
    (
        Cause.SERVICE,
        r"No binary for (?P<missing>\w+) browser on your platform|ERROR \[launcher\]: Cannot start (?P<named>\w+)",
    ),
    (Cause.NETWORK, r"Temporary failure in name resolution|Name or service not known|EAI_AGAIN|ENOTFOUND"),
    (Cause.NETWORK, r"Network is unreachable|ENETUNREACH|Could not resolve host|dial tcp: lookup|UnknownHostException"),
    (Cause.NETWORK, r"module lookup disabled by GOPROXY=off|Could not transfer artifact|ProxyError"),
    (Cause.DISK, r"No space left on device|ENOSPC|Read-only file system|EROFS|JavaScript heap out of memory"),
    (Cause.PATH, r"^ERROR: (?:file or directory )?not found: (?P<missing>\S+)|^Could not find '(?P<named>[^']+)'"),
    (
        Cause.PATH,
        r"No test configuration file found!|stat (?P<missing>\S+): (?:no such file or directory|directory not found)",
    ),
    (Cause.PATH, r"can't open file '(?P<missing>[^']+)'|^Could not open input file: (?P<named>\S+)"),
)
_COMPILED = tuple((cause, re.compile(pattern, re.MULTILINE)) for cause, pattern in _SIGNS)

#: Where tests ran, only these say that the command as a whole did not: something it names is not there at all.
_SHELL_CODES = {126: "cannot be executed", 127: "was not found"}

_COLLECTION_ERROR = re.compile(r"^E {3}(\S.*)$", re.MULTILINE)
#: Said by programs that return 0 and did nothing.
_NOTHING_DONE = re.compile(
    r"^g?make(?:\[\d+\])?: (?:Nothing to be done for .*|.* is up to date\.)$|^nox > Session \S+ skipped: .*$",
    re.MULTILINE,
)

#: Programs whose only work is to run tests: a failure without a report says nothing about the code.
_RUNNERS = frozenset(
    {
        "pytest",
        "py.test",
        "unittest",
        "tox",
        "nox",
        "nosetests",
        "nose2",
        "trial",
        "jest",
        "vitest",
        "mocha",
        "jasmine",
        "ava",
        "karma",
    }
    | {"cypress", "playwright", "prove", "rspec", "minitest", "phpunit", "ctest", "busted", "bats"}
)
#: The same for a program and its first word.
_RUNNER_CALLS = frozenset({"go test", "cargo test", "cargo nextest", "mix test", "dotnet test", "swift test", "bun test",
                           "deno test", "rails test", "rake test", "hatch test", "mvn test", "gradle test", "npm test",
                           "yarn test", "pnpm test", "node --test"})  # fmt: skip
#: Rows of `RUNNERS` that report of builds and checks too: one that fails without a test may be a linter's verdict.
_BUILD_TOOLS = frozenset({"cargo", "dotnet", "go", "gradle", "maven"})
#: Words that stand before the program that is meant.
_WRAPPERS = frozenset(
    {
        "env",
        "time",
        "nice",
        "uv",
        "uvx",
        "poetry",
        "pdm",
        "pipenv",
        "hatch",
        "bundle",
        "composer",
        "npx",
        "pnpx",
        "bunx",
        "run",
        "exec",
    }
    | {"--", "python", "python3", "-m"}
)


def read_ending(
    command: str, *, exit_code: int | None, timed_out: bool, output: str, signal: int | None = None
) -> CommandEnding:
    """Say what the end of a command means.

    `exit_code` is None when the command was killed or its end is unknown; `output` is what it printed, or its head and
    tail. Both streams in one.
    """
    text = plain(output)
    reports = read_reports(output)
    seen = CommandEnding(
        Ending.PASSED,
        executed=sum(report.executed for report in reports) if reports else None,
        failed=sum(report.failed for report in reports),
        skipped=sum(report.skipped for report in reports),
    )
    if timed_out:
        return replace(seen, ending=Ending.TIMED_OUT, reason="the time limit ended it")
    if signal is not None or exit_code is None or 128 < exit_code <= 128 + 64:
        return replace(seen, ending=Ending.KILLED, reason=_why_killed(exit_code, signal, text))
    missing = _missing(text, exit_code) if exit_code else None
    if missing is not None and missing[0] is Cause.MODULE and seen.executed == seen.failed and _only_files(output):
        seen = replace(seen, executed=0, failed=0)  # no test of these files was reached
    if seen.executed and (exit_code == 0 or seen.failed or missing is None):
        failed = f"{seen.failed} of {seen.executed} tests failed" if seen.failed else f"exit code {exit_code}"
        return seen if exit_code == 0 else replace(seen, ending=Ending.FAILED, reason=failed)
    if missing is not None:
        cause, name, line = missing
        return replace(seen, ending=Ending.CANNOT_RUN, reason=line, cause=cause, missing=name)
    broken = next((report.broken for report in reports if report.broken and not report.executed), "")
    if broken and exit_code:
        # pytest counts what it could not load, and says why above
        why = _COLLECTION_ERROR.search(text) if "during collection" in broken else None
        broken = f"{broken.strip('! ')}: {why[1].strip()}" if why else broken
        return replace(seen, ending=Ending.CANNOT_RUN, reason=broken, cause=Cause.COLLECTION)
    if nothing := _why_nothing_ran(reports, text, exit_code):
        return replace(seen, ending=Ending.NOTHING_RAN, reason=nothing)
    if exit_code == 0:
        return seen
    if any(report.runner not in _BUILD_TOOLS for report in reports):  # it began, and no test of its was reached
        return replace(seen, ending=Ending.CANNOT_RUN, reason=_last_line(text), cause=Cause.UNKNOWN)
    if is_test_runner(command) and failed_tests(output) is None:  # one that names a failed test has run
        return replace(seen, ending=Ending.CANNOT_RUN, reason=_last_line(text), cause=Cause.UNKNOWN)
    return replace(seen, ending=Ending.FAILED, reason=f"exit code {exit_code}")


def _only_files(output: str) -> bool:
    """Return whether all that failed is named as a file: node's runner counts one that does not load as a failed test."""
    names = failed_tests(output)
    return bool(names) and all(_SCRIPT_FILE.search(name) for name in names or ())


_SCRIPT_FILE = re.compile(r"(?:^|/)[^/\s]+\.[cm]?[jt]sx?$")


def is_test_runner(command: str) -> bool:
    """Return whether a shell line calls a test runner by name, directly or through a launcher such as `uv run`."""
    return any(_is_runner(words) for words in _simple_commands(command))


def cannot_fail(command: str) -> str:
    """Return why a command passes whatever the code does, or an empty text.

    Only what a person would see at a glance is found: `true`, `exit 0`, `echo`, `:`, and `|| true` behind the last
    command of a line.
    """
    line = command.strip()
    if re.search(r"\|\|\s*(?:true|:|exit 0|echo\b[^;&|]*)\s*$", line):
        return "what it checks is followed by `|| true`"
    words = _simple_commands(line)
    if words and all(each[0] in {"true", ":", "echo", "printf"} or each[:2] == ["exit", "0"] for each in words if each):
        return "it passes whatever the code does"
    if re.search(r";\s*(?:true|:|exit 0)\s*$", line):
        return "its last word makes it pass whatever came before"
    return ""


def _why_killed(exit_code: int | None, signal: int | None, text: str) -> str:
    number = signal if signal is not None else (exit_code - 128 if exit_code is not None else None)
    why = "its end is unknown" if number is None else f"signal {number} ended it"
    if re.search(r"heap out of memory|Cannot allocate memory|MemoryError", text):
        why += " (out of memory)"
    return why


def _missing(text: str, exit_code: int) -> tuple[Cause, str, str] | None:
    """Return what keeps the command from running: the cause, what is missing, and the line that says so."""
    for cause, pattern in _COMPILED:
        found = pattern.search(text)
        if found is not None:
            named = next((name for name in found.groupdict().values() if name), "")
            start = text.rfind("\n", 0, found.start()) + 1
            end = text.find("\n", found.end())
            return cause, named.strip(), text[start : end if end >= 0 else len(text)].strip()
    if exit_code in _SHELL_CODES:
        return Cause.PROGRAM, "", _last_line(text) or f"a program {_SHELL_CODES[exit_code]} (exit code {exit_code})"
    return None


def _why_nothing_ran(reports: Sequence[RunnerReport], text: str, exit_code: int) -> str:
    for report in reports:
        if report.empty and report.skipped:
            return f"{report.runner} skipped all {report.skipped} tests"
        if report.empty:
            return f"{report.runner} ran no test"
    nothing = None if exit_code else _NOTHING_DONE.search(text)
    return nothing[0].strip() if nothing is not None else ""


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _simple_commands(command: str) -> list[list[str]]:
    """Split a shell line into its simple commands; words as a shell would see them, nothing expanded."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word and set(word) <= set(";&|()<>"):
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:  # an open quote: a shell would refuse it too
        return []
    return [words for words in commands if words]


def _is_runner(words: Sequence[str]) -> bool:
    rest = list(words)
    while rest and (
        rest[0] in _WRAPPERS or re.fullmatch(r"\w+=.*", rest[0]) or _name(rest[0]) in {"python", "python3"}
    ):
        rest = rest[1:]
    if not rest:
        return False
    name = _name(rest[0])
    program = {"mvnw": "mvn", "gradlew": "gradle"}.get(name, name)
    called = next((word for word in rest[1:] if word[:1] not in {"-", "+"} or word == "--test"), "")
    return program in _RUNNERS or f"{program} {called}" in _RUNNER_CALLS


def _name(word: str) -> str:
    return word.rstrip("/").rpartition("/")[2]
