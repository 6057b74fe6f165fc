"""Test cases in a file's text, and what of it holds a test: read by patterns, since it is hostile and in any language."""

import re
from dataclasses import dataclass
from posixpath import basename

#: Folders of what tests read or use; a file there is no test, whatever is in it.
_FIXTURES = re.compile(
    r"(^|/)(fixtures?|__fixtures__|data|test_?data|testdata|samples?|__mocks__|mocks|resources|assets|corpus)/",
    re.IGNORECASE,
)
_EXPECTED = re.compile(
    r"(^|/)(__snapshots__|snapshots?|goldens?|golden[_-]?files?|expected|approved|baselines?)/|\.(snap|ambr|golden|approved\.\w+|expected)$",
    re.IGNORECASE,
)
_CASE = re.compile(
    r"^(?P<indent>[ \t]*)(?:async[ \t]+)?def (?P<python>test\w*)"
    r"|^[ \t]*(?:it|test|specify)(?:\.\w+)*\([ \t]*[\"'`](?P<script>.+?)[\"'`]"
    r"|^func (?P<go>(?:Test|Fuzz|Example)\w*)\("
    r"|#\[(?:tokio::)?test\][^{]*?\bfn (?P<rust>\w+)"
    r"|^[ \t]*(?:it|test|specify)[ \t]+[\"'](?P<ruby>.+?)[\"'][ \t]+do"
    r"|@(?:Test|ParameterizedTest)\b[^{;]*?\b(?P<java>\w+)\("
    r"|\bfunction (?P<php>test\w*)\(",
    re.MULTILINE,
)
ASSERTION = re.compile(
    r"\bassert\w*\b|\bexpect\w*\(|\bself\.(?:assert|fail)|\bt\.(?:Error|Fatal|Fail|is|deepEqual|true|false)|\brequire\.\w+\(|\bshould\b"
    r"|\bpytest\.(?:raises|warns|fail)|\bt\.Run\("
)
#: What ends a case before what follows it; of languages with braces a bare `return` alone, as callbacks give values.
_ENDS_PYTHON = re.compile(
    r"\breturn\b|\bpytest\.(?:skip|xfail|exit)\b|\braise\s+(?:\w+\.)*Skip\w*|\.skipTest\(|\b(?:sys\.exit|os\._exit|exit|quit)\("
    r"|\bif\s+(?:False|0|None|not True)\b|\bwhile\s+(?:False|0)\b|\braise SystemExit"
)
_ENDS_OTHER = re.compile(
    r"\breturn\s*(?:;|$|\}|undefined|null)|\bprocess\.exit\(|\b[tb]\.Skip\w*\(|\bif\s*\(?\s*(?:false|0)\b|\bos\.Exit\(|\bthis\.skip\("
    r"|\bctx\.skip\(|\bskip\(|\bstd::process::exit",
    re.MULTILINE,
)
_CATCHES = re.compile(
    r"\bexcept\b(?:\s*:|[^:\n]*\b(?:AssertionError|Exception|BaseException)\b)|\bsuppress\(|\bcatch\b"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One test in a text."""

    name: str
    body: str
    """Its lines, without blank ones and indents."""
    assertions: int
    ends_early: int
    """Places before its last assertion at which it may end."""
    catches: int


def is_fixture(path: str) -> bool:
    """Return whether a path is that of something that tests use, and no test."""
    return bool(_FIXTURES.search(path)) or basename(path) in {"conftest.py", "__init__.py"}


def is_expected_output(path: str) -> bool:
    """Return whether a file holds what a test compares with: a snapshot, or a golden file."""
    return bool(_EXPECTED.search(path))


def is_collected(path: str) -> bool:
    """Return whether test runners take a file for a test by its name; yes in languages where names do not show it."""
    name = basename(path)
    if name.endswith(".py"):
        return name.startswith("test") or name.endswith(("_test.py", "_tests.py"))
    if name.endswith(".go"):
        return name.endswith("_test.go")
    if re.search(r"\.[cm]?[jt]sx?$", name):
        return (
            bool(re.search(r"(^|[._-])(test|spec)s?[._-]", name))
            or "__tests__/" in path
            or "test" in path.split("/", maxsplit=1)[0]
        )
    return bool(re.search(r"\.(rs|rb|java|kt|php|cs|swift|exs?|scala|clj|cc|cpp|c|sh|bats|t|pl|lua|dart|hs|ml)$", name))


def cases_of(text: str, path: str) -> list[Case]:
    """Return the test cases in a text, in its order."""
    found = list(_CASE.finditer(text))
    cases = []
    for number, case in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        body = text[case.end() : end]
        if case["python"]:
            body = _python_body(body, case["indent"])
        name = next(value for kind, value in case.groupdict().items() if kind != "indent" and value)
        cases.append(_case(name, body, python=bool(case["python"]) or path.endswith(".py")))
    return cases


def _python_body(text: str, indent: str) -> str:
    """Cut at the first line that is no deeper than the `def`; the rest belongs to the module or the class."""
    lines = text.split("\n")
    depth = len(indent.expandtabs())
    for number, line in enumerate(lines[1:], start=1):
        bare = line.strip()
        if (
            bare
            and not bare.startswith((")", "#", "]", "}"))
            and len(line.expandtabs()) - len(line.expandtabs().lstrip()) <= depth
        ):
            return "\n".join(lines[:number])
    return text


def _case(name: str, body: str, *, python: bool) -> Case:
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    last = max((match.start() for match in ASSERTION.finditer(body)), default=0)
    head = _own_lines(body[:last]) if python else body[:last]
    pattern = _ENDS_PYTHON if python else _ENDS_OTHER
    return Case(
        name,
        "\n".join(lines),
        len(ASSERTION.findall(body)),
        len(pattern.findall(head)),
        len(_CATCHES.findall(body)),
    )


def _own_lines(text: str) -> str:
    """Leave out the functions within a Python function: what they return ends no test."""
    kept: list[str] = []
    inner: int | None = None
    for line in text.splitlines():
        depth = len(line.expandtabs()) - len(line.expandtabs().lstrip())
        if inner is not None and (depth > inner or not line.strip()):
            continue
        inner = depth if re.match(r"\s*(?:async\s+)?(?:def|class)\s", line) else None
        kept.append(re.sub(r"\blambda\b.*", "", line))
    return "\n".join(kept)
