"""Which tests failed, read from what a test runner printed; of an unknown runner only the exit code counts."""

import re

#: Lines on which runners name a failed test; the group `name` is its identity.
_PATTERNS = (
    re.compile(r"^(?:FAILED|ERROR) (?P<name>\S+?(?:::\S+)?)(?: - .*)?$"),  # pytest -ra, and its short summary
    re.compile(r"^(?:FAIL|ERROR): (?P<name>\S+ \([\w.]+\))$"),  # unittest
    re.compile(r"^\s*--- FAIL: (?P<name>\S+) \("),  # go test
    re.compile(r"^test (?P<name>\S+) \.\.\. FAILED$"),  # cargo test
    re.compile(r"^not ok \d+ - (?P<name>.+?)(?: #.*)?$"),  # TAP: node's test runner, prove
    re.compile("^\\s*\u25cf (?P<name>.+ \u203a .+)$"),  # jest
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def failed_tests(output: str) -> frozenset[str] | None:
    """Give the names of the tests that failed; None when no known runner named one."""
    names = set()
    for line in _ANSI.sub("", output).splitlines():
        for pattern in _PATTERNS:
            if found := pattern.match(line):
                names.add(found["name"])
    return frozenset(names) or None
