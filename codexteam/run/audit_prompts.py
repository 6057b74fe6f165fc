"""What gates are asked in an audit: they judge code that is there, without a change, each for what it answers for."""

from collections.abc import Sequence

from codexteam.core.findings import Finding
from codexteam.run.prompts import fenced, joined, open_words

#: Said of each: the roles' own texts speak of changes.
_AUDIT = (
    "Nobody proposes a change: there is no diff, and what is there already counts as much as a new fault would. Your "
    "workspace shows the code. Look at what matters most first, and stop when more looking would find little. Each finding "
    "names its file and line, how you know, and what to do, so that somebody else can do it as a task of its own; `paths` "
    "are the files that the fix may write."
)


def code(goal: str, paths: Sequence[str], *, open_findings: Sequence[Finding], output: str) -> str:
    """Ask the reviewer for faults and dead code; `output` is what the gate commands print."""
    return joined(
        f"Audit {_scope(paths)} for what is wrong and what is dead. {_AUDIT}",
        "Wrong: results, lost data, unhandled failures, broken interfaces, documents that contradict the code. Prove it with a "
        "command where a few lines can. Dead: functions, files, dependencies, options, branches that nothing reaches. Search "
        "for every use, also by name, in tests, configuration and documents; an interface for others is not dead. Leave "
        "security and missing tests to others who are asked for them.",
        "must_fix is wrong behaviour that you have shown; dead code is should_fix with the category scope.",
        open_words(open_findings),
        fenced("goal", goal),
        fenced("gate output", output),
    )


def security(goal: str, paths: Sequence[str], *, open_findings: Sequence[Finding]) -> str:
    """Ask the security reviewer for what an attacker could use."""
    return joined(
        f"Audit the security of {_scope(paths)}. {_AUDIT}",
        "Begin at the boundaries: list what comes in from outside, who controls it, and what it reaches. That a hole is old "
        "makes it no smaller here.",
        open_words(open_findings),
        fenced("goal", goal),
    )


def tests(goal: str, paths: Sequence[str], *, open_findings: Sequence[Finding], restored: bool) -> str:
    """Ask the QA test author what the tests do not show."""
    return joined(
        f"Audit the tests of {_scope(paths)}. {_AUDIT}",
        "Use the program as its users would, and hold what it does against its tests: which behaviour that users rely on does "
        "none show, and which tests would pass if the code were broken? Try that by breaking it. Nothing is taken from your "
        "workspace: a test that shows a fault goes into the finding, with its command and what it printed.",
        "must_fix is a fault that you have shown; a missing or empty test is should_fix.",
        "Your workspace holds what was begun before, without a verdict; continue from it." if restored else "",
        open_words(open_findings),
        fenced("goal", goal),
    )


def _scope(paths: Sequence[str]) -> str:
    return f"what is below {', '.join(paths)}" if paths else "this repository"
